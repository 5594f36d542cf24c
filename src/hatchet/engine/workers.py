"""Who the workers are and when they were last seen (behaviour-core C-2).

Heartbeats live in memory and are flushed together; sessions are known where their stream is. The scheduler of a tenant
reads this picture; for workers whose stream another instance holds the picture comes from the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from hatchet.core.clock import Clock, Ids
from hatchet.core.errors import FailedPrecondition, NotFound
from hatchet.core.messages import WorkerRegistration
from hatchet.engine.bus import Bus
from hatchet.engine.component import Loop
from hatchet.engine.memory import Owners
from hatchet.store import workers as store
from hatchet.store.pool import Database
from hatchet.store.workers import WorkerRow

FLUSH_SECONDS = 4.0
FRESH_SECONDS = 5.0
"""Heartbeat age up to which a worker may receive work (C-2.24)."""
REMOTE_FRESH_SECONDS = FRESH_SECONDS + FLUSH_SECONDS + 3.0
"""The same for a worker whose heartbeats arrive through the rows: they are one flush and one poll late."""
FORGET_SECONDS = 3600.0


class WorkerRecord:
    """What this instance knows about a worker."""

    __slots__ = ("had_session", "id", "last_seen", "row", "sessions")

    def __init__(self, row: WorkerRow) -> None:
        self.id = row.id
        self.row = row
        self.last_seen = row.last_heartbeat_at
        self.sessions = 0
        """Open streams to the worker on this instance."""
        self.had_session = False

    def is_assignable(self, now: float, peers: frozenset[str]) -> bool:
        """Whether the worker may receive work: a stream, a fresh heartbeat, neither paused nor gone (C-2.24).

        A stream that another instance holds counts while that instance is among the live ``peers``.
        """
        row = self.row
        if row.is_paused or row.is_unsubscribed:
            return False
        if self.sessions:
            return now - self.last_seen <= FRESH_SECONDS
        return row.listener_instance in peers and now - self.last_seen <= REMOTE_FRESH_SECONDS


class Workers(Loop):
    """Registration, heartbeats, pause, labels."""

    def __init__(
        self, database: Database, relaxed: Database, owners: Owners, bus: Bus, clock: Clock, ids: Ids, instance_id: str
    ) -> None:
        super().__init__("worker-heartbeats", FLUSH_SECONDS)
        self._database = database
        self._relaxed = relaxed
        self._owners = owners
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._instance_id = instance_id
        self._records: dict[str, WorkerRecord] = {}
        self._unwritten: dict[str, float] = {}
        self.peers: frozenset[str] = frozenset()
        """The other live instances; kept by the lease keeper."""
        self._on_unsubscribe: list[Callable[[str], None]] = []

    def on_unsubscribe(self, callback: Callable[[str], None]) -> None:
        """Call ``callback`` with the id of each worker that unsubscribed here."""
        self._on_unsubscribe.append(callback)

    async def register(self, tenant_id: str, registration: WorkerRegistration) -> str:
        """Make a new worker record and return its id (C-2.5). It gets no work before its stream is open (C-2.12)."""
        worker_id = self._ids.new()
        await store.insert_worker(self._database, worker_id, tenant_id, registration, self._clock.now())
        await self._load(tenant_id, [worker_id])
        return worker_id

    async def heartbeat(self, tenant_id: str, worker_id: str) -> None:
        """The worker lives.

        Raises NotFound for an unknown one (C-2.21), FailedPrecondition when its stream is gone (C-2.22).
        """
        record = self._records.get(worker_id)
        if record is None or record.row.tenant_id != tenant_id:
            record = await self.require(tenant_id, worker_id)
        now = self._clock.now()
        was_fresh = now - record.last_seen <= FRESH_SECONDS
        record.last_seen = now
        self._unwritten[worker_id] = now
        if not was_fresh:
            self._tell(record)
        gone = record.had_session and not record.sessions and not record.row.is_unsubscribed
        if gone and not await self._listens_elsewhere(record):
            raise FailedPrecondition(f"the stream of worker {worker_id} is not active; open ListenV2 again")

    async def unsubscribe(self, tenant_id: str, worker_id: str) -> None:
        """Stop giving work to the worker (C-2.36). Its running tasks go on."""
        record = await self.require(tenant_id, worker_id)
        await store.unsubscribe(self._database, tenant_id, worker_id, self._clock.now())
        await self._changed(record)
        for callback in self._on_unsubscribe:
            callback(worker_id)

    async def set_paused(self, tenant_id: str, worker_id: str, paused: bool) -> None:
        """Pause or resume (C-2.38): a paused worker keeps its running tasks and gets no new ones."""
        record = await self.require(tenant_id, worker_id)
        await store.pause(self._database, tenant_id, worker_id, paused)
        await self._changed(record)

    async def upsert_labels(self, tenant_id: str, worker_id: str, labels: Mapping[str, str | int]) -> None:
        """Merge labels by key (C-2.40)."""
        record = await self.require(tenant_id, worker_id)
        await store.merge_labels(self._database, tenant_id, worker_id, dict(labels))
        await self._changed(record)

    async def require(self, tenant_id: str, worker_id: str) -> WorkerRecord:
        """The worker's record, from memory or rows. Raises NotFound when the tenant has no such worker."""
        record = self._records.get(worker_id)
        if record is None:
            await self._load(tenant_id, [worker_id])
            record = self._records.get(worker_id)
        if record is None or record.row.tenant_id != tenant_id:
            raise NotFound(f"worker not found: {worker_id}; register again")
        return record

    def is_assignable(self, record: WorkerRecord) -> bool:
        """Whether the worker may receive work now."""
        return record.is_assignable(self._clock.now(), self.peers)

    def get(self, worker_id: str) -> WorkerRecord | None:
        """The record if this instance knows the worker."""
        return self._records.get(worker_id)

    def last_seen(self, worker_id: str) -> float | None:
        """The last heartbeat that arrived here, of a worker whose stream is here; None: the rows know better."""
        record = self._records.get(worker_id)
        return record.last_seen if record is not None and record.sessions else None

    def of(self, tenant_id: str) -> list[WorkerRecord]:
        """The known workers of a tenant."""
        return [record for record in self._records.values() if record.row.tenant_id == tenant_id]

    async def session_opened(self, record: WorkerRecord) -> None:
        """A stream to the worker opened here; that counts as a heartbeat (C-2.44)."""
        now = self._clock.now()
        record.sessions += 1
        record.had_session = True
        record.last_seen = now
        await store.open_session(self._relaxed, record.row.tenant_id, record.id, self._instance_id, now)
        await self._changed(record)

    def session_ended(self, record: WorkerRecord) -> None:
        """A stream ended. Known here at once: whatever the database says, no more work must go there."""
        record.sessions -= 1
        if not record.sessions:
            self._merge(record.row)
            self._tell(record)

    async def session_closed(self, record: WorkerRecord) -> None:
        """Write that a stream ended. While another one is open here nothing changes for the worker (C-2.15)."""
        if self._has_sessions(record):
            return
        await store.close_session(self._relaxed, record.row.tenant_id, record.id, self._instance_id)
        if self._has_sessions(record):
            # The worker came back meanwhile, and the two writes may have crossed.
            now = self._clock.now()
            await store.open_session(self._relaxed, record.row.tenant_id, record.id, self._instance_id, now)
        await self._changed(record)

    async def refresh(self, tenant_id: str, also: Sequence[str] = ()) -> None:
        """Read the tenant's recent workers, and those in ``also``, from the rows."""
        rows = await store.recent_workers(self._database, tenant_id, self._clock.now() - 60.0, also)
        for row in rows:
            self._merge(row)

    async def turn(self) -> None:
        if self._unwritten:
            unwritten, self._unwritten = self._unwritten, {}
            try:
                await store.write_heartbeats(self._relaxed, list(unwritten.items()))
            except BaseException:
                self._unwritten = {**unwritten, **self._unwritten}
                raise
        horizon = self._clock.now() - FORGET_SECONDS
        stale = [key for key, record in self._records.items() if not record.sessions and record.last_seen < horizon]
        for worker_id in stale:
            del self._records[worker_id]

    @staticmethod
    def _has_sessions(record: WorkerRecord) -> bool:
        return record.sessions > 0

    async def _listens_elsewhere(self, record: WorkerRecord) -> bool:
        await self._load(record.row.tenant_id, [record.id])
        return record.row.listener_instance not in (None, self._instance_id)

    async def _changed(self, record: WorkerRecord) -> None:
        await self._load(record.row.tenant_id, [record.id])
        self._tell(record)

    def _tell(self, record: WorkerRecord) -> None:
        owner = self._owners.get(record.row.tenant_id)
        if owner is not None:
            owner.worker_changed(record.id)
        else:
            self._bus.publish("worker", tenant=record.row.tenant_id, worker=record.id)

    async def _load(self, tenant_id: str, worker_ids: Sequence[str]) -> None:
        for row in await store.workers_by_id(self._database, tenant_id, worker_ids):
            self._merge(row)

    def _merge(self, row: WorkerRow) -> None:
        record = self._records.get(row.id)
        if record is None:
            self._records[row.id] = WorkerRecord(row)
            return
        if row.listener_instance == self._instance_id and not record.sessions:
            # The row is behind: nobody knows the streams of this instance better than itself.
            row = replace(row, listener_instance=None)
        record.row = row
        record.last_seen = max(record.last_seen, row.last_heartbeat_at)
