"""Durable programs as data, random ones, and their interpreter; it runs on a small event loop of its own.

An interpreter on a loop without time takes its turns in the order of what it hears, as asyncio does.
"""

from __future__ import annotations

import itertools
import json
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from hypothesis import strategies as st

from hatchet.core.durable_waits import WaitCondition, WaitKind

Key: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Sleep:
    seconds: int


@dataclass(frozen=True)
class Event:
    key: str


@dataclass(frozen=True)
class SleepOrEvent:
    seconds: int
    key: str


@dataclass(frozen=True)
class SleepAndEvent:
    seconds: int
    key: str


@dataclass(frozen=True)
class Memo:
    label: str
    seconds: int = 0


@dataclass(frozen=True)
class Run:
    """A child; without ``key`` it is found by its index."""

    input: str
    key: str | None = None


@dataclass(frozen=True)
class Bulk:
    """Children that are asked for at once and awaited together."""

    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Fire:
    """A child that nobody waits for."""

    run: Run


@dataclass(frozen=True)
class Later:
    """A child that is awaited only after something else."""

    run: Run
    body: Program


@dataclass(frozen=True)
class Seq:
    steps: tuple[Program, ...]


@dataclass(frozen=True)
class Par:
    steps: tuple[Program, ...]


@dataclass(frozen=True)
class Race:
    """The first wait that is over wins, and the other one goes on unheard."""

    waits: tuple[Program, Program]
    then: Program


Program: TypeAlias = Sleep | Event | SleepOrEvent | SleepAndEvent | Memo | Run | Bulk | Fire | Later | Seq | Par | Race

KEYS = ("a", "b", "c")


def programs(*, races: bool = True) -> st.SearchStrategy[Program]:
    """Random programs; without ``races`` their result does not depend on the order of what happens."""
    seconds = st.sampled_from((0, 1, 3, 8, 40, 900))
    keys = st.sampled_from(KEYS)
    sleeps, events = st.builds(Sleep, seconds), st.builds(Event, keys)
    # The second child of a key gets the first one's result (D-13.6), so that a key has one input.
    runs = st.builds(Run, keys) | st.builds(lambda key: Run(key, key), keys)
    waits: list[st.SearchStrategy[Program]] = [sleeps, events, runs]
    others: list[st.SearchStrategy[Program]] = [
        st.builds(SleepAndEvent, seconds, keys),
        st.builds(Memo, keys),
        st.builds(Fire, runs),
        st.builds(Bulk, st.lists(runs, min_size=1, max_size=4).map(tuple)),
    ]
    if races:
        others.append(st.builds(SleepOrEvent, seconds, keys))

    def grow(inner: st.SearchStrategy[Program]) -> st.SearchStrategy[Program]:
        several = st.lists(inner, min_size=2, max_size=4).map(tuple)
        grown: list[st.SearchStrategy[Program]] = [
            st.builds(Seq, several),
            st.builds(Par, several),
            st.builds(Later, runs, inner),
        ]
        if races:
            pairs = st.tuples(st.one_of(sleeps, events, runs), st.one_of(sleeps, events, runs))
            grown.append(st.builds(Race, pairs, inner))
        return st.one_of(*grown)

    inner = st.recursive(st.one_of(*waits, *others), grow, max_leaves=10)
    # A slow memo stands alone: beside other branches it may change the order of requests (D-12.13).
    slow = st.builds(Memo, keys, st.sampled_from((2, 30)))
    return st.lists(st.one_of(inner, inner, slow), min_size=1, max_size=3).map(tuple).map(Seq).map(apart)


