"""Station 6 for runs of several tasks: what a task's end, a sleep or an event starts, skips, cancels or finishes.

Belongs to a tenant's scheduler, in the instance that owns the tenant. Decisions are those of
:class:`hatchet.core.run_state.RunState`, which follow from committed facts; the rows written here (skipped and
cancelled tasks, the run's end) only spare others the deciding, and are decided again should they get lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import inf

import structlog

from hatchet.core.clock import Clock
from hatchet.core.messages import RunFinished
from hatchet.core.payloads import TaskEnd
from hatchet.core.ready_task import ReadyTask
from hatchet.core.run_events import RunEventKind
from hatchet.core.run_tasks import SKIPPED_OUTPUT, Decision, Verdict
from hatchet.core.statuses import Outcome
from hatchet.engine.bus import Bus
from hatchet.engine.open_runs import OpenRun, OpenRuns
from hatchet.engine.publish import Results
from hatchet.engine.run_events import RunEvents
from hatchet.engine.run_facts import run_finished
from hatchet.engine.run_writes import Closed, RunWrites
from hatchet.engine.sleeps import Sleeps
from hatchet.engine.waits import EventWaits
from hatchet.store.leases import HeldLease
from hatchet.store.pool import Database
from hatchet.store.runs import NewMatch, RunEnding
from hatchet.store.tasks import NewResult

log = structlog.get_logger("hatchet.engine")

Enqueue = Callable[[ReadyTask], None]
AGAIN_SECONDS = 1.0


class RunBook:
    """The open runs of one tenant."""

    def __init__(
        self,
        tenant_id: str,
        lease: HeldLease,
        *,
        database: Database,
        runs: OpenRuns,
        results: Results,
        run_events: RunEvents,
        bus: Bus,
        clock: Clock,
        enqueue: Enqueue,
        closed: Callable[[str], None],
    ) -> None:
        """``closed`` is called with the id of a run whose tasks have all ended."""
        self._tenant_id = tenant_id
        self._lease = lease
        self._runs = runs
        self._results = results
        self._run_events = run_events
        self._bus = bus
        self._clock = clock
        self._enqueue = enqueue
        self._closed = closed
        self._mine: dict[str, OpenRun] = {}
        self._reopened: dict[str, float] = {}
        """What was replayed or evicted, and when."""
        self._unsettled: dict[str, list[int]] = {}
        """Tasks that have ended, by run, and of which nothing followed yet."""
        self._sleeps = Sleeps(clock, self._woken)
        self._waits = EventWaits(tenant_id, lease, database, clock, self._matched, self._asked)
        self._writes = RunWrites(tenant_id, lease, database, self._written)

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._mine

    def __len__(self) -> int:
        return len(self._mine)

    def get(self, run_id: str) -> OpenRun | None:
        """An open run of the tenant."""
        return self._mine.get(run_id)

    @property
    def waits(self) -> EventWaits:
        """Who waits for events."""
        return self._waits

    def oldest(self) -> str | None:
        """The lowest id among the runs that the list of reopened ones does not name."""
        return min((run_id for run_id, run in self._mine.items() if not run.is_reopened), default=None)

    # Facts ------------------------------------------------------------------------------------------------------------

    def opened(self, run: OpenRun) -> None:
        """A run was committed, or read back; its undecided tasks are looked at."""
        if run.id in self._mine:
            return
        self._mine[run.id] = run
        self._runs.put(run)
        if run.is_reopened:
            self.reopened(run.id, run.state.opened_at())
        self.advance(run, run.state.undecided())

    def reopened(self, id: str, at: float) -> None:  # noqa: A002
        """A run, or a task that is a run of its own, was replayed, or was evicted then: it is named in the list of what
        may be old and open.
        """
        self._reopened[id] = max(at, self._reopened.get(id, 0.0))
        self._results.forget([id])

    def evicted(self, task: ReadyTask, at: float) -> None:
        """A task was evicted (D-17.8): with that its run was named in the list of what may be old and open."""
        run = self._mine.get(task.run_id or "")
        if run is not None:
            run.is_reopened = True
        if run is not None or task.run_id is None:
            self.reopened(task.run_id or task.id, at)

    def is_named(self, task: ReadyTask) -> bool:
        """Whether a take-over finds the task by that list, however old it is."""
        return (task.run_id or task.id) in self._reopened

    def closed(self, id: str) -> None:  # noqa: A002
        """It has ended; if it is named in that list, its name goes, unless it was replayed once more."""
        replayed_at = self._reopened.pop(id, None)
        if replayed_at is not None:
            self._writes.add(Closed(id, replayed_at))

    def drop(self, run_id: str) -> None:
        """Forget a run: its rows say something that this picture does not, so it is read anew."""
        run = self._mine.pop(run_id, None)
        if run is not None:
            self._runs.remove(run_id)
            self._waits.forget(run_id)
            self._sleeps.forget(run_id)

    def ended(self, task: ReadyTask, outcome: Outcome, at: float, output: str | None, error: str | None) -> None:
        """A task's last attempt has ended; what follows is decided by :meth:`settle`."""
        run = self._mine.get(task.run_id or "")
        if run is None or not run.state.ended(task.step.index, task.attempt, outcome, at, output):
            return
        self._runs.keep_end(run, task.step.index, TaskEnd(outcome, output, error))
        self._unsettled.setdefault(run.id, []).append(task.step.index)

    def settle(self) -> None:
        """Decide what follows from the ends that were told: all that were committed together are known before that."""
        unsettled, self._unsettled = self._unsettled, {}
        for run_id, indexes in unsettled.items():
            run = self._mine.get(run_id)
            if run is None:
                continue
            try:
                self.advance(run, [after for index in indexes for after in run.state.after(index)])
            except Exception as error:
                # The ends are committed, and the other runs have nothing to do with it.
                log.error("could not go on with a run, trying again", run=run_id, exc_info=error)
                self._unsettled.setdefault(run_id, []).extend(indexes)

    def given(self, task: ReadyTask, worker_id: str) -> None:
        """A task is with a worker; where runs are sticky that is where its children should go (C-11.11)."""
        if task.run_id is not None and task.version.sticky is not None:
            run = self._mine.get(task.run_id)
            if run is not None:
                run.workers[task.step.index] = worker_id

    def retried(self, task: ReadyTask) -> None:
        """A further attempt of a task is open."""
        run = self._mine.get(task.run_id or "")
        if run is not None:
            run.state.retried(task.step.index, task.attempt, task.evictions)

    def advance(self, run: OpenRun, indexes: Iterable[int]) -> None:
        """Decide these tasks of a run, and do what that decides."""
        heard = partial(self._heard, run) if run.version.graph.listening else None
        for change in run.state.advance(indexes, self._clock.now(), heard):
            index, decision = change.index, change.decision
            if decision.verdict is not Verdict.WAIT:
                self._waits.forget(run.id, index)
                self._sleeps.forget(run.id, index)
            if decision.verdict is Verdict.QUEUE:
                run.met[index] = decision.met
                facts = run.state.tasks[index]
                self._enqueue(run.ready(index, decision.at, facts.attempt, evictions=facts.evictions))
            elif decision.verdict is Verdict.WAIT:
                self._wait(run, index, decision)
            else:
                self._close(run, index, decision)
        if run.state.is_over:
            self._finish(run)

    # Time and events --------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Try again what could not be done or written."""
        self.settle()
        self._writes.nudge()

    async def stop(self) -> None:
        """End without finishing anything: the next owner decides the same from the rows."""
        self._sleeps.stop()
        await self._waits.stop()
        await self._writes.drain()
        for run_id in list(self._mine):
            self._runs.remove(run_id)

    def _heard(self, run: OpenRun, index: int) -> float:
        """Until when all events are known that the task could hear of."""
        return self._waits.heard_until(run.id, index) if run.state.listens(index) else inf

    def _wait(self, run: OpenRun, index: int, decision: Decision) -> None:
        if decision.wakes_at is not None and not self._waits.is_asked(run.id, index):
            self._sleeps.push(decision.wakes_at, run.id, index)
        if decision.listens_since is not None:
            self._waits.add(run, index, decision.listens_since)

    def _woken(self, due: Sequence[tuple[str, int]]) -> None:
        """Sleeps have ended; those of one run are decided together, in the order of their times.

        Time decides about a task that waits for events only when it is sure that none came before.
        """
        by_run: dict[str, list[int]] = {}
        for run_id, index in due:
            if not self._waits.ask(run_id, index):
                by_run.setdefault(run_id, []).append(index)
        for run_id, indexes in by_run.items():
            run = self._mine.get(run_id)
            if run is not None:
                self.advance(run, indexes)

    def _asked(self, answered: Sequence[tuple[OpenRun, int]]) -> None:
        """The events of tasks whose sleep has ended are known."""
        by_run: dict[str, tuple[OpenRun, list[int]]] = {}
        for run, index in answered:
            by_run.setdefault(run.id, (run, []))[1].append(index)
        for run, indexes in by_run.values():
            if self._mine.get(run.id) is not run:
                continue
            try:
                self.advance(run, indexes)
            except Exception as error:
                log.error("could not go on with a run, trying again", run=run.id, exc_info=error)
                for index in indexes:
                    self._sleeps.push(self._clock.now() + AGAIN_SECONDS, run.id, index)

    def _matched(self, matches: Sequence[tuple[OpenRun, int, NewMatch]]) -> None:
        """Events met conditions, and that is committed."""
        touched: dict[str, tuple[OpenRun, list[int]]] = {}
        for run, index, match in matches:
            if run.state.matched(index, match.attempt, match.condition, match.matched_at):
                sleep = self._sleeps.end_of(run.id, index)
                if sleep is None or sleep > match.matched_at:
                    self._waits.heard(run.id, index, match.matched_at)
                touched.setdefault(run.id, (run, []))[1].append(index)
        for run, indexes in touched.values():
            if self._mine.get(run.id) is run:
                self.advance(run, indexes)

    # Ends -------------------------------------------------------------------------------------------------------------

    def _close(self, run: OpenRun, index: int, decision: Decision) -> None:
        """A task was skipped or cancelled without having run."""
        is_skipped = decision.verdict is Verdict.SKIP
        outcome = Outcome.SKIPPED if is_skipped else Outcome.CANCELLED
        output = SKIPPED_OUTPUT if is_skipped else None
        task_id, facts = run.task_ids[index], run.state.tasks[index]
        attempt, evictions = facts.attempt, facts.evictions
        error = decision.reason or None
        end = TaskEnd(outcome, output, error)
        self._runs.keep_end(run, index, end)
        row = NewResult(
            self._tenant_id, task_id, attempt, outcome, output, error, None, decision.at, None, 0, 0, evictions
        )
        if not self._writes.add(row):
            return
        step = run.version.tasks[index]
        kind = RunEventKind.COMPLETED if is_skipped else RunEventKind.CANCELLED
        self._run_events.attempt_ended(
            self._tenant_id,
            run.id,
            task_id,
            attempt - evictions,
            step.definition.retries,
            kind,
            output or "",
            decision.at,
        )
        self._results.task_ended(self._tenant_id, run.id, task_id, step.definition.readable_id, end, decision.at)

    def _finish(self, run: OpenRun) -> None:
        """Every task has ended: whoever waits for the run hears of it (C-7.3)."""
        if self._mine.pop(run.id, None) is None:
            return
        self._runs.remove(run.id)
        self._waits.forget(run.id)
        self._sleeps.forget(run.id)
        self._closed(run.id)
        replayed_at = self._reopened.pop(run.id, None)
        at, status = run.state.finished_at(), run.state.status()
        if not self._writes.add(RunEnding(run.id, status, at, run.state.attempts())):
            return
        if replayed_at is not None:
            self._writes.add(Closed(run.id, replayed_at))
        self._results.run_ended(self._tenant_id, run.id, _finished(run, at))
        self._run_events.run_ended(self._tenant_id, run.id, status, at)

    def _written(self, task_ids: list[str], run_ids: list[str]) -> None:
        """Ends are in the rows: for who asked meanwhile, and for the other instances."""
        self._results.look_again(self._tenant_id, [*task_ids, *run_ids])
        self._bus.publish_ids("finished", run_ids, tenant=self._tenant_id)


def _finished(run: OpenRun, at: float) -> Callable[[], RunFinished] | None:
    """What subscribers hear, made when somebody does; None when the texts are in the rows only."""
    ends = run.ends
    if ends is None or None in ends:
        return None
    return lambda: run_finished(run.id, run.version, run.task_ids, ends, at)
