"""One run of a workflow as a function of its facts: what starts, what is skipped, what is cancelled, how it ends.

A run's rows say how attempts ended, when they were opened, and which events matched. Everything else follows from them
and is never stored: whether a task may start, what its conditions decide, the status of the run (C-6, C-8 of
behaviour-core). The decision of a task is the first instant at which SKIP, CANCEL or QUEUE holds, tested in that order
(C-8.5, C-8.38); so it is the same whenever and wherever it is asked.

Times are seconds since 1970. Nothing here reads a clock: ``now`` is given.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator

from hatchet.core.conditions import Action, Condition, Kind
from hatchet.core.definitions import StoredVersion
from hatchet.core.durations import parse_duration
from hatchet.core.expressions import Use, holds
from hatchet.core.json_texts import json_value
from hatchet.core.run_tasks import DEAD_END, SKIPPED_OUTPUT, WAITING, Change, Decision, TaskFacts, Verdict
from hatchet.core.statuses import Outcome, RunStatus


class RunState:
    """The tasks of one run. Facts go in by ``ended``, ``retried``, ``matched``; decisions come out of ``advance``."""

    __slots__ = ("input", "open", "tasks", "version")

    def __init__(self, version: StoredVersion, tasks: list[TaskFacts], input_text: str = "") -> None:
        """``input_text``: the run's input, JSON text, for versions whose graph says that it is read."""
        self.version = version
        self.input = input_text
        self.tasks = tasks
        self.open = sum(1 for task in tasks if task.outcome is None)
        """How many tasks have not ended."""

    @classmethod
    def fresh(cls, version: StoredVersion, created_at: float, input_text: str = "") -> RunState:
        """A run of which nothing has happened yet."""
        return cls(version, [TaskFacts(created_at) for _ in version.tasks], input_text)

    @property
    def is_over(self) -> bool:
        return self.open == 0

    # Facts ------------------------------------------------------------------------------------------------------------

    def ended(self, index: int, attempt: int, outcome: Outcome, at: float, output: str | None) -> bool:
        """The task has ended with that attempt; False when that is known, or older than what is known."""
        task = self.tasks[index]
        if attempt < task.attempt or task.outcome is not None:
            return False
        task.attempt, task.outcome, task.ended_at = attempt, outcome, at
        task.is_decided = task.is_seen = True
        if index in self.version.graph.judged:
            task.output = output
        self.open -= 1
        return True

    def retried(self, index: int, attempt: int, evictions: int = 0) -> None:
        """A further attempt of a task that had started is open (a retry, a reassignment, one after an eviction)."""
        task = self.tasks[index]
        if attempt > task.attempt and task.outcome is None:
            task.attempt, task.evictions = attempt, evictions
            task.is_decided = task.is_seen = True

    def assigned(self, index: int) -> None:
        """The current attempt is with a worker."""
        self.tasks[index].is_decided = self.tasks[index].is_seen = True

    def matched(self, index: int, attempt: int, condition: int, at: float) -> bool:
        """An event met a condition of the task; False when that is known, or of another attempt."""
        task = self.tasks[index]
        if task.attempt != attempt or task.is_decided or condition in task.matches:
            return False
        task.matches[condition] = at
        return True

    def replayed(self, indexes: Iterable[int], at: float) -> dict[int, bool]:
        """Open a new attempt of these tasks (C-15.12); number to whether it may run at once (C-15.14).

        Nothing is opened while a task of the run does not exist, and no task that has not ended (C-15.10).
        """
        asked = set(indexes)
        if not all(map(self.exists, range(len(self.tasks)))):
            return {}
        chosen = sorted(index for index in asked if self.tasks[index].outcome is not None)
        for index in chosen:
            task = self.tasks[index]
            self.tasks[index] = TaskFacts(at, task.attempt + 1, task.evictions, is_seen=True)
        self.open += len(chosen)
        opened = {index: not self._waits_anew(index, asked) for index in chosen}
        for index, is_queued in opened.items():
            self.tasks[index].is_decided = is_queued
        return opened

    def _waits_anew(self, index: int, asked: set[int]) -> bool:
        graph = self.version.graph
        if index == graph.on_failure:
            return len(asked) > 1
        return any(self.tasks[parent].outcome is None for parent in graph.parents[index])

    # Decisions --------------------------------------------------------------------------------------------------------

    def advance(self, indexes: Iterable[int], now: float, heard: Callable[[int], float] | None = None) -> list[Change]:
        """Decide these tasks, and what follows from tasks that are skipped or cancelled thereby.

        The answer holds every task that was decided: QUEUE ones may run now; SKIP and CANCEL ones have ended, here and
        then also in this state. Tasks that wait are in it when their decision says for what. Parents come before
        children, so that the order of ``indexes`` makes no difference.

        ``heard``: until when all events are known that a task could hear of. A sleep that ends later decides nothing
        yet: an event may have come before. By default all events are known.
        """
        rank = self.version.graph.rank
        known = set(indexes)
        waiting = [(rank[index], index) for index in known]
        heapq.heapify(waiting)
        changes: list[Change] = []
        while waiting:
            _, index = heapq.heappop(waiting)
            task = self.tasks[index]
            if task.is_decided or task.outcome is not None:
                continue
            decision = self.decide(index, now if heard is None else min(now, heard(index)))
            if decision is WAITING:
                continue
            changes.append(Change(index, decision))
            if decision.verdict is Verdict.QUEUE:
                task.is_decided = True
            elif decision.verdict is not Verdict.WAIT:
                self._close(index, decision)
                for below in self.after(index):
                    if below not in known:
                        known.add(below)
                        heapq.heappush(waiting, (rank[below], below))
        return changes

    def after(self, index: int) -> Iterator[int]:
        """The tasks that may be decided by the end of a task."""
        graph = self.version.graph
        yield from graph.children[index]
        if graph.on_failure is not None and index != graph.on_failure:
            yield graph.on_failure

    def undecided(self) -> list[int]:
        """The tasks that wait for their parents or conditions."""
        return [index for index, task in enumerate(self.tasks) if not task.is_decided and task.outcome is None]

    def listens(self, index: int) -> bool:
        """Whether an event could still meet a condition of a task that is not decided yet."""
        if index not in self.version.graph.listening:
            return False
        matches = self.tasks[index].matches
        conditions = self.version.tasks[index].definition.conditions
        return any(one.kind is Kind.EVENT and number not in matches for number, one in enumerate(conditions))

    def decide(self, index: int, now: float) -> Decision:
        """What the facts say about a task that is not decided yet."""
        if index == self.version.graph.on_failure:
            return self._decide_on_failure(index)
        conditions = self.version.tasks[index].definition.conditions
        return self._decide_by_conditions(index, conditions, now) if conditions else self._decide_by_parents(index)

    def _close(self, index: int, decision: Decision) -> None:
        task = self.tasks[index]
        task.outcome = Outcome.SKIPPED if decision.verdict is Verdict.SKIP else Outcome.CANCELLED
        task.ended_at = decision.at
        task.is_decided = task.is_seen = True
        self.open -= 1

    def _decide_by_parents(self, index: int) -> Decision:
        """C-6.14 to C-6.16; one pass, because most tasks are decided here."""
        parents = self.version.graph.parents[index]
        opened_at = self.tasks[index].opened_at
        broken, is_waiting, ended_at, has_run = None, False, opened_at, not parents
        for parent in parents:
            task = self.tasks[parent]
            outcome = task.outcome
            if outcome is None:
                is_waiting = True
            elif outcome is Outcome.COMPLETED or outcome is Outcome.SKIPPED:
                has_run = has_run or outcome is Outcome.COMPLETED
                ended_at = max(ended_at, task.ended_at)
            elif broken is None or task.ended_at < broken:
                broken = task.ended_at
        if broken is not None:
            return Decision(Verdict.CANCEL, max(broken, opened_at))
        if is_waiting:
            return WAITING
        return Decision(Verdict.QUEUE if has_run else Verdict.SKIP, ended_at)

    def _decide_on_failure(self, index: int) -> Decision:
        """C-6.45, C-6.49: any failure starts it; without one it is skipped."""
        opened_at = self.tasks[index].opened_at
        failures = [task.ended_at for task in self.tasks[:index] if _is(task, RunStatus.FAILED)]
        if failures:
            return Decision(Verdict.QUEUE, max(min(failures), opened_at))
        ended_at = self._ended_at(range(index))
        return WAITING if ended_at is None else Decision(Verdict.SKIP, max(ended_at, opened_at))

    def _decide_by_conditions(self, index: int, conditions: tuple[Condition, ...], now: float) -> Decision:
        """C-8.38: one truth value a condition; the first instant at which an action holds decides."""
        parents = self.version.graph.parents[index]
        task = self.tasks[index]
        ended_at = self._ended_at(parents)
        since = None if ended_at is None else max(ended_at, task.opened_at)
        met_at = [self._met_at(task, number, condition, since) for number, condition in enumerate(conditions)]
        broken = self._broken_at(parents)
        # What has ended has, also when the clock of the instance that wrote it is ahead of ours.
        instants = {self.tasks[parent].ended_at for parent in parents if self.tasks[parent].outcome is not None}
        instants |= {since} if since is not None else set()
        instants |= {at for at in met_at if at is not None and at <= now}
        for at in sorted(instants):
            decision = self._holds_at(max(at, task.opened_at), index, conditions, met_at, since, broken)
            if decision is not None:
                return decision
        return self._still_waiting(conditions, met_at, since, now)

    def _met_at(self, task: TaskFacts, number: int, condition: Condition, since: float | None) -> float | None:
        """When the condition is or will be met, as far as that is known."""
        if condition.kind is not Kind.PARENT:
            if since is None:
                return None
            if condition.kind is Kind.SLEEP:
                return since + parse_duration(condition.sleep_for or "")
            matched_at = task.matches.get(number)
            # Only what comes after the registration counts (C-8.8); a clock that is behind does not make it earlier.
            return None if matched_at is None else max(matched_at, since)
        assert condition.parent is not None
        parent = self.tasks[self.version.graph.index_of[condition.parent]]
        if not _is(parent, RunStatus.COMPLETED) or not _judge(condition, parent, self.input):
            return None
        return parent.ended_at

    def _holds_at(
        self,
        at: float,
        index: int,
        conditions: tuple[Condition, ...],
        met_at: list[float | None],
        since: float | None,
        broken: float | None,
    ) -> Decision | None:
        parents = self.version.graph.parents[index]
        are_parents_over = since is not None and since <= at
        met = tuple(number for number, when in enumerate(met_at) if when is not None and when <= at)
        overrides_skip = any(one.action is Action.SKIP and one.kind is Kind.PARENT for one in conditions)
        if _form(conditions, Action.SKIP, met) or (
            are_parents_over and not overrides_skip and self._all_skipped(parents)
        ):
            return Decision(Verdict.SKIP, at)
        if (broken is not None and broken <= at) or _form(conditions, Action.CANCEL, met):
            return Decision(Verdict.CANCEL, at)
        queues = _form(conditions, Action.QUEUE, met)
        if are_parents_over and (queues or queues is None):
            return Decision(Verdict.QUEUE, at, met)
        return None

    def _still_waiting(
        self, conditions: tuple[Condition, ...], met_at: list[float | None], since: float | None, now: float
    ) -> Decision:
        if since is None:
            return WAITING
        possible = tuple(
            number
            for number, condition in enumerate(conditions)
            if met_at[number] is not None or condition.kind is Kind.EVENT
        )
        if not any(_form(conditions, action, possible) for action in Action):
            return Decision(Verdict.CANCEL, since, reason=DEAD_END)
        sleeps = [
            at
            for at, condition in zip(met_at, conditions, strict=True)
            if at is not None and at > now and condition.kind is not Kind.PARENT
        ]
        return Decision(Verdict.WAIT, listens_since=since, wakes_at=min(sleeps, default=None))

    def _ended_at(self, indexes: Iterable[int]) -> float | None:
        """When the last of them ended; 0 for none, None while one has not."""
        last = 0.0
        for index in indexes:
            task = self.tasks[index]
            if task.outcome is None:
                return None
            last = max(last, task.ended_at)
        return last

    def _broken_at(self, parents: Iterable[int]) -> float | None:
        """When the first parent failed or was cancelled (C-6.15)."""
        ends = (self.tasks[parent] for parent in parents)
        return min(
            (task.ended_at for task in ends if _is(task, RunStatus.FAILED) or _is(task, RunStatus.CANCELLED)),
            default=None,
        )

    def _all_skipped(self, parents: tuple[int, ...]) -> bool:
        return bool(parents) and all(self.tasks[parent].outcome is Outcome.SKIPPED for parent in parents)

    # Status -----------------------------------------------------------------------------------------------------------

    def exists(self, index: int) -> bool:
        """Whether the task counts as created: it may run, or it has ended (C-6.13), be it before a replay."""
        return self.tasks[index].is_decided or self.tasks[index].is_seen

    def status(self) -> RunStatus:
        """C-6.7, C-6.10: while a task is open the run is QUEUED or RUNNING, whatever the others did."""
        if self.open:
            return RunStatus.RUNNING if any(task.is_seen for task in self.tasks) else RunStatus.QUEUED
        ends = {task.outcome.status for task in self.tasks if task.outcome is not None}
        for status in (RunStatus.FAILED, RunStatus.CANCELLED):
            if status in ends:
                return status
        return RunStatus.COMPLETED

    def attempts(self) -> int:
        """How many attempts its tasks have had; grows with every replay."""
        return sum(task.attempt + 1 for task in self.tasks)

    def finished_at(self) -> float:
        """When the last task ended."""
        return max(task.ended_at for task in self.tasks)

    def opened_at(self) -> float:
        """When it was triggered, or replayed for the last time."""
        return max(task.opened_at for task in self.tasks)


def _is(task: TaskFacts, status: RunStatus) -> bool:
    return task.outcome is not None and task.outcome.status is status


def _judge(condition: Condition, parent: TaskFacts, input_text: str) -> bool:
    """C-8.15, C-8.22, C-8.30."""
    given = {"input": json_value(input_text)} if input_text else {}
    text = SKIPPED_OUTPUT if parent.outcome is Outcome.SKIPPED else parent.output
    return holds(condition.expression, Use.PARENT_CONDITION, {"output": json_value(text or "{}"), **given})


def _form(conditions: tuple[Condition, ...], action: Action, met: tuple[int, ...]) -> bool | None:
    """Whether all groups of the action have a member that is met (C-8.4); None when the action has no conditions."""
    groups: dict[int, bool] = {}
    for number, condition in enumerate(conditions):
        if condition.action is action:
            groups[condition.or_group] = groups.get(condition.or_group, False) or number in met
    return all(groups.values()) if groups else None
