"""`hatchet.runs`: listening to the chunks of a run, its details, cancelling and replaying."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from grpc import StatusCode
from pydantic import ValidationError

from fakes.fake_dispatcher import FakeDispatcher
from fakes.worker_world import config
from hatchet_contracts import dispatcher_pb2 as pb
from hatchet_contracts.v1 import workflows_pb2 as v1
from hatchet_sdk import Hatchet
from hatchet_sdk.features import runs as runs_module
from hatchet_sdk.features.run_models import BulkCancelReplayOpts, RunFilter, RunStatus, V1TaskStatus
from hatchet_sdk.features.runs import RunsClient
from hatchet_sdk.run import stream
from hatchet_sdk.wire.errors import EngineError

RUN = "2c5f3a64-63f6-4f5e-9b55-0a2d4f4f7a11"
WAIT_SECONDS = 60.0


@pytest.fixture
def fake() -> Iterator[FakeDispatcher]:
    fake = FakeDispatcher()
    yield fake
    fake.close()


@pytest.fixture
def runs(fake: FakeDispatcher) -> RunsClient:
    return Hatchet(config=config(fake)).runs


def chunk(text: str, index: int | None = None, *, task: str = "a", retry_count: int | None = 0) -> pb.WorkflowEvent:
    return pb.WorkflowEvent(
        workflow_run_id=RUN,
        resource_type=pb.RESOURCE_TYPE_STEP_RUN,
        event_type=pb.RESOURCE_EVENT_TYPE_STREAM,
        resource_id=task,
        event_payload=text,
        event_index=index,
        retry_count=retry_count,
    )


def happened(event_type: pb.ResourceEventType, payload: str = "") -> pb.WorkflowEvent:
    return pb.WorkflowEvent(
        workflow_run_id=RUN, resource_type=pb.RESOURCE_TYPE_STEP_RUN, event_type=event_type, event_payload=payload
    )


END = pb.WorkflowEvent(
    workflow_run_id=RUN,
    resource_type=pb.RESOURCE_TYPE_WORKFLOW_RUN,
    event_type=pb.RESOURCE_EVENT_TYPE_COMPLETED,
    hangup=True,
)


class Listener:
    """Collects chunks in a thread with a loop of its own, until the iteration ends or raises."""

    def __init__(self, runs: RunsClient) -> None:
        self.chunks: list[str] = []
        self.error: BaseException | None = None
        self._runs = runs
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        async def listen() -> None:
            async for text in self._runs.subscribe_to_stream(RUN):
                self.chunks.append(text)

        try:
            asyncio.run(listen())
        except BaseException as error:
            self.error = error

    def ended(self) -> list[str]:
        self._thread.join(WAIT_SECONDS)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error
        return self.chunks


def test_c_7_41_the_chunks_of_a_run_until_it_hangs_up(fake: FakeDispatcher, runs: RunsClient) -> None:
    listener = Listener(runs)
    fake.publish(
        happened(pb.RESOURCE_EVENT_TYPE_STARTED),
        chunk("one", 0),
        chunk("two", 1),
        chunk("without index"),
        chunk("", 2),
        happened(pb.RESOURCE_EVENT_TYPE_COMPLETED, '{"not": "a chunk"}'),
        END,
    )
    assert listener.ended() == ["one", "two", "without index", ""]
    assert [request.workflow_run_id for request in fake.requests("SubscribeToWorkflowEvents")] == [RUN]
    fake.wait_for(lambda: fake.subscribers == 0, "the stream is closed")


def test_c_7_41_the_end_of_the_stream_ends_the_iteration(fake: FakeDispatcher, runs: RunsClient) -> None:
    listener = Listener(runs)
    fake.publish(chunk("one", 0), StatusCode.OK)
    assert listener.ended() == ["one"]
    assert len(fake.requests("SubscribeToWorkflowEvents")) == 1


@pytest.mark.parametrize("code", [StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED])
def test_c_7_36_a_broken_stream_is_opened_again_and_no_chunk_comes_twice(
    fake: FakeDispatcher, runs: RunsClient, code: StatusCode
) -> None:
    listener = Listener(runs)
    fake.publish(chunk("a0", 0), chunk("b0", 0, task="b"), chunk("a1", 1), code)
    fake.wait_for(lambda: len(fake.requests("SubscribeToWorkflowEvents")) == 2, "it subscribes again")
    # What the engine remembers of the run, and what is new: the second attempt of b counts from 0 again.
    fake.publish(chunk("a0", 0), chunk("b0", 0, task="b"), chunk("a1", 1), chunk("a2", 2))
    fake.publish(chunk("b0 again", 0, task="b", retry_count=1), chunk("b1 late", 1, task="b"), END)
    assert listener.ended() == ["a0", "b0", "a1", "a2", "b0 again"]


def test_chunks_whose_attempt_is_not_told_all_come_through(fake: FakeDispatcher, runs: RunsClient) -> None:
    listener = Listener(runs)
    fake.publish(chunk("a", 0, retry_count=None), chunk("b", 0, retry_count=None), END)
    assert listener.ended() == ["a", "b"]


def test_a_restart_of_the_engine_is_survived(fake: FakeDispatcher, runs: RunsClient) -> None:
    listener = Listener(runs)
    fake.publish(chunk("before", 0))
    fake.wait_for(lambda: listener.chunks == ["before"], "the first chunk")
    fake.stop()
    fake.start()
    fake.publish(chunk("after", 1), END)
    assert listener.ended() == ["before", "after"]


def test_c_7_36_an_unknown_run_is_an_error_that_names_it(fake: FakeDispatcher, runs: RunsClient) -> None:
    fake.fail("SubscribeToWorkflowEvents", StatusCode.NOT_FOUND, text="no such run")
    with pytest.raises(EngineError, match=f"no run {RUN} to listen to: no such run") as caught:
        Listener(runs).ended()
    assert caught.value.code() is StatusCode.NOT_FOUND


def test_a_refusal_is_an_error(fake: FakeDispatcher, runs: RunsClient) -> None:
    fake.fail("SubscribeToWorkflowEvents", StatusCode.INVALID_ARGUMENT, text="workflow_run_id is not a UUID")
    with pytest.raises(EngineError, match="not a UUID"):
        Listener(runs).ended()


def test_an_engine_that_stays_away_is_an_error(
    fake: FakeDispatcher, runs: RunsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "LONGEST_PAUSE", 0.01)
    fake.fail("SubscribeToWorkflowEvents", StatusCode.UNAVAILABLE, times=stream.MAX_FAILURES)
    with pytest.raises(EngineError, match="cannot reach the engine"):
        Listener(runs).ended()


async def test_a_listener_that_leaves_closes_its_stream(fake: FakeDispatcher, runs: RunsClient) -> None:
    chunks = runs.subscribe_to_stream(RUN)
    first = asyncio.ensure_future(anext(chunks))
    await asyncio.to_thread(fake.publish, chunk("one", 0), chunk("two", 1))
    assert await first == "one"
    await chunks.aclose()  # type: ignore[attr-defined]
    await asyncio.to_thread(fake.wait_for, lambda: fake.subscribers == 0, "the stream is closed")


async def test_a_cancelled_listener_closes_its_stream(fake: FakeDispatcher, runs: RunsClient) -> None:
    async def listen() -> None:
        async for _ in runs.subscribe_to_stream(RUN):
            pytest.fail("there is nothing to hear")

    listening = asyncio.ensure_future(listen())
    await asyncio.to_thread(fake.wait_for, lambda: fake.subscribers == 1, "it listens")
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    await asyncio.to_thread(fake.wait_for, lambda: fake.subscribers == 0, "the stream is closed")


async def test_c_7_46_many_chunks_come_once_and_in_order(fake: FakeDispatcher, runs: RunsClient) -> None:
    texts = [f"chunk {i}" for i in range(300)]
    events = [chunk(text, i) for i, text in enumerate(texts)]
    publishing = asyncio.ensure_future(asyncio.to_thread(fake.publish, *events, END))
    assert [text async for text in runs.subscribe_to_stream(RUN)] == texts
    await publishing


# --- details ---------------------------------------------------------------------------------------------------------


def test_c_7_23_details_of_a_run(fake: FakeDispatcher, runs: RunsClient) -> None:
    fake.run_details = v1.GetRunDetailsResponse(
        input=b'{"a": 1}',
        status=v1.RunStatus.FAILED,
        done=True,
        additional_metadata=b'{"m": "x"}',
        task_runs={
            "first": v1.TaskRunDetail(
                external_id="1", readable_id="first", status=v1.RunStatus.COMPLETED, output=b'{"n": 2}'
            ),
            "second": v1.TaskRunDetail(
                external_id="2", readable_id="second", status=v1.RunStatus.FAILED, error="ValueError: bad"
            ),
            "third": v1.TaskRunDetail(external_id="3", readable_id="third", status=v1.RunStatus.CANCELLED, error=""),
            "other": v1.TaskRunDetail(
                external_id="4", readable_id="other", status=v1.RunStatus.COMPLETED, output=b"[1]"
            ),
            "away": v1.TaskRunDetail(external_id="5", readable_id="away", status=v1.RunStatus.EVICTED, is_evicted=True),
        },
    )
    details = runs.get_details(RUN)
    assert (details.external_id, details.status, details.done) == (RUN, RunStatus.FAILED, True)
    assert (details.input, details.additional_metadata) == ({"a": 1}, {"m": "x"})
    tasks = details.task_runs
    assert (tasks["first"].output, tasks["first"].error, tasks["first"].status) == ({"n": 2}, None, "COMPLETED")
    assert (tasks["second"].output, tasks["second"].error) == (None, "ValueError: bad")
    assert (tasks["third"].status, tasks["third"].error) == (V1TaskStatus.CANCELLED, None)
    assert tasks["other"].output is None
    assert (tasks["away"].status, tasks["away"].is_evicted) == (V1TaskStatus.RUNNING, True)
    assert runs.get_status(RUN) is V1TaskStatus.FAILED
    assert asyncio.run(runs.aio_get_status(RUN)) is V1TaskStatus.FAILED
    assert asyncio.run(runs.aio_get_details(RUN)) == details
    assert {request.external_id for request in fake.requests("GetRunDetails")} == {RUN}


def test_a_reference_to_a_run(runs: RunsClient) -> None:
    assert runs.get_run_ref(RUN).workflow_run_id == RUN


def test_statuses_translate_into_each_other() -> None:
    assert {RunStatus.from_v1_task_status(status).to_v1_task_status() for status in V1TaskStatus} == set(V1TaskStatus)


# --- cancel and replay -----------------------------------------------------------------------------------------------


def _operations(runs: RunsClient) -> list[tuple[str, Callable[[Any], Any], Callable[[Any], Any]]]:
    return [
        ("CancelTasks", runs.cancel, runs.bulk_cancel),
        ("CancelTasks", lambda x: asyncio.run(runs.aio_cancel(x)), lambda x: asyncio.run(runs.aio_bulk_cancel(x))),
        ("ReplayTasks", runs.replay, runs.bulk_replay),
        ("ReplayTasks", lambda x: asyncio.run(runs.aio_replay(x)), lambda x: asyncio.run(runs.aio_bulk_replay(x))),
    ]


def test_c_15_1_by_id(fake: FakeDispatcher, runs: RunsClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs_module, "IDS_IN_A_REQUEST", 2)
    for method, one, many in _operations(runs):
        fake.calls.pop(method, None)
        one("a")
        many(BulkCancelReplayOpts(ids=["b", "c", "d"]))
        many(BulkCancelReplayOpts(ids=[]))
        asked = fake.requests(method)
        assert [list(request.external_ids) for request in asked] == [["a"], ["b", "c"], ["d"]]
        assert not any(request.HasField("filter") for request in asked)


def test_c_15_3_by_filter(fake: FakeDispatcher, runs: RunsClient) -> None:
    since = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=timezone(timedelta(hours=2)))
    opts = BulkCancelReplayOpts(
        filters=RunFilter(
            since=since,
            until=since + timedelta(hours=1),
            statuses=[V1TaskStatus.FAILED, V1TaskStatus.CANCELLED],
            workflow_ids=["w"],
            additional_metadata={"k": "v:w"},
        )
    )
    for method, _, many in _operations(runs):
        many(opts)
        request = fake.requests(method)[-1]
        assert list(request.external_ids) == []
        assert list(request.filter.statuses) == ["FAILED", "CANCELLED"]
        assert request.filter.since.ToDatetime(UTC) == since
        assert request.filter.until.ToDatetime(UTC) == since + timedelta(hours=1)
        assert list(request.filter.workflow_ids) == ["w"]
        assert list(request.filter.additional_metadata) == ["k:v:w"]


def test_c_15_4_a_filter_without_more_than_a_beginning(fake: FakeDispatcher, runs: RunsClient) -> None:
    runs.bulk_cancel(BulkCancelReplayOpts(filters=RunFilter(since=datetime.now(UTC))))
    found = fake.requests("CancelTasks")[-1].filter
    assert not found.HasField("until")
    assert list(found.statuses) == list(found.workflow_ids) == list(found.additional_metadata) == []


def test_c_15_2_ids_and_filters_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match="either ids or filters, not both"):
        BulkCancelReplayOpts(ids=["a"], filters=RunFilter(since=datetime.now(UTC)))
    with pytest.raises(ValidationError, match="give either ids or filters"):
        BulkCancelReplayOpts()


# --- branch ----------------------------------------------------------------------------------------------------------


def test_d_22_5_a_durable_task_is_run_again_from_a_node(fake: FakeDispatcher, runs: RunsClient) -> None:
    answered = runs.reset_durable_task(RUN, 2, branch_id=1)
    again = asyncio.run(runs.aio_reset_durable_task(task_external_id=RUN, node_id=2, branch_id=1))
    assert answered == again
    assert (answered.task_external_id, answered.node_id, answered.branch_id) == (RUN, 2, 2)
    assert [(r.task_external_id, r.node_id, r.branch_id) for r in fake.requests("BranchDurableTask")] == [
        (RUN, 2, 1)
    ] * 2
