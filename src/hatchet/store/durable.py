"""The rows of durable logs: appended in batches, read back by task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hatchet.core.durable_log import Branch, Entry, EntryKind, Key, Release, Result
from hatchet.core.durable_waits import Match
from hatchet.store.pool import Database, Queries, Row

Place = tuple[str, int, int]
"""(task id, branch, node)"""


@dataclass(slots=True, frozen=True)
class OfTask:
    """Whose log a row belongs to."""

    tenant_id: str
    task_id: str


@dataclass(slots=True, frozen=True)
class NewEntry:
    """One entry to write."""

    of: OfTask
    entry: Entry


@dataclass(slots=True, frozen=True)
class NewOutcome:
    """What an entry came to."""

    of: OfTask
    key: Key
    result: Result

    @property
    def place(self) -> Place:
        return self.of.task_id, *self.key


@dataclass(slots=True, frozen=True)
class NewRelease:
    """The first hand-over of a completion."""

    of: OfTask
    key: Key
    release: Release


@dataclass(slots=True, frozen=True)
class NewMatch:
    """An event met a condition of a wait that goes on."""

    of: OfTask
    key: Key
    event_id: str
    match: Match


@dataclass(slots=True)
class LogRows:
    """The log of one task, as read."""

    entries: list[Entry] = field(default_factory=list)
    branches: list[Branch] = field(default_factory=list)


@dataclass(slots=True)
class OpenRows:
    """The entries of one task that wait, as read."""

    entries: list[Entry] = field(default_factory=list)
    branches: list[Branch] = field(default_factory=list)
    matches: dict[Key, dict[int, Match]] = field(default_factory=dict)


async def read_logs(
    queries: Queries, tenant_id: str, task_ids: Sequence[str], *, payloads: bool = True
) -> dict[str, LogRows]:
    """The logs of the named tasks, one for each of them; ``payloads``: with what their entries came to."""
    found = {task_id: LogRows() for task_id in task_ids}
    for row in await queries.fetch("durable_entries", tenant_id, task_ids, payloads):
        entry = _entry(row)
        if row["satisfied_at"] is not None:
            entry.result = _result(row)
        if row["satisfied_order"] is not None:
            entry.release = Release(row["order_branch"], row["satisfied_order"], row["tip"], row["released_by"])
        found[str(row["task_id"])].entries.append(entry)
    for task_id, branch in await _branches(queries, tenant_id, task_ids):
        found[task_id].branches.append(branch)
    return found


async def read_open(database: Database, tenant_id: str, task_ids: Sequence[str]) -> dict[str, OpenRows]:
    """What the named tasks wait for, one answer for each of them."""
    found = {task_id: OpenRows() for task_id in task_ids}
    waiting = await database.fetch("durable_waiting", tenant_id, task_ids)
    for row in waiting:
        found[str(row["task_id"])].entries.append(_entry(row))
    concerned = list({str(row["task_id"]) for row in waiting})
    if concerned:
        for row in await database.fetch("durable_matches", tenant_id, concerned):
            matches = found[str(row["task_id"])].matches.setdefault((row["branch"], row["node"]), {})
            matches[row["condition"]] = Match(row["condition"], row["matched_at"], row["data"].decode())
        for task_id, branch in await _branches(database, tenant_id, concerned):
            found[task_id].branches.append(branch)
    return found


async def read_results(database: Database, wanted: Iterable[tuple[OfTask, Key]]) -> dict[Place, Result]:
    """The results of the named entries, those that have one."""
    asked = list(wanted)
    if not asked:
        return {}
    rows = await database.fetch(
        "durable_results_of",
        [of.tenant_id for of, _ in asked],
        [of.task_id for of, _ in asked],
        [key[0] for _, key in asked],
        [key[1] for _, key in asked],
    )
    return {(str(row["task_id"]), row["branch"], row["node"]): _result(row) for row in rows}


async def read_walk(database: Database, of: OfTask, invocation: int) -> list[int]:
    """The nodes that an invocation noted (:func:`hatchet.core.durable_log.resume_point`)."""
    return [row["node"] for row in await database.fetch("durable_walks", of.tenant_id, of.task_id, invocation)]


async def append_entries(queries: Queries, rows: Sequence[NewEntry]) -> set[Place]:
    """Write entries; the places of those that were written.

    An entry is not written when its node is taken, or when its invocation's attempt has ended (D-4.11).
    """
    entries = [row.entry for row in rows]
    written = await queries.fetch(
        "durable_entry_append",
        [row.of.tenant_id for row in rows],
        [row.of.task_id for row in rows],
        [entry.branch for entry in entries],
        [entry.node for entry in entries],
        [entry.kind.value for entry in entries],
        [entry.digest for entry in entries],
        [entry.invocation for entry in entries],
        [entry.subject for entry in entries],
        [entry.label for entry in entries],
        [entry.child_name for entry in entries],
        [entry.run_id for entry in entries],
        [entry.is_single for entry in entries],
        [entry.created_at for entry in entries],
    )
    return _places(written)


async def append_outcomes(queries: Queries, rows: Sequence[NewOutcome]) -> set[Place]:
    """Write what entries came to; the places of those that had no result before (D-7.3)."""
    written = await queries.fetch(
        "durable_result_append",
        [row.of.tenant_id for row in rows],
        [row.of.task_id for row in rows],
        [row.key[0] for row in rows],
        [row.key[1] for row in rows],
        [row.result.at for row in rows],
        [row.result.payload.encode() for row in rows],
        [row.result.is_failure for row in rows],
        [row.result.error for row in rows],
    )
    return _places(written)


async def append_releases(queries: Queries, rows: Sequence[NewRelease]) -> set[Place]:
    """Write first hand-overs; the places of those whose entry and order were free."""
    written = await queries.fetch(
        "durable_release_append",
        [row.of.tenant_id for row in rows],
        [row.of.task_id for row in rows],
        [row.key[0] for row in rows],
        [row.key[1] for row in rows],
        [row.release.branch for row in rows],
        [row.release.order for row in rows],
        [row.release.tip for row in rows],
        [row.release.invocation for row in rows],
    )
    return _places(written)


async def append_matches(queries: Queries, rows: Sequence[NewMatch]) -> None:
    """Write which conditions events met; the first event of a condition counts."""
    await queries.execute(
        "durable_match_append",
        [row.of.tenant_id for row in rows],
        [row.of.task_id for row in rows],
        [row.key[0] for row in rows],
        [row.key[1] for row in rows],
        [row.match.condition for row in rows],
        [row.event_id for row in rows],
        [row.match.at for row in rows],
        [row.match.data.encode() for row in rows],
    )


async def append_walks(queries: Queries, rows: Sequence[tuple[OfTask, int, int]]) -> None:
    """Note how far invocations have walked: (whose, invocation, node)."""
    await queries.execute(
        "durable_walk_append",
        [of.tenant_id for of, _, _ in rows],
        [of.task_id for of, _, _ in rows],
        [invocation for _, invocation, _ in rows],
        [node for _, _, node in rows],
    )


async def append_branch(queries: Queries, of: OfTask, branch: Branch, at: float) -> bool:
    """Write a branch; False when its number is taken."""
    columns = (of.tenant_id, of.task_id, branch.id, branch.parent, branch.first_node, at)
    return bool(await queries.execute("durable_branch_append", *columns))


@dataclass(slots=True, frozen=True)
class PageRow:
    """One entry for people; times in seconds since 1970."""

    branch: int
    node: int
    kind: EntryKind
    subject: str
    label: str | None
    run_id: str | None
    created_at: float
    satisfied_at: float | None


async def read_page(database: Database, of: OfTask, offset: int, limit: int) -> list[PageRow]:
    """A page of a log, by branch and node (D-25.1)."""
    return [
        PageRow(
            row["branch"],
            row["node"],
            EntryKind(row["kind"]),
            row["subject"],
            row["label"],
            _text(row["run_id"]),
            row["created_at"],
            row["satisfied_at"],
        )
        for row in await database.fetch("durable_log_page", of.tenant_id, of.task_id, offset, limit)
    ]


async def add_signal(database: Database, of: OfTask, name: str, digest: bytes, subject: str, at: float) -> int | None:
    """Write a wait of a client that knows no log; its node, or None when it is there already or another was faster."""
    rows = await database.fetch("durable_signal_add", of.tenant_id, of.task_id, digest, subject, name, at)
    return rows[0]["node"] if rows else None


@dataclass(slots=True, frozen=True)
class SignalRow:
    """A wait of a client that knows no log; ``payload`` None: it is not over."""

    task_id: str
    name: str
    node: int
    payload: str | None


async def read_signals(database: Database, tenant_id: str, asked: Sequence[tuple[str, str]]) -> list[SignalRow]:
    """Those of the waits (task id, name) that are known."""
    rows = await database.fetch(
        "durable_signals", tenant_id, [task_id for task_id, _ in asked], [name for _, name in asked]
    )
    return [
        SignalRow(
            str(row["task_id"]),
            row["name"],
            row["node"],
            row["payload"].decode() if row["payload"] is not None else None,
        )
        for row in rows
    ]


async def _branches(queries: Queries, tenant_id: str, task_ids: Sequence[str]) -> list[tuple[str, Branch]]:
    rows = await queries.fetch("durable_branches", tenant_id, task_ids)
    return [(str(row["task_id"]), Branch(row["branch"], row["parent"], row["first_node"])) for row in rows]


def _entry(row: Row) -> Entry:
    return Entry(
        kind=EntryKind(row["kind"]),
        branch=row["branch"],
        node=row["node"],
        digest=row["digest"],
        invocation=row["invocation"],
        created_at=row["created_at"],
        subject=row["subject"],
        label=row["label"],
        child_name=row["child_name"],
        run_id=_text(row["run_id"]),
        is_single=row["is_single"],
    )


def _result(row: Row) -> Result:
    payload = row["payload"]
    return Result(row["satisfied_at"], payload.decode() if payload else "", row["is_failure"], row["error"])


def _places(rows: Iterable[Row]) -> set[Place]:
    return {(str(row["task_id"]), row["branch"], row["node"]) for row in rows}


def _text(value: object) -> str | None:
    return None if value is None else str(value)
