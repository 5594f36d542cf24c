"""What a ready attempt passes before it waits for a worker, in one written order (design invariant 4).

1. The end of its workflow's pause.
2. A place for its run under the workflow's concurrency rules, when it is one of several tasks (behaviour-core C-9.12).
3. Places for itself, all together or none (C-9.15).
4. Units of its rate limits: looked at here, taken with the slots (C-10.12). Who finds too few gives its places back.
5. A batch, for batch tasks (C-16).

Everything here is memory of the tenant's owner and follows from rows: who holds a place is with a worker, or has begun.
Decisions are those of the pure classes in :mod:`hatchet.core`; here they are carried out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from typing import Any

from hatchet.core.batches import Batches, Due
from hatchet.core.clock import Clock
from hatchet.core.concurrency import Concurrency, Verdict
from hatchet.core.deadlines import GONE, WAITING
from hatchet.core.groups import Order
from hatchet.core.held import HeldTasks
from hatchet.core.ids import time_of
from hatchet.core.limits import NONE
from hatchet.core.parked import ParkedTasks
from hatchet.core.rate_limits import Lack, RateLimits
from hatchet.core.ready_queue import ReadyQueues
from hatchet.core.ready_task import INTERNAL_PRIORITY, LEVEL_SECONDS, ReadyTask
from hatchet.core.statuses import RunStatus
from hatchet.engine.open_runs import OpenRun

RUN_SUFFIX = "/run"
"""Tells a run's place from that of its only task, which has the same id; ids keep their order."""

Outrun = Callable[[list[str]], None]
"""Called with ids of runs and tasks that a concurrency rule cancels."""
Refuse = Callable[[ReadyTask, str], None]
"""Called with a task whose limits could not be computed, and the error text."""
Parked = Callable[[ReadyTask, Lack], None]
"""Called with a task that begins to wait for units."""


