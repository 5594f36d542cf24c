"""Station 1 of a task's life: every source of runs calls :meth:`Trigger.trigger` (behaviour-core C-4).

Runs are written in batches and acknowledged after the commit; only then the scheduler hears of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat

import orjson

from hatchet.core.clock import Clock, Ids
from hatchet.core.definitions import StoredVersion
from hatchet.core.errors import (
    HatchetError,
    IdempotencyCollision,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from hatchet.core.ids import parse_uuid, task_ids
from hatchet.core.json_texts import json_value, normal_input, normal_metadata
from hatchet.core.labels import DesiredLabels, merged, to_data
from hatchet.core.limits import NONE, Limits, TenantRules, of_run, of_task, to_text
from hatchet.core.messages import TriggerItem
from hatchet.core.payloads import TaskPayload
from hatchet.core.ready_task import ReadyTask
from hatchet.core.run_state import RunState
from hatchet.engine.batcher import Batcher
from hatchet.engine.bus import Bus
from hatchet.engine.idempotency import claim_of, released_holders
from hatchet.engine.memory import Owners, PayloadCache
from hatchet.engine.open_runs import OpenRun, OpenRuns
from hatchet.engine.parents import Parents
from hatchet.engine.registration import Registration
from hatchet.engine.run_facts import RunFacts
from hatchet.store.pool import Connected, Database
from hatchet.store.runs import NewRun, NewRunTask
from hatchet.store.tasks import NewTask
from hatchet.store.triggers import Accepted, NewWork, accept, accept_in

MAX_WAITING = 2_000_000
"""Waiting tasks of a tenant; some 250 bytes each in its scheduler's memory."""


@dataclass(slots=True, frozen=True)
class Prepared:
    """One run that is checked and on its way into the tables."""

    work: NewWork
    version: StoredVersion
    labels: DesiredLabels
    limits: Limits
    """Of the task that is the run, or of the run as a whole."""
    task_limits: tuple[Limits, ...] = ()


@dataclass(slots=True, frozen=True)
class Refusal:
    """Why an item of :meth:`Trigger.prepare` starts no run."""

    item: TriggerItem
    error: HatchetError


@dataclass(slots=True, frozen=True)
class _Written:
    """The run that stands for an item; ``holder``: the one that kept it from being created (C-4.42)."""

    run_id: str
    holder: str | None = None


