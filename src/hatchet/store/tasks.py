"""The facts about tasks: appended in batches, read back by id or by what is still open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hatchet.core.payloads import TaskPayload
from hatchet.core.statuses import Outcome, RunStatus
from hatchet.store.leases import HeldLease
from hatchet.store.pool import Database, Queries, Row
from hatchet.store.runs import payload_columns, payloads_of


@dataclass(slots=True, frozen=True)
class NewTask:
    """One task row; times in seconds since 1970."""

    tenant_id: str
    id: str
    version_id: str
    step_id: str
    priority: int
    payload: TaskPayload
    inserted_at: float
    labels: str | None = None
    """Desired worker labels as JSON text."""
    limits: str | None = None
    """As :func:`hatchet.core.limits.to_text` makes them."""
    desired_worker: str | None = None


@dataclass(slots=True, frozen=True)
class NewAssignment:
    """One attempt that goes to a worker."""

    task_id: str
    attempt: int
    worker_id: str
    app_retries: int
    internal_retries: int
    timeout_at: float
    batch_id: str | None = None
    batch_reason: str | None = None
    evictions: int = 0


@dataclass(slots=True, frozen=True)
class NewStart:
    """The worker said that an attempt runs."""

    tenant_id: str
    task_id: str
    attempt: int
    started_at: float


@dataclass(slots=True, frozen=True)
class NewResult:
    """How one attempt ended; ``retry_at`` set opens the next attempt."""

    tenant_id: str
    task_id: str
    attempt: int
    outcome: Outcome
    output: str | None
    error: str | None
    started_at: float | None
    finished_at: float
    retry_at: float | None
    """Infinity: when it is restored."""
    app_retries: int
    internal_retries: int
    evictions: int = 0
    """Of the attempt that follows."""


@dataclass(slots=True, frozen=True)
class NewNote:
    """Something that happened to an attempt besides its start and end."""

    tenant_id: str
    task_id: str
    attempt: int
    noted_at: float
    kind: str
    """As REST names it (behaviour-core C-5.47)."""
    timeout_at: float | None = None
    message: str | None = None


async def append_tasks(queries: Queries, creator: str, tasks: Sequence[NewTask]) -> None:
    """Write tasks that are runs of their own."""
    payloads = [task.payload for task in tasks]
    await queries.execute(
        "task_append",
        creator,
        [task.tenant_id for task in tasks],
        [task.id for task in tasks],
        [task.version_id for task in tasks],
        [task.step_id for task in tasks],
        [task.priority for task in tasks],
        *payload_columns(payloads),
        [task.inserted_at for task in tasks],
        [task.labels for task in tasks],
        [task.limits for task in tasks],
        [task.desired_worker for task in tasks],
    )


async def assign(
    database: Database, lease: HeldLease, tenant_id: str, assigned_at: float, rows: Sequence[NewAssignment]
) -> set[str]:
    """Give attempts to workers under the owner's fence; the ids of the tasks that were assigned."""
    written = await database.fetch(
        "task_assign",
        lease.name,
        lease.epoch,
        tenant_id,
        assigned_at,
        [row.task_id for row in rows],
        [row.attempt for row in rows],
        [row.worker_id for row in rows],
        [row.app_retries for row in rows],
        [row.internal_retries for row in rows],
        [row.timeout_at for row in rows],
        [row.evictions for row in rows],
    )
    return {str(row["task_id"]) for row in written}


async def append_starts(database: Database, starts: Sequence[NewStart]) -> None:
    """Remember that attempts run; repeating is harmless."""
    await database.execute(
        "task_start_append",
        [start.tenant_id for start in starts],
        [start.task_id for start in starts],
        [start.attempt for start in starts],
        [start.started_at for start in starts],
    )


async def append_results(
    database: Queries, results: Sequence[NewResult], lease: HeldLease | None = None
) -> set[tuple[str, int]]:
    """Write how attempts ended. The first result of an attempt wins; returns the (task id, attempt) that were written.

    With ``lease`` nothing is written unless its epoch is the newest.
    """
    columns: list[object] = [
        [result.tenant_id for result in results],
        [result.task_id for result in results],
        [result.attempt for result in results],
        [result.outcome.value for result in results],
        [None if result.output is None else result.output.encode() for result in results],
        [result.error for result in results],
        [result.started_at for result in results],
        [result.finished_at for result in results],
        [result.retry_at for result in results],
        [result.app_retries for result in results],
        [result.internal_retries for result in results],
        [result.evictions for result in results],
    ]
    if lease is None:
        written = await database.fetch("task_result_append", *columns)
    else:
        written = await database.fetch("task_result_append_fenced", *columns, lease.name, lease.epoch)
    return {(str(row["task_id"]), row["attempt"]) for row in written}


async def append_restores(
    queries: Queries, tenant_id: str, task_ids: Sequence[str], at: float, cause: str
) -> dict[str, int]:
    """Queue those of the tasks again that are evicted and not restored yet; their attempts by task id (D-18.2)."""
    # In one order everywhere, so that two restores never wait for each other.
    rows = await queries.fetch("task_restore_append", tenant_id, sorted(set(task_ids)), at, cause)
    return {str(row["task_id"]): row["attempt"] for row in rows}


async def restored_since(database: Database, tenant_id: str, since: float) -> list[str]:
    """The tasks that were restored from then on."""
    return [str(row["task_id"]) for row in await database.fetch("task_restored_since", tenant_id, since)]


