"""The facts about runs of several tasks: appended in batches, read back by id or by what is still open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hatchet.core.payloads import TaskEnd, TaskPayload
from hatchet.core.statuses import Outcome, RunStatus
from hatchet.store.leases import HeldLease
from hatchet.store.pool import Database, Queries, Row


class NewRunTask(NamedTuple):
    """One task row of a run."""

    id: str
    step_id: str
    limits: str | None = None


@dataclass(slots=True, frozen=True)
class NewRun:
    """One run row with the rows of its tasks; times in seconds since 1970."""

    tenant_id: str
    id: str
    version_id: str
    priority: int
    payload: TaskPayload
    labels: str | None
    """Desired worker labels as JSON text."""
    inserted_at: float
    tasks: tuple[NewRunTask, ...]
    """In the order of the definition."""
    limits: str | None = None
    """Of the run as a whole, as :func:`hatchet.core.limits.to_text` makes them."""
    desired_worker: str | None = None


@dataclass(slots=True, frozen=True)
class RunRow:
    """What a run is, without its payload."""

    id: str
    version_id: str
    priority: int
    labels: str | None
    limits: str | None
    desired_worker: str | None
    inserted_at: float
    has_end: bool
    """Whether an end is written; a replay may have made it the last but one."""
    reopened_at: float | None
    """When its name was put into the list of what was replayed or evicted and is open; None: it is not there."""

    @property
    def is_reopened(self) -> bool:
        """Whether its name is in that list."""
        return self.reopened_at is not None


@dataclass(slots=True, frozen=True)
class RunEnding:
    """How a run ended."""

    run_id: str
    status: RunStatus
    finished_at: float
    attempts: int
    """All attempts of its tasks together: tells this end from those before a replay. Not stored."""


@dataclass(slots=True, frozen=True)
class Resolved:
    """What an id that somebody sent belongs to."""

    id: str
    run_id: str | None
    """None: a task that is a run of its own."""
    version_id: str
    is_run: bool


@dataclass(slots=True, frozen=True)
class NewMatch:
    """An event met a condition of a waiting attempt."""

    task_id: str
    attempt: int
    condition: int
    event_id: str
    matched_at: float
    data: str
    """JSON text."""


@dataclass(slots=True, frozen=True)
class Match:
    """A row of matches, read back."""

    attempt: int
    condition: int
    matched_at: float
    data: str


async def append_runs(queries: Queries, creator: str, runs: Sequence[NewRun]) -> None:
    """Write runs and their tasks in one statement."""
    payloads = [run.payload for run in runs]
    steps = [(run, task) for run in runs for task in run.tasks]
    await queries.execute(
        "run_append",
        creator,
        [run.tenant_id for run in runs],
        [run.id for run in runs],
        [run.version_id for run in runs],
        [run.priority for run in runs],
        *payload_columns(payloads),
        [run.inserted_at for run in runs],
        [run.labels for run in runs],
        [run.limits for run in runs],
        [run.desired_worker for run in runs],
        [run.tenant_id for run, _ in steps],
        [task.id for _, task in steps],
        [run.id for run, _ in steps],
        [run.version_id for run, _ in steps],
        [task.step_id for _, task in steps],
        [run.priority for run, _ in steps],
        [run.inserted_at for run, _ in steps],
        [run.labels for run, _ in steps],
        [task.limits for _, task in steps],
    )


async def run_rows(database: Database, tenant_id: str, run_ids: Sequence[str]) -> list[RunRow]:
    """The named runs that exist."""
    rows = await database.fetch("run_rows", tenant_id, run_ids)
    return [
        RunRow(
            str(row["id"]),
            str(row["version_id"]),
            row["priority"],
            row["labels"],
            row["limits"],
            _text(row["desired_worker_id"]),
            row["inserted_at"],
            row["has_end"],
            row["reopened_at"],
        )
        for row in rows
    ]


async def run_payloads(database: Database, tenant_id: str, run_ids: Sequence[str]) -> dict[str, TaskPayload]:
    """The inputs and metadata of the named runs."""
    return payloads_of(await database.fetch("run_payloads", tenant_id, run_ids))


def payload_columns(payloads: Sequence[TaskPayload]) -> tuple[list[object], ...]:
    """The columns from ``input`` to ``filter_payload`` of new tasks or runs."""
    return (
        [payload.input.encode() for payload in payloads],
        [payload.additional_metadata or None for payload in payloads],
        [payload.parent_run_id for payload in payloads],
        [payload.parent_task_id for payload in payloads],
        [payload.child_index for payload in payloads],
        [payload.child_key for payload in payloads],
        [None if payload.filter_payload is None else payload.filter_payload.encode() for payload in payloads],
    )


def payloads_of(rows: Sequence[Row]) -> dict[str, TaskPayload]:
    """Payloads by id from rows of runs or of tasks that are runs of their own."""
    return {
        str(row["id"]): TaskPayload(
            input=row["input"].decode(),
            additional_metadata=row["additional_metadata"] or "",
            parent_run_id=_text(row["parent_run_id"]),
            parent_task_id=_text(row["parent_task_id"]),
            child_index=row["child_index"],
            child_key=row["child_key"],
            filter_payload=None if row["filter_payload"] is None else row["filter_payload"].decode(),
        )
        for row in rows
    }


async def open_runs(database: Database, tenant_id: str, after: str, limit: int) -> list[str]:
    """Runs with ids above ``after`` of which no end is written, oldest first."""
    return [str(row["id"]) for row in await database.fetch("run_open", tenant_id, after, limit)]


async def open_runs_of_others(database: Database, tenant_id: str, since: str, instance_id: str) -> list[str]:
    """Recent runs that another instance accepted and that have not ended."""
    return [str(row["id"]) for row in await database.fetch("run_open_by_others", tenant_id, since, instance_id)]


async def runs_between(database: Database, tenant_id: str, first: str, last: str, creator: str) -> list[str]:
    """The runs that an instance created from one id to another."""
    return [str(row["id"]) for row in await database.fetch("run_created_between", tenant_id, first, last, creator)]


async def put_run_results(database: Database, lease: HeldLease, tenant_id: str, ends: Sequence[RunEnding]) -> None:
    """Remember how runs ended, under the owner's fence."""
    await database.execute(
        "run_result_put",
        tenant_id,
        [end.run_id for end in ends],
        [end.status.value for end in ends],
        [end.finished_at for end in ends],
        lease.name,
        lease.epoch,
    )