def random_program(chance: random.Random, *, races: bool, size: int) -> Seq:
    """A bigger one than hypothesis likes to make: branches with several operations each."""

    def one(depth: int) -> Program:
        key, seconds = chance.choice(KEYS), chance.choice((0, 1, 3, 8, 40, 900))
        run = Run(key, key) if chance.random() < 0.3 else Run(key)
        leaves: list[Program] = [Sleep(seconds), Sleep(seconds), Event(key), run, run, SleepAndEvent(seconds, key)]
        leaves += [Memo(key), Fire(run), Bulk(tuple(chance.choices((run, Run("a"), Run("b", "b")), k=3)))]
        if races:
            leaves.append(SleepOrEvent(seconds, key))
        if depth == 0 or chance.random() < 0.5:
            return chance.choice(leaves)
        draw = chance.random()
        if draw < 0.15:
            return Later(run, several(depth - 1, Seq))
        if draw < 0.35 and races:
            first, second = chance.choices((Sleep(seconds), Event(key), run, Sleep(1)), k=2)
            return Race((first, second), several(depth - 1, Seq))
        return several(depth - 1, Par if draw < 0.8 else Seq)

    def several(depth: int, kind: type[Par] | type[Seq]) -> Par | Seq:
        return kind(tuple(one(depth) for _ in range(chance.randint(2, 4))))

    steps = [Par(tuple(several(1, Seq) for _ in range(chance.randint(2, 4)))) for _ in range(size)]
    return apart(Seq((*steps, Memo("a", chance.choice((2, 30))), one(2))))


def apart(program: Seq) -> Seq:
    """The program with keys of their own for the children that branches ask for.

    A second request for a child whose result was delivered is answered by the next status message (D-15.5), so that
    its place among other completions is chance: such programs are not deterministic.
    """
    numbers = itertools.count()

    def renamed(run: Run, names: dict[str, str]) -> Run:
        if run.key is None:
            return run
        key = names.setdefault(run.key, f"{run.key}{next(numbers)}")
        return Run(key, key)

    def visit(part: Program, is_beside: bool) -> Program:
        match part:
            case Run():
                return renamed(part, {}) if is_beside else part
            case Bulk(runs):
                names: dict[str, str] = {}
                return Bulk(tuple(renamed(run, names) for run in runs)) if is_beside else part
            case Fire(run):
                return Fire(renamed(run, {}))
            case Later(run, body):
                return Later(renamed(run, {}), visit(body, True))
            case Seq(steps):
                return Seq(tuple(visit(step, is_beside) for step in steps))
            case Par(steps):
                return Par(tuple(visit(step, True) for step in steps))
            case Race((first, second), then):
                return Race((visit(first, True), visit(second, True)), visit(then, True))
            case _:
                return part

    return Seq(tuple(visit(step, False) for step in program.steps))


def value_of(program: Program) -> Any:
    """What a program without races comes to, whenever things happen."""
    match program:
        case Sleep(seconds):
            return [f"slept {seconds}s"]
        case Event(key):
            return [f"event {key}"]
        case SleepAndEvent(seconds, key):
            return [f"slept {seconds}s", f"event {key}"]
        case Memo(label):
            return f"memo {label}"
        case Run(text):
            return f"child {text}"
        case Bulk(runs):
            return [f"child {run.input}" for run in runs]
        case Fire():
            return None
        case Later(run, body):
            return [value_of(body), f"child {run.input}"]
        case Seq(steps) | Par(steps):
            return [value_of(step) for step in steps]
    raise AssertionError(program)


# The interpreter ------------------------------------------------------------------------------------------------------


class Signal:
    """Something that is awaited."""

    def __init__(self) -> None:
        self.is_set = False
        self.value: Any = None
        self._heard_by: list[Callable[[], None]] = []

    def set(self, value: Any = None) -> None:
        if self.is_set:
            return
        self.is_set, self.value = True, value
        for call in self._heard_by:
            call()

    def then(self, call: Callable[[], None]) -> None:
        if self.is_set:
            call()
        else:
            self._heard_by.append(call)

    def __await__(self) -> Generator[Signal, None, Any]:
        if not self.is_set:
            yield self
        return self.value


