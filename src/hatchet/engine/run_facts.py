"""Reads runs back from their facts, and decides what those say (behaviour-core C-6, C-7.23 to C-7.31)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog

from hatchet.core.clock import Clock
from hatchet.core.conditions import Kind
from hatchet.core.definitions import StoredVersion
from hatchet.core.event_match import Happened
from hatchet.core.ids import task_ids
from hatchet.core.labels import DesiredLabels, merged
from hatchet.core.limits import from_text
from hatchet.core.messages import RunFinished, TaskResult
from hatchet.core.payloads import TaskEnd
from hatchet.core.ready_task import ReadyTask
from hatchet.core.run_state import RunState
from hatchet.core.run_tasks import SKIPPED_OUTPUT, Change, TaskFacts
from hatchet.core.statuses import Outcome, RunStatus
from hatchet.engine.registration import Registration
from hatchet.store.events import events_since
from hatchet.store.pool import Database
from hatchet.store.runs import Match, RunRow, run_payloads, run_rows, task_matches
from hatchet.store.tasks import TaskState, task_states

log = structlog.get_logger("hatchet.engine")

RUNS_AT_ONCE = 500
TASKS_AT_ONCE = 5000


@dataclass(slots=True)
class LoadedRun:
    """One run as its rows tell it; everything by the task's number in the version."""

    row: RunRow
    version: StoredVersion
    task_ids: list[str]
    tasks: list[TaskState]
    matches: dict[str, list[Match]]
    input: str
    """JSON text, of versions whose expressions read it."""
    state: RunState = field(init=False)
    """Decided up to the moment of reading: skipped and cancelled tasks have ended in it, with or without a row."""

    def __post_init__(self) -> None:
        self.state = self.stored_state()

    @property
    def is_replayed(self) -> bool:
        """Whether any of it was ever replayed."""
        return any(task.opened_at > task.inserted_at for task in self.tasks)

    def stored_state(self) -> RunState:
        """The run's state as its rows tell it, before anything follows from them."""
        return RunState(self.version, [self._facts(index) for index in range(len(self.tasks))], self.input)

    def _facts(self, index: int) -> TaskFacts:
        task = self.tasks[index]
        is_assigned = task.worker_id is not None
        matches = self.matches.get(task.id, ())
        return TaskFacts(
            opened_at=task.opened_at,
            attempt=task.attempt,
            evictions=task.evictions,
            # A retry follows an attempt that ran; what a replay opened may have to wait anew.
            is_decided=task.ended is not None or is_assigned or (task.attempt > 0 and not task.waits_anew),
            is_seen=task.ended is not None or is_assigned or task.attempt > 0,
            outcome=task.ended,
            ended_at=task.finished_at or 0.0,
            output=task.output if index in self.version.graph.judged else None,
            # Retries go on with what met the conditions of the attempt before them.
            matches={match.condition: match.matched_at for match in matches if match.attempt == task.opened_attempt},
        )

    def end(self, index: int) -> TaskEnd | None:
        """How the task ended; None while it has not."""
        outcome = self.state.tasks[index].outcome
        if outcome is None:
            return None
        stored = self.tasks[index]
        if stored.ended is not None:
            return TaskEnd(outcome, stored.output, stored.error)
        return TaskEnd(outcome, SKIPPED_OUTPUT if outcome is Outcome.SKIPPED else None, None)

    def attempt(self, index: int, labels: DesiredLabels) -> ReadyTask:
        """The current attempt of a task, as it is kept in memory; ``labels``: the run's."""
        task, step = self.tasks[index], self.version.tasks[index]
        return ReadyTask(
            task.id,
            self.version,
            self.row.priority,
            task.ready_at,
            task.attempt,
            task.app_retries,
            task.internal_retries,
            step=step,
            run_id=self.row.id,
            labels=merged(step.definition.worker_labels, labels),
            limits=from_text(task.limits),
            evictions=task.evictions,
        )

    def finished(self) -> RunFinished:
        """The end of a run that is over."""
        ends = [self.end(index) for index in range(len(self.tasks))]
        return run_finished(self.row.id, self.version, self.task_ids, ends, self.state.finished_at())


