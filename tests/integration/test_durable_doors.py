"""Durable tasks through both doors with a real engine behind them: bad input, the log, branches, the older API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import fields
from typing import Any

import grpc
import grpc_world
import httpx2
import pytest
import pytest_asyncio
from engine_fixture import OTHER_TENANT, Instance
from engine_worker import TENANT, Worker, until
from grpc_world import AUTH, within

from contract.rest_contract import answer_schema, complaints
from hatchet.core.definitions import TaskDefinition, WorkflowDefinition
from hatchet.core.messages import Action, Caller, TriggerItem
from hatchet.core.statuses import RunStatus
from hatchet.engine.tenants import Tenants
from hatchet.rest.app import build_app
from hatchet.rest.ports import About, Services
from hatchet_contracts.v1 import dispatcher_pb2 as pb
from hatchet_contracts.v1 import workflows_pb2 as v1
from hatchet_contracts.v1.shared import condition_pb2 as wait
from hatchet_contracts.v1.shared.trigger_pb2 import TriggerWorkflowRequest

UNKNOWN = "0195f2a0-0000-7000-8000-0000000000ff"
GROUP = "44444444-4444-4444-8444-444444444444"
BRANCH = "/v1.AdminService/BranchDurableTask"
REGISTER = "/v1.V1Dispatcher/RegisterDurableEvent"
LOG = "/api/v1/stable/tenants/{tenant}/durable-tasks/{durable-task}"
RESTORE = "/api/v1/stable/tasks/{task}/restore"
REST_BRANCH = "/api/v1/stable/tenants/{tenant}/durable-tasks/branch"


class AnyToken:
    """Every token is one of TENANT."""

    def cached(self, token: str) -> Caller | None:
        return Caller(TENANT, "token")

    async def verify(self, token: str) -> Caller:
        return Caller(TENANT, "token")


class Doors:
    """Both doors, and a worker with a durable stream through the first."""

    def __init__(self, one: Instance, world: grpc_world.World, worker: Worker) -> None:
        self.one = one
        self.world = world
        self.worker = worker
        self.stream: Any = None
        real: dict[str, Any] = {
            "tokens": AnyToken(),
            "tenants": Tenants(database=one.database, clock=one.clock),
            "durable": one.engine.durable,
            "restoring": one.engine.evicting,
        }
        services = Services(**{field.name: real.get(field.name) for field in fields(Services)})
        about = About(version="9.8.7", grpc_address="127.0.0.1:7070", server_url="http://localhost:8080")
        self.rest = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=build_app(services, about), raise_app_exceptions=False),
            base_url="http://localhost:8080",
            headers={"Authorization": "Bearer good"},
        )

    async def started(self) -> Action:
        """A durable task that runs on the worker."""
        return await self.invoked(await self.one.run(), 1)

    async def invoked(self, task_id: str, count: int) -> Action:
        """Wait for an invocation of a task."""

        def find() -> Action | None:
            found = [one for one in self.worker.starts if (one.task_id, one.invocation) == (task_id, count)]
            return found[0] if found else None

        action = await until(find, f"invocation {count} starts")
        assert action is not None
        return action

    async def connect(self) -> None:
        """Open a stream, beside or after another one."""
        self.stream = self.world.both_ways("/v1.V1Dispatcher/DurableTask")
        await self.say(register_worker=pb.DurableTaskRequestRegisterWorker(worker_id=self.worker.id))
        assert (await self.hear()).register_worker.worker_id == self.worker.id

    async def say(self, **request: Any) -> None:
        await self.stream.write(pb.DurableTaskRequest(**request).SerializeToString())

    async def hear(self) -> pb.DurableTaskResponse:
        data = await within(self.stream.read())
        assert data is not grpc.aio.EOF, await self.stream.details()
        return pb.DurableTaskResponse.FromString(data)

    async def refused(self, **request: Any) -> str:
        await self.say(**request)
        answer = await self.hear()
        assert answer.WhichOneof("message") == "error", answer
        assert answer.error.error_type == pb.DURABLE_TASK_ERROR_TYPE_UNSPECIFIED
        message: str = answer.error.error_message
        return message

    async def call(self, method: str, path: str, task: str = "", **given: Any) -> tuple[int, Any]:
        """Status and body of a REST call; a good one is checked against the contract."""
        url = path.replace("{tenant}", TENANT).replace("{durable-task}", task).replace("{task}", task)
        answer = await self.rest.request(method, url, **given)
        if answer.status_code == 200:
            assert complaints(answer.json(), answer_schema(method, path, 200)) == []
        return answer.status_code, answer.json()


@pytest_asyncio.fixture
async def doors(one: Instance, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Doors]:
    monkeypatch.setattr(grpc_world, "TENANT", TENANT)
    await one.define(is_durable=True)
    worker = await one.worker(slots={"durable": 10, "default": 10})
    async with grpc_world.a_world(one.engine.grpc_services(grpc_world.LIMIT)) as world:
        made = Doors(one, world, worker)
        await made.connect()
        yield made
        made.stream.cancel()
        await made.rest.aclose()


def memo(task_id: str, key: bytes = b"k", count: int = 1, **more: Any) -> dict[str, Any]:
    request = pb.DurableTaskMemoRequest(durable_task_external_id=task_id, invocation_count=count, key=key, **more)
    return {"memo": request}


def sleep(text: str = "1h", group: str = GROUP) -> wait.DurableEventListenerConditions:
    base = wait.BaseMatchCondition(or_group_id=group, readable_data_key="s")
    return wait.DurableEventListenerConditions(sleep_conditions=[wait.SleepMatchCondition(base=base, sleep_for=text)])


def wait_for(
    task_id: str, conditions: wait.DurableEventListenerConditions, count: int = 1, label: str = ""
) -> dict[str, Any]:
    request = pb.DurableTaskWaitForRequest(
        durable_task_external_id=task_id, invocation_count=count, wait_for_conditions=conditions, label=label
    )
    return {"wait_for": request}


def spawn(task_id: str, **child: Any) -> dict[str, Any]:
    request = pb.DurableTaskTriggerRunsRequest(
        durable_task_external_id=task_id, invocation_count=1, trigger_opts=[TriggerWorkflowRequest(**child)]
    )
    return {"trigger_runs": request}


async def test_d_4_8_each_bad_request_is_answered_in_its_turn_and_changes_nothing(doors: Doors) -> None:
    """D-4.9, D-9.5, D-13.17."""
    task_id = (await doors.started()).task_id
    event = wait.UserEventMatchCondition(base=wait.BaseMatchCondition())
    bad: list[tuple[dict[str, Any], str]] = [
        (wait_for(task_id, sleep("soon")), "sleep_for"),
        (wait_for(task_id, sleep("")), "sleep_for"),
        (wait_for(task_id, sleep(group="g")), "or_group_id 'g': it must be a UUID"),
        (wait_for(task_id, wait.DurableEventListenerConditions(user_event_conditions=[event])), "user_event_key"),
        (memo(task_id, payload=b"{"), "invalid json in field payload"),
        (spawn(task_id, name="nobody"), "nobody"),
        (spawn(task_id, name="flow", input="[1"), "invalid json in field input"),
        (spawn(task_id, name="flow", priority=4), "priority must be between 1 and 3"),
        (spawn(task_id, name="flow", desired_worker_id="w"), "desired_worker_id"),
        (memo("x"), "durable_task_external_id 'x': it must be a UUID"),
        (memo(UNKNOWN), UNKNOWN),
        ({}, "the request is empty"),
    ]
    for request, _ in bad:
        await doors.say(**request)
    # Answers of one task come in the order of its requests; those of others may overtake them (D-2.6).
    heard = [await doors.hear() for _ in bad]
    texts = [one.error.error_message for one in heard if one.error.ref.durable_task_external_id == task_id]
    for text, (_, wanted) in zip(texts, bad[:-3], strict=True):
        assert wanted in text
    others = [one.error.error_message for one in heard if one.error.ref.durable_task_external_id != task_id]
    for wanted in ("'x'", UNKNOWN, "is empty"):
        assert any(wanted in text for text in others), (wanted, others)
    assert await doors.call("GET", LOG, task_id) == (200, [])
    await doors.say(**memo(task_id))
    assert (await doors.hear()).memo_ack.ref.node_id == 1


async def test_d_4_9_a_task_of_another_tenant_is_unknown(one: Instance, doors: Doors) -> None:
    task = TaskDefinition(readable_id="flow", action="flow:run", is_durable=True)
    await one.engine.registration.put(OTHER_TENANT, WorkflowDefinition(name="flow", tasks=(task,)))
    [foreign] = await one.engine.trigger.trigger(OTHER_TENANT, [TriggerItem(workflow_name="flow")])
    assert foreign in await doors.refused(**memo(foreign))
    assert (await doors.call("GET", LOG, foreign))[0] == 404
    assert (await doors.call("POST", RESTORE, foreign))[0] == 404
    body = {"taskExternalId": foreign, "nodeId": 1, "branchId": 1}
    assert (await doors.call("POST", REST_BRANCH, json=body))[0] == 404


async def test_d_4_10_a_finished_task_is_refused(doors: Doors) -> None:
    action = await doors.started()
    await doors.worker.complete(action)
    await doors.one.ended(action.task_id, RunStatus.COMPLETED)
    assert "finished" in await doors.refused(**memo(action.task_id))


async def test_d_25_1_the_log_over_rest_and_d_22_5_a_branch_from_a_node_of_it(doors: Doors) -> None:
    """D-25.2, D-25.3, D-25.6, D-22.11."""
    action = await doors.started()
    task_id = action.task_id
    await doors.say(**memo(task_id, payload=b"[1]"))
    assert (await doors.hear()).WhichOneof("message") == "memo_ack"
    conditions = sleep("0s")
    event = wait.UserEventMatchCondition(base=conditions.sleep_conditions[0].base, user_event_key="go")
    conditions.user_event_conditions.append(event)
    # The completion of the memo stands between the two acknowledgements (D-12.8).
    await doors.say(**wait_for(task_id, conditions, label="until it is time"))
    kinds = {(await doors.hear()).WhichOneof("message") for _ in range(3)}
    assert kinds == {"wait_for_ack", "entry_completed"}
    status, body = await doors.call("GET", LOG, task_id)
    assert status == 200
    assert [(line["branchId"], line["nodeId"], line["kind"], line["isSatisfied"]) for line in body] == [
        (1, 1, "MEMO", True),
        (1, 2, "WAIT_FOR", True),
    ]
    assert body[1]["waitData"] == [
        {"or": [{"kind": "SLEEP", "sleepDurationMs": 0}, {"kind": "USER_EVENT", "eventKey": "go"}]}
    ]
    assert body[1]["userMessage"] == "until it is time"
    assert (await doors.call("GET", LOG, task_id, params={"offset": 1, "limit": 1}))[1] == body[1:]
    branch = v1.BranchDurableTaskRequest(task_external_id=task_id, node_id=2, branch_id=1)
    code, _ = await doors.world.refused(BRANCH, branch)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    await doors.worker.complete(action)
    await doors.one.ended(task_id, RunStatus.COMPLETED)
    answer = await doors.world.call(BRANCH, branch, v1.BranchDurableTaskResponse)
    assert (answer.task_external_id, answer.node_id, answer.branch_id) == (task_id, 2, 2)
    again = await doors.invoked(task_id, 2)
    await doors.say(**memo(task_id, count=2))
    assert (await doors.hear()).memo_ack.memo_result_payload == b"[1]"
    await doors.worker.complete(again)
    await doors.one.ended(task_id, RunStatus.COMPLETED)
    made = {"taskExternalId": task_id, "nodeId": 1, "branchId": 2}
    assert await doors.call("POST", REST_BRANCH, json=made) == (200, {**made, "branchId": 3})
    assert (await doors.call("POST", REST_BRANCH, json={**made, "nodeId": 99}))[0] in (400, 404)


async def test_d_25_7_a_restore_over_rest_starts_the_next_invocation(doors: Doors) -> None:
    task_id = (await doors.started()).task_id
    await doors.say(**wait_for(task_id, sleep()))
    assert (await doors.hear()).WhichOneof("message") == "wait_for_ack"
    await doors.say(
        evict_invocation=pb.DurableTaskEvictInvocationRequest(durable_task_external_id=task_id, invocation_count=1)
    )
    assert (await doors.hear()).eviction_ack.durable_task_external_id == task_id
    for _ in range(2):
        assert await doors.call("POST", RESTORE, task_id) == (200, {"requeued": True})
    await doors.invoked(task_id, 2)
    history = await doors.one.history(task_id)
    assert any("REST API" in event.message for event in history)


async def test_d_26_1_to_d_26_3_the_older_api(doors: Doors) -> None:
    """D-26.2: asked for again, on another stream, it is answered again."""
    task_id = (await doors.started()).task_id
    request = pb.RegisterDurableEventRequest(task_id=task_id, signal_key="event:go-1")
    base = wait.BaseMatchCondition(or_group_id=GROUP, readable_data_key="go")
    request.conditions.user_event_conditions.add(base=base, user_event_key="go")
    for _ in range(2):
        await doors.world.call(REGISTER, request, pb.RegisterDurableEventResponse)
    unknown = pb.RegisterDurableEventRequest(task_id=UNKNOWN, signal_key="s")
    assert (await doors.world.refused(REGISTER, unknown))[0] is grpc.StatusCode.NOT_FOUND
    asked = pb.ListenForDurableEventRequest(task_id=task_id, signal_key="event:go-1").SerializeToString()
    await doors.one.push("go", '{"n": 1}')
    for _ in range(2):
        stream = doors.world.channel.stream_stream("/v1.V1Dispatcher/ListenForDurableEvent")(metadata=AUTH)
        await stream.write(asked)
        event = pb.DurableEvent.FromString(await within(stream.read()))
        assert (event.task_id, event.signal_key) == (task_id, "event:go-1")
        assert json.loads(event.data) == {"CREATE": {"go": [{"n": 1}]}}
        stream.cancel()
    # D-26.5: these waits are no entries of the log.
    assert await doors.call("GET", LOG, task_id) == (200, [])


def status(task_id: str, node: int) -> dict[str, Any]:
    entry = pb.DurableTaskAwaitedCompletedEntry(
        durable_task_external_id=task_id, branch_id=1, node_id=node, invocation_count=1
    )
    return {"worker_status": pb.DurableTaskWorkerStatusRequest(waiting_entries=[entry])}


@pytest.mark.parametrize("is_cut", [True, False])
async def test_d_2_5_and_d_2_4_what_is_said_on_a_new_stream_is_answered_there(doors: Doors, is_cut: bool) -> None:
    """D-2.3: after a reconnect a worker sends its status and then nothing else."""
    task_id = (await doors.started()).task_id
    base = wait.BaseMatchCondition(or_group_id=GROUP, readable_data_key="go")
    condition = wait.UserEventMatchCondition(base=base, user_event_key="go")
    await doors.say(**wait_for(task_id, wait.DurableEventListenerConditions(user_event_conditions=[condition])))
    assert (await doors.hear()).WhichOneof("message") == "wait_for_ack"
    before = doors.stream
    if is_cut:
        before.cancel()
    await doors.connect()
    await doors.say(**status(task_id, 1))
    # Requests of one task are handled in turn, so the status has been when this is answered.
    await doors.say(**memo(task_id))
    assert (await doors.hear()).WhichOneof("message") == "memo_ack"
    await doors.one.push("go", '{"n": 1}')
    completed = (await doors.hear()).entry_completed
    assert (completed.ref.node_id, json.loads(completed.payload)) == (1, {"CREATE": {"go": [{"n": 1}]}})
    before.cancel()


async def test_d_2_12_a_childs_output_above_the_limit_is_a_failure_that_names_the_limit(doors: Doors) -> None:
    await doors.one.define("child")
    children = await doors.one.worker("child")
    task_id = (await doors.started()).task_id
    await doors.say(**spawn(task_id, name="child"))
    assert (await doors.hear()).trigger_runs_ack.run_entries[0].node_id == 1
    child = await children.task("child")
    await children.complete(child, json.dumps({"a": "x" * grpc_world.LIMIT}))
    await doors.say(**status(task_id, 1))
    completed = (await doors.hear()).entry_completed
    assert (completed.is_failure, completed.payload) == (True, b"")
    assert "SERVER_GRPC_MAX_MSG_SIZE" in completed.error_message
    await doors.say(**memo(task_id))
    assert (await doors.hear()).WhichOneof("message") == "memo_ack"
