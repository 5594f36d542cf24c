"""What the tests of workflow runs share: short forms of definitions, and an engine that is only a dictionary.

:class:`Run` drives a :class:`RunState` as the engine would: workers end tasks, events are pushed, time passes, a person
cancels and replays. It remembers the facts, so that a run can be built again from them alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from hatchet.core.conditions import Action, Condition, Kind
from hatchet.core.definitions import StoredVersion, TaskDefinition, WorkflowDefinition, stored_version
from hatchet.core.run_state import RunState
from hatchet.core.run_tasks import Decision, TaskFacts, Verdict
from hatchet.core.statuses import Outcome, RunStatus

AT = 1_750_000_000.0
ON_FAILURE = "on-failure"

Member = Condition
Conditions = Sequence[Member | tuple[Member, ...]]


def sleep(seconds: float) -> Member:
    return Condition(
        kind=Kind.SLEEP, action=Action.QUEUE, or_group=0, data_key=f"sleep:{seconds}s", sleep_for=f"{seconds}s"
    )


def event(key: str) -> Member:
    return Condition(kind=Kind.EVENT, action=Action.QUEUE, or_group=0, data_key=key, event_key=key)


def output(parent: str, expression: str) -> Member:
    return Condition(
        kind=Kind.PARENT, action=Action.QUEUE, or_group=0, data_key=parent, parent=parent, expression=expression
    )


def or_(*members: Member) -> tuple[Member, ...]:
    return members


def task(
    name: str,
    *parents: str,
    wait_for: Conditions = (),
    skip_if: Conditions = (),
    cancel_if: Conditions = (),
    **options: object,
) -> TaskDefinition:
    """A task; each list holds conditions that must all hold, an ``or_`` counts as one."""
    conditions: list[Condition] = []
    for action, groups in ((Action.QUEUE, wait_for), (Action.SKIP, skip_if), (Action.CANCEL, cancel_if)):
        for number, group in enumerate(groups):
            members = group if isinstance(group, tuple) else (group,)
            conditions += [replace(member, action=action, or_group=number) for member in members]
    return TaskDefinition(
        readable_id=name,
        action=f"flow:{name}",
        parents=parents,
        conditions=tuple(conditions),
        **options,  # type: ignore[arg-type]
    )


def a_version(*tasks: TaskDefinition, on_failure: bool = False) -> StoredVersion:
    """A registered version of these tasks, with an on-failure task when asked for."""
    last = TaskDefinition(readable_id=ON_FAILURE, action="flow:on-failure") if on_failure else None
    definition = WorkflowDefinition(name="flow", tasks=tasks, on_failure=last)
    ids = {one.readable_id: f"step {one.readable_id}" for one in definition.all_tasks}
    return stored_version(definition, ids, version_id="v", tenant_id="t", workflow_id="w", order=1)


@dataclass(frozen=True)
class Ending:
    """A row of results."""

    index: int
    attempt: int
    outcome: Outcome
    at: float
    output: str | None
    is_decision: bool
    """Written because parents or conditions decided so; it follows from the other facts."""


@dataclass(frozen=True)
class Match:
    """A row of matches."""

    index: int
    attempt: int
    condition: int
    at: float


@dataclass(frozen=True)
class Opened:
    """A further attempt: a retry, or a replay which may run at once or not."""

    index: int
    attempt: int
    at: float
    is_replay: bool
    is_queued: bool


@dataclass(frozen=True)
class Assigned:
    """An attempt was with a worker."""

    index: int
    attempt: int


Fact = Ending | Match | Opened | Assigned


class Run:
    """One run and the engine around it."""

    def __init__(self, *tasks: TaskDefinition, on_failure: bool = False, version: StoredVersion | None = None) -> None:
        self.version = version or a_version(*tasks, on_failure=on_failure)
        self.created_at = AT
        self.now = AT
        self.state = RunState.fresh(self.version, AT)
        self.facts: list[Fact] = []
        self.waits: dict[int, Decision] = {}
        """Tasks that wait for a time or an event, with what for."""
        self.decisions: dict[tuple[int, int], Decision] = {}
        """(Number, attempt) to how it was decided."""
        self.ready: set[int] = set()
        """Tasks that may run and are with no worker yet."""
        self.running: set[int] = set()
        self.advance(self.state.undecided())

    # What an engine does ----------------------------------------------------------------------------------------------

    def advance(self, indexes: Iterable[int]) -> None:
        for change in self.state.advance(indexes, self.now):
            index, decision = change.index, change.decision
            if decision.verdict is Verdict.WAIT:
                self.waits[index] = decision
                continue
            attempt = self.state.tasks[index].attempt
            assert (index, attempt) not in self.decisions, "an attempt is decided once"
            assert self.state.tasks[index].opened_at <= decision.at <= self.now, "and while it is there"
            self.decisions[index, attempt] = decision
            self.waits.pop(index, None)
            if decision.verdict is Verdict.QUEUE:
                self._may_run(index)
            else:
                outcome = Outcome.SKIPPED if decision.verdict is Verdict.SKIP else Outcome.CANCELLED
                self.facts.append(Ending(index, attempt, outcome, decision.at, None, True))

    def pass_time(self, seconds: float, *, late: bool = False) -> None:
        """Let timers ring: each at its time, or, with ``late``, all of them at the end at once."""
        until = self.now + seconds
        while True:
            rings = [wait.wakes_at for wait in self.waits.values() if wait.wakes_at is not None]
            if not rings or min(rings) > until:
                break
            self.now = until if late else min(rings)
            self.advance(self.due())
        self.now = until

    def due(self) -> list[int]:
        return [i for i, wait in self.waits.items() if wait.wakes_at is not None and wait.wakes_at <= self.now]

    def push(self, key: str) -> None:
        """An event; whoever listens for its key is met."""
        met = [
            (index, number)
            for index in self.waits
            for number, condition in enumerate(self.version.tasks[index].definition.conditions)
            if condition.kind is Kind.EVENT and condition.event_key == key
        ]
        for index, number in met:
            attempt = self.state.tasks[index].attempt
            if self.state.matched(index, attempt, number, self.now):
                self.facts.append(Match(index, attempt, number, self.now))
        self.advance({index for index, _ in met})

    def start(self, index: int) -> None:
        self.ready.remove(index)
        self.running.add(index)
        self.state.assigned(index)
        self.facts.append(Assigned(index, self.state.tasks[index].attempt))

    def finish(self, index: int, outcome: Outcome, output: str | None = None) -> None:
        """The task has ended, wherever it was."""
        attempt = self.state.tasks[index].attempt
        self.ready.discard(index)
        self.running.discard(index)
        self.waits.pop(index, None)
        assert self.state.ended(index, attempt, outcome, self.now, output)
        self.facts.append(Ending(index, attempt, outcome, self.now, output, False))
        self.advance(self.state.after(index))

    def retry(self, index: int) -> None:
        """The attempt failed and another one is open."""
        self.running.remove(index)
        self.ready.add(index)
        attempt = self.state.tasks[index].attempt + 1
        self.state.retried(index, attempt)
        self.facts.append(Opened(index, attempt, self.now, False, True))

    def replay(self, indexes: Iterable[int]) -> dict[int, bool]:
        opened = self.state.replayed(indexes, self.now)
        for index, is_queued in opened.items():
            self.facts.append(Opened(index, self.state.tasks[index].attempt, self.now, True, is_queued))
            if is_queued:
                self._may_run(index)
        # Who waits below a task that is open again waits for that first.
        self.waits.clear()
        self.advance(self.state.undecided())
        return opened

    def _may_run(self, index: int) -> None:
        parents = self.version.graph.parents[index]
        assert all(self.state.tasks[parent].outcome for parent in parents), "no task runs before its parents have ended"
        self.ready.add(index)

    # The same by name, for tests of single rules ----------------------------------------------------------------------

    def index(self, name: str) -> int:
        return self.version.graph.index_of[name]

    def end(self, name: str, outcome: Outcome = Outcome.COMPLETED, output: str | None = None, after: float = 1) -> None:
        """A ready or running task ends, ``after`` seconds from now."""
        self.pass_time(after)
        index = self.index(name)
        assert index in self.ready | self.running, f"{name} does not run"
        self.finish(index, outcome, output)

    def cancel(self, *names: str) -> None:
        for name in names:
            if self.state.tasks[self.index(name)].outcome is None:
                self.finish(self.index(name), Outcome.CANCELLED)

    def replay_by_name(self, *names: str) -> dict[str, bool]:
        opened = self.replay([self.index(name) for name in names])
        return {self.name(index): is_queued for index, is_queued in opened.items()}

    def name(self, index: int) -> str:
        return self.version.tasks[index].definition.readable_id

    def may_run(self) -> set[str]:
        return {self.name(index) for index in self.ready | self.running}

    def decision(self, name: str) -> Decision:
        """How the current attempt was decided."""
        index = self.index(name)
        return self.decisions[index, self.state.tasks[index].attempt]

    def outcome(self, name: str) -> Outcome | None:
        return self.state.tasks[self.index(name)].outcome

    def outcomes(self) -> dict[str, Outcome | None]:
        return {self.name(index): task.outcome for index, task in enumerate(self.state.tasks)}

    def status(self) -> RunStatus:
        return self.state.status()

    def elapsed(self) -> float:
        return self.now - AT


def rebuilt(version: StoredVersion, created_at: float, facts: Iterable[Fact]) -> RunState:
    """The run as an engine reads it from rows after a restart; the rows may come in any order."""
    facts = list(facts)
    tasks = [TaskFacts(created_at) for _ in version.tasks]
    for fact in facts:
        if isinstance(fact, Opened) and fact.is_replay and fact.attempt > tasks[fact.index].attempt:
            tasks[fact.index] = TaskFacts(fact.at, fact.attempt, is_decided=fact.is_queued, is_seen=True)
    state = RunState(version, tasks)
    for fact in facts:
        if isinstance(fact, Ending):
            state.ended(fact.index, fact.attempt, fact.outcome, fact.at, fact.output)
        elif isinstance(fact, Match):
            state.matched(fact.index, fact.attempt, fact.condition, fact.at)
        elif isinstance(fact, Assigned):
            task = tasks[fact.index]
            task.is_seen = True
            if fact.attempt == task.attempt:
                state.assigned(fact.index)
        elif not fact.is_replay:
            state.retried(fact.index, fact.attempt)
    return state
