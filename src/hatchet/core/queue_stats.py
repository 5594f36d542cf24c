"""How many attempts wait and run, by task, queue and concurrency key (behaviour-rest R-12.5, R-12.7 to R-12.9)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from heapq import nlargest
from typing import Any

from hatchet.core.ready_task import ReadyTask
from hatchet.core.rules import Strategy

MOST_KEYS = 1000
"""Of a rule with more keys those with the most attempts are told: keys may be as many as users."""


@dataclass(slots=True)
class RuleCount:
    """Attempts by the key of their group, for one concurrency rule."""

    expression: str
    strategy: Strategy
    keys: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Standing:
    """The attempts of one task that wait, or those that run."""

    total: int = 0
    queues: dict[str, int] = field(default_factory=dict)
    """By action, the name of the queue."""
    rules: dict[str, RuleCount] = field(default_factory=dict)
    """By the id of the rule."""
    oldest: float | None = None
    """Since when the one that waits (runs) longest does; seconds since 1970."""
    oldest_first_try: float | None = None
    """The same of those that are no retries."""

    def count(self, task: ReadyTask, since: float) -> None:
        """One attempt more."""
        self.total += 1
        action = task.step.definition.action
        self.queues[action] = self.queues.get(action, 0) + 1
        if self.oldest is None or since < self.oldest:
            self.oldest = since
        if task.retry_count == 0 and (self.oldest_first_try is None or since < self.oldest_first_try):
            self.oldest_first_try = since
        for ask in task.limits.asks:
            rule = self.rules.get(ask.rule)
            if rule is None:
                rule = self.rules[ask.rule] = RuleCount(_expression(task, ask.rule), ask.strategy)
            rule.keys[ask.key] = rule.keys.get(ask.key, 0) + 1


@dataclass(slots=True)
class TaskStats:
    """One task, by its readable id."""

    queued: Standing = field(default_factory=Standing)
    running: Standing = field(default_factory=Standing)


class Tally:
    """Counts attempts one after the other."""

    def __init__(self) -> None:
        self.by_name: dict[str, TaskStats] = {}

    def waits(self, tasks: Iterable[ReadyTask], now: float) -> None:
        """These wait: for a worker, a place, units, the end of a pause or of their retry delay. Evicted ones do not."""
        for task in tasks:
            if not task.is_evicted:
                self._of(task).queued.count(task, min(task.ready_at, now))

    def runs(self, tasks: Iterable[tuple[ReadyTask, float]]) -> None:
        """These are with a worker, each since a time."""
        for task, since in tasks:
            self._of(task).running.count(task, since)

    def _of(self, task: ReadyTask) -> TaskStats:
        name = task.step.definition.readable_id
        found = self.by_name.get(name)
        if found is None:
            found = self.by_name[name] = TaskStats()
        return found


def to_data(stats: Mapping[str, TaskStats]) -> dict[str, Any]:
    """For another instance, as JSON."""
    data: dict[str, Any] = {}
    for name, one in stats.items():
        data[name] = asdict(one)
        for standing in data[name].values():
            for rule in standing["rules"].values():
                rule["strategy"] = rule["strategy"].value
                rule["keys"] = dict(nlargest(MOST_KEYS, rule["keys"].items(), key=lambda pair: pair[1]))
    return data


def from_data(data: Mapping[str, Any]) -> dict[str, TaskStats]:
    """What :func:`to_data` made."""
    return {name: TaskStats(**{kind: _standing(given) for kind, given in one.items()}) for name, one in data.items()}


def _standing(data: Mapping[str, Any]) -> Standing:
    rules = {
        name: RuleCount(**{**given, "strategy": Strategy(given["strategy"])}) for name, given in data["rules"].items()
    }
    return Standing(**{**data, "rules": rules})


def _expression(task: ReadyTask, rule_id: str) -> str:
    return next((rule.definition.expression for rule in task.step.rules if rule.id == rule_id), rule_id)
