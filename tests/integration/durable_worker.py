"""A durable stream without a network, driven by the test: one worker's requests and what it is answered."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, TypeVar

import orjson
from engine_fixture import Instance
from engine_worker import TENANT, Worker, until

from hatchet.core.durable_messages import (
    EntryCompleted,
    EntryRef,
    EvictionAck,
    EvictRequest,
    MemoAck,
    MemoRequest,
    MemoValue,
    ReceivedOrder,
    Refused,
    Request,
    Response,
    ServerEvict,
    SpawnAck,
    SpawnRequest,
    StatusRequest,
    WaitAck,
    WaitRequest,
)
from hatchet.core.durable_waits import WaitCondition, WaitKind
from hatchet.core.errors import Unavailable
from hatchet.core.messages import Action, TriggerItem, WorkerRegistration
from hatchet.engine.durable_session import DurableSession

Answer = TypeVar("Answer", bound=Response)
Acks = (MemoAck, SpawnAck, WaitAck, Refused, EvictionAck, ServerEvict)
"""What a request is answered with."""


def sleeps(text: str, group: str | None = None, name: str | None = None) -> WaitCondition:
    """A sleep; conditions of one group are alternatives."""
    return WaitCondition(
        kind=WaitKind.SLEEP,
        or_group=group or str(uuid.uuid4()),
        data_key=f"sleep:{text}" if name is None else name,
        sleep_for=text,
    )


def hears(
    key: str,
    group: str | None = None,
    *,
    when: str = "",
    scope: str | None = None,
    since: float | None = None,
    name: str | None = None,
) -> WaitCondition:
    """An event that is waited for."""
    return WaitCondition(
        kind=WaitKind.EVENT,
        or_group=group or str(uuid.uuid4()),
        data_key=key if name is None else name,
        expression=when,
        event_key=key,
        event_scope=scope,
        since=since,
    )


class DurableWorker:
    """A worker with a durable stream. Each request waits for its answer, unless it is only said."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.heard: list[Response] = []
        self.is_deaf = False
        """Whether what is sent to it gets lost."""
        self.session: DurableSession | None = None

    async def open(self, instance: Instance | None = None) -> DurableWorker:
        """Open a stream, anew if there was one."""
        durable = (instance or self.worker.instance).engine.durable
        self.session = await durable.open(TENANT, self.worker.id, self._take)
        return self

    async def close(self) -> None:
        """The stream breaks."""
        session, self.session = self.session, None
        if session is not None:
            await session.close()

    def say(self, request: Request) -> None:
        """Send a request without waiting."""
        assert self.session is not None
        self.session.handle(request)

    async def ask(self, request: Request, kind: type[Answer]) -> Answer:
        """Send a request and return its answer, which must be of that kind."""
        before = len(self.heard)
        self.say(request)
        task_id, invocation = request.task_id, request.invocation  # type: ignore[union-attr]

        def find() -> Response | None:
            for one in self.heard[before:]:
                if isinstance(one, Acks) and about(one) == (task_id, invocation):
                    return one
            return None

        answer = await until(find, f"{type(request).__name__} is answered")
        assert isinstance(answer, kind), answer
        return answer

    async def memo(self, action: Action, key: str, payload: str | None = None) -> MemoAck:
        return await self.ask(MemoRequest(action.task_id, _count(action), key.encode(), payload), MemoAck)

    async def memoized(self, action: Action, key: str, value: Any) -> Any:
        """A memo whose value is computed unless it is known; the value."""
        ack = await self.memo(action, key)
        if ack.payload is not None:
            return orjson.loads(ack.payload)
        self.say(MemoValue(ack.ref, orjson.dumps(value).decode()))
        await self.completed(ack.ref)
        return value

    async def wait(self, action: Action, *conditions: WaitCondition, label: str | None = None) -> EntryRef:
        """Register a wait; its place."""
        return (await self.ask(WaitRequest(action.task_id, _count(action), conditions, label), WaitAck)).ref

    async def spawn(self, action: Action, *names: str, **fields: Any) -> SpawnAck:
        """Spawn a child of each workflow, by index."""
        index = fields.pop("index", 0)
        items = tuple(
            TriggerItem(workflow_name=name, parent_task_id=action.task_id, child_index=index + number, **fields)
            for number, name in enumerate(names)
        )
        return await self.ask(SpawnRequest(action.task_id, _count(action), items), SpawnAck)

    async def evict(self, action: Action, reason: str | None = None) -> EvictionAck:
        return await self.ask(EvictRequest(action.task_id, _count(action), reason), EvictionAck)

    async def refused(self, request: Request) -> Refused:
        return await self.ask(request, Refused)

    def status(self, *waiting: EntryRef, received: Sequence[ReceivedOrder] | None = None) -> None:
        """Say what is waited for."""
        self.say(StatusRequest(waiting, tuple(received) if received is not None else None))

    async def completed(self, ref: EntryRef, times: int = 1) -> EntryCompleted:
        """Wait for the completion of an entry (for so many of them)."""

        def find() -> EntryCompleted | None:
            found = [one for one in self.completions if one.ref == ref]
            return found[times - 1] if len(found) >= times else None

        return await until(find, f"{ref} completes")  # type: ignore[return-value]

    async def result(self, ref: EntryRef) -> Any:
        """The result of an entry, once it is there; it must not be a failure."""
        completed = await self.completed(ref)
        assert not completed.is_failure, completed.error
        return orjson.loads(completed.payload or "{}")

    @property
    def acks(self) -> list[Response]:
        """The answers to requests so far."""
        return [one for one in self.heard if isinstance(one, Acks)]

    @property
    def completions(self) -> list[EntryCompleted]:
        return [one for one in self.heard if isinstance(one, EntryCompleted)]

    async def evicted_by_server(self, action: Action) -> ServerEvict:
        """Wait for the notice that the invocation is over."""

        def find() -> ServerEvict | None:
            for one in self.heard:
                if isinstance(one, ServerEvict) and (one.task_id, one.invocation) == (action.task_id, _count(action)):
                    return one
            return None

        return await until(find, "the invocation is ended by the server")  # type: ignore[return-value]

    async def invocation(self, task_id: str, number: int) -> Action:
        """Wait for an invocation of a task."""

        def find() -> Action | None:
            for action in self.worker.starts:
                if (action.task_id, action.invocation) == (task_id, number):
                    return action
            return None

        return await until(find, f"invocation {number} of {task_id} arrives")  # type: ignore[return-value]

    async def _take(self, response: Response) -> None:
        if self.is_deaf:
            raise Unavailable("the stream is gone")
        self.heard.append(response)


