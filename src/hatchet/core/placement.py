"""Which ready task goes to which worker: a pure function over the queues and the free slots.

A worker may receive work while it is assignable, has registered the action and has enough free units of every slot
type that the task asks for; all units are taken together (behaviour-core C-2.24, C-11.26). A task that fits nowhere is
stepped over and does not block those behind it (C-11.5). A task with wishes goes to the worker that meets them best
(C-11.18). Equal workers take turns (C-11.8), and so do actions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from hatchet.core.affinity import score
from hatchet.core.labels import DesiredLabels
from hatchet.core.ready_queue import Lineup, ReadyQueues
from hatchet.core.ready_task import ReadyTask
from hatchet.core.rules import Sticky

CHUNK = 64
"""Tasks of one action placed before the next action gets its turn."""


class WorkerSlots:
    """The part of a worker that placement looks at."""

    __slots__ = ("actions", "assignable", "capacity", "chosen_at", "free", "id", "labels")

    def __init__(
        self,
        id: str,  # noqa: A002
        actions: frozenset[str],
        capacity: dict[str, int],
        labels: Mapping[str, str | int] | None = None,
    ) -> None:
        self.id = id
        self.actions = actions
        self.capacity = capacity
        self.labels = labels if labels is not None else {}
        """May be replaced at any time, and counts from the next pass on (C-11.22)."""
        self.free = dict(capacity)
        self.assignable = False
        self.chosen_at = 0
        """When it was last chosen for a task with wishes, as a number of such choices of its pool."""

    def fits(self, units: dict[str, int]) -> bool:
        free = self.free
        for kind, count in units.items():  # noqa: SIM110 a generator costs more than the comparison
            if free.get(kind, 0) < count:
                return False
        return True

    def take(self, units: dict[str, int]) -> None:
        for kind, count in units.items():
            self.free[kind] = self.free.get(kind, 0) - count

    def give_back(self, units: dict[str, int]) -> None:
        for kind, count in units.items():
            self.free[kind] = self.free.get(kind, 0) + count


class WorkerPool:
    """The workers of one tenant, by id and by action."""

    def __init__(self) -> None:
        self._by_id: dict[str, WorkerSlots] = {}
        self._by_action: dict[str, list[WorkerSlots]] = {}
        self._turn: dict[str, int] = {}
        self._choices = 0

    def get(self, worker_id: str) -> WorkerSlots | None:
        return self._by_id.get(worker_id)

    def workers(self) -> list[WorkerSlots]:
        """All workers."""
        return list(self._by_id.values())

    def ids(self) -> list[str]:
        return list(self._by_id)

    def add(self, worker: WorkerSlots) -> None:
        self.remove(worker.id)
        self._by_id[worker.id] = worker
        for action in worker.actions:
            self._by_action.setdefault(action, []).append(worker)

    def remove(self, worker_id: str) -> None:
        worker = self._by_id.pop(worker_id, None)
        if worker is None:
            return
        for action in worker.actions:
            others = [other for other in self._by_action[action] if other is not worker]
            if others:
                self._by_action[action] = others
            else:
                del self._by_action[action]
                self._turn.pop(action, None)

    def serves(self, action: str) -> bool:
        """Whether a worker that may receive work has registered ``action``."""
        return any(worker.assignable for worker in self._by_action.get(action, ()))

    def has_room(self, action: str, units: dict[str, int]) -> bool:
        """Whether ``units`` of a task without wishes would fit on a worker now."""
        for worker in self._by_action.get(action, ()):  # noqa: SIM110 as in WorkerSlots.fits
            if worker.assignable and worker.fits(units):
                return True
        return False

    def take(
        self,
        action: str,
        units: dict[str, int],
        labels: DesiredLabels = (),
        desired: str | None = None,
        *,
        hard: bool = False,
    ) -> WorkerSlots | None:
        """A worker on which ``units`` fit, with the units taken; None when there is none.

        It is the ``desired`` one if that can take them; with ``hard`` no other (C-11.9). Else without ``labels`` it is
        the next in turn, with them the one that meets them best.
        """
        workers = self._by_action.get(action)
        if not workers:
            return None
        if desired is not None:
            wanted = self._by_id.get(desired)
            if wanted is not None and action in wanted.actions and wanted.assignable and wanted.fits(units):
                wanted.take(units)
                return wanted
            if hard:
                return None
        if labels:
            return self._take_best(workers, units, labels)
        count = len(workers)
        start = self._turn.get(action, 0)
        for offset in range(count):
            index = (start + offset) % count
            worker = workers[index]
            if worker.assignable and worker.fits(units):
                worker.take(units)
                self._turn[action] = index + 1
                return worker
        return None

    def _take_best(
        self, workers: Sequence[WorkerSlots], units: dict[str, int], labels: DesiredLabels
    ) -> WorkerSlots | None:
        """The worker with the highest score (C-11.18); of several the one that was not chosen for longest (C-11.8).

        The turn of the action would not spread them: with other tasks between them it could come round to the same
        worker every time.
        """
        best: WorkerSlots | None = None
        best_score = 0
        for worker in workers:
            if not (worker.assignable and worker.fits(units)):
                continue
            points = score(labels, worker.labels)
            if points is None:
                continue
            if best is None or (points, -worker.chosen_at) > (best_score, -best.chosen_at):
                best, best_score = worker, points
        if best is not None:
            self._choices += 1
            best.chosen_at = self._choices
            best.take(units)
        return best


Admit = Callable[[ReadyTask], bool]
"""Takes what a task needs besides a worker's slots, or says that it is not there and takes the task over."""


def place(
    queues: ReadyQueues, pool: WorkerPool, limit: int, admit: Admit | None = None
) -> list[tuple[ReadyTask, WorkerSlots]]:
    """Take up to ``limit`` tasks out of the queues, each with the worker whose units it has taken.

    The caller owns them afterwards: it assigns them, or puts them back and gives the units back. ``admit`` is asked for
    a task that fits on a worker and has rate limits: slots and units are taken together or not at all.
    """
    placed: list[tuple[ReadyTask, WorkerSlots]] = []
    lineups: dict[str, Lineup] = {}
    turns = [action for action in queues.actions() if pool.serves(action)]
    while turns and len(placed) < limit:
        again: list[str] = []
        for action in turns:
            room = min(CHUNK, limit - len(placed))
            if room <= 0:
                break
            lineup = lineups.get(action)
            if lineup is None:
                lineup = lineups[action] = queues.lineup(action, partial(pool.has_room, action))
            count = _place_some(queues, pool, lineup, room, placed, admit)
            if count:
                queues.served(action)
            if count == room:
                again.append(action)
        turns = again
    return placed


def _place_some(
    queues: ReadyQueues,
    pool: WorkerPool,
    lineup: Lineup,
    room: int,
    placed: list[tuple[ReadyTask, WorkerSlots]],
    admit: Admit | None,
) -> int:
    count = 0
    while count < room and (task := lineup.first()) is not None:
        step = task.step
        action = step.definition.action
        worker = pool.take(
            action, step.slots, task.labels, task.desired_worker, hard=task.version.sticky is Sticky.HARD
        )
        if worker is not None:
            queues.take(lineup)
            if admit is None or not task.limits.units or admit(task):
                placed.append((task, worker))
                count += 1
            else:
                worker.give_back(step.slots)
        elif (task.labels or task.desired_worker) and pool.has_room(action, step.slots):
            lineup.skip_lane()
        else:
            lineup.skip_step()
    return count
