"""Which ready task goes to which worker: a pure function over the queues and the free slots.

A worker may receive work while it is assignable, has registered the action and has enough free units of every slot
type that the task asks for; all units are taken together (behaviour-core C-2.24, C-11.26). A task that fits nowhere is
stepped over and does not block those behind it (C-11.5). Equal workers take turns (C-11.8), and so do actions.
"""

from __future__ import annotations

from hatchet.core.ready_queue import ReadyQueues, ReadyTask

CHUNK = 64
"""Tasks of one action placed before the next action gets its turn."""


class WorkerSlots:
    """The part of a worker that placement looks at."""

    __slots__ = ("actions", "assignable", "capacity", "free", "id")

    def __init__(self, id: str, actions: frozenset[str], capacity: dict[str, int]) -> None:  # noqa: A002
        self.id = id
        self.actions = actions
        self.capacity = capacity
        self.free = dict(capacity)
        self.assignable = False

    def fits(self, units: dict[str, int]) -> bool:
        free = self.free
        return all(free.get(kind, 0) >= count for kind, count in units.items())

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

    def get(self, worker_id: str) -> WorkerSlots | None:
        return self._by_id.get(worker_id)

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

    def take(self, action: str, units: dict[str, int]) -> WorkerSlots | None:
        """The next worker in turn on which ``units`` fit, with the units taken; None when there is none."""
        workers = self._by_action.get(action)
        if not workers:
            return None
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


def place(queues: ReadyQueues, pool: WorkerPool, limit: int) -> list[tuple[ReadyTask, WorkerSlots]]:
    """Take up to ``limit`` tasks out of the queues, each with the worker whose units it has taken.

    The caller owns them afterwards: it assigns them, or puts them back and gives the units back.
    """
    placed: list[tuple[ReadyTask, WorkerSlots]] = []
    turns = [action for action in queues.actions() if pool.serves(action)]
    while turns and len(placed) < limit:
        again: list[str] = []
        for action in turns:
            room = min(CHUNK, limit - len(placed))
            if room <= 0:
                break
            if _place_some(queues, pool, action, room, placed) == room:
                again.append(action)
        turns = again
    return placed


def _place_some(
    queues: ReadyQueues, pool: WorkerPool, action: str, room: int, placed: list[tuple[ReadyTask, WorkerSlots]]
) -> int:
    count = 0
    misfits: set[str] = set()
    while count < room:
        task = queues.pop(action, misfits)
        if task is None:
            break
        step = task.version.tasks[0]
        worker = pool.take(action, step.slots)
        if worker is None:
            misfits.add(step.id)
            queues.put_back(task)
        else:
            placed.append((task, worker))
            count += 1
    if count:
        queues.served(action)
    return count
