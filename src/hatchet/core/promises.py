"""Units of rate limits that are left for tasks which may start now and have not taken them yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from hatchet.core.deadlines import WAITING
from hatchet.core.ready_task import ReadyTask

SPARE = 1000


@dataclass(slots=True)
class _Promise:
    units: int = 0
    by_task: dict[str, int] = field(default_factory=dict)


class Promises:
    """Who was promised how much. Nothing is lost when nobody says that a promise was kept: the task's place tells."""

    def __init__(self) -> None:
        self._tasks: dict[str, ReadyTask] = {}
        self._by_key: dict[str, _Promise] = {}
        self._room = SPARE

    def add(self, task: ReadyTask) -> None:
        """Leave its units for the task until it has taken them."""
        if len(self._tasks) >= self._room:
            self._end_all(self._tasks)
            self._room = 2 * len(self._tasks) + SPARE
        self._tasks[task.id] = task
        for want in task.limits.units:
            promise = self._by_key.setdefault(want.key, _Promise())
            promise.units += want.units
            promise.by_task[task.id] = want.units

    def end(self, task_id: str) -> list[str]:
        """The task has its units or does not need them; the keys of which others may get them now."""
        task = self._tasks.pop(task_id, None)
        if task is None:
            return []
        for want in task.limits.units:
            promise = self._by_key[want.key]
            promise.units -= promise.by_task.pop(task_id)
            if not promise.by_task:
                del self._by_key[want.key]
        return [want.key for want in task.limits.units]

    def forget_kept(self, key: str) -> list[str]:
        """End the promises of a key whose tasks wait no more, as :meth:`end` does."""
        promise = self._by_key.get(key)
        return self._end_all(promise.by_task) if promise is not None else []

    def of_keys(self, task: ReadyTask) -> dict[str, int]:
        """How many units of the keys that ``task`` needs are promised to others."""
        by_key = self._by_key
        return {want.key: by_key[want.key].units for want in task.limits.units if want.key in by_key}

    def _end_all(self, task_ids: Iterable[str]) -> list[str]:
        kept = [task_id for task_id in task_ids if self._tasks[task_id].place != WAITING]
        return [key for task_id in kept for key in self.end(task_id)]
