"""A simulated engine around :class:`DurableLog`: rows in dictionaries, one stream, crashes at every station.

What is committed stays in ``Rows``; everything else is lost with the engine.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field, replace

import orjson
from durable_client import STATUS_SECONDS, WAKE_SECONDS, Client, Ideal, Request, Response
from durable_program import KEYS, Key, Program, Run, value_of

from hatchet.core import durable_waits
from hatchet.core.durable_log import (
    MOST_COMPUTATIONS,
    Branch,
    Child,
    DurableLog,
    Entry,
    EntryKind,
    Found,
    Mismatch,
    New,
    Release,
    Restore,
    Result,
    branched,
    resume_point,
)

SOON_SECONDS = 3.0


@dataclass
class Rows:
    """The tables."""

    entries: dict[Key, Entry] = field(default_factory=dict)
    """Without results and releases."""
    results: dict[Key, Result] = field(default_factory=dict)
    releases: dict[tuple[Key, int], Release] = field(default_factory=dict)
    """By entry and branch of the hand-over."""
    matches: dict[Key, dict[int, durable_waits.Match]] = field(default_factory=dict)
    marks: dict[int, set[int]] = field(default_factory=dict)
    branches: list[Branch] = field(default_factory=list)

    def read(self) -> list[Entry]:
        released: dict[Key, list[Release | None]] = {}
        for (key, _), release in self.releases.items():
            released.setdefault(key, []).append(release)
        return [
            replace(entry, result=self.results.get(key), release=release)
            for key, entry in self.entries.items()
            for release in released.get(key, [None])
        ]

    def log(self, invocation: int, *, walked: int = 0, in_order: bool = True) -> DurableLog:
        return DurableLog(invocation, self.read(), self.branches, walked=walked, hands_over_in_order=in_order)


class World:
    """One durable task, its engine and its worker."""

    def __init__(
        self, program: Program, *, in_order: bool = True, loses_values: bool = True, wakes: random.Random | None = None
    ) -> None:
        """``wakes``: code goes on after a completion when this says."""
        self.program = program
        self.in_order = in_order
        self.loses_values = loses_values
        self._wakes = wakes
        self.now = 1000.0
        self.rows = Rows()
        self.invocation = 0
        self.is_evicted = False
        self.restore_at: float | None = None
        self.log: DurableLog | None = None
        self.client: Client
        self.up: deque[Request] = deque()
        self.down: deque[Response] = deque()
        self.is_new_stream = False
        self.next_status = 0.0
        self.past: list[Response] = []
        """Completions of this invocation, for duplicates."""
        self.finished_children: set[Key] = set()
        self.computed: dict[Key, int] = {}
        self.spawned = 0
        self.trace: list[str] = []
        self.invoke()

    # What happens -----------------------------------------------------------------------------------------------------

    def invoke(self) -> None:
        """The task is assigned to a worker."""
        self.invocation += 1
        self.is_evicted, self.restore_at, self.is_new_stream = False, None, False
        self.is_verdict_lost = False
        self.up.clear()
        self.down.clear()
        self.past.clear()
        self.log = self.rows.log(self.invocation, in_order=self.in_order)
        self.client = Client(
            self.invocation,
            self.program,
            self.up.append,
            self._compute,
            in_order=self.in_order,
            wake=self._wake,
        )
        self.client.now = self.now
        self.next_status = self.now + STATUS_SECONDS
        self.client.settle()

    @property
    def is_done(self) -> bool:
        return self.client.done.is_set and not self.client.is_dead

    def branch(self, chance: random.Random) -> None:
        """The finished task is run again from one of its nodes on (D-22.5)."""
        entries = self.rows.read()
        path = self.rows.log(0).on_path()
        past = chance.choice([1, *(branch.id for branch in self.rows.branches)])
        new = branched(self.rows.branches, entries, past, chance.randint(1, len(path)))
        if new is not None:
            self._note(f"{new}")
            self.rows.branches.append(new)
            self.invoke()

    def crash_of_worker(self) -> None:
        self._note("worker crashes")
        self.client.kill()
        if not self.is_evicted:
            self.invoke()

    def crash_of_engine(self) -> None:
        self._note("engine crashes")
        self.is_verdict_lost = self.is_evicted
        self.log = None
        self.cut()
        if self.is_evicted and self.restore_at is not None:
            self.restore_at = None
        if self.is_evicted and self.rows.log(self.invocation).overdue():
            self.invoke()

    def cut(self) -> None:
        """The stream breaks: what is under way is lost."""
        self._note("cut")
        if self.client.is_dead:
            return
        self.down.clear()
        self.up = deque(one for one in self.up if one.kind == "value") if not self.loses_values else deque()
        self.client._send = self.up.append
        if self.client.fails_when_cut():
            if not self.is_evicted:
                self.invoke()
            return
        self.is_new_stream = True
        self.client.status()

    def evict(self) -> None:
        """The worker asks to let go of a waiting invocation."""
        if self.client.is_waiting:
            self._note("evict asked")
            self.up.append(Request("evict", self.invocation))

    def evict_late(self, seconds: float) -> None:
        """It has waited for a while, and nothing is under way."""
        until = self.now + seconds
        while self.up or self.down or self.now < until:
            self.up_one()
            self.down_one()
            self.pass_time(until - self.now)
        self.evict()

    def duplicate(self, chance: random.Random) -> None:
        """A completion is sent again."""
        if self.past and not self.client.is_dead:
            self.down.append(chance.choice(self.past))

    def up_one(self) -> None:
        """The engine handles one request; before, it hands over what came before it in earlier invocations."""
        turn_at = self.log.next_replay() if self.log is not None else None
        if self.up and self.up[0].kind in ("wait", "memo", "spawn") and turn_at is not None and not self.is_new_stream:
            self._let_hear()
            self.now = max(self.now, turn_at)
            self._tick()
        elif self.up:
            self._handle(self.up.popleft())

    def _let_hear(self) -> None:
        while self.down:
            self.down_one()

    def down_one(self) -> None:
        """The worker hears one response."""
        if not self.down:
            return
        response = self.down.popleft()
        self.client.hear(response)
        if response.kind == "evicted" and self.restore_at is None and not self.is_verdict_lost:
            self._is_rightly_evicted()

    def pass_time(self, seconds: float) -> None:
        """Timers run while nothing else is under way."""
        until = self.now + seconds
        while self.now < until and not self.up and not self.down:
            self.now = min([until, *(at for at in self._moments() if at > self.now)])
            self._tick()

    def _moments(self) -> list[float]:
        """When code goes on, and completions have their turn."""
        turn_at = self.log.next_turn() if self.log is not None else None
        moments = [at for at, *_ in self.client.waking]
        return moments if turn_at is None else [*moments, turn_at]

    def _tick(self) -> None:
        if self.log is not None and self.log.next_turn() is not None:
            self._hand_over()
        if not self.client.is_dead:
            self.client.tick(self.now)
            if self.now >= self.next_status:
                self.next_status = self.now + STATUS_SECONDS
                self.client.status()
        if self.is_evicted and self.restore_at is not None and self.restore_at <= self.now:
            self.invoke()

    def sleeps_due(self) -> list[Key]:
        return [key for key, entry in self._open(EntryKind.WAIT_FOR) if self._outcome(entry) is not None]

    def children_running(self) -> list[Key]:
        return [key for key, _ in self._open(EntryKind.RUN)]

    def fire(self, key: Key) -> None:
        """A wait that is over gets its result."""
        met = self._outcome(self.rows.entries[key])
        assert met is not None
        self._satisfy(key, Result(max(met.at, self.rows.entries[key].created_at), met.payload))

    def finish(self, key: Key) -> None:
        """A child run ends."""
        text = orjson.loads(self.rows.entries[key].subject)
        self._satisfy(key, Result(self.now, f"child {text}"))

    def push(self, name: str) -> None:
        """An event."""
        data = orjson.dumps({"event": name}).decode()
        for key, entry in self._open(EntryKind.WAIT_FOR):
            conditions = durable_waits.from_text(entry.subject)
            matches = self.rows.matches.setdefault(key, {})
            for number in durable_waits.open_events(conditions, entry.created_at, matches, self.now):
                if conditions[number].event_key == name:
                    matches[number] = durable_waits.Match(number, self.now, data)
            if self._outcome(entry) is not None:
                self.fire(key)

    def _is_rightly_evicted(self) -> None:
        """Nothing that the worker had, or was to have, is lost with it (D-17.15, D-29.6)."""
        client = self.client
        assert not client.is_asking, f"it wanted to go on: {self.trace}"
        assert not client.waking, f"it was going on: {self.trace}"
        assert not client.due or self.invocation > MOST_COMPUTATIONS, f"it was computing: {self.trace}"
        awaited = client.awaited & self.rows.results.keys()
        assert not awaited, f"{awaited} were satisfied: {self.trace}"

    # The end ----------------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Everything happens, nothing breaks any more: the program ends."""
        for round_number in range(4000):
            while (self.up or self.down) and not self.is_done:
                self.up_one()
                self.down_one()
            if self.is_done:
                return
            if round_number % 5 == 4:
                for key in self.children_running():
                    self.finish(key)
                for key in self.sleeps_due():
                    self.fire(key)
                for name in KEYS:
                    self.push(name)
            self.pass_time(1.0 if round_number < 500 else 30.0)
        raise AssertionError(f"it hangs: {self.trace}")

    def check(self, *, races: bool) -> None:
        """Equal to a run without interruptions (D-29.9)."""
        path = self.rows.log(0).on_path()
        assert [entry.node for entry in path] == list(range(1, len(path) + 1)), "nodes have gaps (D-29.2)"
        runs = sum(entry.kind is EntryKind.RUN for entry in self.rows.entries.values())
        assert self.spawned == runs, "each entry has one child run (D-29.4)"
        orders = sorted(release.order for release in self.rows.releases.values())
        assert self.rows.branches or orders == list(range(1, len(orders) + 1)), "orders have gaps (D-7.6)"
        if not races:
            assert self.client.done.value == value_of(self.program)
        released = [(entry, entry.release) for entry in path if entry.release is not None]
        came = [
            (release.tip, Response("completed", 1, [(1, entry.node)], payload=_payload(entry)))
            for entry, release in sorted(released, key=lambda one: one[1].order)
        ]
        values = {(1, entry.node): _payload(entry) if entry.result else "lost" for entry in path}
        ideal = Ideal(self.program, values, came, in_order=self.in_order)
        if "lost" not in str(ideal.client.done.value):
            # The task may end before the value of its last memo is kept (D-28.5).
            assert self.client.done.value == ideal.client.done.value
        told = [f"run {orjson.loads(one.subject)}" if one.kind is EntryKind.RUN else _WORDS[one.kind] for one in path]
        assert told[: len(ideal.asked)] == ideal.asked

    # The engine -------------------------------------------------------------------------------------------------------

    def _handle(self, request: Request) -> None:
        if request.invocation != self.invocation or self.is_evicted:
            self._refuse(request)
            return
        if self.log is None:
            point = resume_point(self.invocation, self.rows.read(), sorted(self.rows.marks.get(self.invocation, ())))
            self._note(f"resumes at {point}")
            if point is None:
                self._refuse(request)
                self.invoke()
                return
            self.log = self.rows.log(self.invocation, walked=point, in_order=self.in_order)
            self.is_new_stream = False
        if self.is_new_stream:
            self.log.reconnected()
            self.is_new_stream = False
        match request.kind:
            case "status":
                self._status(request)
            case "value":
                self._satisfy(request.key, Result(self.now, request.payload))
            case "evict":
                self._evict()
            case _:
                self._event(request)

    def _refuse(self, request: Request) -> None:
        if request.kind == "evict":
            self.down.append(Response("evicted", request.invocation))
        elif request.kind != "value":
            self.down.append(Response("gone", request.invocation))

    def _event(self, request: Request) -> None:
        log = self._log
        # No two requests have one time, as by the engine's clock.
        self.now += 1e-6
        steps = self._steps(request)
        assert not isinstance(steps, Mismatch), (steps.message("task"), self.trace)
        kind = {"wait": EntryKind.WAIT_FOR, "memo": EntryKind.MEMO, "spawn": EntryKind.RUN}[request.kind]
        entries: list[Entry] = []
        written: dict[int, Entry] = {}
        marks = self.rows.marks.setdefault(self.invocation, set())
        for number, step in enumerate(steps):
            if isinstance(step, Found):
                entries.append(step.entry)
                if step.entry.invocation != self.invocation:
                    marks.add(0)
                continue
            if step.node not in written:
                child = self._child(*request.runs[number]) if request.runs else None
                written[step.node] = Entry(
                    kind,
                    step.branch,
                    step.node,
                    step.digest,
                    self.invocation,
                    self.now,
                    subject=child.workflow if child else durable_waits.to_text(request.conditions),
                    child_name=child.name if child else None,
                    run_id=f"run-{step.node}" if child else None,
                )
            entries.append(written[step.node])
        for entry in written.values():
            assert entry.key not in self.rows.entries
            self.rows.entries[entry.key] = replace(entry)
            self.spawned += entry.kind is EntryKind.RUN
        was_replaying = log.is_replaying
        for entry in entries:
            log.took(entry)
        if was_replaying and not log.is_replaying:
            marks.add(log.recorded)
        self._note(f"{request.kind} -> {[entry.node for entry in entries]}")
        memo = entries[0].result if kind is EntryKind.MEMO else None
        existed = not written
        self.down.append(
            Response(
                "ack", self.invocation, [one.key for one in entries], existed, memo.payload if memo is not None else ""
            )
        )
        if memo is not None:
            self.down.append(Response("completed", self.invocation, [entries[0].key]))
        self._hand_over()

    def _steps(self, request: Request) -> list[Found | New] | Mismatch:
        log = self._log
        if request.kind == "spawn":
            return log.spawn([self._child(*run) for run in request.runs])
        step = log.wait(request.conditions) if request.kind == "wait" else log.memo(request.label.encode())
        return step if isinstance(step, Mismatch) else [step]

    @staticmethod
    def _child(run: Run, index: int) -> Child:
        text = orjson.dumps(run.input).decode()
        return Child(text, text, run.key, index)

    def _status(self, request: Request) -> None:
        log = self._log
        if request.received is not None:
            log.received(request.received)
        for entry in log.listed(request.waiting, self.now):
            self._send_completion(entry, entry.release)
        for key in request.waiting:
            if self.rows.entries[key].kind is EntryKind.MEMO and key in self.rows.results:
                self._send_completion(self.rows.entries[key], None)
        self._hand_over()
        assert log.stalled(self.now) is None, ("stalled", self.trace)

    def _evict(self) -> None:
        log = self._log
        self.is_evicted = True
        self.down.append(Response("evicted", self.invocation))
        verdict = log.after_eviction(self.now)
        self._note(f"evicted, restore {verdict.value}")
        self.log = None
        if verdict is Restore.NOW:
            self.restore_at = self.now
        elif verdict is Restore.SOON:
            self.restore_at = self.now + SOON_SECONDS

    def _satisfy(self, key: Key, result: Result) -> None:
        if key in self.rows.results or key not in self.rows.entries:
            return
        self.rows.results[key] = result
        self._note(f"{key[1]} satisfied")
        kind = self.rows.entries[key].kind
        if self.is_evicted:
            if kind is not EntryKind.MEMO and self.restore_at is None:
                self.restore_at = self.now
        elif self.log is not None:
            self.log.satisfied(*key, result)
            if kind is EntryKind.MEMO:
                self._send_completion(self.rows.entries[key], None)
            else:
                self._hand_over()

    def _hand_over(self) -> None:
        log = self._log
        for entry, release in log.releases(self.now):
            if entry.release is None:
                place = entry.key, release.branch
                taken = [one for one in self.rows.releases.values() if one.branch == release.branch]
                assert place not in self.rows.releases
                assert all(one.order != release.order for one in taken)
                self.rows.releases[place] = release
            assert entry.release in (None, release)
            log.sent(entry, release)
            self._send_completion(entry, release)

    def _send_completion(self, entry: Entry, release: Release | None) -> None:
        payload = self.rows.results[entry.key].payload if entry.kind is not EntryKind.MEMO else ""
        response = Response(
            "completed", self.invocation, [entry.key], payload=payload, order=release.order if release else None
        )
        self._note(f"{entry.node} completed as {response.order}")
        if not self.is_new_stream:
            self.down.append(response)
            self.past.append(response)

    @property
    def _log(self) -> DurableLog:
        assert self.log is not None
        return self.log

    def _open(self, kind: EntryKind) -> list[tuple[Key, Entry]]:
        entries = self.rows.entries.items()
        return [(key, one) for key, one in entries if one.kind is kind and key not in self.rows.results]

    def _outcome(self, entry: Entry) -> durable_waits.Met | None:
        conditions = durable_waits.from_text(entry.subject)
        return durable_waits.outcome(conditions, entry.created_at, self.rows.matches.get(entry.key, {}), self.now)

    def _compute(self, key: Key, label: str) -> str:
        self.computed[key] = self.computed.get(key, 0) + 1
        assert key not in self.rows.results, "a memo is computed though its value is known (D-12.5)"
        return f"memo {label}"

    def _wake(self) -> float:
        return self._wakes.choice(WAKE_SECONDS) if self._wakes is not None else 0.0

    def _note(self, what: str) -> None:
        self.trace.append(what)


def _payload(entry: Entry) -> str:
    assert entry.result is not None
    return entry.result.payload


_WORDS = {EntryKind.WAIT_FOR: "wait", EntryKind.MEMO: "memo"}
