"""The facts about tasks: appended in batches, read back by id or by what is still open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hatchet.core.payloads import TaskPayload
from hatchet.core.statuses import Outcome
from hatchet.store.leases import HeldLease
from hatchet.store.pool import Database, Queries, Row


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


@dataclass(slots=True, frozen=True)
class NewAssignment:
    """One attempt that goes to a worker."""

    task_id: str
    attempt: int
    worker_id: str
    app_retries: int
    internal_retries: int
    timeout_at: float


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
    app_retries: int
    internal_retries: int


async def append_tasks(database: Database, creator: str, tasks: Sequence[NewTask]) -> dict[str, str]:
    """Write new tasks; committed when this returns.

    A task whose parent already spawned a run under the same key is not written (behaviour-core C-4.13): the answer maps
    its id to the id of the run that holds the key.
    """
    if not any(task.payload.spawn_key for task in tasks):
        await _append(database, creator, tasks)
        return {}
    async with database.transaction() as transaction:
        held = await _claim_keys(transaction, [task for task in tasks if task.payload.spawn_key])
        await _append(transaction, creator, [task for task in tasks if task.id not in held])
    return held


async def existing_tasks(database: Database, tenant_id: str, ids: Sequence[str]) -> set[str]:
    """Those of the ids that are tasks of the tenant."""
    return {str(row["id"]) for row in await database.fetch("task_existing", tenant_id, ids)}


async def _claim_keys(transaction: Queries, children: Sequence[NewTask]) -> dict[str, str]:
    columns = (
        [task.tenant_id for task in children],
        [task.payload.parent_task_id for task in children],
        [task.payload.spawn_key for task in children],
        [task.id for task in children],
    )
    await transaction.execute("child_claim", *columns)
    holders = await transaction.fetch("child_holders", *columns)
    return {str(row["asked_id"]): str(row["child_id"]) for row in holders if row["asked_id"] != row["child_id"]}


async def _append(database: Queries, creator: str, tasks: Sequence[NewTask]) -> None:
    payloads = [task.payload for task in tasks]
    await database.execute(
        "task_append",
        creator,
        [task.tenant_id for task in tasks],
        [task.id for task in tasks],
        [task.version_id for task in tasks],
        [task.step_id for task in tasks],
        [task.priority for task in tasks],
        [payload.input.encode() for payload in payloads],
        [payload.additional_metadata or None for payload in payloads],
        [payload.parent_run_id for payload in payloads],
        [payload.parent_task_id for payload in payloads],
        [payload.child_index for payload in payloads],
        [payload.child_key for payload in payloads],
        [task.inserted_at for task in tasks],
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
    database: Database, results: Sequence[NewResult], lease: HeldLease | None = None
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
    ]
    if lease is None:
        written = await database.fetch("task_result_append", *columns)
    else:
        written = await database.fetch("task_result_append_fenced", *columns, lease.name, lease.epoch)
    return {(str(row["task_id"]), row["attempt"]) for row in written}


async def append_note(
    database: Database,
    tenant_id: str,
    task_id: str,
    attempt: int,
    at: float,
    kind: str,
    timeout_at: float | None = None,
) -> None:
    """Remember something that happened to an attempt besides its start and end."""
    await database.execute("task_note_append", tenant_id, task_id, attempt, at, kind, timeout_at)


@dataclass(slots=True, frozen=True)
class TaskState:
    """Where a task stands according to its rows."""

    id: str
    version_id: str
    priority: int
    inserted_at: float
    attempt: int
    """The current attempt: the one that waits or runs, or the last one when the task has ended."""
    app_retries: int
    internal_retries: int
    ready_at: float
    ended: Outcome | None
    """The outcome of the task when it has ended."""
    output: str | None
    error: str | None
    finished_at: float | None
    worker_id: str | None
    """The worker that the current attempt was given to."""
    assigned_at: float | None
    timeout_at: float | None
    started_at: float | None
    is_released: bool


async def task_states(database: Database, tenant_id: str, ids: Sequence[str]) -> dict[str, TaskState]:
    """The states of the named tasks; unknown ids are absent."""
    rows = await database.fetch("task_states", tenant_id, ids)
    return {state.id: state for state in map(_state, rows)}


def _state(row: Row) -> TaskState:
    ended_attempt, retry_at = row["ended_attempt"], row["retry_at"]
    is_ended = ended_attempt is not None and retry_at is None
    output = row["output"]
    return TaskState(
        id=str(row["id"]),
        version_id=str(row["version_id"]),
        priority=row["priority"],
        inserted_at=row["inserted_at"],
        attempt=0 if ended_attempt is None else ended_attempt if is_ended else ended_attempt + 1,
        app_retries=row["app_retries"] or 0,
        internal_retries=row["internal_retries"] or 0,
        ready_at=retry_at if retry_at is not None else row["inserted_at"],
        ended=Outcome(row["outcome"]) if is_ended else None,
        output=output.decode() if is_ended and output is not None else None,
        error=row["error"] if is_ended else None,
        finished_at=row["finished_at"] if is_ended else None,
        worker_id=str(row["worker_id"]) if row["worker_id"] is not None else None,
        assigned_at=row["assigned_at"],
        timeout_at=row["timeout_at"],
        started_at=row["started_at"],
        is_released=row["is_released"],
    )


async def payloads(database: Database, tenant_id: str, ids: Sequence[str]) -> dict[str, TaskPayload]:
    """The inputs and metadata of the named tasks."""
    rows = await database.fetch("task_payloads", tenant_id, ids)
    return {
        str(row["id"]): TaskPayload(
            input=row["input"].decode(),
            additional_metadata=row["additional_metadata"] or "",
            parent_run_id=_text(row["parent_run_id"]),
            parent_task_id=_text(row["parent_task_id"]),
            child_index=row["child_index"],
            child_key=row["child_key"],
        )
        for row in rows
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)
