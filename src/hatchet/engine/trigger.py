"""Station 1 of a task's life: every source of runs calls :meth:`Trigger.trigger` (behaviour-core C-4).

Runs are written in batches and acknowledged after the commit; only then the scheduler hears of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from hatchet.core.clock import Clock, Ids
from hatchet.core.definitions import StoredVersion
from hatchet.core.errors import IdempotencyCollision, InvalidArgument, ResourceExhausted, Unavailable
from hatchet.core.ids import parse_uuid, task_ids
from hatchet.core.json_texts import normal_input, normal_metadata
from hatchet.core.labels import DesiredLabels, merged, to_data
from hatchet.core.messages import TriggerItem
from hatchet.core.payloads import TaskPayload
from hatchet.core.ready_queue import ReadyTask
from hatchet.core.run_state import RunState
from hatchet.engine.batcher import Batcher
from hatchet.engine.bus import Bus
from hatchet.engine.idempotency import claim_of, released_holders
from hatchet.engine.memory import Owners, PayloadCache
from hatchet.engine.open_runs import OpenRun, OpenRuns
from hatchet.engine.parents import Parents
from hatchet.engine.registration import Registration
from hatchet.engine.run_facts import RunFacts
from hatchet.store.pool import Database
from hatchet.store.runs import NewRun
from hatchet.store.tasks import NewTask
from hatchet.store.triggers import NewWork, accept

MAX_WAITING = 2_000_000
"""Waiting tasks of a tenant; some 250 bytes each in its scheduler's memory."""


@dataclass(slots=True, frozen=True)
class _Asked:
    """One run on its way into the tables."""

    work: NewWork
    version: StoredVersion
    labels: DesiredLabels


@dataclass(slots=True, frozen=True)
class _Written:
    """The run that stands for an item; ``holder``: the one that kept it from being created (C-4.42)."""

    run_id: str
    holder: str | None = None


