"""Runs finished work again: single tasks with what depends on them, or whole runs (behaviour-core C-15)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hatchet.core.clock import Clock
from hatchet.core.ids import parse_uuid
from hatchet.engine.bus import Bus
from hatchet.engine.evicting import Evicting
from hatchet.engine.memory import Owners
from hatchet.engine.publish import Results
from hatchet.engine.rebuild import Rebuild
from hatchet.engine.run_facts import LoadedRun, RunFacts
from hatchet.store.pool import Database
from hatchet.store.runs import Resolved, append_replays, reopen, resolve_ids
from hatchet.store.tasks import TaskState

RESTORED = "Restored by a replay"
"""What the history of an evicted task says (D-18.2)."""


@dataclass(slots=True, frozen=True)
class _Opening:
    """One attempt that a replay opens, for the ids that somebody sent and that mean it."""

    asked: tuple[str, ...]
    run_id: str
    task_id: str
    attempt: int
    is_queued: bool


class Replay:
    """Opens new attempts of what has ended. Attempts are facts: whoever opens one first has opened it."""

    def __init__(
        self,
        database: Database,
        owners: Owners,
        rebuild: Rebuild,
        run_facts: RunFacts,
        results: Results,
        evicting: Evicting,
        bus: Bus,
        clock: Clock,
    ) -> None:
        self._database = database
        self._owners = owners
        self._rebuild = rebuild
        self._run_facts = run_facts
        self._results = results
        self._evicting = evicting
        self._bus = bus
        self._clock = clock
        bus.on("replayed", self._heard)

    async def replay(self, tenant_id: str, ids: Sequence[str]) -> list[str]:
        """Replay runs or tasks; returns those of the ids of which something was opened again.

        A run's id means all its tasks, a task's id that task and all below it (C-15.9). What has not ended is left
        alone, and so is a run in which some task does not exist yet (C-15.10), or whose workflow was deleted (R-13.9);
        unknown ids are ignored. Committed when this returns; the tasks start as soon as there are workers. What is
        evicted is restored (D-22.3).
        """
        wanted = list(dict.fromkeys(normal for normal in map(parse_uuid, ids) if normal is not None))
        resolved = await self._living(await resolve_ids(self._database, tenant_id, wanted))
        states = await self._states(tenant_id, [one.id for one in resolved if one.run_id is None])
        openings = _of_tasks(states)
        evicted: dict[str, tuple[str, ...]] = {state.id: (state.id,) for state in states if state.is_evicted}
        by_run: dict[str, list[str]] = {}
        for one in resolved:
            if one.run_id is not None:
                by_run.setdefault(one.run_id, []).append(one.id)
        for run in await self._run_facts.load(tenant_id, list(by_run)) if by_run else []:
            openings.extend(_of_run(run, by_run[run.row.id]))
            evicted |= _evicted_of(run, by_run[run.row.id])
        asked: set[str] = set()
        if openings:
            opened = await self._write(tenant_id, openings)
            self._tell(tenant_id, opened)
            asked = {name for opening in opened for name in opening.asked}
        if evicted:
            restored = await self._evicting.restore(tenant_id, list(evicted), RESTORED)
            asked |= {name for task_id in restored for name in evicted[task_id]}
        return [name for name in wanted if name in asked]

    async def _living(self, resolved: Sequence[Resolved]) -> list[Resolved]:
        """Those whose workflow was not deleted: workers of one that was get no work."""
        versions = {one.version_id for one in resolved}
        rows = await self._database.fetch("version_living", list(versions)) if versions else []
        living = {str(row["id"]) for row in rows}
        return [one for one in resolved if one.version_id in living]

    async def _states(self, tenant_id: str, task_ids: Sequence[str]) -> list[TaskState]:
        return [state for state, _ in await self._rebuild.states(tenant_id, task_ids)] if task_ids else []

    async def _write(self, tenant_id: str, openings: Sequence[_Opening]) -> list[_Opening]:
        at = self._clock.now()
        # In one order everywhere, so that two replays never wait for each other.
        rows = sorted((opening.task_id, opening.attempt, opening.is_queued) for opening in openings)
        async with self._database.transaction() as transaction:
            written = await append_replays(transaction, tenant_id, at, rows)
            opened = [opening for opening in openings if (opening.task_id, opening.attempt) in written]
            await reopen(transaction, tenant_id, sorted({opening.run_id for opening in opened}), at)
        return opened

    def _tell(self, tenant_id: str, opened: Sequence[_Opening]) -> None:
        run_ids = list({opening.run_id for opening in opened})
        self._results.forget(run_ids)
        self._bus.publish_ids("replayed", run_ids, tenant=tenant_id)
        task_ids = [opening.task_id for opening in opened]
        owner = self._owners.get(tenant_id)
        if owner is not None:
            owner.touched(task_ids)
        else:
            self._bus.publish_ids("touched", task_ids, tenant=tenant_id)

    def _heard(self, message: dict[str, object]) -> None:
        ids = message.get("ids")
        if isinstance(ids, list):
            self._results.forget(map(str, ids))


def _of_tasks(states: Sequence[TaskState]) -> list[_Opening]:
    """The attempts to open of tasks that are runs of their own."""
    return [
        _Opening((state.id,), state.id, state.id, state.attempt + 1, True)
        for state in states
        if state.ended is not None
    ]


def _evicted_of(run: LoadedRun, asked: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The evicted tasks of one run that somebody wants again, each with the ids by which it was asked for."""
    found: dict[str, tuple[str, ...]] = {}
    for index, task in enumerate(run.tasks):
        names = tuple(name for name in asked if name in (run.row.id, task.id))
        if names and task.is_evicted and run.state.tasks[index].outcome is None:
            found[task.id] = names
    return found


def _of_run(run: LoadedRun, asked: Iterable[str]) -> list[_Opening]:
    """The attempts to open in one run."""
    if any(not run.state.exists(index) for index in range(len(run.tasks))):
        return []
    names: dict[int, list[str]] = {}
    for name in asked:
        if name == run.row.id:
            chosen = set(range(len(run.tasks)))
        else:
            chosen = run.version.graph.with_descendants([run.task_ids.index(name)])
        for index in chosen:
            names.setdefault(index, []).append(name)
    opened = run.state.replayed(names, 0.0)
    return [
        _Opening(tuple(names[index]), run.row.id, run.task_ids[index], run.state.tasks[index].attempt, is_queued)
        for index, is_queued in opened.items()
    ]
