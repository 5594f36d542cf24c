"""Leases with epochs and the list of live instances."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from hatchet.store.pool import Database

SCHEDULER_PREFIX = "scheduler:"


@dataclass(slots=True, frozen=True)
class HeldLease:
    """A lease that this instance holds; every write of the owner carries ``epoch``."""

    name: str
    epoch: int
    low_watermark: str | None


@dataclass(slots=True, frozen=True)
class Tick:
    """What one renewal told."""

    now: float
    peers: tuple[str, ...]
    held: tuple[HeldLease, ...]


async def tick(
    database: Database, instance_id: str, *, started_at: float, lease_seconds: float, takes: bool, dead_after: float
) -> Tick:
    """Renew this instance and its leases, take expired ones (only when ``takes``), and list the other instances."""
    [row] = await database.fetch("lease_tick", instance_id, started_at, lease_seconds, takes, dead_after)
    held = tuple(HeldLease(name, epoch, watermark) for name, epoch, watermark in orjson.loads(row["held"]))
    return Tick(row["now"], tuple(str(peer) for peer in row["peers"]), held)


async def leave(database: Database, instance_id: str, forget_before: float) -> None:
    """Give up every lease at once, so that another instance takes over without waiting, and leave the list."""
    await database.execute("lease_release", instance_id)
    await database.execute("instance_leave", instance_id, forget_before)


async def lowest_watermark(database: Database) -> str | None:
    """No unfinished task of any tenant is older than this id; None while some tenant's owner has not said yet."""
    marks = [row["low_watermark"] for row in await database.fetch("lease_low_watermarks")]
    return None if not marks or None in marks else str(min(marks))


async def release_all(database: Database) -> None:
    """Free every lease without waiting for it to expire: only for a database that nobody else can be using.

    An owner that lives all the same is fenced off, because the next one raises the epoch.
    """
    await database.execute("lease_release_all")


async def still_held(database: Database, name: str, epoch: int) -> bool:
    """Whether ``epoch`` is the newest of the lease."""
    rows = await database.fetch("lease_epoch", name)
    return bool(rows) and rows[0]["epoch"] == epoch and rows[0]["holder"] is not None


async def heard_until(database: Database, name: str) -> float | None:
    """Until when (seconds) owners have heard all events that durable tasks wait for; None: nobody has said."""
    rows = await database.fetch("lease_heard", name)
    until: float | None = rows[0]["events_until"] if rows else None
    return until


async def raise_heard(database: Database, lease: HeldLease, until: float) -> None:
    """Remember that all events until then (seconds) are heard."""
    await database.execute("lease_raise_heard", lease.name, lease.epoch, until)


async def forget_instances(database: Database, before: float) -> None:
    """Drop instances that were last alive before a time; who stops in order leaves by itself."""
    await database.execute("instance_forget", before)


async def raise_watermark(database: Database, name: str, epoch: int, task_id: str) -> None:
    """Remember that no unfinished task is older than ``task_id``."""
    await database.execute("lease_watermark", name, epoch, task_id)
