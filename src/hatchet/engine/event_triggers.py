"""What pushed events start: decided before they are written, from triggers and filters that are remembered.

What is remembered carries the revision of its rows, and events are only written while that is still true
(behaviour-core C-12.28): a filter counts for every event that is pushed after it was made, at every instance.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from hatchet.core.clock import Clock, Ids
from hatchet.core.event_triggers import FailedFilter, Start, Triggers, asked, run_metadata, variables_of
from hatchet.core.messages import EventRecord, TriggerItem
from hatchet.engine.registration import Registration
from hatchet.engine.trigger import Prepared, Refusal, Trigger
from hatchet.store.evaluation_failures import EvaluationFailure, FailureSource, append_failures
from hatchet.store.events import EventRun, append_event_runs
from hatchet.store.filters import triggers_of
from hatchet.store.pool import Connected, Database
from hatchet.store.triggers import Accepted

log = structlog.get_logger("hatchet.engine")

TENANTS_REMEMBERED = 1000
SLICE = 200
"""Expressions or runs after which the others in this process get a turn: about a millisecond."""


@dataclass(slots=True)
class PushedEvent:
    """An event with what it starts."""

    record: EventRecord
    revision: int
    """Of the triggers and filters from which that was decided."""
    runs: list[tuple[Prepared, str | None]] = field(default_factory=list)
    """Each with the filter that held."""
    failures: list[EvaluationFailure] = field(default_factory=list)

    @property
    def weight(self) -> int:
        """How many rows it is, about."""
        return 1 + len(self.runs) + len(self.failures)


class EventTriggers:
    """Decides what events start, and writes it in the transaction of the events."""

    def __init__(
        self, database: Database, registration: Registration, trigger: Trigger, clock: Clock, ids: Ids
    ) -> None:
        self._database = database
        self._registration = registration
        self._trigger = trigger
        self._clock = clock
        self._ids = ids
        self._known: OrderedDict[str, Triggers] = OrderedDict()
        self._turn = asyncio.Lock()

    async def planned(
        self, tenant_id: str, records: Sequence[EventRecord], *, is_fresh: bool = False
    ) -> list[PushedEvent]:
        """The events with the runs that each starts (C-12.10 to C-12.20), which are checked and not written yet.

        ``is_fresh``: from the rows as they are now. Raises ResourceExhausted when the server is too far behind.
        """
        triggers = await self._triggers(tenant_id, is_fresh=is_fresh)
        events = [PushedEvent(record, triggers.revision) for record in records]
        if triggers.workflows:
            wanted = await self._wanted(triggers, events)
            for some in _slices(wanted):
                await self._prepare(tenant_id, some)
                if len(wanted) > SLICE:
                    await asyncio.sleep(0)
        return events

    async def write(self, transaction: Connected, events: Sequence[PushedEvent]) -> Accepted:
        """Write the runs of events whose rows were written in this transaction, and which run is whose.

        A run whose idempotency key is taken is left out silently (C-4.34, C-4.41, C-12.37).
        """
        started = [(event, prepared, filter_id) for event in events for prepared, filter_id in event.runs]
        accepted = Accepted({}, {})
        if started:
            accepted = await self._trigger.write(transaction, [prepared for _, prepared, _ in started])
        rows = [
            EventRun(event.record.tenant_id, event.record.id, prepared.work.id, filter_id)
            for event, prepared, filter_id in started
            if prepared.work.id not in accepted.collisions
        ]
        if rows:
            await append_event_runs(transaction, rows)
        failures = [failure for event in events for failure in event.failures]
        if failures:
            await append_failures(transaction, failures)
        return accepted

    def committed(self, events: Sequence[PushedEvent], accepted: Accepted) -> None:
        """The transaction of :meth:`write` is committed."""
        prepared = _prepared(events)
        try:
            if prepared:
                self._trigger.committed(prepared, accepted)
        except Exception as error:
            # Whoever pushed must not hear of it, or would push again.
            log.error("runs of events were not taken", runs=len(prepared), exc_info=error)
            self._trigger.uncertain(prepared)

    def uncertain(self, events: Sequence[PushedEvent]) -> None:
        """The transaction of :meth:`write` may be committed."""
        prepared = _prepared(events)
        if prepared:
            self._trigger.uncertain(prepared)

    async def _triggers(self, tenant_id: str, *, is_fresh: bool) -> Triggers:
        known = None if is_fresh else self._known.get(tenant_id)
        if known is not None:
            self._known.move_to_end(tenant_id)
            return known
        async with self._turn:
            # Many ask at once when an instance has started; one of them reads. But who holds the revision reads itself:
            # what another one has read meanwhile may be from before.
            known = None if is_fresh else self._known.get(tenant_id)
            if known is None:
                known = self._known[tenant_id] = await triggers_of(self._database, tenant_id)
                if len(self._known) > TENANTS_REMEMBERED:
                    self._known.popitem(last=False)
            return known

    async def _wanted(self, triggers: Triggers, events: Sequence[PushedEvent]) -> list[tuple[PushedEvent, Start]]:
        wanted: list[tuple[PushedEvent, Start]] = []
        spent = 0
        for event in events:
            candidates = triggers.candidates(event.record.key, event.record.scope)
            if candidates is None:
                continue
            wanted += [(event, start) for start in candidates.certain]
            variables = variables_of(event.record) if candidates.filtered else {}
            for questions in _slices(candidates.filtered):
                starts, failed = asked(questions, variables)
                wanted += [(event, start) for start in starts]
                event.failures += [self._failed(event.record, one) for one in failed]
                spent += len(questions)
                if spent >= SLICE:
                    spent = 0
                    await asyncio.sleep(0)
        return wanted

    async def _prepare(self, tenant_id: str, wanted: Sequence[tuple[PushedEvent, Start]]) -> None:
        """Add these runs to their events, or why they are none."""
        metadata: dict[str, str] = {}
        for event, _ in wanted:
            if event.record.id not in metadata:
                metadata[event.record.id] = run_metadata(event.record)
        items = [_item(event.record, start, metadata[event.record.id]) for event, start in wanted]
        made = await self._trigger.prepare(tenant_id, items, self._clock.now())
        for (event, start), one in zip(wanted, made, strict=True):
            if isinstance(one, Prepared):
                event.runs.append((one, start.filter.id if start.filter is not None else None))
            else:
                event.failures += await self._refused(event.record, one)

    async def _refused(self, record: EventRecord, refusal: Refusal) -> list[EvaluationFailure]:
        """The event stays accepted; that its idempotency key has no value is noted (C-4.33)."""
        name = refusal.item.workflow_name
        version = (await self._registration.latest(record.tenant_id, [name])).get(name)
        if version is None or version.idempotency is None:
            log.warning("an event did not start its workflow", workflow=name, error=refusal.error.message)
            return []
        expression = version.idempotency.expression
        source, error = FailureSource.IDEMPOTENCY_KEY, refusal.error.message
        return [self._failure(record, source, version.workflow_id, expression, error)]

    def _failed(self, record: EventRecord, one: FailedFilter) -> EvaluationFailure:
        return self._failure(record, FailureSource.FILTER, one.filter.id, one.filter.expression, one.reason)

    def _failure(
        self, record: EventRecord, source: FailureSource, subject_id: str, expression: str, error: str
    ) -> EvaluationFailure:
        return EvaluationFailure(
            tenant_id=record.tenant_id,
            id=self._ids.new(),
            source=source,
            subject_id=subject_id,
            expression=expression,
            error=error,
            failed_at=record.inserted_at,
        )


def _item(record: EventRecord, start: Start, metadata: str) -> TriggerItem:
    """C-12.29: input and priority are the event's."""
    return TriggerItem(
        workflow_name=start.workflow,
        input=record.payload,
        additional_metadata=metadata,
        priority=record.priority,
        filter_payload=start.filter.payload if start.filter is not None else None,
    )


def _prepared(events: Sequence[PushedEvent]) -> list[Prepared]:
    return [prepared for event in events for prepared, _ in event.runs]


def _slices(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for first in range(0, len(items), SLICE):
        yield items[first : first + SLICE]