async def append_notes(database: Database, notes: Sequence[NewNote]) -> None:
    """Remember what happened to attempts besides their start and end."""
    await database.execute(
        "task_note_append",
        [note.tenant_id for note in notes],
        [note.task_id for note in notes],
        [note.attempt for note in notes],
        [note.noted_at for note in notes],
        [note.kind for note in notes],
        [note.timeout_at for note in notes],
        [note.message for note in notes],
    )


@dataclass(slots=True, frozen=True)
class TaskState:
    """Where a task stands according to its rows."""

    id: str
    version_id: str
    step_id: str
    run_id: str | None
    """None: the task is a run of its own."""
    priority: int
    labels: str | None
    limits: str | None
    desired_worker: str | None
    inserted_at: float
    opened_at: float
    """When the current attempt or the first of its retries came into being: with the task, or by a replay."""
    opened_attempt: int
    """The number of that attempt."""
    waits_anew: bool
    """Whether a replay opened the current attempt and left it to parents and conditions (C-15.14)."""
    attempt: int
    """The current attempt: the one that waits or runs, or the last one when the task has ended."""
    app_retries: int
    internal_retries: int
    evictions: int
    """How many of the attempts before the current one ended by an eviction."""
    ready_at: float
    """Infinity while it waits for its restore."""
    evicted_at: float | None
    """When the attempt before was evicted; None when it ended otherwise, or the task has ended."""
    restored_at: float | None
    """When it was queued again after that."""
    ended: Outcome | None
    """The outcome of the task when it has ended."""
    output: str | None
    error: str | None
    finished_at: float | None
    worker_id: str | None
    """The worker that the current attempt was given to."""
    batch_id: str | None
    """The batch in which it was given to it."""
    assigned_at: float | None
    timeout_at: float | None
    started_at: float | None
    is_released: bool

    @property
    def status(self) -> RunStatus:
        """What listings and details show (C-6.1)."""
        if self.ended is not None:
            return self.ended.status
        return RunStatus.RUNNING if self.assigned_at is not None or self.is_evicted else RunStatus.QUEUED

    @property
    def retry_count(self) -> int:
        """The current attempt's number as workers and people know it: evictions do not count (D-5.7)."""
        return self.attempt - self.evictions

    @property
    def is_evicted(self) -> bool:
        """Whether it was evicted, and no worker has it again (D-18.4)."""
        return self.evicted_at is not None and self.assigned_at is None


async def task_states(database: Database, tenant_id: str, ids: Sequence[str]) -> dict[str, TaskState]:
    """The states of the named tasks; unknown ids are absent."""
    rows = await database.fetch("task_states", tenant_id, ids)
    return {state.id: state for state in map(_state, rows)}


def _state(row: Row) -> TaskState:
    ended_attempt, retry_at = row["ended_attempt"], row["retry_at"]
    last = -1 if ended_attempt is None else ended_attempt
    replay_attempt = -1 if row["replay_attempt"] is None else row["replay_attempt"]
    is_replayed = replay_attempt > last
    is_ended = ended_attempt is not None and retry_at is None and not is_replayed
    opened_at = row["replayed_at"] if replay_attempt >= 0 else row["inserted_at"]
    output = row["output"]
    is_evicted = row["outcome"] == Outcome.EVICTED.value and not is_replayed
    evicted_at = row["finished_at"] if is_evicted else None
    ready_at = row["restored_at"] if is_evicted and row["restored_at"] is not None else retry_at
    return TaskState(
        id=str(row["id"]),
        version_id=str(row["version_id"]),
        step_id=str(row["step_id"]),
        run_id=str(row["run_id"]) if row["run_id"] is not None else None,
        priority=row["priority"],
        labels=row["labels"],
        limits=row["limits"],
        desired_worker=str(row["desired_worker_id"]) if row["desired_worker_id"] is not None else None,
        inserted_at=row["inserted_at"],
        opened_at=opened_at,
        opened_attempt=max(replay_attempt, 0),
        waits_anew=is_replayed and not row["is_queued"],
        attempt=replay_attempt if is_replayed else last if is_ended else last + 1,
        app_retries=0 if is_replayed else row["app_retries"] or 0,
        internal_retries=0 if is_replayed else row["internal_retries"] or 0,
        evictions=row["evictions"] or 0,
        ready_at=ready_at if ready_at is not None and not is_replayed else opened_at,
        evicted_at=evicted_at,
        restored_at=row["restored_at"] if is_evicted else None,
        ended=Outcome(row["outcome"]) if is_ended else None,
        output=output.decode() if is_ended and output is not None else None,
        error=row["error"] if is_ended else None,
        finished_at=row["finished_at"] if is_ended else None,
        worker_id=str(row["worker_id"]) if row["worker_id"] is not None else None,
        batch_id=str(row["batch_id"]) if row["batch_id"] is not None else None,
        assigned_at=row["assigned_at"],
        timeout_at=row["timeout_at"],
        started_at=row["started_at"],
        is_released=row["is_released"],
    )


async def payloads(database: Database, tenant_id: str, ids: Sequence[str]) -> dict[str, TaskPayload]:
    """The inputs and metadata of the named tasks that are runs of their own."""
    return payloads_of(await database.fetch("task_payloads", tenant_id, ids))
