"""The rules of a run's tasks written a second time, slowly and from the contract's sentences, to compare with.

Where :mod:`hatchet.core.run_state` computes when each condition is met, this asks at every instant of the run's life
what is true then (behaviour-core C-6.7, C-6.14 to C-6.16, C-6.45, C-8.4 to C-8.8, C-8.16 to C-8.18, C-8.38).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hatchet.core.conditions import Action, Condition, Kind
from hatchet.core.definitions import StoredTask, StoredVersion
from hatchet.core.run_tasks import Verdict
from hatchet.core.statuses import Outcome, RunStatus

EXPRESSIONS: Mapping[str, Callable[[Any], bool]] = {
    "": lambda output: True,
    "output.n > 1": lambda output: "n" in output and output["n"] > 1,
    "output.n == 0": lambda output: "n" in output and output["n"] == 0,
    "has(output.skipped)": lambda output: "skipped" in output,
    "output.missing == 1": lambda output: False,
}
"""What the random workflows judge outputs by, and the same in Python."""

COMPLETED = (Outcome.COMPLETED, Outcome.SKIPPED)


@dataclass(frozen=True)
class End:
    """How and when a task ended."""

    outcome: Outcome
    at: float
    output: str | None = None


@dataclass
class Oracle:
    """What should have been decided by ``now``, from what workers and people did and which events matched."""

    version: StoredVersion
    created_at: float
    now: float
    done: Mapping[int, End]
    """How tasks ended that ran, or that a person cancelled."""
    matches: Mapping[int, Mapping[int, float]]
    """Task to condition to the time of its event."""
    ends: dict[int, End] = field(default_factory=dict)
    verdicts: dict[int, tuple[Verdict, float]] = field(default_factory=dict)

    def run(self) -> Oracle:
        tasks = self.version.tasks
        while missing := [task for task in tasks if task.index not in self.verdicts]:
            ready = [t for t in missing if all(i in self.verdicts for i in self._looked_at(t))]
            for task in ready:
                self._decide(task)
        return self

    def _looked_at(self, task: StoredTask) -> Iterable[int]:
        return range(task.index) if task.index == self.version.graph.on_failure else self._parents(task)

    def _parents(self, task: StoredTask) -> list[int]:
        names = [other.definition.readable_id for other in self.version.tasks]
        return [names.index(parent) for parent in set(task.definition.parents)]

    def _decide(self, task: StoredTask) -> None:
        verdict, at = Verdict.WAIT, 0.0
        for instant in self._instants(task):
            verdict, at = self._at(task, instant), instant
            if verdict is not Verdict.WAIT:
                break
        self.verdicts[task.index] = (verdict, at if verdict is not Verdict.WAIT else 0.0)
        if task.index in self.done:
            self.ends[task.index] = self.done[task.index]
        elif verdict is Verdict.SKIP:
            self.ends[task.index] = End(Outcome.SKIPPED, at, '{"skipped": true}')
        elif verdict is Verdict.CANCEL:
            self.ends[task.index] = End(Outcome.CANCELLED, at)

    def _instants(self, task: StoredTask) -> list[float]:
        """Every moment at which something could change."""
        instants = {self.created_at, *(end.at for end in self.ends.values())}
        instants |= set(self.matches.get(task.index, {}).values())
        for at in list(instants):
            instants |= {at + self._seconds(one) for one in task.definition.conditions if one.kind is Kind.SLEEP}
        return sorted(at for at in instants if at <= self.now)

    def _at(self, task: StoredTask, instant: float) -> Verdict:
        if task.index == self.version.graph.on_failure:
            return self._on_failure_at(task, instant)
        parents = self._parents(task)
        known = [self.ends[p] for p in parents if p in self.ends and self.ends[p].at <= instant]
        are_over = len(known) == len(parents)
        conditions = task.definition.conditions
        truth = [self._is_true(task, number, instant) for number in range(len(conditions))]
        verdict = self._verdict(conditions, truth, known, are_over)
        if verdict is Verdict.WAIT and are_over and conditions:
            # C-8.16: if even every sleep and every event would not help, it is over.
            best = [true or one.kind is not Kind.PARENT for true, one in zip(truth, conditions, strict=True)]
            if self._verdict(conditions, best, known, are_over) is Verdict.WAIT:
                return Verdict.CANCEL
        return verdict

    def _verdict(
        self, conditions: tuple[Condition, ...], truth: list[bool], known: list[End], are_over: bool
    ) -> Verdict:
        has_override = any(one.action is Action.SKIP and one.kind is Kind.PARENT for one in conditions)
        all_skipped = are_over and known != [] and {end.outcome for end in known} == {Outcome.SKIPPED}
        if _satisfied(conditions, truth, Action.SKIP) or (all_skipped and not has_override):
            return Verdict.SKIP
        if _satisfied(conditions, truth, Action.CANCEL) or any(end.outcome not in COMPLETED for end in known):
            return Verdict.CANCEL
        waits = any(one.action is Action.QUEUE for one in conditions)
        if are_over and (not waits or _satisfied(conditions, truth, Action.QUEUE)):
            return Verdict.QUEUE
        return Verdict.WAIT

    def _is_true(self, task: StoredTask, number: int, instant: float) -> bool:
        condition = task.definition.conditions[number]
        if condition.kind is Kind.PARENT:
            end = self.ends.get(self.version.graph.index_of[condition.parent or ""])
            if end is None or end.at > instant or end.outcome not in COMPLETED:
                return False
            return EXPRESSIONS[condition.expression](json.loads(end.output or "{}"))
        if condition.kind is Kind.EVENT:
            return self.matches.get(task.index, {}).get(number, instant + 1) <= instant
        parents = self._parents(task)
        if any(parent not in self.ends for parent in parents):
            return False
        registered = max([self.created_at, *(self.ends[parent].at for parent in parents)])
        return registered <= instant and registered + self._seconds(condition) <= instant

    def _on_failure_at(self, task: StoredTask, instant: float) -> Verdict:
        known = [end for index, end in self.ends.items() if index != task.index and end.at <= instant]
        if any(end.outcome.status is RunStatus.FAILED for end in known):
            return Verdict.QUEUE
        return Verdict.SKIP if len(known) == task.index else Verdict.WAIT

    def _seconds(self, condition: Condition) -> float:
        return float((condition.sleep_for or "").removesuffix("s"))


def _satisfied(conditions: tuple[Condition, ...], truth: list[bool], action: Action) -> bool:
    groups = {one.or_group for one in conditions if one.action is action}
    return groups != set() and all(
        any(true for true, one in zip(truth, conditions, strict=True) if one.action is action and one.or_group == group)
        for group in groups
    )


def status_of(outcomes: list[Outcome | None], was_any_seen: bool) -> RunStatus:
    """C-6.7 as it is written, for tasks without EVICTED."""
    if not was_any_seen:
        return RunStatus.QUEUED
    if None in outcomes:
        return RunStatus.RUNNING
    names = {outcome.status for outcome in outcomes if outcome is not None}
    return next((s for s in (RunStatus.FAILED, RunStatus.CANCELLED) if s in names), RunStatus.COMPLETED)
