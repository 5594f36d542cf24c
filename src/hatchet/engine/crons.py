"""Crons as callers make, list, switch and delete them (behaviour-core C-14.5 to C-14.13, behaviour-rest R-15)."""

from __future__ import annotations

from dataclasses import dataclass

from hatchet.core.clock import Clock, Ids
from hatchet.core.definitions import DEFAULT_PRIORITY
from hatchet.core.errors import FailedPrecondition, IdempotencyCollision, InvalidArgument, NotFound
from hatchet.core.schedules import check_cron, next_after, split_zone
from hatchet.engine.registration import Registration
from hatchet.engine.schedule_fields import DeclaredInCode, checked_metadata, checked_object, checked_priority
from hatchet.engine.schedules import Schedules, item_of_cron
from hatchet.engine.trigger import Trigger
from hatchet.store.pool import Database
from hatchet.store.schedule_entries import (
    Added,
    CronFilter,
    CronRecord,
    Method,
    add_cron,
    delete_cron,
    list_crons,
    one_cron,
    switch_cron,
)
from hatchet.store.schedules import DueCron

LONGEST_NAME = 255


@dataclass(slots=True, frozen=True, kw_only=True)
class NewCron:
    """What a caller asks for; texts are JSON."""

    name: str
    expression: str
    input: str
    additional_metadata: str
    priority: int | None = None


class Crons:
    """The crons of tenants."""

    def __init__(
        self,
        database: Database,
        registration: Registration,
        trigger: Trigger,
        schedules: Schedules,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._database = database
        self._registration = registration
        self._trigger = trigger
        self._schedules = schedules
        self._clock = clock
        self._ids = ids

    async def add(self, tenant_id: str, workflow: str, new: NewCron) -> CronRecord:
        """Make a cron of the workflow of that name. Raises InvalidArgument for what C-14.5 and C-14.6 refuse."""
        _check_name(new.name)
        reason = check_cron(new.expression)
        if reason is not None:
            raise InvalidArgument(f"cronExpression '{new.expression[:80]}' is not valid: {reason}")
        found = (await self._registration.latest(tenant_id, [workflow])).get(workflow)
        if found is None:
            raise InvalidArgument("workflow not found")
        zone, _ = split_zone(new.expression)
        now = self._clock.now()
        cron = CronRecord(
            id=self._ids.new(),
            tenant_id=tenant_id,
            workflow_id=found.workflow_id,
            workflow=found.name,
            version_id=found.id,
            name=new.name,
            expression=new.expression,
            time_zone=zone,
            method=Method.API,
            input=checked_object(new.input, "input"),
            additional_metadata=checked_metadata(new.additional_metadata, "additionalMetadata"),
            priority=checked_priority(DEFAULT_PRIORITY if new.priority is None else new.priority),
            is_enabled=True,
            created_at=now,
            updated_at=now,
        )
        added = await add_cron(self._database, cron, next_after(cron.expression, zone, now))
        if added is Added.KNOWN:
            raise InvalidArgument("cron trigger with that name-expression pair already exists")
        if added is Added.NO_WORKFLOW:
            raise InvalidArgument("workflow not found")
        self._schedules.changed()
        return cron

    async def get(self, tenant_id: str, cron_id: str) -> CronRecord:
        """Raises NotFound for an id that the tenant does not have."""
        found = await one_cron(self._database, tenant_id, cron_id)
        if found is None:
            raise NotFound(f"cron not found: {cron_id}")
        return found

    async def page(
        self, tenant_id: str, wanted: CronFilter, *, offset: int, limit: int
    ) -> tuple[list[CronRecord], int]:
        """A page of the tenant's crons, and how many there are on all pages."""
        if any("\0" in (text or "") for text in (wanted.workflow, wanted.name)):
            return [], 0
        return await list_crons(self._database, tenant_id, wanted, offset, limit)

    async def switch(self, tenant_id: str, cron_id: str, is_enabled: bool) -> None:
        """Switch it on or off (C-14.10). Raises NotFound for an id that the tenant does not have."""
        cron = await self.get(tenant_id, cron_id)
        now = self._clock.now()
        next_at = next_after(cron.expression, cron.time_zone, now) if is_enabled else None
        await switch_cron(self._database, tenant_id, cron_id, is_enabled, next_at, now)
        self._schedules.changed()

    async def delete(self, tenant_id: str, cron_id: str) -> None:
        """Delete a cron that was made by a caller; it fires no more.

        Raises NotFound for an id that the tenant does not have, DeclaredInCode for one of the code (R-15.6).
        """
        cron = await self.get(tenant_id, cron_id)
        if cron.method is Method.DEFAULT:
            raise DeclaredInCode("Cannot delete cron created via code definition.")
        await delete_cron(self._database, tenant_id, cron_id)

    async def trigger(self, tenant_id: str, cron_id: str) -> str:
        """Start a run now, besides those of the cron's instants (C-14.13); its id.

        Raises NotFound for an id that the tenant does not have, and what the trigger refuses.
        """
        cron = await self.get(tenant_id, cron_id)
        try:
            [run_id] = await self._trigger.trigger(tenant_id, [item_of_cron(_due(cron), self._clock.now())])
        except IdempotencyCollision as collision:
            raise FailedPrecondition(f"the run was not started: {collision.message}") from None
        return run_id


def _check_name(name: str) -> None:
    if not name:
        raise InvalidArgument("cron name is required")
    if len(name) > LONGEST_NAME or "\0" in name:
        raise InvalidArgument(f"cronName: at most {LONGEST_NAME} characters, none of them the null character")
    if any("\ud800" <= char <= "\udfff" for char in name):
        raise InvalidArgument("cronName: it has half of a surrogate pair, remove it")


def _due(cron: CronRecord) -> DueCron:
    return DueCron(
        id=cron.id,
        tenant_id=cron.tenant_id,
        workflow_id=cron.workflow_id,
        workflow=cron.workflow,
        name=cron.name,
        expression=cron.expression,
        time_zone=cron.time_zone,
        input=cron.input,
        additional_metadata=cron.additional_metadata,
        priority=cron.priority,
        next_at=0.0,
        is_dropped=False,
    )
