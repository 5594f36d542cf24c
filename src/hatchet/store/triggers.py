"""One transaction that accepts runs: spawn keys, idempotency keys, and the rows of whatever is new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hatchet.core.payloads import TaskPayload
from hatchet.store.pool import Database, Queries
from hatchet.store.runs import NewRun, append_runs
from hatchet.store.tasks import NewTask, append_tasks


@dataclass(slots=True, frozen=True)
class Claim:
    """An idempotency key that a run wants (behaviour-core C-4.35)."""

    key: str
    is_status: bool
    """Held only until the run has ended (C-4.37)."""
    expires_at: float


@dataclass(slots=True, frozen=True)
class NewWork:
    """One run to write: a task of its own, or a run with several tasks."""

    row: NewTask | NewRun
    claim: Claim | None = None

    @property
    def id(self) -> str:
        return self.row.id

    @property
    def tenant_id(self) -> str:
        return self.row.tenant_id

    @property
    def payload(self) -> TaskPayload:
        return self.row.payload


@dataclass(slots=True, frozen=True)
class Holder:
    """Which run holds an idempotency key."""

    tenant_id: str
    key: str
    run_id: str
    is_status: bool


@dataclass(slots=True, frozen=True)
class Accepted:
    """What became of the work: ids that were not written, and which run stands for them."""

    children: dict[str, str]
    """The run that already holds the spawn key of its parent (C-4.13)."""
    collisions: dict[str, str]
    """The run that holds the idempotency key (C-4.42)."""


async def accept(
    database: Database, creator: str, work: Sequence[NewWork], now: float, released: Sequence[str] = ()
) -> Accepted:
    """Write new runs; committed when this returns. ``released``: holders of idempotency keys that have ended."""
    if not any(one.claim is not None or one.payload.spawn_key for one in work):
        tasks, runs = _split(work)
        if not tasks or not runs:
            await _write(database, creator, tasks, runs)
            return Accepted({}, {})
    async with database.transaction() as transaction:
        return await accept_in(transaction, creator, work, now, released)


async def accept_in(
    transaction: Queries,
    creator: str,
    work: Sequence[NewWork],
    now: float,
    released: Sequence[str] = (),
    *,
    claims_children: bool = True,
) -> Accepted:
    """The same in a transaction of the caller; ``claims_children``: spawn keys count."""
    named = [one for one in work if one.payload.spawn_key] if claims_children else []
    children = await _claim_spawn_keys(transaction, named)
    fresh = [one for one in work if one.id not in children]
    collisions = await _claim_keys(transaction, [one for one in fresh if one.claim], now, released)
    if claims_children:
        await _give_back_spawn_keys(transaction, [one for one in fresh if one.id in collisions])
    for asked_id, child_id in list(children.items()):
        if child_id in collisions:
            # The same spawn key in one request: what the first was refused for, the second is, too.
            collisions[asked_id] = collisions[child_id]
            del children[asked_id]
    await _write(transaction, creator, *_split([one for one in fresh if one.id not in collisions]))
    return Accepted(children, collisions)


async def key_holders(queries: Queries, work: Sequence[NewWork], now: float) -> list[Holder]:
    """Who holds the idempotency keys that this work wants."""
    wanting = [one for one in work if one.claim is not None]
    return await _holders(queries, wanting, now)


async def sweep_claims(database: Database, now: float) -> int:
    """Forget keys whose time is over; how many."""
    return await database.execute("claim_sweep", now)


def _split(work: Sequence[NewWork]) -> tuple[list[NewTask], list[NewRun]]:
    rows = [one.row for one in work]
    return [row for row in rows if isinstance(row, NewTask)], [row for row in rows if isinstance(row, NewRun)]


async def _write(queries: Queries, creator: str, tasks: Sequence[NewTask], runs: Sequence[NewRun]) -> None:
    if tasks:
        await append_tasks(queries, creator, tasks)
    if runs:
        await append_runs(queries, creator, runs)


async def _claim_spawn_keys(transaction: Queries, children: Sequence[NewWork]) -> dict[str, str]:
    if not children:
        return {}
    columns = (
        [child.tenant_id for child in children],
        [child.payload.parent_task_id for child in children],
        [child.payload.spawn_key for child in children],
        [child.id for child in children],
    )
    await transaction.execute("child_claim", *columns)
    holders = await transaction.fetch("child_holders", *columns)
    return {str(row["asked_id"]): str(row["child_id"]) for row in holders if row["asked_id"] != row["child_id"]}


async def _give_back_spawn_keys(transaction: Queries, refused: Sequence[NewWork]) -> None:
    """A child that is not created must not stand for its spawn key: the parent's next attempt asks for it again."""
    children = [one for one in refused if one.payload.spawn_key]
    if children:
        await transaction.execute(
            "child_release",
            [child.tenant_id for child in children],
            [child.payload.parent_task_id for child in children],
            [child.payload.spawn_key for child in children],
            [child.id for child in children],
        )


async def _claim_keys(
    transaction: Queries, wanting: Sequence[NewWork], now: float, released: Sequence[str]
) -> dict[str, str]:
    """Those that did not get their key, each with the run that has it. Of one batch the first gets it (C-4.43)."""
    if not wanting:
        return {}
    firsts: dict[tuple[str, str], NewWork] = {}
    for one in wanting:
        assert one.claim is not None
        firsts.setdefault((one.tenant_id, one.claim.key), one)
    # In one order everywhere, so that two batches never wait for each other.
    ordered = sorted(firsts.items())
    claims = [(tenant_id, key, one.id, one.claim) for (tenant_id, key), one in ordered if one.claim is not None]
    await transaction.fetch(
        "claim_take",
        [tenant_id for tenant_id, _, _, _ in claims],
        [key for _, key, _, _ in claims],
        [run_id for _, _, run_id, _ in claims],
        [claim.is_status for _, _, _, claim in claims],
        [claim.expires_at for _, _, _, claim in claims],
        now,
        list(released),
    )
    held = {(holder.tenant_id, holder.key): holder.run_id for holder in await _holders(transaction, wanting, now)}
    collisions: dict[str, str] = {}
    for one in wanting:
        assert one.claim is not None
        holder = held.get((one.tenant_id, one.claim.key))
        if holder is not None and holder != one.id:
            collisions[one.id] = holder
    return collisions


async def _holders(queries: Queries, wanting: Sequence[NewWork], now: float) -> list[Holder]:
    keys = [(one.tenant_id, one.claim.key) for one in wanting if one.claim is not None]
    rows = await queries.fetch("claim_holders", [tenant for tenant, _ in keys], [key for _, key in keys], now)
    unique = {(str(row["tenant_id"]), row["key"]): row for row in rows}
    return [Holder(tenant, key, str(row["run_id"]), row["is_status"]) for (tenant, key), row in unique.items()]
