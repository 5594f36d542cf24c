"""How the doctor mends: rows that the engine writes itself, and a word to the owner.

Each is right beside a live engine: the first result of an attempt wins, ends of runs follow from their tasks, and what
is changed otherwise is looked at once more in the statement that changes it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from hatchet.core.clock import Clock
from hatchet.core.ids import lowest_at, time_of
from hatchet.core.ready_task import ReadyTask
from hatchet.core.run_tasks import SKIPPED_OUTPUT
from hatchet.core.schedules import next_after
from hatchet.core.statuses import Outcome as Ended
from hatchet.core.statuses import RunStatus
from hatchet.core.transitions import Event, EventKind, State, decide
from hatchet.engine.bus import Bus
from hatchet.engine.doctor_checks import GRACE_SECONDS, Found
from hatchet.engine.memory import policy_of
from hatchet.engine.rebuild import Rebuild
from hatchet.engine.run_facts import LoadedRun, RunFacts
from hatchet.engine.schedules import CHANGED
from hatchet.store.leases import SCHEDULER_PREFIX, HeldLease
from hatchet.store.partitions import ensure_partitions
from hatchet.store.pool import Database
from hatchet.store.runs import RunEnding, close_reopened, put_run_results, reopen
from hatchet.store.tasks import NewResult, TaskState, append_results
from hatchet.store.triggers import sweep_claims

Mend = Callable[[Sequence[Found]], Awaitable[int]]


class Mends:
    """The mending of each check, by its name; each returns how many cases it mended."""

    def __init__(
        self,
        database: Database,
        rebuild: Rebuild,
        run_facts: RunFacts,
        bus: Bus,
        clock: Clock,
        max_internal_retries: int,
    ) -> None:
        self._database = database
        self._rebuild = rebuild
        self._run_facts = run_facts
        self._bus = bus
        self._clock = clock
        self._max_internal_retries = max_internal_retries
        self.by_name: dict[str, Mend] = {
            "partitions": self._partitions,
            "facts-without-task": self._orphans,
            "children-without-run": self._children,
            "runs-without-tasks": self._broken_runs,
            "overdue-attempts": self._overdue,
            "lost-workers": self._lost,
            "overdue-waiting": self._waiting,
            "overdue-retries": self._waiting,
            "runs-without-end": self._runs,
            "runs-not-advanced": self._runs,
            "stale-reopened": self._stale,
            "lost-replays": self._replays,
            "watermark": self._watermarks,
            "rate-limits": self._rates,
            "crons": self._crons,
            "expired-keys": self._keys,
        }

    # Attempts -------------------------------------------------------------------------------------------------------

    async def _overdue(self, found: Sequence[Found]) -> int:
        late = self._clock.now() - GRACE_SECONDS

        def is_late(state: TaskState) -> bool:
            return state.timeout_at is not None and state.timeout_at < late

        return await self._end(found, State.RUNNING, EventKind.EXECUTION_TIMED_OUT, is_late)

    async def _lost(self, found: Sequence[Found]) -> int:
        return await self._end(found, State.RUNNING, EventKind.WORKER_LOST, lambda state: not state.is_released)

    async def _waiting(self, found: Sequence[Found]) -> int:
        return await self._end(found, State.QUEUED, EventKind.SCHEDULE_TIMED_OUT, lambda state: True)

    async def _end(
        self, found: Sequence[Found], state: State, kind: EventKind, still: Callable[[TaskState], bool]
    ) -> int:
        """End the attempts that are as they were found; those that moved on are well."""
        mended = 0
        for tenant_id, ones in _by_tenant(found).items():
            wanted = {one.id: one.attempt for one in ones}
            results: list[NewResult] = []
            for read, task in await self._rebuild.states(tenant_id, list(wanted)):
                is_running = read.worker_id is not None
                is_same = read.ended is None and read.attempt == wanted[read.id]
                if is_same and is_running is (state is State.RUNNING) and still(read):
                    results += self._result(tenant_id, read, task, state, kind)
            if results:
                await append_results(self._database, results)
            self._touch(tenant_id, list(wanted))
            mended += len(ones)
        return mended

    def _result(
        self, tenant_id: str, read: TaskState, task: ReadyTask, state: State, kind: EventKind
    ) -> list[NewResult]:
        now = self._clock.now()
        made = decide(state, Event(kind, now), policy_of(task, self._max_internal_retries), task.counters)
        if made is None:
            return []
        return [
            NewResult(
                tenant_id,
                task.id,
                task.attempt,
                made.outcome,
                made.output,
                made.error,
                read.started_at,
                now,
                made.retry_at,
                made.app_retries,
                made.internal_retries,
                made.evictions,
            )
        ]

    # Runs -------------------------------------------------------------------------------------------------------------

    async def _runs(self, found: Sequence[Found]) -> int:
        """Write what follows from the facts, under the epoch of the present owner: a newer one decides it anew."""
        mended = 0
        for tenant_id, ones in _by_tenant(found).items():
            lease = await self._lease(tenant_id)
            runs = await self._run_facts.load(tenant_id, [one.id for one in ones])
            rows = [row for run in runs for row in _following(tenant_id, run)]
            if rows:
                await append_results(self._database, rows, lease)
            ends = [
                RunEnding(run.row.id, run.state.status(), run.state.finished_at(), run.state.attempts())
                for run in runs
                if run.state.is_over
            ]
            if ends:
                await put_run_results(self._database, lease, tenant_id, ends)
            self._touch(tenant_id, [task_id for run in runs for task_id in run.task_ids])
            mended += len(ones) if lease.epoch >= 0 else 0
        return mended

    async def _broken_runs(self, found: Sequence[Found]) -> int:
        mended = 0
        for tenant_id, ones in _by_tenant(found).items():
            now = self._clock.now()
            ends = [RunEnding(one.id, RunStatus.CANCELLED, now, 0) for one in ones]
            lease = await self._lease(tenant_id)
            await put_run_results(self._database, lease, tenant_id, ends)
            mended += len(ones) if lease.epoch >= 0 else 0
        return mended

    async def _lease(self, tenant_id: str) -> HeldLease:
        """The lease as it is now; an epoch of -1 writes nothing."""
        name = f"{SCHEDULER_PREFIX}{tenant_id}"
        rows = await self._database.fetch("lease_epoch", name)
        return HeldLease(name, rows[0]["epoch"] if rows else -1, None)

    # Take-over --------------------------------------------------------------------------------------------------------

    async def _stale(self, found: Sequence[Found]) -> int:
        for tenant_id, ones in _by_tenant(found).items():
            await close_reopened(self._database, tenant_id, [(one.id, one.at or 0.0) for one in ones])
        return len(found)

    async def _replays(self, found: Sequence[Found]) -> int:
        for tenant_id, ones in _by_tenant(found).items():
            at = max(one.at or 0.0 for one in ones)
            await reopen(self._database, tenant_id, list({one.other_id for one in ones}), at)
            self._touch(tenant_id, [one.id for one in ones])
        return len(found)

    async def _watermarks(self, found: Sequence[Found]) -> int:
        by_tenant = _by_tenant(found)
        names = [f"{SCHEDULER_PREFIX}{tenant_id}" for tenant_id in by_tenant]
        marks = [lowest_at(time_of(min(one.id for one in ones))) for ones in by_tenant.values()]
        await self._database.execute("doctor_lower_watermark", names, marks)
        for tenant_id, ones in by_tenant.items():
            self._touch(tenant_id, [one.other_id or one.id for one in ones])
        return len(found)

    # The rest ---------------------------------------------------------------------------------------------------------

    async def _partitions(self, found: Sequence[Found]) -> int:
        await ensure_partitions(self._database, self._clock.now())
        return len(found)

    async def _orphans(self, found: Sequence[Found]) -> int:
        tasks = [one for one in found if one.key != "run_result"]
        runs = [one for one in found if one.key == "run_result"]
        columns = [[one.tenant_id for one in tasks], [one.id for one in tasks]]
        columns += [[one.tenant_id for one in runs], [one.id for one in runs]]
        await self._database.execute("doctor_remove_orphans", *columns)
        return len(found)

    async def _children(self, found: Sequence[Found]) -> int:
        return await self._database.execute(
            "doctor_remove_children",
            [one.tenant_id for one in found],
            [one.id for one in found],
            [one.key for one in found],
            [one.other_id for one in found],
        )

    async def _rates(self, found: Sequence[Found]) -> int:
        keys = [one.key for one in found]
        return await self._database.execute("doctor_clamp_rate_limits", [one.tenant_id for one in found], keys)

    async def _crons(self, found: Sequence[Found]) -> int:
        moved = await self._database.execute(
            "doctor_move_crons",
            [one.id for one in found if one.cron is not None],
            [one.cron.is_enabled for one in found if one.cron is not None],
            [next_after_of(one, self._clock.now()) for one in found if one.cron is not None],
            [one.cron.next_at for one in found if one.cron is not None],
        )
        self._bus.announce(CHANGED)
        return moved

    async def _keys(self, found: Sequence[Found]) -> int:
        await sweep_claims(self._database, self._clock.now())
        return len(found)

    def _touch(self, tenant_id: str, ids: Sequence[str]) -> None:
        self._bus.publish_ids("touched", ids, tenant=tenant_id)


def next_after_of(one: Found, now: float) -> float | None:
    """The next instant of a cron that was found; None while it is disabled."""
    cron = one.cron
    return next_after(cron.expression, cron.time_zone, now) if cron is not None and cron.is_enabled else None


def _following(tenant_id: str, run: LoadedRun) -> list[NewResult]:
    """The ends of tasks that were decided and have no row."""
    rows: list[NewResult] = []
    for index, task in enumerate(run.state.tasks):
        if task.outcome is None or run.tasks[index].ended is not None:
            continue
        output = SKIPPED_OUTPUT if task.outcome is Ended.SKIPPED else None
        end = (tenant_id, run.task_ids[index], task.attempt, task.outcome, output)
        rows.append(NewResult(*end, None, None, task.ended_at, None, 0, 0, task.evictions))
    return rows


def _by_tenant(found: Sequence[Found]) -> dict[str, list[Found]]:
    grouped: dict[str, list[Found]] = {}
    for one in found:
        grouped.setdefault(one.tenant_id, []).append(one)
    return grouped
