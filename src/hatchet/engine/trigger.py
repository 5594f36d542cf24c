"""Station 1 of a task's life: every source of runs calls :meth:`Trigger.trigger` (behaviour-core C-4).

Runs are written in batches and acknowledged after the commit; only then the scheduler hears of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from hatchet.core.clock import Clock, Ids
from hatchet.core.definitions import StoredVersion
from hatchet.core.errors import InvalidArgument, ResourceExhausted, Unavailable
from hatchet.core.ids import parse_uuid
from hatchet.core.json_texts import normal_input, normal_metadata
from hatchet.core.messages import TriggerItem
from hatchet.core.payloads import TaskPayload
from hatchet.core.ready_queue import ReadyTask
from hatchet.engine.batcher import Batcher
from hatchet.engine.bus import Bus
from hatchet.engine.memory import Flights, Owners, PayloadCache
from hatchet.engine.registration import Registration
from hatchet.store.pool import Database
from hatchet.store.tasks import NewTask, append_tasks, existing_tasks

MAX_WAITING = 2_000_000
"""Waiting tasks of a tenant; some 250 bytes each in its scheduler's memory."""

Accepted = tuple[NewTask, StoredVersion]


class Trigger:
    """Creates runs."""

    def __init__(
        self,
        database: Database,
        registration: Registration,
        owners: Owners,
        flights: Flights,
        payloads: PayloadCache,
        bus: Bus,
        clock: Clock,
        ids: Ids,
        instance_id: str,
        *,
        flush_gap: float,
        flush_maximum: int,
    ) -> None:
        self._database = database
        self._writer = database.pinned()
        self._registration = registration
        self._owners = owners
        self._flights = flights
        self._payloads = payloads
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._instance_id = instance_id
        self._writes: Batcher[Accepted, str] = Batcher(
            "triggers", self._write, gap=flush_gap, maximum=flush_maximum, high_water=100_000
        )

    async def trigger(self, tenant_id: str, items: Sequence[TriggerItem]) -> list[str]:
        """Create one run per item and return their ids in the items' order, once all are committed (C-4.4, C-4.6).

        Raises InvalidArgument for an unknown workflow (C-4.8), a bad priority, input or metadata that is not JSON, and
        ResourceExhausted when the server is too far behind. All items are checked before any run is created.
        """
        self._refuse_overflow(tenant_id, len(items))
        versions = await self._registration.latest(tenant_id, list({item.workflow_name for item in items}))
        unknown = sorted({item.workflow_name for item in items} - versions.keys())
        if unknown:
            raise InvalidArgument(f"workflow names not found: {', '.join(unknown)}")
        now = self._clock.now()
        accepted: list[Accepted] = []
        for item in items:
            version = versions[item.workflow_name]
            accepted.append((self._checked(tenant_id, item, version, now), version))
        await self._check_parents(tenant_id, [task.payload for task, _ in accepted])
        return [await written for written in self._writes.submit_all(accepted)]

    async def drain(self) -> None:
        """Wait for the writes that are under way, and give the connection back."""
        await self._writes.drain()
        await self._writer.close()

    def _refuse_overflow(self, tenant_id: str, count: int) -> None:
        """Waiting tasks are held in memory, so there must be an end to them (design section 4.12)."""
        owner = self._owners.get(tenant_id)
        if owner is not None and owner.backlog() + count > MAX_WAITING:
            raise ResourceExhausted(
                f"{owner.backlog()} tasks wait already, {MAX_WAITING} are the most: start more workers, or cancel some"
            )

    def _checked(self, tenant_id: str, item: TriggerItem, version: StoredVersion, now: float) -> NewTask:
        priority = version.default_priority if item.priority is None else item.priority
        if not 1 <= priority <= 3:
            raise InvalidArgument(f"priority must be between 1 and 3, got {priority}")
        metadata = normal_metadata(item.additional_metadata)
        payload = TaskPayload(
            normal_input(item.input),
            "" if metadata == "{}" else metadata,
            _uuid(item.parent_run_id, "parent_id"),
            _uuid(item.parent_task_id, "parent_task_run_external_id"),
            item.child_index if item.parent_task_id else None,
            item.child_key if item.parent_task_id else None,
        )
        return NewTask(tenant_id, self._ids.new(), version.id, version.tasks[0].id, priority, payload, now)

    async def _check_parents(self, tenant_id: str, payloads: Sequence[TaskPayload]) -> None:
        """C-4.8: a parent must be a task of the tenant. One that runs here is known without asking."""
        parents = {payload.parent_task_id for payload in payloads if payload.parent_task_id}
        unsure = [parent for parent in parents if not self._runs_here(tenant_id, parent)]
        if not unsure:
            return
        missing = sorted(set(unsure) - await existing_tasks(self._database, tenant_id, unsure))
        if missing:
            raise InvalidArgument(f"parent_task_run_external_id: no such task: {', '.join(missing)}")

    def _runs_here(self, tenant_id: str, task_id: str) -> bool:
        flight = self._flights.get(task_id)
        return flight is not None and flight.tenant_id == tenant_id

    async def _write(self, batch: Sequence[Accepted]) -> list[str]:
        try:
            held = await append_tasks(self._writer, self._instance_id, [task for task, _ in batch])
        except Unavailable:
            self._look_again(batch)
            raise
        by_tenant: dict[str, list[ReadyTask]] = {}
        for task, version in batch:
            if task.id in held:
                continue
            ready = ReadyTask(task.id, version, task.priority, task.inserted_at)
            by_tenant.setdefault(task.tenant_id, []).append(ready)
        payloads = {task.id: task.payload for task, _ in batch}
        for tenant_id, tasks in by_tenant.items():
            owner = self._owners.get(tenant_id)
            if owner is None:
                ordered = sorted(task.id for task in tasks)
                self._bus.publish("tasks", tenant=tenant_id, first=ordered[0], last=ordered[-1])
                continue
            for ready in tasks:
                self._payloads.put(ready.id, payloads[ready.id])
            owner.accepted(tasks)
        return [held.get(task.id, task.id) for task, _ in batch]

    def _look_again(self, batch: Sequence[Accepted]) -> None:
        """The commit may have happened all the same, and such a run must not wait for ever: the rows tell later."""
        for task, _ in batch:
            owner = self._owners.get(task.tenant_id)
            if owner is not None:
                owner.touched([task.id])


def _uuid(text: str | None, field: str) -> str | None:
    if not text:
        return None
    normal = parse_uuid(text)
    if normal is None:
        raise InvalidArgument(f"{field} is not a UUID: '{text[:80]}'")
    return normal