class Gates:
    """The attempts of one tenant that are ready and wait for something else than a worker."""

    def __init__(
        self,
        queues: ReadyQueues,
        held: HeldTasks,
        clock: Clock,
        *,
        outrun: Outrun,
        refuse: Refuse,
        parked: Parked,
        wake: Callable[[], None],
    ) -> None:
        self.concurrency = Concurrency()
        self.limits = RateLimits()
        self.parked = ParkedTasks(self.limits)
        self.batches = Batches()
        self.is_filling = True
        """Whether a take-over is under way: what holds places is not all known, so nobody gets one yet."""
        self._queues = queues
        self._held = held
        self._clock = clock
        self._outrun = outrun
        self._refuse = refuse
        self._tell_parked = parked
        self._wake = wake
        self._tasks: dict[str, ReadyTask] = {}
        self._of_runs: dict[str, dict[str, None]] = {}
        """Run id to the tasks that wait for the run's place."""
        self._runs: dict[str, OpenRun] = {}
        """The open runs that ask for a place."""
        self._broken: dict[str, str] = {}
        """Open runs whose place could not be computed, with the error text."""
        self._outrun_ids: set[str] = set()
        """Runs and tasks that are being cancelled by a rule: they start nothing any more."""
        self._arriving: list[tuple[bool, Order, ReadyTask | OpenRun]] = []
        self._lacking: list[tuple[ReadyTask, Lack]] = []
        self._promised: set[str] = set()
        """Tasks that waited for units and for which they are kept until they have taken them."""
        self._verdicts: deque[Verdict] = deque()
        self._is_applying = False

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._tasks

    def __iter__(self) -> Iterator[ReadyTask]:
        return iter(self._tasks.values())

    def get(self, task_id: str) -> ReadyTask | None:
        return self._tasks.get(task_id)

    def is_outrun(self, task: ReadyTask) -> bool:
        """Whether a rule is cancelling the task or its run."""
        return task.id in self._outrun_ids or (task.run_id or "") in self._outrun_ids

    def explain(self, task: ReadyTask, now: float) -> dict[str, Any]:
        """What keeps an attempt here, by the fields of :class:`hatchet.core.reasons.Waiting`."""
        error = task.limits.error or self._error_of_run(task)
        waits_for_run = task.id in self._of_runs.get(task.run_id or "", ())
        return {
            "is_ending": self.is_outrun(task) or error is not None,
            "is_filling": self.is_filling and task.id in self._tasks,
            "run_full": self.concurrency.full(f"{task.run_id}{RUN_SUFFIX}") if waits_for_run else (),
            "full": self.concurrency.full(task.id),
            "lack": self.parked.lack(task, now) if task.id in self.parked else None,
            "batch_size": self.batches.size_of(task) if task.id in self.batches else None,
        }

    # Tasks ----------------------------------------------------------------------------------------------------------

    def expect(self, tasks: Iterable[ReadyTask]) -> None:
        """Tasks that arrive together: what they say about rate limits counts before any of them asks (C-10.10)."""
        units = [one for task in tasks for one in task.limits.units if one.limit is not None]
        if units:
            self.limits.define(units, self._clock.now())

    def enter(self, task: ReadyTask) -> None:
        """An attempt is ready: it goes as far as it can, at best into the queue."""
        if task.id in self._tasks:
            return
        if self._held.is_paused(task):
            self._hold(task)
            return
        task.ready_at = self._held.ready_at(task)
        if task.limits is NONE and not task.version.rules:
            self._queues.push(task)
            self._wake()
            return
        self._tasks[task.id] = task
        task.place = WAITING
        self._queues.deadlines.push(task)
        error = task.limits.error or self._error_of_run(task)
        if error is not None:
            self._refuse(task, error)
        elif not self.is_outrun(task):
            self._ask_for_run(task)

    def discard(self, task_id: str) -> ReadyTask | None:
        """Take an attempt out that waits here; its places stay."""
        self._break_promise(task_id)
        task = self._tasks.pop(task_id, None)
        if task is not None:
            self._take_out(task)
            task.place = GONE
        return task

    def left(self, task_id: str) -> None:
        """The task has ended: its places are free (C-9.18)."""
        self._outrun_ids.discard(task_id)
        if task_id in self.concurrency:
            self._apply(self.concurrency.leave(task_id))

    def gave_up(self, task_id: str) -> None:
        """An attempt has ended and another follows after its delay: the places are free until then (C-9.14)."""
        if task_id in self.concurrency:
            self._apply(self.concurrency.step_back(task_id))

    def holds(self, task: ReadyTask) -> None:
        """The attempt is with a worker: it has its places, whatever the limits."""
        asks = task.limits.asks
        if asks and not self.concurrency.has_place(task.id):
            self.concurrency.hold(task.id, asks, _order(task))

    def pause(self) -> None:
        """The pauses have changed: what is in a batch's buffer, or in a queue with places, gives way."""
        for task in [task for task in self.batches if self._held.is_paused(task)]:
            self.discard(task.id)
            self._hold(task)

    def held(self, task: ReadyTask) -> None:
        """The task was taken out of the queue because of a pause."""
        self._hold(task)

    # Runs -----------------------------------------------------------------------------------------------------------

    def run_opened(self, run: OpenRun, *, is_active: bool = False) -> None:
        """A run of several tasks is known; one that has begun has its place.

        ``is_active``: a task of it is with a worker, or evicted (D-19.6). Whether a run that was replayed has begun
        again only that tells.
        """
        asks = run.limits.asks
        if run.limits.error is not None:
            self._broken[run.id] = run.limits.error
        if not asks or run.id in self._runs:
            return
        self._runs[run.id] = run
        if is_active or (run.state.status() is RunStatus.RUNNING and not run.is_replayed):
            self.concurrency.hold(run.id + RUN_SUFFIX, asks, _run_order(run))
        elif self.is_filling:
            self._arriving.append((not run.is_replayed, _run_order(run), run))
        else:
            self._apply(self._arrived(run))

    def run_closed(self, run_id: str) -> None:
        """All tasks of the run have ended (C-9.12)."""
        self._outrun_ids.discard(run_id)
        self._broken.pop(run_id, None)
        if self._runs.pop(run_id, None) is not None:
            self._of_runs.pop(run_id, None)
            self._apply(self.concurrency.leave(run_id + RUN_SUFFIX))

    # Time, limits, placement ----------------------------------------------------------------------------------------

    def filled(self) -> None:
        """A take-over is complete: those that wait ask for their places, in the order in which they would have."""
        self.is_filling = False
        arriving, self._arriving = self._arriving, []
        arriving = [entry for entry in arriving if self._still_asks(entry[2])]
        for _, order, one in arriving:
            # The newest one's limit is the group's, before anybody is admitted (C-9.5).
            self.concurrency.expect(_applicant(one), one.limits.asks, order)
        for _, _, one in sorted(arriving, key=lambda entry: entry[:2]):
            if isinstance(one, OpenRun):
                self._apply(self._arrived(one))
            elif self._still_asks(one):
                self._ask(one)
        self._apply(self.concurrency.settle())
        self._wake()

    def delayed(self, task: ReadyTask) -> None:
        """A retry that is in its delay at a take-over: the cancelling rules count it, as before (C-9.14)."""
        if task.limits.asks and task.id not in self.concurrency:
            self.holds(task)
            self.gave_up(task.id)

    def turn(self) -> None:
        """Units may be back: whoever waited for them asks again."""
        for task in self.parked.due(self._clock.now()):
            self._tasks[task.id] = task
            self._promised.add(task.id)
            self._ask(task)
            if self.concurrency.waits(task.id):
                # Who waits holds nothing: others may have the units.
                self._break_promise(task.id)

    def next_at(self) -> float | None:
        """When to look again, if nothing happens before: seconds since 1970."""
        times = [at for at in (self.parked.next_at(), self.batches.next_at()) if at is not None]
        return min(times, default=None)

    def admit(self, task: ReadyTask) -> bool:
        """Take the units of a task that has a worker; without them it will be parked by :meth:`park_lacking`."""
        now = self._clock.now()
        if task.id in self._promised:
            self._break_promise(task.id)
            lack = self.limits.lack(task.limits.units, now)
        else:
            lack = self.parked.lack(task, now)
        if lack is not None:
            self._lacking.append((task, lack))
            return False
        self.limits.take(task.limits.units, now)
        return True

    def park_lacking(self) -> None:
        """After a pass of placement: those that found too few units wait for them, and hold nothing meanwhile."""
        lacking, self._lacking = self._lacking, []
        for task, lack in lacking:
            self._tasks[task.id] = task
            self._park(task, lack)

    def flush(self, due: Due) -> list[ReadyTask]:
        """Take a batch out of its buffer, to be assigned."""
        tasks = self.batches.take(due)
        self.batches.started(*due.group)
        for task in tasks:
            del self._tasks[task.id]
        return tasks

    def unflush(self, tasks: Sequence[ReadyTask]) -> None:
        """Attempts of batches that were not assigned return to their buffers."""
        if tasks:
            self._tasks.update((task.id, task) for task in tasks)
            self.batches.put_back(tasks, self._clock.now())

    # Inside -----------------------------------------------------------------------------------------------------------

    def _still_asks(self, one: ReadyTask | OpenRun) -> bool:
        if isinstance(one, OpenRun):
            return one.id in self._runs
        return self._tasks.get(one.id) is one

    def _hold(self, task: ReadyTask) -> None:
        self._held.push(task)
        self.gave_up(task.id)

    def _take_out(self, task: ReadyTask) -> None:
        self.parked.discard(task.id)
        self.batches.discard(task.id)
        if task.run_id is not None:
            self._of_runs.get(task.run_id, {}).pop(task.id, None)

    def _error_of_run(self, task: ReadyTask) -> str | None:
        is_on_failure = task.step.index == task.version.graph.on_failure
        return None if is_on_failure else self._broken.get(task.run_id or "")

    def _ask_for_run(self, task: ReadyTask) -> None:
        run = self._runs.get(task.run_id or "")
        if run is not None and not self.concurrency.has_place(run.id + RUN_SUFFIX):
            self._of_runs.setdefault(run.id, {})[task.id] = None
            return
        self._ask(task)

    def _ask(self, task: ReadyTask) -> None:
        if not task.limits.asks:
            self._look_for_units(task)
        elif self.is_filling:
            self._arriving.append((task.level != INTERNAL_PRIORITY, _order(task), task))
        else:
            is_urgent = task.level == INTERNAL_PRIORITY
            asks, order = task.limits.asks, _order(task)
            self._apply(self.concurrency.arrive(task.id, asks, order, is_first=not task.attempt, is_urgent=is_urgent))

    def _arrived(self, run: OpenRun) -> Verdict:
        return self.concurrency.arrive(
            run.id + RUN_SUFFIX,
            run.limits.asks,
            _run_order(run),
            is_first=not run.is_replayed,
            is_urgent=run.is_replayed,
        )

    def _apply(self, verdict: Verdict) -> None:
        """Carry a verdict out. What follows from it waits for its turn: a chain of them may be long."""
        if verdict.admitted or verdict.cancelled:
            self._verdicts.append(verdict)
        if self._is_applying:
            return
        self._is_applying = True
        try:
            while self._verdicts:
                verdict = self._verdicts.popleft()
                self._cancel(verdict.cancelled)
                for id in verdict.admitted:  # noqa: A001
                    self._admitted(id)
        finally:
            self._is_applying = False

    def _admitted(self, id: str) -> None:  # noqa: A002
        if id.endswith(RUN_SUFFIX):
            for task_id in self._of_runs.pop(id.removesuffix(RUN_SUFFIX), {}):
                self._ask(self._tasks[task_id])
        elif (task := self._tasks.get(id)) is not None:
            self._look_for_units(task)

    def _cancel(self, ids: list[str]) -> None:
        named = [one.removesuffix(RUN_SUFFIX) for one in ids]
        self._outrun_ids.update(named)
        for id in named:  # noqa: A001
            run = self._runs.get(id)
            for task_id in [id] if run is None else run.task_ids:
                self._stop(task_id)
        if named:
            self._outrun(named)

    def _stop(self, task_id: str) -> None:
        """An attempt that waits starts no more: it waits here for its end."""
        task = self._queues.discard(task_id)
        if task is not None:
            self._tasks[task_id] = task
        elif task_id in self._tasks:
            self._take_out(self._tasks[task_id])

    def _look_for_units(self, task: ReadyTask) -> None:
        """The task has its places."""
        if self._held.is_paused(task):
            self.discard(task.id)
            self._hold(task)
            return
        now = self._clock.now()
        is_promised = not task.limits.units or task.id in self._promised
        lack = None if is_promised else self.parked.lack(task, now)
        if lack is not None:
            self._park(task, lack)
        elif task.limits.batch_key is not None:
            # C-10.22: they are taken here, because a batch must not fall apart at its flush.
            self._break_promise(task.id)
            self.limits.take(task.limits.units, now)
            self.batches.push(task, now)
            self._wake()
        else:
            del self._tasks[task.id]
            self._queues.push(task, has_waited=True)
            self._wake()

    def _break_promise(self, task_id: str) -> None:
        if task_id in self._promised:
            self._promised.discard(task_id)
            self.parked.discard(task_id)

    def _park(self, task: ReadyTask, lack: Lack) -> None:
        self._promised.discard(task.id)
        self.parked.push(task, lack, self._clock.now())
        self._tell_parked(task, lack)
        self._wake()
        self.gave_up(task.id)


def _applicant(one: ReadyTask | OpenRun) -> str:
    return one.id + RUN_SUFFIX if isinstance(one, OpenRun) else one.id


def _order(task: ReadyTask) -> Order:
    """Oldest first (C-9.19), with the head start of its priority; what was queued again comes before all (C-11.3)."""
    if task.level == INTERNAL_PRIORITY:
        return -inf, task.id
    return time_of(task.id) - LEVEL_SECONDS * task.level, task.id


def _run_order(run: OpenRun) -> Order:
    """At the level of the workflow higher priority comes first, then the oldest (C-9.7)."""
    return time_of(run.id) - LEVEL_SECONDS * run.priority, run.id