class Trigger:
    """Creates runs.

    Callers either hand everything over (:meth:`trigger`), or write runs in a transaction of their own, with what the
    runs follow from: :meth:`prepare`, :meth:`write` in the transaction, :meth:`committed` after it.
    """

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
        self._writes: Batcher[Prepared, _Written] = Batcher(
            "triggers", self._write, gap=flush_gap, maximum=flush_maximum, high_water=100_000
        )

    async def trigger(self, tenant_id: str, items: Sequence[TriggerItem]) -> list[str]:
        """Create one run per item and return their ids in the items' order, once all are committed (C-4.4, C-4.6).

        Raises InvalidArgument for an unknown workflow (C-4.8), a bad priority, an unknown parent, input or metadata
        that is not JSON, and ResourceExhausted when the server is too far behind; all items are checked before any run
        is created. Raises IdempotencyCollision when keys are taken, after the other items were created (C-4.43).
        """
        self.refuse_overflow(tenant_id, len(items))
        versions = await self._registration.latest(tenant_id, list({item.workflow_name for item in items}))
        unknown = sorted({item.workflow_name for item in items} - versions.keys())
        if unknown:
            raise InvalidArgument(f"workflow names not found: {', '.join(unknown)}")
        shared = await self._shared(tenant_id, versions.values())
        payloads = await self._parents.inherit(tenant_id, [_checked_payload(item) for item in items])
        now = self._clock.now()
        prepared = [
            self._prepared(tenant_id, item, versions[item.workflow_name], payload, now, shared)
            for item, payload in zip(items, payloads, strict=True)
        ]
        written = [await future for future in self._writes.submit_all(prepared)]
        collisions = [(one.holder, one.run_id) for one in written if one.holder is not None]
        if collisions:
            raise IdempotencyCollision(collisions, [one.run_id for one in written if one.holder is None])
        return [one.run_id for one in written]

    async def prepare(self, tenant_id: str, items: Sequence[TriggerItem], now: float) -> list[Prepared | Refusal]:
        """Check items and give them run ids, in their order; nothing is written.

        An item that starts no run (unknown workflow, bad input, an idempotency expression without a value, C-4.33) is
        a :class:`Refusal`, and the others go on. Raises ResourceExhausted when the server is too far behind.
        """
        self.refuse_overflow(tenant_id, len(items))
        versions = await self._registration.latest(tenant_id, list({item.workflow_name for item in items}))
        shared = await self._shared(tenant_id, versions.values())
        found: list[Prepared | Refusal] = []
        for item in items:
            try:
                version = versions.get(item.workflow_name)
                if version is None:
                    raise InvalidArgument(f"workflow names not found: {item.workflow_name}")
                [payload] = await self._parents.inherit(tenant_id, [_checked_payload(item)])
                found.append(self._prepared(tenant_id, item, version, payload, now, shared))
            except (InvalidArgument, NotFound) as error:
                found.append(Refusal(item, error))
        return found

    async def write(
        self, transaction: Connected, prepared: Sequence[Prepared], *, claims_children: bool = True
    ) -> Accepted:
        """Write runs in a transaction of the caller; those that the answer names were not created (C-4.13, C-4.41).

        ``claims_children``: a child whose name among its parent's children is taken is not created. A durable task's
        log knows better, because its children may be spawned anew on a branch (behaviour-durable D-13.8).
        """
        now = self._clock.now()
        work = [one.work for one in prepared]
        released = await released_holders(transaction, self._run_facts, work, now)
        return await accept_in(transaction, self._instance_id, work, now, released, claims_children=claims_children)

    def committed(self, prepared: Sequence[Prepared], accepted: Accepted) -> None:
        """The transaction of :meth:`write` is committed: the owners hear of the new runs."""
        fresh = [one for one in prepared if one.work.id not in accepted.children | accepted.collisions]
        by_tenant: dict[str, list[Prepared]] = {}
        for one in fresh:
            by_tenant.setdefault(one.work.tenant_id, []).append(one)
        for tenant_id, of_tenant in by_tenant.items():
            self._tell_owner(tenant_id, of_tenant)

    def uncertain(self, prepared: Sequence[Prepared]) -> None:
        """The commit may have happened all the same, and such a run must not wait for ever: the rows tell later."""
        for one in prepared:
            owner = self._owners.get(one.work.tenant_id)
            if owner is not None:
                row = one.work.row
                owner.touched([row.id] if isinstance(row, NewTask) else [row.tasks[0].id])

    async def drain(self) -> None:
        """Wait for the writes that are under way, and give the connection back."""
        await self._writes.drain()
        await self._writer.close()

    def refuse_overflow(self, tenant_id: str, count: int) -> None:
        """Waiting tasks are held in memory, so there must be an end to them (design section 4.12).

        Raises ResourceExhausted when ``count`` more would be too many.
        """
        owner = self._owners.get(tenant_id)
        if owner is not None and owner.backlog() + count > MAX_WAITING:
            raise ResourceExhausted(
                f"{owner.backlog()} tasks wait already, {MAX_WAITING} are the most: start more workers, or cancel some"
            )

    async def _shared(self, tenant_id: str, versions: Iterable[StoredVersion]) -> TenantRules:
        if any(version.shares_rules for version in versions):
            return await self._registration.tenant_rules(tenant_id)
        return {}

    def _prepared(
        self,
        tenant_id: str,
        item: TriggerItem,
        version: StoredVersion,
        payload: TaskPayload,
        now: float,
        shared: TenantRules,
    ) -> Prepared:
        priority = version.default_priority if item.priority is None else item.priority
        if not 1 <= priority <= 3:
            raise InvalidArgument(f"priority must be between 1 and 3, got {priority}")
        run_id = self._ids.new()
        labels = orjson.dumps(to_data(item.desired_labels)).decode() if item.desired_labels else None
        whole, of_tasks = _limits(version, run_id, payload, shared) if version.has_limits else (NONE, ())
        worker = item.desired_worker if version.sticky is not None else None
        row: NewTask | NewRun
        if version.is_plain:
            step = version.tasks[0].id
            row = NewTask(tenant_id, run_id, version.id, step, priority, payload, now, labels, to_text(whole), worker)
        else:
            texts = map(to_text, of_tasks) if of_tasks else repeat(None)
            ids = task_ids(run_id, len(version.tasks))
            tasks = tuple(
                NewRunTask(task_id, task.id, text)
                for task_id, task, text in zip(ids, version.tasks, texts, strict=False)
            )
            row = NewRun(tenant_id, run_id, version.id, priority, payload, labels, now, tasks, to_text(whole), worker)
        claim = None
        if version.idempotency is not None:
            claim = claim_of(version.idempotency, payload.input, payload.additional_metadata, now)
        return Prepared(NewWork(row, claim), version, item.desired_labels, whole, of_tasks)

    async def _write(self, batch: Sequence[Prepared]) -> list[_Written]:
        now = self._clock.now()
        work = [one.work for one in batch]
        try:
            released = await released_holders(self._database, self._run_facts, work, now)
            accepted = await accept(self._writer, self._instance_id, work, now, released)
        except Unavailable:
            self.uncertain(batch)
            raise
        self.committed(batch, accepted)
        return [
            _Written(accepted.children.get(one.work.id, one.work.id), accepted.collisions.get(one.work.id))
            for one in batch
        ]

    def _tell_owner(self, tenant_id: str, batch: Sequence[Prepared]) -> None:
        owner = self._owners.get(tenant_id)
        if owner is None:
            ordered = sorted(one.work.id for one in batch)
            self._bus.publish("tasks", tenant=tenant_id, first=ordered[0], last=ordered[-1])
            return
        tasks: list[ReadyTask] = []
        runs: list[OpenRun] = []
        for one in batch:
            row, version = one.work.row, one.version
            if isinstance(row, NewTask):
                self._payloads.put(row.id, row.payload)
                labels = merged(version.tasks[0].definition.worker_labels, one.labels)
                tasks.append(
                    ReadyTask(
                        row.id,
                        version,
                        row.priority,
                        row.inserted_at,
                        labels=labels,
                        limits=one.limits,
                        desired_worker=row.desired_worker,
                    )
                )
            else:
                read = row.payload.input if version.graph.reads_input else ""
                state = RunState.fresh(version, row.inserted_at, read)
                run = OpenRun(
                    tenant_id,
                    row.id,
                    version,
                    row.priority,
                    one.labels,
                    state,
                    [task.id for task in row.tasks],
                    limits=one.limits,
                    task_limits=one.task_limits,
                    desired_worker=row.desired_worker,
                )
                self._runs.keep_payload(run, row.payload)
                runs.append(run)
        if tasks:
            owner.accepted(tasks)
        if runs:
            owner.opened(runs)


