"""What people and tasks do to running and waiting work: cancel, replay, release a slot, extend a timeout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hatchet.core.clock import Clock
from hatchet.core.errors import NotFound
from hatchet.core.ids import parse_uuid
from hatchet.core.ready_task import ReadyTask
from hatchet.core.transitions import Event, EventKind, State, decide
from hatchet.engine.bus import Bus
from hatchet.engine.dispatch import Dispatch
from hatchet.engine.endings import Ending, Endings
from hatchet.engine.memory import Flight, Flights, Owners, policy_of
from hatchet.engine.rebuild import Rebuild, flight_of, parsed_labels
from hatchet.engine.run_facts import LoadedRun, RunFacts
from hatchet.store.pool import Database
from hatchet.store.runs import resolve_ids
from hatchet.store.tasks import NewNote, append_notes

ATTEMPTS = 5
"""How often a cancel looks again when the task moves on under it."""


@dataclass(slots=True, frozen=True)
class _Cancel:
    """One task to cancel, for the ids that somebody sent: its own, its run's, or both."""

    asked: tuple[str, ...]
    ending: Ending
    flight: Flight | None


class Control:
    """Cancels, releases, refreshes."""

    def __init__(
        self,
        database: Database,
        owners: Owners,
        flights: Flights,
        endings: Endings,
        rebuild: Rebuild,
        run_facts: RunFacts,
        dispatch: Dispatch,
        bus: Bus,
        clock: Clock,
        *,
        max_internal_retries: int,
    ) -> None:
        self._database = database
        self._owners = owners
        self._flights = flights
        self._endings = endings
        self._rebuild = rebuild
        self._run_facts = run_facts
        self._dispatch = dispatch
        self._bus = bus
        self._clock = clock
        self._max_internal_retries = max_internal_retries

    async def cancel(self, tenant_id: str, ids: Sequence[str], kind: EventKind = EventKind.CANCELLED) -> list[str]:
        """Cancel runs or tasks; returns those of the ids of which something was cancelled.

        A run's id means all its tasks, a task's id that task, on which its dependants are cancelled too. Terminal tasks
        are left alone, unknown ids ignored (behaviour-core C-6.38). When this returns the cancel is committed, the
        slots are free and the workers have been told (C-6.39). Cancelled tasks are not retried (C-6.28). ``kind``: why;
        OUTRUN is what a concurrency rule does (C-9.27).
        """
        wanted = list(dict.fromkeys(normal for normal in map(parse_uuid, ids) if normal is not None))
        cancelled: set[str] = set()
        pending = wanted
        for _ in range(ATTEMPTS):
            if not pending:
                break
            moved: set[str] = set()
            cancels = await self._cancellations(tenant_id, pending, kind)
            written = await self._endings.end_all([cancel.ending for cancel in cancels])
            waited: list[Ending] = []
            for cancel, is_first in zip(cancels, written, strict=True):
                if not is_first:
                    moved.update(cancel.asked)
                    continue
                cancelled.update(cancel.asked)
                if cancel.flight is not None:
                    self._dispatch.cancel(tenant_id, cancel.flight)
                else:
                    waited.append(cancel.ending)
            await self._stop_started(tenant_id, waited)
            pending = list(moved)
        return [asked for asked in wanted if asked in cancelled]

    async def release_slot(self, tenant_id: str, task_id: str) -> None:
        """Free the units of a running task at once; it keeps running (C-11.34). NotFound when it is not running."""
        flight = await self._running(tenant_id, task_id)
        if flight.is_released:
            return
        now = self._clock.now()
        await append_notes(self._database, [NewNote(tenant_id, task_id, flight.task.attempt, now, "SLOT_RELEASED")])
        owner = self._owners.get(tenant_id)
        if owner is not None:
            owner.slot_released(flight)
        else:
            flight.is_released = True
            self._bus.publish("touched", tenant=tenant_id, ids=[task_id])

    async def refresh_timeout(self, tenant_id: str, task_id: str, increment_seconds: float) -> float:
        """Move the deadline of a running task by ``increment_seconds`` (C-11.38); the new deadline.

        Raises NotFound when the task is not running. The next attempt has the declared timeout again (C-11.41).
        """
        flight = await self._running(tenant_id, task_id)
        timeout_at = flight.timeout_at + increment_seconds
        now = self._clock.now()
        note = NewNote(tenant_id, task_id, flight.task.attempt, now, "TIMEOUT_REFRESHED", timeout_at)
        await append_notes(self._database, [note])
        flight.timeout_at = max(flight.timeout_at, timeout_at)
        if self._owners.get(tenant_id) is None:
            self._bus.publish("touched", tenant=tenant_id, ids=[task_id])
        return timeout_at

    async def _stop_started(self, tenant_id: str, endings: Sequence[Ending]) -> None:
        """Tell the workers of attempts that waited when they were read and were assigned before the cancel (C-5.19)."""
        attempts = {ending.task.id: ending.task.attempt for ending in endings}
        for state, task in await self._rebuild.states(tenant_id, list(attempts)) if attempts else []:
            is_same = state.attempt == attempts[state.id]
            if is_same and state.worker_id is not None and state.assigned_at is not None:
                flight = Flight(tenant_id, task, state.worker_id, state.assigned_at, state.timeout_at or 0.0)
                self._dispatch.cancel(tenant_id, flight)

    async def _cancellations(self, tenant_id: str, ids: Sequence[str], kind: EventKind) -> list[_Cancel]:
        resolved = await resolve_ids(self._database, tenant_id, ids)
        plain = [one.id for one in resolved if one.run_id is None]
        cancels = [
            self._cancel(tenant_id, (state.id,), task, kind, flight_of(tenant_id, state, task), state.started_at)
            for state, task in (await self._rebuild.states(tenant_id, plain) if plain else [])
            if state.ended is None
        ]
        by_run: dict[str, set[str]] = {}
        for one in resolved:
            if one.run_id is not None:
                by_run.setdefault(one.run_id, set()).add(one.id)
        for run in await self._run_facts.load(tenant_id, list(by_run)) if by_run else []:
            cancels.extend(self._of_run(tenant_id, run, by_run[run.row.id], kind))
        return [cancel for cancel in cancels if cancel is not None]

    def _of_run(self, tenant_id: str, run: LoadedRun, asked: set[str], kind: EventKind) -> Iterator[_Cancel | None]:
        """Every task that has not ended, or the named ones; what does not exist yet is created cancelled (C-6.44)."""
        labels = parsed_labels(run.row.labels)
        for index, facts in enumerate(run.state.tasks):
            names = tuple({run.row.id, run.task_ids[index]} & asked)
            if facts.outcome is not None or not names:
                continue
            if index == run.version.graph.on_failure and not facts.is_decided and run.row.id in names:
                # Once the others have ended without a failure it is skipped (C-6.49).
                continue
            state = run.tasks[index]
            task = run.attempt(index, labels)
            where = None if facts.is_decided else State.PENDING
            flight = flight_of(tenant_id, state, task)
            yield self._cancel(tenant_id, names, task, kind, flight, state.started_at, where=where)

    def _cancel(
        self,
        tenant_id: str,
        asked: tuple[str, ...],
        task: ReadyTask,
        kind: EventKind,
        read: Flight | None,
        started_at: float | None,
        *,
        where: State | None = None,
    ) -> _Cancel | None:
        event = Event(kind, self._clock.now())
        flight = self._flights.get(task.id) or read
        if flight is not None and flight.task.attempt != task.attempt:
            flight = None
        waits = State.EVICTED if task.is_evicted else State.QUEUED
        state = where or (State.RUNNING if flight is not None else waits)
        decision = decide(state, event, policy_of(task, self._max_internal_retries), task.counters)
        if decision is None:
            return None
        return _Cancel(asked, Ending(tenant_id, task, decision, event.at, started_at), flight)

    async def _running(self, tenant_id: str, task_id: str) -> Flight:
        flight = self._flights.get(task_id)
        if flight is not None and flight.tenant_id == tenant_id:
            return flight
        normal = parse_uuid(task_id)
        found = await self._rebuild.flights(tenant_id, [normal]) if normal is not None else []
        if not found:
            raise NotFound(f"task is not running: {task_id}")
        return found[0]
