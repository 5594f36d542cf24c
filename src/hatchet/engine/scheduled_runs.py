"""Scheduled runs as callers make, list, move and delete them (behaviour-core C-14.17 to C-14.29, R-16)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hatchet.core.clock import Clock, Ids
from hatchet.core.definitions import DEFAULT_PRIORITY, StoredVersion
from hatchet.core.errors import FailedPrecondition, InvalidArgument, NotFound
from hatchet.core.ids import lowest_at
from hatchet.core.statuses import RunStatus
from hatchet.engine.rebuild import Rebuild
from hatchet.engine.registration import Registration
from hatchet.engine.run_facts import RunFacts
from hatchet.engine.schedule_fields import (
    DeclaredInCode,
    checked_metadata,
    checked_object,
    checked_priority,
    checked_time,
)
from hatchet.engine.schedules import ALREADY_TRIGGERED, Schedules
from hatchet.store.pool import Database
from hatchet.store.runs import resolve_ids
from hatchet.store.schedule_entries import (
    Method,
    NewScheduled,
    ScheduledFilter,
    ScheduledRecord,
    add_scheduled,
    delete_scheduled,
    list_scheduled,
    matching_scheduled,
    move_scheduled,
    some_scheduled,
)
from hatchet.store.schedules import waiting_run

UNKNOWN = "Scheduled workflow not found."
IS_STARTED = "Scheduled run has already been triggered and cannot be rescheduled."
NOT_DELETED = "Failed to delete scheduled workflow."
MOST_TIMES = 1000
"""Scheduled runs that one call makes."""
CHUNK = 1000


@dataclass(slots=True, frozen=True, kw_only=True)
class WantedRun:
    """What a caller asks for; texts are JSON, times in seconds since 1970 (None: one that is out of range)."""

    workflow: str
    times: Sequence[float | None]
    input: str = ""
    additional_metadata: str = ""
    priority: int | None = None
    parent_run_id: str | None = None
    parent_task_id: str | None = None
    child_index: int | None = None
    child_key: str | None = None


@dataclass(slots=True, frozen=True)
class Listed:
    """A scheduled run, and how its run stands (None: it has none, or the run is not known any more)."""

    record: ScheduledRecord
    status: RunStatus | None


@dataclass(slots=True)
class BulkAnswer:
    """What a bulk operation did, and why not for the others, by id."""

    done: list[str] = field(default_factory=list)
    errors: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True, frozen=True, kw_only=True)
class Page:
    """Which part of a list is wanted, in which order."""

    offset: int
    limit: int
    by_creation: bool = False
    descending: bool = True


class ScheduledRuns:
    """The scheduled runs of tenants."""

    def __init__(
        self,
        database: Database,
        registration: Registration,
        rebuild: Rebuild,
        run_facts: RunFacts,
        schedules: Schedules,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._database = database
        self._registration = registration
        self._rebuild = rebuild
        self._run_facts = run_facts
        self._schedules = schedules
        self._clock = clock
        self._ids = ids

    async def add(self, tenant_id: str, wanted: WantedRun) -> tuple[StoredVersion, list[tuple[str, float]]]:
        """Schedule a run for each time; the workflow's newest version, and (id, time) in the given order (C-14.17).

        Raises NotFound ``workflow not found`` (C-14.18) and InvalidArgument for everything else that is wrong.
        """
        version = (await self._registration.latest(tenant_id, [wanted.workflow])).get(wanted.workflow)
        if version is None:
            raise NotFound("workflow not found")
        if len(wanted.times) > MOST_TIMES:
            raise InvalidArgument(f"schedules: at most {MOST_TIMES} times a call, not {len(wanted.times)}")
        if wanted.parent_run_id and (wanted.parent_task_id is None or wanted.child_index is None):
            raise InvalidArgument("parent_id needs parent_task_run_external_id and child_index")
        new = NewScheduled(
            tenant_id=tenant_id,
            workflow_id=version.workflow_id,
            input=checked_object(wanted.input, "input"),
            additional_metadata=checked_metadata(wanted.additional_metadata, "additional_metadata"),
            priority=checked_priority(DEFAULT_PRIORITY if wanted.priority is None else wanted.priority),
            parent_run_id=wanted.parent_run_id,
            parent_task_id=wanted.parent_task_id,
            child_index=wanted.child_index,
            child_key=wanted.child_key,
        )
        times = [(self._ids.new(), checked_time(at, f"schedules[{index}]")) for index, at in enumerate(wanted.times)]
        if times:
            if not await add_scheduled(self._database, new, times, self._clock.now()):
                raise NotFound("workflow not found")
            self._schedules.changed()
        return version, times

    async def get(self, tenant_id: str, scheduled_id: str) -> Listed:
        """Raises NotFound for an id that the tenant does not have."""
        [listed] = await self._with_statuses(tenant_id, [await self._record(tenant_id, scheduled_id)])
        return listed

    async def page(
        self,
        tenant_id: str,
        wanted: ScheduledFilter,
        part: Page,
        *,
        waiting: bool = False,
        statuses: frozenset[RunStatus] = frozenset(),
    ) -> tuple[list[Listed], int]:
        """A page of the scheduled runs, and how many there are on all pages.

        ``waiting`` and ``statuses`` add up: those that were not started, those whose run stands so; neither: all.
        """
        if not statuses:
            records, total = await self._read(tenant_id, wanted, part, is_triggered=False if waiting else None)
            return await self._with_statuses(tenant_id, records), total
        # How a run stands follows from its facts and is in no column: all that were started are looked at.
        found: list[Listed] = []
        chunk = replace(part, offset=0, limit=CHUNK)
        while True:
            records, _ = await self._read(tenant_id, wanted, chunk, is_triggered=None if waiting else True)
            listed = await self._with_statuses(tenant_id, records)
            found += [one for one in listed if one.status in statuses or (waiting and one.record.triggered_at is None)]
            if len(records) < CHUNK:
                return found[part.offset : part.offset + part.limit], len(found)
            chunk = replace(chunk, offset=chunk.offset + CHUNK)

    async def move(self, tenant_id: str, scheduled_id: str, at: float) -> Listed:
        """Give it another time (R-16.4).

        Raises NotFound, DeclaredInCode, FailedPrecondition when it was started, InvalidArgument for a bad time.
        """
        checked_time(at, "triggerAt")
        record = await self._record(tenant_id, scheduled_id)
        if record.method is Method.DEFAULT:
            raise DeclaredInCode("Cannot update scheduled run created via code definition.")
        if not await move_scheduled(self._database, tenant_id, {scheduled_id: at}, self._clock.now()):
            raise FailedPrecondition(IS_STARTED)
        self._schedules.changed()
        return await self.get(tenant_id, scheduled_id)

    async def delete(self, tenant_id: str, scheduled_id: str) -> None:
        """Raises NotFound, DeclaredInCode, and FailedPrecondition when it was started (C-14.26)."""
        record = await self._record(tenant_id, scheduled_id)
        if record.method is Method.DEFAULT:
            raise DeclaredInCode("Cannot delete scheduled run created via code definition.")
        if not await delete_scheduled(self._database, tenant_id, [scheduled_id]):
            raise FailedPrecondition("Scheduled run has already been triggered and cannot be deleted.")

    async def trigger(self, tenant_id: str, scheduled_id: str) -> str:
        """Start it now (R-16.5); the id of its run. Raises NotFound, and FailedPrecondition when it was started."""
        run = await waiting_run(self._database, tenant_id, scheduled_id)
        if run is None:
            await self._record(tenant_id, scheduled_id)
            raise FailedPrecondition(ALREADY_TRIGGERED)
        return await self._schedules.start_now(run)

    async def delete_ids(self, tenant_id: str, ids: Sequence[str]) -> BulkAnswer:
        """Delete those that can be (R-16.6)."""
        wanted = list(dict.fromkeys(ids))
        gone = await delete_scheduled(self._database, tenant_id, wanted)
        answer = BulkAnswer([scheduled_id for scheduled_id in wanted if scheduled_id in gone])
        answer.errors = [(scheduled_id, NOT_DELETED) for scheduled_id in wanted if scheduled_id not in gone]
        return answer

    async def delete_matching(self, tenant_id: str, wanted: ScheduledFilter) -> BulkAnswer:
        """Delete those that were not started and that the filter means, some at a time (R-16.6)."""
        answer = BulkAnswer()
        after = lowest_at(0.0)
        while True:
            found = await matching_scheduled(self._database, tenant_id, wanted, after, CHUNK)
            if found:
                after = found[-1][0]
                part = await self.delete_ids(tenant_id, [found_id for found_id, by in found if by is Method.API])
                answer.done += part.done
                answer.errors += part.errors
            declared = "Cannot delete scheduled run created via code definition."
            answer.errors += [(found_id, declared) for found_id, by in found if by is Method.DEFAULT]
            if len(found) < CHUNK:
                return answer

    async def move_all(self, tenant_id: str, times: Mapping[str, float]) -> BulkAnswer:
        """Give others times by id; one that cannot be moved does not stop the others (R-16.7)."""
        answer = BulkAnswer()
        good: dict[str, float] = {}
        for scheduled_id, at in times.items():
            try:
                good[scheduled_id] = checked_time(at, "triggerAt")
            except InvalidArgument as error:
                answer.errors.append((scheduled_id, f"Failed to update scheduled workflow. {error.message}"))
        moved = await move_scheduled(self._database, tenant_id, good, self._clock.now())
        if moved:
            self._schedules.changed()
        answer.done = [scheduled_id for scheduled_id in good if scheduled_id in moved]
        left = [scheduled_id for scheduled_id in good if scheduled_id not in moved]
        known = await some_scheduled(self._database, tenant_id, left) if left else {}
        answer.errors += [(scheduled_id, _why_not_moved(known.get(scheduled_id))) for scheduled_id in left]
        return answer

    async def _record(self, tenant_id: str, scheduled_id: str) -> ScheduledRecord:
        found = await some_scheduled(self._database, tenant_id, [scheduled_id])
        if not found:
            raise NotFound(UNKNOWN)
        return found[scheduled_id]

    async def _read(
        self, tenant_id: str, wanted: ScheduledFilter, page: Page, *, is_triggered: bool | None
    ) -> tuple[list[ScheduledRecord], int]:
        return await list_scheduled(
            self._database,
            tenant_id,
            wanted,
            is_triggered=is_triggered,
            by_creation=page.by_creation,
            descending=page.descending,
            offset=page.offset,
            limit=page.limit,
        )

    async def _with_statuses(self, tenant_id: str, records: Sequence[ScheduledRecord]) -> list[Listed]:
        run_ids = [record.run_id for record in records if record.run_id is not None]
        statuses: dict[str, RunStatus] = {}
        if run_ids:
            resolved = await resolve_ids(self._database, tenant_id, run_ids)
            alone = [one.id for one in resolved if one.run_id is None]
            whole = [one.id for one in resolved if one.run_id is not None]
            statuses = {task.id: state.status for state, task in await self._rebuild.states(tenant_id, alone)}
            statuses |= {run.row.id: run.state.status() for run in await self._run_facts.load(tenant_id, whole)}
        return [Listed(record, statuses.get(record.run_id or "")) for record in records]


def _why_not_moved(record: ScheduledRecord | None) -> str:
    if record is None:
        return UNKNOWN
    if record.triggered_at is not None:
        return IS_STARTED
    if record.method is Method.DEFAULT:
        return "Cannot update scheduled run created via code definition."
    return "Failed to update scheduled workflow."
