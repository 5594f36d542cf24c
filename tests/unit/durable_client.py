"""What an official client does with a durable stream, simulated (behaviour-durable D-4, D-12, D-13.20, D-15)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf

from durable_program import Key, Lock, Loop, Program, Run, Signal, interpret

from hatchet.core.durable_waits import WaitCondition

STATUS_SECONDS = 5.0
WAKE_SECONDS = (0.0, 0.0, 0.0, 0.001, 0.002, 0.004)
"""How long code may take to go on after a completion: as it likes, but it keeps to its turn (D-15.17)."""


@dataclass
class Request:
    """To the engine. ``kind``: wait, memo, spawn, value, status or evict."""

    kind: str
    invocation: int
    conditions: tuple[WaitCondition, ...] = ()
    label: str = ""
    runs: tuple[tuple[Run, int], ...] = ()
    """Children with their indexes."""
    key: Key = (0, 0)
    payload: str = ""
    waiting: tuple[Key, ...] = ()
    received: int | None = None


@dataclass
class Response:
    """From the engine. ``kind``: ack, completed, mismatch, gone or evicted."""

    kind: str
    invocation: int
    keys: list[Key] = field(default_factory=list)
    existed: bool = False
    payload: str = ""
    error: str | None = None
    order: int | None = None


class Client:
    """One invocation of a program in a worker."""

    def __init__(
        self,
        invocation: int,
        program: Program,
        send: Callable[[Request], None],
        compute: Callable[[Key, str], str],
        *,
        in_order: bool = True,
        wake: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """``compute``: the function of a memo runs. ``in_order``: blocks behind a completion that nobody awaits.

        ``wake``: how many seconds later the code goes on that a completion was for.
        """
        self.invocation = invocation
        self.loop = Loop()
        self.is_dead = False
        self.due: list[tuple[float, Signal]] = []
        """Memos that are being computed."""
        self.waking: list[tuple[float, Signal, Response]] = []
        """Code that has its completion, and goes on in a moment."""
        self.now = 0.0
        self._send = send
        self._compute = compute
        self._in_order = in_order
        self._wake = wake
        self._lock = Lock()
        self._ack: Signal | None = None
        self._index = 0
        self._waiters: dict[Key, Signal] = {}
        self._queue: deque[tuple[Key, Response]] = deque()
        self._handed: set[Key] = set()
        self._memos: set[Key] = set()
        self._received = 0
        self._is_status_due = False
        self.done = self.loop.start(interpret(program, self))

    # The program's side -----------------------------------------------------------------------------------------------

    async def wait(self, conditions: Sequence[WaitCondition]) -> str:
        ack = await self._ask(Request("wait", self.invocation, conditions=tuple(conditions)))
        return (await self._completion(ack.keys[0])).payload

    async def memo(self, label: str, seconds: int) -> str:
        ack = await self._ask(Request("memo", self.invocation, label=label))
        self._memos.add(ack.keys[0])
        self._await_key(ack.keys[0])
        if ack.existed and ack.payload:
            return ack.payload
        if seconds:
            computed = Signal()
            self.due.append((self.now + seconds, computed))
            await computed
        value = self._compute(ack.keys[0], label)
        self._send(Request("value", self.invocation, key=ack.keys[0], payload=value))
        return value

    async def spawn(self, runs: Sequence[Run]) -> list[Key]:
        numbered = []
        for run in runs:
            numbered.append((run, self._index))
            self._index += 1
        return (await self._ask(Request("spawn", self.invocation, runs=tuple(numbered)))).keys

    async def child(self, key: Key) -> str:
        completed = await self._completion(key)
        return completed.payload if completed.error is None else f"failed: {completed.error}"

    async def _ask(self, request: Request) -> Response:
        await self._lock.take()
        self._ack = Signal()
        self._send(request)
        ack: Response = await self._ack
        self._ack = None
        self._lock.give()
        return ack

    async def _completion(self, key: Key) -> Response:
        completed: Response = await self._await_key(key)
        return completed

    def _await_key(self, key: Key) -> Signal:
        self._is_status_due = True
        waiter = self._waiters.setdefault(key, Signal())
        self._hand_over()
        return waiter

    # The engine's side ------------------------------------------------------------------------------------------------

    @property
    def is_asking(self) -> bool:
        return self._ack is not None

    @property
    def awaited(self) -> set[Key]:
        """What it waits for, but for memos."""
        return self._waiters.keys() - self._memos

    @property
    def is_waiting(self) -> bool:
        """Whether it is a candidate for eviction."""
        return bool(self.awaited) and not self.is_dead and not self.done.is_set

    def hear(self, response: Response) -> None:
        """One message; everybody who can go on does."""
        if self.is_dead or response.invocation != self.invocation:
            return
        if response.kind in ("gone", "evicted"):
            self.kill()
            return
        if response.kind == "completed":
            self._completed(response)
        else:
            # An answer takes longer than code to go on.
            self._wake_until(inf)
            self.loop.settle()
            assert self._ack is not None, f"{response} answers nothing"
            assert response.kind == "ack", response
            self._ack.set(response)
        self.settle()

    def settle(self) -> None:
        self.loop.settle()
        if self._is_status_due and self._waiters and not self.is_dead:
            self.status()
        self._is_status_due = False

    def status(self) -> None:
        """Say what it waits for."""
        if self._waiters and not self.is_dead and not self.done.is_set:
            received = self._received if self._in_order else None
            self._send(Request("status", self.invocation, waiting=tuple(self._waiters), received=received))

    def fails_when_cut(self) -> bool:
        """Its stream broke: a request without an answer fails, and with it the attempt (D-2.9)."""
        if self._ack is not None:
            self.kill()
        return self.is_dead

    def tick(self, now: float) -> None:
        self.now = now
        late = [one for one in self.due if one[0] <= now]
        self.due = [one for one in self.due if one[0] > now]
        for _, signal in late:
            signal.set()
        self._wake_until(now)
        self.settle()

    def kill(self) -> None:
        self.is_dead = True
        self.loop.is_closed = True
        self.waking.clear()

    def _go_on(self, key: Key, response: Response) -> None:
        """Whoever waits for this key goes on, now or in a moment."""
        waiter, seconds = self._waiters.pop(key), self._wake()
        if seconds:
            self.waking.append((self.now + seconds, waiter, response))
        else:
            waiter.set(response)

    def _wake_until(self, now: float) -> None:
        woken = sorted((one for one in self.waking if one[0] <= now), key=lambda one: one[0])
        self.waking = [one for one in self.waking if one[0] > now]
        for _, signal, response in woken:
            signal.set(response)

    def _completed(self, response: Response) -> None:
        key = response.keys[0]
        if response.order is not None:
            self._received = max(self._received, response.order)
        if key in self._handed:
            # Known already: it helps who waits for it again, and nobody else (D-15.5).
            if key in self._waiters:
                self._go_on(key, response)
            return
        if all(key != queued for queued, _ in self._queue):
            self._queue.append((key, response))
        self._hand_over()

    def _hand_over(self) -> None:
        """To those who wait, in the order of arrival; the first one blocks (D-13.20, D-15.4)."""
        kept: list[tuple[Key, Response]] = []
        while self._queue:
            key, response = self._queue.popleft()
            if key in self._waiters:
                self._handed.add(key)
                self._go_on(key, response)
            else:
                kept.append((key, response))
                if self._in_order:
                    break
        self._queue.extendleft(reversed(kept))


class Ideal:
    """The same program without interruptions: nodes are counted, and what came back comes in the same order."""

    def __init__(
        self, program: Program, values: dict[Key, str], came: Sequence[tuple[int, Response]], *, in_order: bool
    ) -> None:
        """``values`` of memos; ``came``: how far the program had come, and what came back then, in order."""
        self.asked: list[str] = []
        self._inbox: deque[Request] = deque()
        self._left = deque(came)
        self._told: dict[Key, Response] = {}
        self._names: dict[str, int] = {}
        self.client = Client(1, program, self._inbox.append, lambda key, _: values[key], in_order=in_order)
        self.client.settle()
        while not self.client.done.is_set:
            if self._inbox:
                self._answer(self._inbox.popleft())
            elif self.client.due:
                self.client.tick(self.client.due[0][0])
            else:
                raise AssertionError(f"without interruptions it comes to a stop after {self.asked}")

    def _answer(self, request: Request) -> None:
        for key in request.waiting:
            if key in self._told:
                self.client.hear(self._told[key])
        keys: list[Key] = []
        if request.kind in ("wait", "memo"):
            self.asked.append(request.kind)
            keys.append((1, len(self.asked)))
        for run, index in request.runs:
            name = f"key {run.key}" if run.key else f"index {index}"
            if name not in self._names:
                self.asked.append(f"run {run.input}")
                self._names[name] = len(self.asked)
            keys.append((1, self._names[name]))
        if keys:
            self.client.hear(Response("ack", 1, keys))
        while self._left and self._left[0][0] <= len(self.asked):
            response = self._left.popleft()[1]
            self._told[response.keys[0]] = response
            self.client.hear(response)