class Loop:
    """Runs coroutines in the order in which they can go on."""

    def __init__(self) -> None:
        self._can_go_on: deque[Callable[[], None]] = deque()
        self.is_closed = False

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> Signal:
        """Begin; what it returns is the signal's value."""
        done = Signal()

        def step() -> None:
            try:
                waits_for = coroutine.send(None)
            except StopIteration as end:
                done.set(end.value)
            else:
                waits_for.then(lambda: self._can_go_on.append(step))

        self._can_go_on.append(step)
        return done

    def settle(self) -> None:
        """Go on until everybody waits."""
        while self._can_go_on and not self.is_closed:
            self._can_go_on.popleft()()


class Lock:
    """First come, first served."""

    def __init__(self) -> None:
        self._queue: deque[Signal] = deque()
        self._is_taken = False

    async def take(self) -> None:
        if self._is_taken:
            turn = Signal()
            self._queue.append(turn)
            await turn
        self._is_taken = True

    def give(self) -> None:
        if self._queue:
            self._queue.popleft().set()
        else:
            self._is_taken = False


class Context(Protocol):
    """What the interpreter needs of the client."""

    loop: Loop

    def wait(self, conditions: Sequence[WaitCondition]) -> Awaitable[Any]: ...

    def memo(self, label: str, seconds: int) -> Awaitable[Any]: ...

    def spawn(self, runs: Sequence[Run]) -> Awaitable[list[Key]]: ...

    def child(self, key: Key) -> Awaitable[Any]: ...


async def interpret(program: Program, ctx: Context) -> Any:
    """Run the program; its result."""
    match program:
        case Sleep(seconds):
            return _shown(await ctx.wait([sleep_condition(seconds)]))
        case Event(key):
            return _shown(await ctx.wait([event_condition(key)]))
        case SleepOrEvent(seconds, key):
            return _shown(await ctx.wait([sleep_condition(seconds, "g"), event_condition(key, "g")]))
        case SleepAndEvent(seconds, key):
            return _shown(await ctx.wait([sleep_condition(seconds), event_condition(key)]))
        case Memo(label, seconds):
            return await ctx.memo(label, seconds)
        case Run():
            return await ctx.child((await ctx.spawn([program]))[0])
        case Bulk(runs):
            children = [ctx.loop.start(_child(ctx, key)) for key in await ctx.spawn(runs)]
            return [await child for child in children]
        case Fire(run):
            await ctx.spawn([run])
            return None
        case Later(run, body):
            [child] = await ctx.spawn([run])
            return [await interpret(body, ctx), await ctx.child(child)]
        case Seq(steps):
            return [await interpret(step, ctx) for step in steps]
        case Par(steps):
            branches = [ctx.loop.start(interpret(step, ctx)) for step in steps]
            return [await branch for branch in branches]
        case Race(waits, then):
            first = Signal()
            for number, wait in enumerate(waits):
                ctx.loop.start(_racer(ctx, number, wait, first))
            return [await first, await interpret(then, ctx)]


async def _child(ctx: Context, key: Key) -> Any:
    return await ctx.child(key)


async def _racer(ctx: Context, number: int, wait: Program, first: Signal) -> None:
    value = await interpret(wait, ctx)
    first.set([number, value])


def sleep_condition(seconds: int, group: str = "s") -> WaitCondition:
    text = f"{seconds}s"
    return WaitCondition(kind=WaitKind.SLEEP, or_group=group, data_key=f"sleep:{text}", sleep_for=text)


def event_condition(key: str, group: str = "e") -> WaitCondition:
    return WaitCondition(kind=WaitKind.EVENT, or_group=group, data_key=key, event_key=key)


def _shown(payload: str) -> list[str]:
    data = json.loads(payload)["CREATE"]
    return [
        f"event {one['event']}" if "event" in one else f"slept {one['sleep_duration']}"
        for several in data.values()
        for one in several
    ]