class RunFacts:
    """Loads runs."""

    def __init__(self, database: Database, registration: Registration, clock: Clock) -> None:
        self._database = database
        self._registration = registration
        self._clock = clock

    async def load(self, tenant_id: str, run_ids: Sequence[str]) -> list[LoadedRun]:
        """The named runs that exist; a set-based statement for each kind of fact, whatever the number of runs."""
        loaded: list[LoadedRun] = []
        for start in range(0, len(run_ids), RUNS_AT_ONCE):
            loaded.extend(await self._load(tenant_id, run_ids[start : start + RUNS_AT_ONCE]))
        return loaded

    async def are_over(self, tenant_id: str, run_ids: Sequence[str]) -> set[str]:
        """Those of the runs that have ended."""
        return {run.row.id for run in await self.load(tenant_id, run_ids) if run.state.is_over}

    async def _load(self, tenant_id: str, run_ids: Sequence[str]) -> list[LoadedRun]:
        rows = await run_rows(self._database, tenant_id, run_ids)
        versions = await self._registration.versions({row.version_id for row in rows})
        rows = [row for row in rows if row.version_id in versions]
        ids = {row.id: task_ids(row.id, len(versions[row.version_id].tasks)) for row in rows}
        wanted = [task for of_run in ids.values() for task in of_run]
        states: dict[str, TaskState] = {}
        for start in range(0, len(wanted), TASKS_AT_ONCE):
            states |= await task_states(self._database, tenant_id, wanted[start : start + TASKS_AT_ONCE])
        conditional = [
            ids[row.id][task.index]
            for row in rows
            for task in versions[row.version_id].tasks
            if task.definition.conditions
        ]
        matches = await task_matches(self._database, tenant_id, conditional) if conditional else {}
        reading = [row.id for row in rows if versions[row.version_id].graph.reads_input]
        payloads = await run_payloads(self._database, tenant_id, reading) if reading else {}
        whole = [row for row in rows if all(task in states for task in ids[row.id])]
        if len(whole) < len(rows):
            # One damaged run must not keep the others from going on (design invariant 7).
            log.error("runs without all their tasks are left alone", runs=[row.id for row in rows if row not in whole])
        runs = [
            LoadedRun(
                row,
                versions[row.version_id],
                ids[row.id],
                [states[task] for task in ids[row.id]],
                {task: matches[task] for task in ids[row.id] if task in matches},
                payloads[row.id].input if row.id in payloads else "",
            )
            for row in whole
        ]
        await self._decide(tenant_id, runs, self._clock.now())
        return runs

    async def _decide(self, tenant_id: str, runs: Sequence[LoadedRun], now: float) -> None:
        """Bring the states up to ``now``. Where a sleep has ended beside a wait, the events before its end are read."""
        heard: set[tuple[str, int]] = set()
        while True:
            late: list[tuple[LoadedRun, Change]] = []
            for run in runs:
                until = partial(_heard_until, run, heard, now) if run.version.graph.listening else None
                for change in run.state.advance(run.state.undecided(), now, until):
                    wakes_at = change.decision.wakes_at
                    if wakes_at is not None and wakes_at <= now and (run.row.id, change.index) not in heard:
                        late.append((run, change))
            if not late:
                return
            await self._hear(tenant_id, late)
            heard.update((run.row.id, change.index) for run, change in late)

    async def _hear(self, tenant_id: str, late: Sequence[tuple[LoadedRun, Change]]) -> None:
        """What events say of these tasks that wait, whether or not their owner has noticed."""
        waits = [(run, change.index, change.decision.listens_since or 0.0) for run, change in late]
        keys = {
            condition.event_key
            for run, index, _ in waits
            for condition in run.version.tasks[index].definition.conditions
            if condition.event_key is not None
        }
        earliest = min(since for _, _, since in waits)
        for record in await events_since(self._database, tenant_id, sorted(keys), earliest):
            event = Happened(record)
            for run, index, since in waits:
                if record.inserted_at < since:
                    continue
                for number, condition in enumerate(run.version.tasks[index].definition.conditions):
                    if condition.kind is Kind.EVENT and event.meets(condition):
                        run.state.matched(index, run.state.tasks[index].attempt, number, record.inserted_at)


def _heard_until(run: LoadedRun, heard: set[tuple[str, int]], now: float, index: int) -> float:
    return now if not run.state.listens(index) or (run.row.id, index) in heard else 0.0


def run_finished(
    run_id: str, version: StoredVersion, ids: Sequence[str], ends: Sequence[TaskEnd | None], at: float
) -> RunFinished:
    """What a subscriber hears of a run that is over: all its tasks (C-7.9, C-7.13)."""
    results = [
        task_result(task_id, task.definition.readable_id, end)
        for task_id, task, end in zip(ids, version.tasks, ends, strict=True)
        if end is not None
    ]
    return RunFinished(run_id=run_id, at=at, results=results)


def task_result(task_id: str, readable_id: str, end: TaskEnd) -> TaskResult:
    """The end of one task by C-7.9."""
    status = end.outcome.status
    return TaskResult(
        task_id=task_id,
        readable_id=readable_id,
        status=status,
        output=end.output if status is RunStatus.COMPLETED else None,
        error=(end.error or "") if status is RunStatus.FAILED else None,
    )
