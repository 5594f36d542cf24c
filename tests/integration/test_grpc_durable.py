"""``v1.V1Dispatcher`` and BranchDurableTask over a real channel, on stand-ins for the engine (behaviour-durable)."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc_world import AUTH, RUN, TASK, WORKER, DurableSession, World, a_world, within

from hatchet.core.durable_messages import (
    EntryCompleted,
    EntryRef,
    MemoAck,
    MemoRequest,
    Refused,
    Response,
    SpawnAck,
    SpawnedRun,
    UnreadableRequest,
    WaitAck,
    WaitRequest,
)
from hatchet.core.durable_waits import WaitKind
from hatchet.core.errors import FailedPrecondition, NotFound, Unavailable
from hatchet.grpc.durable import SIGNAL_POLL_SECONDS
from hatchet_contracts.v1 import dispatcher_pb2 as pb
from hatchet_contracts.v1 import workflows_pb2 as v1
from hatchet_contracts.v1.shared import condition_pb2 as wait

Code = grpc.StatusCode
STREAM = "/v1.V1Dispatcher/DurableTask"
REGISTER = "/v1.V1Dispatcher/RegisterDurableEvent"
LISTEN = "/v1.V1Dispatcher/ListenForDurableEvent"
BRANCH = "/v1.AdminService/BranchDurableTask"
REF = EntryRef(TASK, 1, 1, 1)
GROUP = RUN


def registration(worker_id: str = WORKER) -> pb.DurableTaskRequest:
    return pb.DurableTaskRequest(register_worker=pb.DurableTaskRequestRegisterWorker(worker_id=worker_id))


def memo(key: bytes, **fields: Any) -> pb.DurableTaskRequest:
    request = pb.DurableTaskMemoRequest(
        **{"durable_task_external_id": TASK, "invocation_count": 1, "key": key, **fields}
    )
    return pb.DurableTaskRequest(memo=request)


async def read(call: Any) -> pb.DurableTaskResponse:
    data = await within(call.read())
    assert data is not grpc.aio.EOF, await call.code()
    return pb.DurableTaskResponse.FromString(data)


async def opened(world: World) -> tuple[Any, DurableSession]:
    """A stream of WORKER, and what the engine has of it."""
    call = world.both_ways(STREAM)
    await call.write(registration().SerializeToString())
    assert (await read(call)).register_worker.worker_id == WORKER
    return call, await within(world.durable.sessions.get())


# The stream ------------------------------------------------------------------------------------------------------


async def test_d_2_2_and_d_3_9_a_registration_is_answered_and_what_follows_it_is_taken() -> None:
    """D-3.1, D-3.10."""
    async with a_world() as world:
        call = world.both_ways(STREAM)
        # Clients do not wait for the answer.
        for request in (registration(WORKER.upper()), memo(b"a"), memo(b"b")):
            await call.write(request.SerializeToString())
        assert (await read(call)).register_worker.worker_id == WORKER
        session = await within(world.durable.sessions.get())
        assert session.worker_id == WORKER
        assert await within(session.requests.get()) == MemoRequest(TASK, 1, b"a")
        assert await within(session.requests.get()) == MemoRequest(TASK, 1, b"b")
        await session.send(MemoAck(REF, False))
        assert (await read(call)).memo_ack.ref.durable_task_external_id == TASK
        # D-2.11: nothing but the worker ends it.
        await call.done_writing()
        assert await within(call.code()) is Code.OK
        assert session.closed.is_set()


async def test_d_2_6_requests_reach_the_engine_in_their_order() -> None:
    async with a_world() as world:
        call, session = await opened(world)
        for number in range(300):
            await call.write(memo(b"%d" % number).SerializeToString())
        got = [await within(session.requests.get()) for _ in range(300)]
    assert got == [MemoRequest(TASK, 1, b"%d" % number) for number in range(300)]


@pytest.mark.parametrize(
    ("request_", "kind"), [(memo(b"a"), "not memo"), (pb.DurableTaskRequest(), "not an empty one")]
)
async def test_d_2_2_the_first_request_has_to_be_the_registration(request_: pb.DurableTaskRequest, kind: str) -> None:
    async with a_world() as world:
        call = world.both_ways(STREAM)
        await call.write(request_.SerializeToString())
        assert await within(call.code()) is Code.INVALID_ARGUMENT
        assert await call.details() == f"the first request of a stream must be register_worker, {kind}"
        assert world.durable.sessions.empty()


@pytest.mark.parametrize(("worker_id", "code"), [(RUN, Code.NOT_FOUND), ("w", Code.INVALID_ARGUMENT)])
async def test_d_2_2_an_unknown_worker_is_refused(worker_id: str, code: grpc.StatusCode) -> None:
    async with a_world() as world:
        call = world.both_ways(STREAM)
        await call.write(registration(worker_id).SerializeToString())
        assert await within(call.code()) is code
        assert worker_id in await call.details()


async def test_d_2_4_a_worker_that_registers_again_gets_a_new_session() -> None:
    async with a_world() as world:
        call, first = await opened(world)
        await call.write(registration().SerializeToString())
        assert (await read(call)).register_worker.worker_id == WORKER
        second = await within(world.durable.sessions.get())
        assert first.closed.is_set()
        await call.write(memo(b"a").SerializeToString())
        assert await within(second.requests.get()) == MemoRequest(TASK, 1, b"a")
        assert first.requests.empty()
        # One that is not known ends the stream, and nothing of it is left.
        await call.write(registration(RUN).SerializeToString())
        assert await within(call.code()) is Code.NOT_FOUND
        assert second.closed.is_set()


async def test_d_4_8_bad_requests_reach_the_engine_in_their_turn_and_do_not_end_the_stream() -> None:
    bad_group = pb.DurableTaskWaitForRequest(
        durable_task_external_id=TASK,
        wait_for_conditions=wait.DurableEventListenerConditions(
            sleep_conditions=[wait.SleepMatchCondition(base=wait.BaseMatchCondition(or_group_id="g"), sleep_for="1s")]
        ),
    )
    unreadable_value = pb.DurableTaskRequest(complete_memo=pb.DurableTaskCompleteMemoRequest(payload=b"{"))
    async with a_world() as world:
        call, session = await opened(world)
        sent = [
            memo(b"a"),
            memo(b"b", payload=b"{"),
            pb.DurableTaskRequest(),
            unreadable_value,
            pb.DurableTaskRequest(wait_for=bad_group),
            pb.DurableTaskRequest(wait_for=pb.DurableTaskWaitForRequest(durable_task_external_id=TASK)),
        ]
        for request in sent:
            await call.write(request.SerializeToString())
        # D-3.18: a memo's value has no answer, so the engine does not hear of one that cannot be read.
        got = [await within(session.requests.get()) for _ in range(len(sent) - 1)]
        kinds: list[type] = [MemoRequest, UnreadableRequest, UnreadableRequest, UnreadableRequest, WaitRequest]
        assert [type(one) for one in got] == kinds
        await session.send(Refused(REF, "no"))
        assert (await read(call)).error.error_message == "no"


async def test_d_2_7_a_worker_that_goes_away_closes_its_session() -> None:
    async with a_world() as world:
        call, session = await opened(world)
        call.cancel()
        await within(session.closed.wait())
        with pytest.raises(Unavailable, match="the stream is gone"):
            await within(session.send(WaitAck(REF)))


async def test_d_2_7_a_broken_connection_closes_its_session() -> None:
    async with a_world() as world:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{world.port}")
        call = channel.stream_stream(STREAM)(metadata=AUTH)
        await call.write(registration().SerializeToString())
        session = await within(world.durable.sessions.get())
        await channel.close()
        await within(session.closed.wait())


async def test_d_2_8_a_server_that_stops_ends_streams_with_unavailable() -> None:
    """D-2.13: after CANCELLED a worker would not come back."""
    async with a_world() as world:
        call, session = await opened(world)
        listening = world.both_ways(LISTEN)
        await within(listening.initial_metadata())
        await within(world.server.stop(5))
        for stream in (call, listening):
            assert await within(stream.code()) is Code.UNAVAILABLE
            assert "this server is stopping" in await stream.details()
        assert session.closed.is_set()


async def test_responses_of_several_coroutines_are_all_delivered() -> None:
    async with a_world() as world:
        call, session = await opened(world)
        await asyncio.gather(*(session.send(EntryCompleted(REF, "{}", order=number)) for number in range(200)))
        orders = [(await read(call)).entry_completed.satisfied_order for _ in range(200)]
    assert sorted(orders) == list(range(200))


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (MemoAck(REF, True, '"' + "x" * 5000 + '"'), "error"),
        (SpawnAck(TASK, 1, tuple(SpawnedRun(node, 1, RUN) for node in range(200))), "error"),
        (EntryCompleted(REF, '{"a": "' + "x" * 5000 + '"}', order=4), "entry_completed"),
        (Refused(REF, "x" * 5000), "error"),
    ],
)
async def test_d_2_12_a_response_above_the_limit_is_replaced_and_the_stream_goes_on(
    response: Response, kind: str
) -> None:
    async with a_world(limit=2048) as world:
        call, session = await opened(world)
        await session.send(response)
        await session.send(WaitAck(REF))
        replaced = await read(call)
        assert replaced.WhichOneof("message") == kind
        found = getattr(replaced, kind)
        assert (found.ref.durable_task_external_id, found.ref.invocation_count) == (TASK, 1)
        assert "SERVER_GRPC_MAX_MSG_SIZE" in found.error_message
        if kind == "entry_completed":
            assert (found.is_failure, found.payload, found.satisfied_order) == (True, b"", 4)
        assert (await read(call)).WhichOneof("message") == "wait_for_ack"


async def test_d_4_8_a_request_above_the_limit_is_answered_and_the_stream_goes_on() -> None:
    async with a_world(limit=2048) as world:
        call, session = await opened(world)
        large = memo(b"k", payload=b'"' + b"x" * 3000 + b'"')
        await call.write(large.SerializeToString())
        await call.write(memo(b"k").SerializeToString())
        unreadable = await within(session.requests.get())
        assert isinstance(unreadable, UnreadableRequest)
        assert (unreadable.task_id, unreadable.invocation) == (TASK, 1)
        assert "above the limit of 2048: send less, or raise SERVER_GRPC_MAX_MSG_SIZE" in unreadable.message
        assert isinstance(await within(session.requests.get()), MemoRequest)


# Waits of clients without stream -----------------------------------------------------------------------------------


def a_wait(**changes: Any) -> pb.RegisterDurableEventRequest:
    base = wait.BaseMatchCondition(or_group_id=GROUP, readable_data_key="k")
    conditions = wait.DurableEventListenerConditions(
        sleep_conditions=[wait.SleepMatchCondition(base=base, sleep_for="5s")],
        user_event_conditions=[wait.UserEventMatchCondition(base=base, user_event_key="go")],
    )
    values = {"task_id": TASK.upper(), "signal_key": "sleep:5s-1", "conditions": conditions, **changes}
    return pb.RegisterDurableEventRequest(**values)


async def test_d_26_1_a_wait_is_registered() -> None:
    async with a_world() as world:
        await world.call(REGISTER, a_wait(), pb.RegisterDurableEventResponse)
        await world.call(REGISTER, a_wait(conditions=None), pb.RegisterDurableEventResponse)
        [(task_id, key, conditions), (_, _, none)] = world.durable.registered
    assert (task_id, key, none) == (TASK, "sleep:5s-1", ())
    assert [(one.kind, one.or_group) for one in conditions] == [(WaitKind.SLEEP, GROUP), (WaitKind.EVENT, GROUP)]


def a_bad_sleep(**base: Any) -> wait.DurableEventListenerConditions:
    condition = wait.SleepMatchCondition(base=wait.BaseMatchCondition(**base), sleep_for=base.pop("sleep_for", "1s"))
    return wait.DurableEventListenerConditions(sleep_conditions=[condition])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"task_id": "x"}, "task_id 'x': it must be a UUID"),
        ({"signal_key": ""}, "signal_key is empty"),
        ({"signal_key": "a\x00"}, "signal_key 'a\\x00'"),
        ({"conditions": a_bad_sleep(or_group_id="g")}, "conditions.sleep_conditions[0].base.or_group_id 'g'"),
        ({"conditions": a_bad_sleep(action=wait.QUEUE)}, "conditions.sleep_conditions[0].base.action"),
    ],
)
async def test_d_26_1_a_bad_wait_is_refused(changes: dict[str, Any], text: str) -> None:
    async with a_world() as world:
        code, details = await world.refused(REGISTER, a_wait(**changes))
        assert (code, text in details) == (Code.INVALID_ARGUMENT, True), details
        assert world.durable.registered == []
        world.durable.failures.append(NotFound("task not found"))
        assert await world.refused(REGISTER, a_wait()) == (Code.NOT_FOUND, "task not found")


def ask(signal_key: str, task_id: str = TASK) -> bytes:
    return pb.ListenForDurableEventRequest(task_id=task_id, signal_key=signal_key).SerializeToString()


async def heard(call: Any) -> pb.DurableEvent:
    data = await within(call.read())
    assert data is not grpc.aio.EOF, await call.code()
    return pb.DurableEvent.FromString(data)


async def test_d_26_2_an_answer_comes_at_once_and_then_the_pair_is_forgotten() -> None:
    """D-26.3: asked for again, it is answered again."""
    # Long enough that only a question leads to a look.
    async with a_world(signal_poll_seconds=3600) as world:
        world.durable.over[(TASK, "a")] = '{"CREATE": {"k": ["\u00e4"]}}'
        call = world.both_ways(LISTEN)
        await call.write(ask("b"))
        assert await within(world.durable.looked_for.get()) == [(TASK, "b")]
        for _ in range(2):
            await call.write(ask("a", TASK.upper()))
            event = await heard(call)
            assert (event.task_id, event.signal_key) == (TASK, "a")
            assert event.data.decode() == '{"CREATE": {"k": ["\u00e4"]}}'
            assert await within(world.durable.looked_for.get()) == [(TASK, "a"), (TASK, "b")]
        await call.write(ask("c"))
        assert await within(world.durable.looked_for.get()) == [(TASK, "b"), (TASK, "c")]
        await call.done_writing()
        assert await within(call.code()) is Code.OK


async def test_d_26_2_what_is_asked_for_is_looked_for_again_and_again_through_failures() -> None:
    assert SIGNAL_POLL_SECONDS == 1.0
    async with a_world(signal_poll_seconds=0.01) as world:
        world.durable.failures.append(Unavailable("the database does not answer"))
        call = world.both_ways(LISTEN)
        await call.write(ask("a"))
        for _ in range(3):
            assert await within(world.durable.looked_for.get()) == [(TASK, "a")]
        world.durable.over[(TASK, "a")] = "{}"
        assert (await heard(call)).signal_key == "a"
        call.cancel()


async def test_d_1_7_a_stream_without_questions_stays_open_and_nothing_is_looked_for() -> None:
    async with a_world(signal_poll_seconds=0.001) as world:
        silent, other = world.both_ways(LISTEN), world.both_ways(LISTEN)
        await within(silent.initial_metadata())
        await other.write(ask("a"))
        for _ in range(20):
            assert await within(world.durable.looked_for.get()) == [(TASK, "a")]
        assert not silent.done()
        silent.cancel()
        other.cancel()


async def test_d_26_2_pairs_that_cannot_exist_and_answers_above_the_limit_do_not_end_the_stream() -> None:
    async with a_world(limit=2048, signal_poll_seconds=3600) as world:
        world.durable.over |= {(TASK, "a"): '{"CREATE": "' + "x" * 5000 + '"}', (TASK, "b"): "{}"}
        call = world.both_ways(LISTEN)
        for request in (ask("a", "no uuid"), ask("a\x00"), ask("a"), ask("b")):
            await call.write(request)
        assert (await heard(call)).signal_key == "b"
        looked_for = [world.durable.looked_for.get_nowait() for _ in range(world.durable.looked_for.qsize())]
        assert {pair for pairs in looked_for for pair in pairs} == {(TASK, "a"), (TASK, "b")}


async def test_a_request_that_is_no_message_ends_a_stream_with_invalid_argument() -> None:
    async with a_world() as world:
        for path in (STREAM, LISTEN):
            call = world.both_ways(path)
            await call.write(b"\xff")
            assert await within(call.code()) is Code.INVALID_ARGUMENT


# Branches ------------------------------------------------------------------------------------------------------------


def a_branch(task_id: str = TASK, node: int = 2, branch: int = 1) -> v1.BranchDurableTaskRequest:
    return v1.BranchDurableTaskRequest(task_external_id=task_id, node_id=node, branch_id=branch)


async def test_d_22_5_a_branch_answers_with_its_number() -> None:
    async with a_world() as world:
        answer = await world.call(BRANCH, a_branch(TASK.upper()), v1.BranchDurableTaskResponse)
        assert (answer.task_external_id, answer.node_id, answer.branch_id) == (TASK, 2, 2)
        assert world.durable.branched == [(TASK, 2, 1)]


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (a_branch("x"), "task_external_id 'x': it must be a UUID"),
        (a_branch(node=0), "node_id must be between 1 and 2147483647, not 0"),
        (a_branch(node=2**31), "node_id must be between"),
        (a_branch(branch=-1), "branch_id must be between"),
    ],
)
async def test_d_22_10_and_d_22_11_a_branch_is_refused(request_: v1.BranchDurableTaskRequest, text: str) -> None:
    async with a_world() as world:
        code, details = await world.refused(BRANCH, request_)
        assert (code, text in details) == (Code.INVALID_ARGUMENT, True), details
        assert world.durable.branched == []
        for error in (NotFound("task not found"), FailedPrecondition("the task is executing")):
            world.durable.failures.append(error)
            assert await world.refused(BRANCH, a_branch()) == (Code[error.code.value], error.message)