def _count(action: Action) -> int:
    assert action.invocation is not None
    return action.invocation


def about(response: Response) -> tuple[str, int]:
    """The task and the invocation that a response is for."""
    if isinstance(response, (MemoAck, WaitAck, Refused, EntryCompleted)):
        return response.ref.task_id, response.ref.invocation
    return response.task_id, response.invocation


async def serving(
    one: Instance, *names: str, language: str | None = None, slots: int = 10, **options: Any
) -> DurableWorker:
    """A worker for durable tasks of these names, its streams open; the tasks have these options."""
    for name in names or ("flow",):
        await one.define(name, **{"is_durable": True, "execution_timeout": "9000h", **options})
    actions = tuple(f"{name}:run" for name in names or ("flow",))
    capacity = {"durable": slots, "default": slots}
    registration = WorkerRegistration(name="a worker", actions=actions, slots=capacity, language=language)
    worker = Worker(one, await one.engine.workers.register(TENANT, registration))
    return await DurableWorker(await worker.open()).open()


async def started(worker: DurableWorker, name: str = "flow", **fields: Any) -> Action:
    """The first invocation of a new run."""
    return await worker.invocation(await worker.worker.instance.run(name, **fields), 1)


async def retried(worker: DurableWorker, action: Action) -> Action:
    """The invocation after this one, which fails; the task needs a retry for it."""
    await worker.worker.fail(action)
    return await worker.invocation(action.task_id, _count(action) + 1)
