"""A lean worker for durable tasks that speaks the contract itself, so that little is measured besides the engine.

``python -m benchmarks.durable_tasks sleepers COUNT DUE``  puts COUNT tasks to sleep and evicts them; the last DUE wake
    in the same moment
``python -m benchmarks.durable_tasks steps COUNT``         times memos and short sleeps, one after the other
``python -m benchmarks.durable_tasks resume COUNT``        times the walk of a new invocation over so many memos
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from benchmarks.credit import say, standard_input
from benchmarks.figures import spread_ms
from hatchet_contracts import dispatcher_pb2 as work
from hatchet_contracts import workflows_pb2 as old
from hatchet_contracts.v1 import dispatcher_pb2 as pb
from hatchet_contracts.v1 import workflows_pb2 as flows
from hatchet_contracts.v1.shared import condition_pb2 as conditions
from hatchet_contracts.v1.shared import trigger_pb2 as triggers

NAME = "bench-durable"
ACTION = f"{NAME}:run"
SLOTS = 2000
BULK = 500
LONG = "24h"
WAKE_SLACK_SECONDS = 15.0
BEFORE_EVICTION_SECONDS = 0.7
"""No worker evicts in the first second; the engine brings a task back whose last answer may not have been used."""
REPORT_SECONDS = 0.5
MESSAGE_BYTES = 64 * 1024 * 1024
Start = Callable[[work.AssignedAction], Awaitable[None]]


class LeanWorker:
    """One worker: its action stream and its durable stream."""

    def __init__(self) -> None:
        options = (("grpc.max_receive_message_length", MESSAGE_BYTES),)
        self._channel = grpc.aio.insecure_channel(os.environ["HATCHET_CLIENT_HOST_PORT"], options=options)
        self._metadata = (("authorization", f"bearer {os.environ['HATCHET_CLIENT_TOKEN']}"),)
        self._answers: dict[tuple[str, int], asyncio.Future[pb.DurableTaskResponse]] = {}
        self._completions: dict[tuple[str, int, int], asyncio.Future[None]] = {}
        self._outbox: asyncio.Queue[pb.DurableTaskRequest] = asyncio.Queue()
        self._running: set[asyncio.Task[Any]] = set()
        self.worker_id = ""

    async def begin(self, start: Start) -> None:
        """Register, and answer every START with ``start``."""
        opts = flows.CreateTaskOpts(
            readable_id="run",
            action=ACTION,
            timeout="24h",
            schedule_timeout="24h",
            is_durable=True,
            slot_requests={"durable": 1},
            retries=1,
        )
        await self.call("v1.AdminService/PutWorkflow", flows.CreateWorkflowVersionRequest(name=NAME, tasks=[opts]))
        request = work.WorkerRegisterRequest(worker_name="lean", actions=[ACTION], slot_config={"durable": SLOTS})
        answer = await self.call("Dispatcher/Register", request, work.WorkerRegisterResponse)
        self.worker_id = answer.worker_id
        self.spawn(self._listen(start))
        self.spawn(self._beat())
        self.spawn(self._talk())

    async def call(self, path: str, request: Any, kind: Any = None) -> Any:
        """One unary call."""
        method = self._channel.unary_unary(
            f"/{path}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=kind.FromString if kind is not None else None,
        )
        return await method(request, metadata=self._metadata)

    def spawn(self, work_of: Any) -> None:
        task = asyncio.create_task(work_of)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)

    async def trigger(self, count: int) -> list[str]:
        """That many runs, by bulk."""
        ids: list[str] = []
        for first in range(0, count, BULK):
            items = [triggers.TriggerWorkflowRequest(name=NAME, input="{}")] * min(BULK, count - first)
            request = old.BulkTriggerWorkflowRequest(workflows=items)
            answer = await self.call("WorkflowService/BulkTriggerWorkflow", request, old.BulkTriggerWorkflowResponse)
            ids.extend(answer.workflow_run_ids)
        return ids

    async def report(self, action: work.AssignedAction, kind: int, payload: str = "{}") -> None:
        event = work.StepActionEvent(
            worker_id=self.worker_id,
            task_run_external_id=action.task_run_external_id,
            action_id=action.action_id,
            event_type=kind,  # type: ignore[arg-type]  # an enum's number
            event_payload=payload,
            retry_count=action.retry_count,
        )
        event.event_timestamp.GetCurrentTime()
        await self.call("Dispatcher/SendStepActionEvent", event, work.ActionEventResponse)

    async def ask(self, action: work.AssignedAction, **request: Any) -> pb.DurableTaskResponse:
        """Send a durable request and return its answer."""
        [(kind, message)] = request.items()
        message.durable_task_external_id = action.task_run_external_id
        message.invocation_count = action.durable_task_invocation_count
        key = (action.task_run_external_id, action.durable_task_invocation_count)
        answer = self._answers[key] = asyncio.get_running_loop().create_future()
        self._outbox.put_nowait(pb.DurableTaskRequest(**{kind: message}))
        response: pb.DurableTaskResponse = await answer
        if response.WhichOneof("message") in ("error", "server_evict"):
            raise RuntimeError(str(response))
        return response

    async def memo(self, action: work.AssignedAction, key: str, value: Any) -> None:
        """A memo; its value is sent when it was new, and nobody waits for that."""
        ack = (await self.ask(action, memo=pb.DurableTaskMemoRequest(key=key.encode()))).memo_ack
        if not ack.memo_already_existed:
            done = pb.DurableTaskCompleteMemoRequest(
                ref=ack.ref, payload=json.dumps(value).encode(), memo_key=key.encode()
            )
            self._outbox.put_nowait(pb.DurableTaskRequest(complete_memo=done))

    async def wait(self, action: work.AssignedAction, duration: str) -> asyncio.Future[None]:
        """Register a sleep; what is done when it is over."""
        base = conditions.BaseMatchCondition(readable_data_key="sleep", or_group_id=str(uuid.uuid4()))
        asked = conditions.DurableEventListenerConditions(
            sleep_conditions=[conditions.SleepMatchCondition(base=base, sleep_for=duration)]
        )
        answer = await self.ask(action, wait_for=pb.DurableTaskWaitForRequest(wait_for_conditions=asked))
        return self._completion(answer.wait_for_ack.ref)

    async def evict(self, action: work.AssignedAction) -> None:
        await self.ask(action, evict_invocation=pb.DurableTaskEvictInvocationRequest(reason="benchmark"))

    def _completion(self, ref: pb.DurableEventLogEntryRef) -> asyncio.Future[None]:
        key = (ref.durable_task_external_id, ref.branch_id, ref.node_id)
        if key not in self._completions:
            self._completions[key] = asyncio.get_running_loop().create_future()
        return self._completions[key]

    def forget(self, action: work.AssignedAction) -> None:
        task_id = action.task_run_external_id
        self._answers.pop((task_id, action.durable_task_invocation_count), None)
        self._completions.pop((task_id, 1, 1), None)

    async def _listen(self, start: Start) -> None:
        method = self._channel.unary_stream(
            "/Dispatcher/ListenV2",
            request_serializer=work.WorkerListenRequest.SerializeToString,
            response_deserializer=work.AssignedAction.FromString,
        )
        async for action in method(work.WorkerListenRequest(worker_id=self.worker_id), metadata=self._metadata):
            if action.action_type == work.START_STEP_RUN:
                self.spawn(start(action))

    async def _beat(self) -> None:
        while True:
            request = work.HeartbeatRequest(worker_id=self.worker_id)
            request.heartbeat_at.GetCurrentTime()
            await self.call("Dispatcher/Heartbeat", request)
            await asyncio.sleep(3.0)

    async def _talk(self) -> None:
        method = self._channel.stream_stream(
            "/v1.V1Dispatcher/DurableTask",
            request_serializer=pb.DurableTaskRequest.SerializeToString,
            response_deserializer=pb.DurableTaskResponse.FromString,
        )
        call = method(metadata=self._metadata)
        register = pb.DurableTaskRequestRegisterWorker(worker_id=self.worker_id)
        await call.write(pb.DurableTaskRequest(register_worker=register))
        self.spawn(self._write(call))
        async for response in call:
            self._heard(response)

    async def _write(self, call: Any) -> None:
        while True:
            await call.write(await self._outbox.get())

    def _heard(self, response: pb.DurableTaskResponse) -> None:
        kind = response.WhichOneof("message")
        message = getattr(response, kind or "register_worker")
        if kind == "entry_completed":
            done = self._completion(message.ref)
            if not done.done():
                done.set_result(None)
        elif kind not in (None, "register_worker"):
            named = message.ref if kind in ("memo_ack", "wait_for_ack", "error") else message
            answer = self._answers.pop((named.durable_task_external_id, named.invocation_count), None)
            if answer is not None and not answer.done():
                answer.set_result(response)


async def sleepers(count: int, due: int) -> None:
    """All but the last ``due`` sleep for a day; those wake together, and the time until all of them are done counts."""
    worker, asleep, woken = LeanWorker(), 0, 0
    wake_at = float("inf")
    everybody, back = asyncio.Event(), asyncio.Event()
    ended: deque[float] = deque()

    async def start(action: work.AssignedAction) -> None:
        nonlocal asleep, woken
        if action.durable_task_invocation_count > 1:
            woken += 1
            if woken == due:
                say("restored", seconds=time.time() - wake_at)
            await (await worker.wait(action, durations.pop(action.task_run_external_id)))
            worker.forget(action)
            await worker.report(action, work.STEP_EVENT_TYPE_COMPLETED)
            ended.append(time.time())
            if len(ended) == due:
                back.set()
            return
        duration = LONG if wake_at == float("inf") else f"{round((wake_at - time.time()) * 1000)}ms"
        if duration != LONG:
            durations[action.task_run_external_id] = duration
        await worker.wait(action, duration)
        await asyncio.sleep(BEFORE_EVICTION_SECONDS)
        await worker.evict(action)
        worker.forget(action)
        asleep += 1
        if asleep in (count - due, count):
            everybody.set()

    durations: dict[str, str] = {}
    await worker.begin(start)
    lines = await standard_input()
    say("ready")
    await lines.readline()
    began = time.monotonic()
    await worker.trigger(count - due)
    await everybody.wait()
    rate = (count - due) / (time.monotonic() - began)
    everybody.clear()
    wake_at = time.time() + due / rate * 1.5 + WAKE_SLACK_SECONDS
    await worker.trigger(due)
    await everybody.wait()
    say("asleep", seconds=time.monotonic() - began, per_second=rate, margin=wake_at - time.time())
    await back.wait()
    say("woken", seconds=ended[-1] - wake_at)
    await lines.readline()


async def steps(count: int) -> None:
    """Each step waits for its answer before the next one begins."""
    worker, memos, naps, over = LeanWorker(), [], [], asyncio.Event()

    async def start(action: work.AssignedAction) -> None:
        for number in range(count):
            began = time.perf_counter()
            await worker.memo(action, f"step {number}", {"n": number})
            memos.append(time.perf_counter() - began)
            began = time.perf_counter()
            await (await worker.wait(action, "1ms"))
            naps.append(time.perf_counter() - began)
        await worker.report(action, work.STEP_EVENT_TYPE_COMPLETED)
        over.set()

    await worker.begin(start)
    await worker.trigger(1)
    await over.wait()
    say("done", memo_ms=spread_ms(memos), sleep_ms=spread_ms(naps))


async def resume(count: int) -> None:
    """The first invocation records; the second one walks, and tells how long that took."""
    worker, over = LeanWorker(), asyncio.Event()

    async def start(action: work.AssignedAction) -> None:
        began = time.perf_counter()
        for number in range(count):
            await worker.memo(action, f"step {number}", {"n": number, "text": "x" * 100})
        seconds = time.perf_counter() - began
        if action.durable_task_invocation_count == 1:
            say("recorded", seconds=seconds)
            await asyncio.sleep(0.5)
            await worker.report(action, work.STEP_EVENT_TYPE_FAILED, "once more")
            return
        await worker.report(action, work.STEP_EVENT_TYPE_COMPLETED)
        say("resumed", seconds=seconds)
        over.set()

    await worker.begin(start)
    await worker.trigger(1)
    await over.wait()


if __name__ == "__main__":
    mode, *arguments = sys.argv[1:]
    modes: dict[str, Callable[..., Awaitable[None]]] = {"sleepers": sleepers, "steps": steps, "resume": resume}
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(modes[mode](*map(int, arguments)))  # type: ignore[arg-type]  # they are coroutines
