"""Looks at the rows that need no more than a statement each; each answers what it found by the name of the check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from hatchet.core.errors import InvalidArgument
from hatchet.core.schedules import next_after
from hatchet.engine.doctor_checks import (
    GRACE_SECONDS,
    MOST,
    OWNER_SECONDS,
    SILENT_SECONDS,
    SWEEP_SECONDS,
    CronFound,
    Found,
)
from hatchet.engine.registration import Registration
from hatchet.engine.run_facts import RunFacts
from hatchet.store.doctor import Reading, oldest_kept
from hatchet.store.partitions import DAY, FACT_TABLES, partition_name
from hatchet.store.tasks import task_states

GROUPS = 100_000
ALIVE_SECONDS = 8.0
Answer = dict[str, list[Found]]


@dataclass(slots=True, frozen=True)
class Sight:
    """What a look sees: a snapshot, the time, and the oldest id that it looks at."""

    rows: Reading
    registration: Registration
    run_facts: RunFacts
    now: float
    since: str


Look = Callable[[Sight], Awaitable[Answer]]


def when(at: float | None) -> str:
    """A time for people."""
    return "never" if at is None else datetime.fromtimestamp(int(at), UTC).isoformat().replace("+00:00", "Z")


async def owners(sight: Sight) -> Answer:
    rows = await sight.rows.fetch("doctor_leases", sight.now - OWNER_SECONDS)
    return {
        "owner": [
            Found(id=str(row["tenant_id"]), tenant_id=str(row["tenant_id"]), text=f"held last by {row['holder']}")
            for row in rows
            if not row["is_held"]
        ]
    }


async def partitions(sight: Sight) -> Answer:
    today = int(sight.now // DAY)
    names = [partition_name(table, day) for day in (today, today + 1) for table in FACT_TABLES]
    rows = await sight.rows.fetch("partitions_missing", names)
    return {"partitions": [Found(id=row["wanted"], text="is missing") for row in rows]}


async def overdue_attempts(sight: Sight) -> Answer:
    rows = await sight.rows.fetch("doctor_overdue_attempts", sight.now - GRACE_SECONDS, sight.since, MOST)
    return {"overdue-attempts": [_attempt(row, f"timed out at {when(row['at'])}") for row in rows]}


async def lost_workers(sight: Sight) -> Answer:
    silent = sight.now - SILENT_SECONDS
    rows = await sight.rows.fetch("doctor_lost_workers", silent, sight.since, MOST, sight.now - ALIVE_SECONDS)
    text = "worker {} was heard of last at {}"
    return {"lost-workers": [_attempt(row, text.format(row["worker_id"], when(row["at"]))) for row in rows]}


async def waiting(sight: Sight) -> Answer:
    """First the steps of what waits, whose timeouts the definitions tell; then the attempts that are late by them."""
    before = sight.now - GRACE_SECONDS
    steps = await sight.rows.fetch("doctor_waiting_steps", before, sight.since, GROUPS)
    lost = [
        Found(id=str(row["id"]), tenant_id=str(row["tenant_id"]), text=f"task of version {row['version_id']}")
        for row in steps
        if row["is_unknown"]
    ]
    known = [row for row in steps if not row["is_unknown"]]
    versions = await sight.registration.versions({str(row["version_id"]) for row in known})
    late: dict[str, float] = {}
    for row in known:
        step = versions[str(row["version_id"])].step(str(row["step_id"]))
        ready_before = before - step.schedule_timeout_seconds
        if row["ready_at"] < ready_before:
            late[step.id] = ready_before
    rows = (
        await sight.rows.fetch("doctor_overdue_waiting", before, sight.since, MOST, list(late), list(late.values()))
        if late
        else []
    )
    found = [_attempt(row, f"waits since {when(row['at'])}") for row in rows]
    return {
        "work-without-version": lost,
        "overdue-waiting": [one for one in found if not one.attempt],
        "overdue-retries": [one for one in found if one.attempt],
    }


async def capacity(sight: Sight) -> Answer:
    rows = await sight.rows.fetch("doctor_running", sight.since, GROUPS)
    versions = await sight.registration.versions({str(row["version_id"]) for row in rows})
    used: dict[str, Counter[str]] = {}
    of: dict[str, Any] = {}
    for row in rows:
        version = versions.get(str(row["version_id"]))
        if version is None:
            continue
        worker = str(row["worker_id"])
        of[worker] = row
        for kind, units in version.step(str(row["step_id"])).slots.items():
            used.setdefault(worker, Counter())[kind] += units * row["running"]
    found: list[Found] = []
    for worker, kinds in used.items():
        slots = orjson.loads(of[worker]["slots"])
        over = [
            f"{count} of {slots.get(kind, 0)} {kind}" for kind, count in kinds.items() if count > slots.get(kind, 0)
        ]
        if over:
            found.append(Found(id=worker, tenant_id=str(of[worker]["tenant_id"]), text=f"runs {', '.join(over)}"))
    return {"worker-capacity": found[:MOST]}


async def rate_limits(sight: Sight) -> Answer:
    rows = await sight.rows.fetch("doctor_rate_limits", GRACE_SECONDS, MOST)
    return {
        "rate-limits": [
            Found(
                id=row["key"],
                key=row["key"],
                tenant_id=str(row["tenant_id"]),
                text=f"{row['units_left']} units left of {row['limit_value']}",
            )
            for row in rows
        ]
    }


async def orphans(sight: Sight) -> Answer:
    tasks = await sight.rows.fetch("doctor_tasks_without_run", sight.since, MOST)
    facts = await sight.rows.fetch("doctor_orphan_facts", sight.since, MOST)
    oldest = await oldest_kept(sight.rows)
    children = await sight.rows.fetch("doctor_children", sight.since, oldest, MOST) if oldest is not None else []
    return {
        "tasks-without-run": [_attempt(row, f"run {row['run_id']}") for row in tasks],
        "facts-without-task": [_attempt(row, row["name"], key=row["name"]) for row in facts],
        "children-without-run": [
            _attempt(row, f"key {row['child_key']} of run {row['child_id']}", row["child_key"], str(row["child_id"]))
            for row in children
        ],
    }


async def reopened(sight: Sight) -> Answer:
    rows = await sight.rows.fetch("doctor_reopened", sight.now - GRACE_SECONDS, MOST)
    by_tenant: dict[str, list[Any]] = {}
    for row in rows:
        by_tenant.setdefault(str(row["tenant_id"]), []).append(row)
    stale: list[Found] = []
    for tenant_id, listed in by_tenant.items():
        is_open = await _open_of(sight, tenant_id, [str(row["id"]) for row in listed])
        stale += [
            _attempt(row, f"open again since {when(row['at'])}", at=row["at"])
            for row in listed
            if str(row["id"]) not in is_open
        ]
    lost = await sight.rows.fetch("doctor_lost_replays", sight.now - GRACE_SECONDS, sight.since, MOST)
    return {
        "stale-reopened": stale,
        "lost-replays": [
            _attempt(row, f"replayed at {when(row['at'])}", other=str(row["run_id"]), at=row["at"]) for row in lost
        ],
    }


async def _open_of(sight: Sight, tenant_id: str, ids: Sequence[str]) -> set[str]:
    """Those that have not ended, or ended a moment ago: the list follows the end."""
    just_now = sight.now - GRACE_SECONDS
    runs = await sight.run_facts.load(tenant_id, ids)
    found = {run.row.id for run in runs if not run.state.is_over or run.state.finished_at() > just_now}
    states = await task_states(sight.rows, tenant_id, list(set(ids) - {run.row.id for run in runs}))
    return found | {one.id for one in states.values() if one.ended is None or (one.finished_at or 0.0) > just_now}


async def watermark(sight: Sight) -> Answer:
    rows = await sight.rows.fetch("doctor_lost_work", sight.since, MOST)
    return {"watermark": [_attempt(row, "task") for row in rows]}


async def crons(sight: Sight) -> Answer:
    found: list[Found] = []
    for row in await sight.rows.fetch("doctor_crons", sight.now - GRACE_SECONDS, MOST):
        text = f"{row['expression']}: next at {when(row['next_at'])}"
        cron: CronFound | None = CronFound(row["expression"], row["time_zone"], row["is_enabled"], row["next_at"])
        try:
            next_at = next_after(row["expression"], row["time_zone"], sight.now) if row["is_enabled"] else None
        except InvalidArgument as error:
            cron, text = None, f"{row['expression']}: {error.message}"
        else:
            if next_at is None and row["next_at"] is None:
                # It never fires again.
                continue
        found.append(Found(id=str(row["id"]), tenant_id=str(row["tenant_id"]), text=text, cron=cron))
    return {"crons": found}


async def schedules(sight: Sight) -> Answer:
    due = await sight.rows.fetch("doctor_scheduled", sight.now - GRACE_SECONDS, MOST)
    nothing = await sight.rows.fetch("doctor_without_version", MOST)
    keys = await sight.rows.fetch("doctor_claims", sight.now - SWEEP_SECONDS, MOST)
    return {
        "scheduled-runs": [_attempt(row, f"due at {when(row['at'])}") for row in due],
        "without-version": [_attempt(row, f"{row['name']} of workflow {row['workflow_id']}") for row in nothing],
        "expired-keys": [_attempt(row, f"key {row['key']} expired at {when(row['at'])}", row["key"]) for row in keys],
    }


def _attempt(row: Any, text: str, key: str = "", other: str = "", at: float | None = None) -> Found:
    return Found(
        id=str(row["id"]),
        tenant_id=str(row["tenant_id"]),
        text=text,
        attempt=row.get("attempt", 0),
        key=key,
        other_id=other,
        at=at,
    )


LOOKS: tuple[tuple[Look, tuple[str, ...]], ...] = (
    (owners, ("owner",)),
    (partitions, ("partitions",)),
    (overdue_attempts, ("overdue-attempts",)),
    (lost_workers, ("lost-workers",)),
    (waiting, ("overdue-waiting", "overdue-retries", "work-without-version")),
    (capacity, ("worker-capacity",)),
    (rate_limits, ("rate-limits",)),
    (orphans, ("tasks-without-run", "facts-without-task", "children-without-run")),
    (reopened, ("stale-reopened", "lost-replays")),
    (watermark, ("watermark",)),
    (crons, ("crons",)),
    (schedules, ("scheduled-runs", "without-version", "expired-keys")),
)
"""Each look with the checks that it answers."""