async def resolve_ids(database: Database, tenant_id: str, ids: Sequence[str]) -> list[Resolved]:
    """What these ids of runs and tasks are (behaviour-core C-0.7); unknown ones are absent.

    The only task of a run has the run's id: it is listed once, as the run.
    """
    found: dict[str, Resolved] = {}
    for row in await database.fetch("ids_resolve", tenant_id, ids):
        one = Resolved(str(row["id"]), _text(row["run_id"]), str(row["version_id"]), row["is_run"])
        if one.is_run or one.id not in found:
            found[one.id] = one
    return list(found.values())


async def task_outputs(database: Database, tenant_id: str, task_ids: Sequence[str]) -> dict[str, TaskEnd]:
    """How the named tasks ended last; those that have not are absent."""
    return {
        str(row["id"]): TaskEnd(
            Outcome(row["outcome"]), row["output"].decode() if row["output"] is not None else None, row["error"]
        )
        for row in await database.fetch("task_outputs", tenant_id, task_ids)
    }


async def append_matches(
    database: Database, lease: HeldLease, tenant_id: str, matches: Sequence[NewMatch]
) -> set[tuple[str, int, int]]:
    """Remember events that met conditions; the (task id, attempt, condition) that were written."""
    rows = await database.fetch(
        "task_match_append",
        tenant_id,
        [match.task_id for match in matches],
        [match.attempt for match in matches],
        [match.condition for match in matches],
        [match.event_id for match in matches],
        [match.matched_at for match in matches],
        [match.data.encode() for match in matches],
        lease.name,
        lease.epoch,
    )
    return {(str(row["task_id"]), row["attempt"], row["condition"]) for row in rows}


async def task_matches(database: Database, tenant_id: str, task_ids: Sequence[str]) -> dict[str, list[Match]]:
    """What was matched, by task."""
    found: dict[str, list[Match]] = {}
    for row in await database.fetch("task_matches", tenant_id, task_ids):
        match = Match(row["attempt"], row["condition"], row["matched_at"], row["data"].decode())
        found.setdefault(str(row["task_id"]), []).append(match)
    return found


async def append_replays(
    queries: Queries, tenant_id: str, at: float, replays: Sequence[tuple[str, int, bool]]
) -> set[tuple[str, int]]:
    """Open attempts: (task id, attempt, may run at once); returns the (task id, attempt) that nobody opened before."""
    rows = await queries.fetch(
        "task_replay_append",
        tenant_id,
        at,
        [task_id for task_id, _, _ in replays],
        [attempt for _, attempt, _ in replays],
        [is_queued for _, _, is_queued in replays],
    )
    return {(str(row["task_id"]), row["attempt"]) for row in rows}


async def reopen(queries: Queries, tenant_id: str, ids: Sequence[str], at: float) -> None:
    """Remember that these runs (tasks, where they are runs of their own) are open and may be older than the rest."""
    await queries.execute("reopened_add", tenant_id, ids, at)


async def reopened(database: Database, tenant_id: str, after: str, limit: int) -> dict[str, float]:
    """A page of what was replayed or evicted and has not ended, as far as that was noticed, with when it was."""
    rows = await database.fetch("reopened_list", tenant_id, after, limit)
    return {str(row["id"]): row["reopened_at"] for row in rows}


async def close_reopened(database: Database, tenant_id: str, names: Sequence[tuple[str, float]]) -> None:
    """These have ended again, unless they were replayed after the given time."""
    await database.execute("reopened_remove", tenant_id, [name for name, _ in names], [at for _, at in names])


def _text(value: object) -> str | None:
    return None if value is None else str(value)
