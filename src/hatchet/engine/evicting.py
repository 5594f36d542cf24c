"""Takes waiting durable tasks off their workers, and queues them again (behaviour-durable D-17, D-18).

An eviction ends the attempt; the next one waits for a row of ``task_restore``. Any instance may write either: the first
row wins, and the tenant's owner is told.
"""

from __future__ import annotations

from collections.abc import Sequence

from hatchet.core.clock import Clock
from hatchet.core.errors import NotFound
from hatchet.core.transitions import Event, EventKind, State, decide
from hatchet.engine.bus import Bus
from hatchet.engine.endings import Ending, Endings
from hatchet.engine.memory import Flight, Owners, policy_of
from hatchet.engine.rebuild import Rebuild
from hatchet.store.pool import Database
from hatchet.store.tasks import append_restores, task_states

BATCH = 1000


class Evicting:
    """Evicts and restores."""

    def __init__(
        self,
        database: Database,
        owners: Owners,
        endings: Endings,
        rebuild: Rebuild,
        bus: Bus,
        clock: Clock,
        *,
        max_internal_retries: int,
    ) -> None:
        self._database = database
        self._owners = owners
        self._endings = endings
        self._rebuild = rebuild
        self._bus = bus
        self._clock = clock
        self._max_internal_retries = max_internal_retries

    async def evict(self, tenant_id: str, flight: Flight, reason: str | None, *, restored_for: str = "") -> bool:
        """Take an attempt off its worker (D-17.8); committed when this returns True.

        False when it had ended before, or its execution timeout has passed: then nothing has changed. ``reason``: for
        people, kept in the history (D-17.9). The worker is not told: it asked for it (D-17.13). ``restored_for``: with
        it the task is restored at once, for that cause, both or neither: nothing it waits for would bring it back.
        """
        now = self._clock.now()
        if flight.timeout_at <= now and not await self._was_refreshed(tenant_id, flight, now):
            return False
        # PostgreSQL cannot hold the null character.
        event = Event(EventKind.EVICTED, now, payload=(reason or "").replace("\x00", "\ufffd"))
        policy = policy_of(flight.task, self._max_internal_retries)
        decision = decide(State.RUNNING, event, policy, flight.task.counters)
        assert decision is not None
        ending = Ending(tenant_id, flight.task, decision, now, flight.started_at, restored_for)
        return await self._endings.evict(ending)

    async def restore(self, tenant_id: str, task_ids: Sequence[str], cause: str) -> set[str]:
        """Queue those of the tasks again that are evicted and not restored yet (D-18.2, D-18.3); their ids.

        Committed when this returns; they start as soon as a worker has room. ``cause``: for people, in the history.
        """
        restored: set[str] = set()
        ids = sorted(set(task_ids))
        for start in range(0, len(ids), BATCH):
            now = self._clock.now()
            written = await append_restores(self._database, tenant_id, ids[start : start + BATCH], now, cause)
            self._tell(tenant_id, written, now)
            restored.update(written)
        return restored

    async def requeue(self, tenant_id: str, task_id: str, cause: str) -> None:
        """Restore a task if it is evicted; one that is not is left alone (D-18.3, D-18.7).

        Raises NotFound for an id that is no task of the tenant.
        """
        if await self.restore(tenant_id, [task_id], cause):
            return
        if task_id not in await task_states(self._database, tenant_id, [task_id]):
            raise NotFound(f"task run not found: {task_id}")

    async def _was_refreshed(self, tenant_id: str, flight: Flight, now: float) -> bool:
        """Whether the rows know a later deadline: another instance may have moved it (C-11.38)."""
        read = await self._rebuild.flights(tenant_id, [flight.task.id])
        return any(one.task.attempt == flight.task.attempt and one.timeout_at > now for one in read)

    def _tell(self, tenant_id: str, attempts: dict[str, int], at: float) -> None:
        owner = self._owners.get(tenant_id)
        if owner is not None:
            owner.restored(attempts, at)
        else:
            self._bus.publish_ids("touched", list(attempts), tenant=tenant_id)
