"""The doctor's look at open runs of several tasks: what follows from their facts, decided as everybody decides it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from hatchet.core.definitions import StoredVersion
from hatchet.core.ids import task_ids
from hatchet.core.limits import from_text
from hatchet.core.rules import Strategy
from hatchet.core.run_tasks import Verdict
from hatchet.core.statuses import RunStatus
from hatchet.engine.doctor_checks import GRACE_SECONDS, MOST, OWNER_SECONDS, Found
from hatchet.engine.doctor_looks import GROUPS, Answer, Sight, when
from hatchet.engine.run_facts import LoadedRun

PAGE = 500
MOST_RUNS = 20_000
"""Open runs that are looked at, the oldest first."""


@dataclass(slots=True)
class _Group:
    """The active members of one key of a concurrency rule."""

    limit: int
    count: int = 0
    ids: list[str] = field(default_factory=list)


_Key = tuple[str, str, str]
"""Tenant, rule, key."""


class RunLook:
    """One pass over the open runs, a page at a time, and the concurrency groups in the same snapshot."""

    NAMES = (
        "runs-without-end",
        "runs-not-advanced",
        "runs-without-future",
        "runs-without-tasks",
        "overdue-waiting",
        "work-without-version",
        "watermark",
        "concurrency",
    )

    def __init__(self) -> None:
        self._answer: Answer = {name: [] for name in self.NAMES}
        self._groups: dict[_Key, _Group] = {}

    async def __call__(self, sight: Sight) -> Answer:
        leases = await sight.rows.fetch("doctor_leases", sight.now - OWNER_SECONDS)
        marks = {str(row["tenant_id"]): str(row["low_watermark"]) for row in leases if row["low_watermark"] is not None}
        cursor, seen = sight.since, 0
        while seen < MOST_RUNS:
            rows = await sight.rows.fetch("doctor_open_runs", cursor, PAGE)
            await self._page(sight, rows, marks)
            seen += len(rows)
            if len(rows) < PAGE:
                break
            cursor = str(rows[-1]["id"])
        await self._crowded(sight)
        return {name: found[:MOST] for name, found in self._answer.items()}

    async def _page(self, sight: Sight, rows: Sequence[Any], marks: dict[str, str]) -> None:
        versions = await sight.registration.versions({str(row["version_id"]) for row in rows})
        known: dict[str, Any] = {}
        parts: list[tuple[str, str, str]] = []
        for row in rows:
            run_id, tenant_id, version = str(row["id"]), str(row["tenant_id"]), versions.get(str(row["version_id"]))
            if version is None:
                self._add("work-without-version", tenant_id, run_id, f"run of version {row['version_id']}")
                continue
            known[run_id] = row
            parts += [(tenant_id, run_id, task_id) for task_id in task_ids(run_id, len(version.tasks))]
        columns = [list(column) for column in zip(*parts, strict=True)] or [[], [], []]
        for row in await sight.rows.fetch("doctor_missing_tasks", *columns):
            lost = known.pop(str(row["run_id"]))
            self._add("runs-without-tasks", str(lost["tenant_id"]), str(lost["id"]), "its tasks have no rows")
        by_tenant: dict[str, list[str]] = {}
        for run_id, row in known.items():
            by_tenant.setdefault(str(row["tenant_id"]), []).append(run_id)
        for tenant_id, ids in by_tenant.items():
            for run in await sight.run_facts.load(tenant_id, ids):
                self._judge(sight.now, tenant_id, run, known[run.row.id], marks.get(tenant_id, ""))

    def _judge(self, now: float, tenant_id: str, run: LoadedRun, row: Any, mark: str) -> None:
        late = now - GRACE_SECONDS
        run_id, state = run.row.id, run.state
        if state.is_over:
            if state.finished_at() < late:
                self._add("runs-without-end", tenant_id, run_id, f"ended at {when(state.finished_at())}")
            return
        undone = [
            index
            for index, task in enumerate(state.tasks)
            if task.outcome is not None and run.tasks[index].ended is None and task.ended_at < late
        ]
        if undone:
            names = ", ".join(run.version.tasks[index].definition.readable_id for index in undone)
            self._add("runs-not-advanced", tenant_id, run_id, f"decided, and not written: {names}")
        if not has_future(run, now):
            self._add("runs-without-future", tenant_id, run_id, "none of its open tasks waits for anything")
        if not row["is_paused"]:
            for index, ready_at in self._queued(run, now):
                at = max(ready_at, row["resumed_at"] or 0.0)
                if at + run.version.tasks[index].schedule_timeout_seconds < late:
                    text = f"of run {run_id}, waits since {when(at)}"
                    attempt = run.tasks[index].attempt
                    self._add("overdue-waiting", tenant_id, run.task_ids[index], text, attempt)
        if run_id < mark and not run.row.is_reopened:
            self._add("watermark", tenant_id, run_id, "run", other=run.task_ids[0])
        self._count(tenant_id, run)

    def _queued(self, run: LoadedRun, now: float) -> Iterator[tuple[int, float]]:
        """The first attempts that may run and are with no worker, and since when."""
        stored = run.stored_state()
        for change in stored.advance(stored.undecided(), now):
            if change.decision.verdict is Verdict.QUEUE and run.state.tasks[change.index].is_decided:
                yield change.index, change.decision.at

    def _count(self, tenant_id: str, run: LoadedRun) -> None:
        """A run that has begun holds its places (C-9.12)."""
        asks = from_text(run.row.limits).asks
        if not asks or run.stored_state().status() is not RunStatus.RUNNING or run.row.is_reopened or run.is_replayed:
            return
        for ask in asks:
            if ask.strategy is not Strategy.CANCEL_IN_PROGRESS and not _varies(run.version, ask.rule):
                self._hold((tenant_id, ask.rule, ask.key), ask.max_runs, 1, [run.row.id])

    async def _crowded(self, sight: Sight) -> None:
        rows = await sight.rows.fetch("doctor_holders", sight.since, GROUPS)
        versions = await sight.registration.versions({str(row["version_id"]) for row in rows})
        for row in rows:
            version = versions.get(str(row["version_id"]))
            if version is not None and not _varies(version, row["rule"]):
                key = (str(row["tenant_id"]), row["rule"], row["key"])
                self._hold(key, row["max_runs"], row["members"], [str(one) for one in row["ids"]])
        for (tenant_id, rule, name), group in self._groups.items():
            if group.count > max(group.limit, 0):
                text = f"rule {rule}: {group.count} of {group.limit} run: {', '.join(group.ids[:5])}"
                self._add("concurrency", tenant_id, f"'{name}'", text)

    def _hold(self, key: _Key, limit: int, count: int, ids: Sequence[str]) -> None:
        group = self._groups.setdefault(key, _Group(limit))
        group.limit = max(group.limit, limit)
        group.count += count
        group.ids += ids

    def _add(self, name: str, tenant_id: str, id: str, text: str, attempt: int = 0, other: str = "") -> None:  # noqa: A002
        self._answer[name].append(Found(id=id, tenant_id=tenant_id, text=text, attempt=attempt, other_id=other))


def has_future(run: LoadedRun, now: float) -> bool:
    """Whether an open task of the run is with a worker, may run, sleeps or listens (design invariant 3.2).

    Those that wait for their parents do not count: the parents do.
    """
    for index, task in enumerate(run.state.tasks):
        if task.outcome is not None:
            continue
        if task.is_decided or run.tasks[index].worker_id is not None:
            return True
        decision = run.state.decide(index, now)
        if decision.verdict is not Verdict.WAIT or decision.wakes_at is not None or decision.listens_since is not None:
            return True
    return False


def _varies(version: StoredVersion, rule_id: str) -> bool:
    """Whether the limit of the rule is computed for each run: then it may have been higher when the others came."""
    rules = [*version.rules, *(rule for task in version.tasks for rule in task.rules)]
    return any(rule.id == rule_id and rule.definition.max_runs_expression is not None for rule in rules)
