"""A worker without a network, driven by the test, and how tests wait."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from hatchet.core.errors import HatchetError
from hatchet.core.messages import Action, ActionKind, ReportKind, TaskReport

if TYPE_CHECKING:
    from engine_fixture import Instance

TENANT = "707d0855-80ab-4e1f-a156-f1c4546cbf52"
DEADLINE = 60.0

T = TypeVar("T")


async def until(condition: Callable[[], T | Awaitable[T]], what: str, seconds: float = DEADLINE) -> T:
    """Wait until ``condition`` gives something true, and return that."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while True:
        found: Any = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found  # type: ignore[no-any-return]
        if loop.time() > end:
            raise AssertionError(f"waited {seconds:.0f} s in vain: {what}")
        await asyncio.sleep(0.005)


class Worker:
    """A worker without a network: it notes what it is sent, and says what the test wants said."""

    def __init__(self, instance: Instance, worker_id: str) -> None:
        self.instance = instance
        self.id = worker_id
        self.actions: list[Action] = []
        self.send_error: Exception | None = None
        """Raised by the stream instead of taking the next action."""
        self.takes = asyncio.Event()
        """While cleared the stream takes nothing and does not fail."""
        self.takes.set()
        self._answer: Callable[[Action], Awaitable[None]] | None = None
        self._stream: asyncio.Task[None] | None = None
        self._beats: asyncio.Task[None] | None = None
        self._answers: set[asyncio.Task[None]] = set()

    @property
    def starts(self) -> list[Action]:
        return [action for action in self.actions if action.kind is ActionKind.START]

    @property
    def cancels(self) -> list[Action]:
        return [action for action in self.actions if action.kind is ActionKind.CANCEL]

    async def open(self, instance: Instance | None = None) -> Worker:
        """Open a stream (to another instance, if one is given) and beat from then on."""
        self.instance = instance or self.instance
        workers = self.instance.engine.workers
        record = workers.get(self.id)
        before = record.sessions if record is not None else 0
        self._stream = asyncio.create_task(self.instance.engine.dispatch.listen(TENANT, self.id, self._take))

        def is_open() -> bool:
            assert self._stream is not None
            if self._stream.done():
                self._stream.result()
            known = workers.get(self.id)
            return known is not None and known.sessions > before and known.row.listener_instance is not None

        await until(is_open, "the stream opens")
        if self._beats is None:
            self._beats = asyncio.create_task(self._beat_for_ever())
        return self

    async def close_stream(self) -> None:
        """The connection breaks; the worker lives and beats."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.cancel()
            with contextlib.suppress(asyncio.CancelledError, HatchetError, ConnectionError):
                await stream

    async def stream_ended(self) -> None:
        """Wait until the server ended the stream."""
        assert self._stream is not None
        await asyncio.wait_for(asyncio.shield(self._stream), DEADLINE)

    async def fall_silent(self) -> None:
        """No more heartbeats."""
        beats, self._beats = self._beats, None
        if beats is not None:
            beats.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beats

    async def die(self) -> None:
        """Stream and heartbeats are gone, as after kill -9."""
        await self.fall_silent()
        await self.close_stream()

    async def beat(self) -> None:
        await self.instance.engine.workers.heartbeat(TENANT, self.id)

    def answers(self, answer: Callable[[Action], Awaitable[None]]) -> None:
        """Do this with every START from now on."""
        self._answer = answer

    def completes(self) -> None:
        """Answer every START with an output."""
        self.answers(self.complete)

    async def started(self, task_id: str, attempt: int = 0) -> Action:
        """Wait for the START of an attempt."""

        def find() -> Action | None:
            for action in self.starts:
                if action.task_id == task_id and action.retry_count == attempt:
                    return action
            return None

        return await until(find, f"attempt {attempt} of {task_id} arrives")  # type: ignore[return-value]

    async def task(self, readable_id: str, attempt: int = 0, run_id: str | None = None) -> Action:
        """Wait for the START of an attempt of a task of that name, of that run or of any."""

        def find() -> Action | None:
            for action in self.starts:
                if (action.readable_id, action.retry_count) == (readable_id, attempt) and run_id in (
                    None,
                    action.run_id,
                ):
                    return action
            return None

        return await until(find, f"attempt {attempt} of {readable_id} arrives")  # type: ignore[return-value]

    def begun(self, run_id: str | None = None) -> list[tuple[str, int]]:
        """(readable id, attempt) of every START so far, of that run or of any, in their order."""
        return [(action.readable_id, action.retry_count) for action in self.starts if run_id in (None, action.run_id)]

    async def cancelled(self, task_id: str, attempt: int = 0) -> Action:
        """Wait for the CANCEL of an attempt."""

        def find() -> Action | None:
            for action in self.cancels:
                if action.task_id == task_id and action.retry_count == attempt:
                    return action
            return None

        return await until(find, f"the cancel of attempt {attempt} of {task_id} arrives")  # type: ignore[return-value]

    async def complete(self, action: Action, output: str = '{"ok":true}') -> None:
        await self.say(action, ReportKind.COMPLETED, output)

    async def fail(self, action: Action, error: str = "boom", **fields: Any) -> None:
        await self.say(action, ReportKind.FAILED, error, **fields)

    async def say(self, action: Action, kind: ReportKind, payload: str = "", **fields: Any) -> None:
        """Report something about an attempt."""
        fields = {"retry_count": action.retry_count, "at": self.instance.clock.now(), **fields}
        report = TaskReport(task_id=action.task_id, kind=kind, payload=payload, **fields)
        await self.instance.engine.reports.report(TENANT, report)

    async def _take(self, action: Action) -> None:
        if self.send_error is not None:
            raise self.send_error
        await self.takes.wait()
        self.actions.append(action)
        if self._answer is not None and action.kind is ActionKind.START:
            task = asyncio.ensure_future(self._answer(action))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    async def _beat_for_ever(self) -> None:
        while True:
            with contextlib.suppress(HatchetError):
                await self.beat()
            await asyncio.sleep(0.5)