class Trigger:
    """Creates runs."""

    def __init__(
        self,
        database: Database,
        registration: Registration,
        owners: Owners,
        payloads: PayloadCache,
        runs: OpenRuns,
        run_facts: RunFacts,
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
        self._payloads = payloads
        self._runs = runs
        self._run_facts = run_facts
        self._parents = Parents(database)
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._instance_id = instance_id
        self._writes: Batcher[_Asked, _Written] = Batcher(
            "triggers", self._write, gap=flush_gap, maximum=flush_maximum, high_water=100_000
        )

    async def trigger(self, tenant_id: str, items: Sequence[TriggerItem]) -> list[str]:
        """Create one run per item and return their ids in the items' order, once all are committed (C-4.4, C-4.6).

        Raises InvalidArgument for an unknown workflow (C-4.8), a bad priority, an unknown parent, input or metadata
        that is not JSON, and ResourceExhausted when the server is too far behind; all items are checked before any run
        is created. Raises IdempotencyCollision when keys are taken, after the other items were created (C-4.43).
        """
        self._refuse_overflow(tenant_id, len(items))
        versions = await self._registration.latest(tenant_id, list({item.workflow_name for item in items}))
        unknown = sorted({item.workflow_name for item in items} - versions.keys())
        if unknown:
            raise InvalidArgument(f"workflow names not found: {', '.join(unknown)}")
        payloads = await self._parents.inherit(tenant_id, [_checked_payload(item) for item in items])
        now = self._clock.now()
        asked = [
            self._asked(tenant_id, item, versions[item.workflow_name], payload, now)
            for item, payload in zip(items, payloads, strict=True)
        ]
        written = [await future for future in self._writes.submit_all(asked)]
        collisions = [(one.holder, one.run_id) for one in written if one.holder is not None]
        if collisions:
            raise IdempotencyCollision(collisions, [one.run_id for one in written if one.holder is None])
        return [one.run_id for one in written]

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

    def _asked(
        self, tenant_id: str, item: TriggerItem, version: StoredVersion, payload: TaskPayload, now: float
    ) -> _Asked:
        priority = version.default_priority if item.priority is None else item.priority
        if not 1 <= priority <= 3:
            raise InvalidArgument(f"priority must be between 1 and 3, got {priority}")
        run_id = self._ids.new()
        labels = orjson.dumps(to_data(item.desired_labels)).decode() if item.desired_labels else None
        row: NewTask | NewRun
        if version.is_plain:
            step = version.tasks[0].id
            row = NewTask(tenant_id, run_id, version.id, step, priority, payload, now, labels)
        else:
            steps = zip(task_ids(run_id, len(version.tasks)), (task.id for task in version.tasks), strict=True)
            row = NewRun(tenant_id, run_id, version.id, priority, payload, labels, now, tuple(steps))
        claim = None
        if version.idempotency is not None:
            claim = claim_of(version.idempotency, payload.input, payload.additional_metadata, now)
        return _Asked(NewWork(row, claim), version, item.desired_labels)

    async def _write(self, batch: Sequence[_Asked]) -> list[_Written]:
        now = self._clock.now()
        work = [asked.work for asked in batch]
        try:
            released = await released_holders(self._database, self._run_facts, work, now)
            accepted = await accept(self._writer, self._instance_id, work, now, released)
        except Unavailable:
            self._look_again(batch)
            raise
        fresh = [one for one in batch if one.work.id not in accepted.children | accepted.collisions]
        by_tenant: dict[str, list[_Asked]] = {}
        for asked in fresh:
            by_tenant.setdefault(asked.work.tenant_id, []).append(asked)
        for tenant_id, of_tenant in by_tenant.items():
            self._tell_owner(tenant_id, of_tenant)
        return [
            _Written(accepted.children.get(asked.work.id, asked.work.id), accepted.collisions.get(asked.work.id))
            for asked in batch
        ]

    def _tell_owner(self, tenant_id: str, batch: Sequence[_Asked]) -> None:
        owner = self._owners.get(tenant_id)
        if owner is None:
            ordered = sorted(asked.work.id for asked in batch)
            self._bus.publish("tasks", tenant=tenant_id, first=ordered[0], last=ordered[-1])
            return
        tasks: list[ReadyTask] = []
        runs: list[OpenRun] = []
        for asked in batch:
            row = asked.work.row
            if isinstance(row, NewTask):
                self._payloads.put(row.id, row.payload)
                labels = merged(asked.version.tasks[0].definition.worker_labels, asked.labels)
                tasks.append(ReadyTask(row.id, asked.version, row.priority, row.inserted_at, labels=labels))
            else:
                read = row.payload.input if asked.version.graph.reads_input else ""
                state = RunState.fresh(asked.version, row.inserted_at, read)
                ids = [task_id for task_id, _ in row.tasks]
                run = OpenRun(tenant_id, row.id, asked.version, row.priority, asked.labels, state, ids)
                self._runs.keep_payload(run, row.payload)
                runs.append(run)
        if tasks:
            owner.accepted(tasks)
        if runs:
            owner.opened(runs)

    def _look_again(self, batch: Sequence[_Asked]) -> None:
        """The commit may have happened all the same, and such a run must not wait for ever: the rows tell later."""
        for asked in batch:
            owner = self._owners.get(asked.work.tenant_id)
            if owner is not None:
                row = asked.work.row
                owner.touched([row.id] if isinstance(row, NewTask) else [row.tasks[0][0]])


def _checked_payload(item: TriggerItem) -> TaskPayload:
    metadata = normal_metadata(item.additional_metadata)
    return TaskPayload(
        normal_input(item.input),
        "" if metadata == "{}" else metadata,
        _uuid(item.parent_run_id, "parent_id"),
        _uuid(item.parent_task_id, "parent_task_run_external_id"),
        item.child_index if item.parent_task_id else None,
        item.child_key if item.parent_task_id else None,
    )


def _uuid(text: str | None, field: str) -> str | None:
    if not text:
        return None
    normal = parse_uuid(text)
    if normal is None:
        raise InvalidArgument(f"{field} is not a UUID: '{text[:80]}'")
    return normal