def _limits(
    version: StoredVersion, run_id: str, payload: TaskPayload, shared: TenantRules
) -> tuple[Limits, tuple[Limits, ...]]:
    """Of the run (of its task, when that is all it is), and of its tasks (C-9.3)."""
    variables = {
        "input": json_value(payload.input or "{}"),
        "additional_metadata": json_value(payload.additional_metadata or "{}"),
        "workflow_run_id": run_id,
    }
    size = len(payload.input)
    if version.is_plain:
        return of_task(version.tasks[0], variables, size, shared), ()
    tasks = tuple(of_task(task, variables, size, shared) if task.has_limits else NONE for task in version.tasks)
    return of_run(version, variables, shared), tasks


def _checked_payload(item: TriggerItem) -> TaskPayload:
    metadata = normal_metadata(item.additional_metadata)
    return TaskPayload(
        normal_input(item.input),
        "" if metadata == "{}" else metadata,
        _uuid(item.parent_run_id, "parent_id"),
        _uuid(item.parent_task_id, "parent_task_run_external_id"),
        item.child_index if item.parent_task_id else None,
        item.child_key if item.parent_task_id else None,
        item.filter_payload,
    )


def _uuid(text: str | None, field: str) -> str | None:
    if not text:
        return None
    normal = parse_uuid(text)
    if normal is None:
        raise InvalidArgument(f"{field} is not a UUID: '{text[:80]}'")
    return normal
