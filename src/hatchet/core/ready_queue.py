"""The tasks of one tenant that wait for a worker, in memory, in the order in which they will start.

Everything here can be rebuilt from rows. It is sized for hundreds of thousands of waiting tasks: one small object and
one dictionary entry a task, no index per task beyond that. Order is priority, then insertion (behaviour-core C-11.1),
with a head start of a minute a level instead of for ever; retries and reassignments come before every user priority
(C-11.3). Tasks that want different worker labels do not wait for each other (C-11.5).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heapreplace

from hatchet.core.deadlines import GONE, TAKEN, WAITING, Deadlines
from hatchet.core.definitions import StoredTask
from hatchet.core.labels import DesiredLabels
from hatchet.core.ready_task import LEVELS, ReadyTask, urgency
from hatchet.core.turns import Turns

Wishes = tuple[DesiredLabels, str | None]
"""What a task wants of its worker: labels, or one worker."""


class Lane:
    """Waiting tasks of one step with the same wishes: what one of them fits, all of them fit.

    A FIFO per level; where concurrency rules group the tasks, the groups take turns.
    """

    __slots__ = ("_levels", "size", "step", "wishes")

    def __init__(self, step: StoredTask, wishes: Wishes) -> None:
        self.step = step
        self.wishes = wishes
        self.size = 0
        """Number of waiting tasks; the FIFOs may also hold some that are GONE."""
        self._levels: list[deque[ReadyTask] | Turns | None] = [None] * LEVELS

    def level(self, level: int) -> deque[ReadyTask] | Turns:
        """The FIFO of a level. Made when first used: there may be as many lanes as tasks, and a deque is large."""
        tasks = self._levels[level]
        if tasks is None:
            tasks = self._levels[level] = Turns() if self.step.rules else deque()
        return tasks

    def head(self) -> ReadyTask | None:
        """The first waiting task; entries that are GONE are dropped on the way."""
        first: ReadyTask | None = None
        for tasks in reversed(self._levels):
            while tasks and tasks[0].place != WAITING:
                tasks.popleft()
            if tasks and (first is None or urgency(tasks[0]) < urgency(first)):
                first = tasks[0]
        return first

    def compact(self, level: int) -> None:
        """Drop the entries that are GONE once most of them are."""
        tasks = self._levels[level]
        if tasks is not None and len(tasks) > 2 * self.size + 100:
            waiting = [task for task in tasks if task.place == WAITING]
            self._levels[level] = Turns(waiting) if isinstance(tasks, Turns) else deque(waiting)


class ActionQueue:
    """The ready tasks of one action, in lanes by step and wishes.

    Lanes of their own, so that any number of tasks that fit nowhere is stepped over at once (C-11.5). Most actions have
    one step and no wishes; several versions of a workflow may share an action, and every run may have its own wishes.
    """

    __slots__ = ("_lanes", "size")

    def __init__(self) -> None:
        self._lanes: dict[str, dict[Wishes, Lane]] = {}
        """Step id and wishes to lane; no lane is empty."""
        self.size = 0

    def push(self, task: ReadyTask) -> None:
        task.place = WAITING
        lane = self._lane(task)
        lane.level(task.level).append(task)
        lane.size += 1
        self.size += 1

    def push_front(self, task: ReadyTask) -> None:
        """Return a task that was taken out to where it was."""
        task.place = WAITING
        lane = self._lane(task)
        lane.level(task.level).appendleft(task)
        lane.size += 1
        self.size += 1

    def discard(self, task: ReadyTask) -> None:
        """Take a waiting task out; its entry in the FIFO goes when it comes up, or with others once they pile up."""
        task.place = GONE
        lane = self._lanes[task.step.id][task.labels, task.desired_worker]
        self.took_out(lane)
        lane.compact(task.level)

    def lineup(self, has_room: Callable[[dict[str, int]], bool]) -> Lineup:
        """The lanes, without those of steps that are known to fit nowhere because there is no room for their units."""
        entries: list[Entry] = []
        for lanes in self._lanes.values():
            # A lane that is alone with its step costs no more to try than to ask for.
            if len(lanes) > 1 and not has_room(next(iter(lanes.values())).step.slots):
                continue
            for lane in lanes.values():
                task = lane.head()
                if task is not None:
                    entries.append(_entry(task, lane))
        return Lineup(self, entries)

    def took_out(self, lane: Lane) -> None:
        """One task less waits in ``lane``."""
        self.size -= 1
        lane.size -= 1
        if not lane.size:
            lanes = self._lanes[lane.step.id]
            del lanes[lane.wishes]
            if not lanes:
                del self._lanes[lane.step.id]

    def _lane(self, task: ReadyTask) -> Lane:
        step = task.step
        lanes = self._lanes.get(step.id)
        if lanes is None:
            lanes = self._lanes[step.id] = {}
        wishes = (task.labels, task.desired_worker)
        lane = lanes.get(wishes)
        if lane is None:
            lane = lanes[wishes] = Lane(step, wishes)
        # Equal wishes are kept once, however many runs bring their own.
        task.labels = lane.wishes[0]
        return lane


class Lineup:
    """The lanes of one action in the order of their first tasks, for one pass of placement.

    Valid while nothing but the pass changes the queue. Each look at the next task costs the logarithm of the number of
    lanes, so a pass over many lanes that fit nowhere stays affordable.
    """

    __slots__ = ("_heap", "_queue")

    def __init__(self, queue: ActionQueue, entries: list[Entry]) -> None:
        self._queue = queue
        self._heap = entries
        heapify(entries)

    def first(self) -> ReadyTask | None:
        """The next task; it stays where it is."""
        return self._heap[0][3] if self._heap else None

    def take(self) -> ReadyTask:
        """Take the task that :meth:`first` shows out of its queue; it is now TAKEN."""
        _, _, _, task, lane = self._heap[0]
        lane.level(task.level).popleft()
        task.place = TAKEN
        self._queue.took_out(lane)
        following = lane.head() if lane.size else None
        if following is None:
            heappop(self._heap)
        else:
            heapreplace(self._heap, _entry(following, lane))
        return task

    def skip_lane(self) -> None:
        """Leave out the tasks that have the step and the wishes of the first."""
        heappop(self._heap)

    def skip_step(self) -> None:
        """Leave out all tasks that have the step of the first, whatever their wishes."""
        step_id = self._heap[0][4].step.id
        self._heap = [entry for entry in self._heap if entry[4].step.id != step_id]
        heapify(self._heap)


Entry = tuple[float, float, str, ReadyTask, Lane]
"""Sorts by urgency, then insertion; ids are unique, so that tasks and lanes are never compared."""


def _entry(task: ReadyTask, lane: Lane) -> Entry:
    return urgency(task), task.ready_at, task.id, task, lane


class ReadyQueues:
    """All ready tasks of a tenant, by action."""

    def __init__(self) -> None:
        self._queues: dict[str, ActionQueue] = {}
        self._by_id: dict[str, ReadyTask] = {}
        self.deadlines: Deadlines[ReadyTask] = Deadlines()
        """Also of the tasks that wait elsewhere and come here later."""

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._by_id

    def __iter__(self) -> Iterator[ReadyTask]:
        return iter(self._by_id.values())

    def get(self, task_id: str) -> ReadyTask | None:
        return self._by_id.get(task_id)

    def push(self, task: ReadyTask, *, has_waited: bool = False) -> None:
        """Add a task behind those of its level. A task that is already here is left as it is.

        ``has_waited``: its deadline is known already.
        """
        if task.id in self._by_id:
            return
        self._by_id[task.id] = task
        self._queue(task).push(task)
        if not has_waited:
            self.deadlines.push(task)

    def put_back(self, task: ReadyTask, *, was_away: bool = False) -> None:
        """A task that was taken but not assigned goes to the front of its level.

        ``was_away``: time has passed since then, so its place in the order of timeouts may be gone.
        """
        self._by_id[task.id] = task
        self._queue(task).push_front(task)
        if was_away:
            self.deadlines.push_front(task)

    def lineup(self, action: str, has_room: Callable[[dict[str, int]], bool]) -> Lineup:
        """The next tasks of ``action``; ``has_room`` tells whether units (slot type to number) would fit anywhere."""
        queue = self._queues.get(action)
        return (queue if queue is not None else ActionQueue()).lineup(has_room)

    def take(self, lineup: Lineup) -> ReadyTask:
        """The first task of ``lineup``, out of its queue.

        It counts as being assigned until it is put back or its ``place`` is set to GONE.
        """
        task = lineup.take()
        del self._by_id[task.id]
        return task

    def served(self, action: str) -> None:
        """The action had its turn: the others come first the next time."""
        queue = self._queues.pop(action, None)
        if queue is not None and queue.size:
            self._queues[action] = queue

    def discard(self, task_id: str) -> ReadyTask | None:
        """Take a waiting task out (cancelled, timed out, settled elsewhere)."""
        task = self._by_id.pop(task_id, None)
        if task is not None:
            action = task.step.definition.action
            queue = self._queues[action]
            queue.discard(task)
            if not queue.size:
                del self._queues[action]
        return task

    def actions(self) -> list[str]:
        """The actions that have ready tasks."""
        return [action for action, queue in self._queues.items() if queue.size]

    def _queue(self, task: ReadyTask) -> ActionQueue:
        action = task.step.definition.action
        queue = self._queues.get(action)
        if queue is None:
            queue = self._queues[action] = ActionQueue()
        return queue
