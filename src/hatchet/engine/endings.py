"""How an attempt's end is written and told to everybody in this instance (stations 5 to 7 of design section 3).

Whoever ends an attempt (a report, a timeout, a lost worker, a cancel) comes here with a decision. The first row for
(task, attempt) wins; the others change nothing (behaviour-core C-5.43 to C-5.46).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hatchet.core.errors import Unavailable
from hatchet.core.messages import RunFinished
from hatchet.core.payloads import TaskEnd
from hatchet.core.ready_task import ReadyTask
from hatchet.core.run_events import RunEventKind
from hatchet.core.statuses import Outcome
from hatchet.core.transitions import Decision
from hatchet.engine.batcher import Batcher
from hatchet.engine.bus import Bus
from hatchet.engine.memory import Flights, Owners, PayloadCache
from hatchet.engine.publish import Results
from hatchet.engine.run_events import RunEvents
from hatchet.engine.run_facts import task_result
from hatchet.store.leases import HeldLease
from hatchet.store.pool import Database
from hatchet.store.runs import reopen
from hatchet.store.tasks import NewResult, append_restores, append_results

_EVENTS = {
    Outcome.COMPLETED: RunEventKind.COMPLETED,
    Outcome.SKIPPED: RunEventKind.COMPLETED,
    Outcome.FAILED: RunEventKind.FAILED,
    Outcome.TIMED_OUT: RunEventKind.FAILED,
    Outcome.CANCELLED: RunEventKind.CANCELLED,
    Outcome.OUTRUN: RunEventKind.CANCELLED,
    Outcome.SCHEDULING_TIMED_OUT: RunEventKind.CANCELLED,
}
"""What listeners to a run hear of an attempt's end (C-7.34, C-7.35); of a reassignment nothing."""


@dataclass(slots=True, frozen=True)
class Ending:
    """One attempt and the decision that ends it."""

    tenant_id: str
    task: ReadyTask
    decision: Decision
    at: float
    started_at: float | None = None
    restored_for: str = ""
    """Of an eviction: why the task goes on at once, in the same transaction; empty: it waits for its restore."""


class Endings:
    """Writes results in batches and spreads the news after the commit."""

    def __init__(
        self,
        database: Database,
        flights: Flights,
        owners: Owners,
        payloads: PayloadCache,
        results: Results,
        run_events: RunEvents,
        bus: Bus,
        *,
        flush_gap: float,
        flush_maximum: int,
    ) -> None:
        self._database = database
        self._writer = database.pinned()
        self._flights = flights
        self._owners = owners
        self._payloads = payloads
        self._results = results
        self._run_events = run_events
        self._bus = bus
        self._writes: Batcher[Ending, bool] = Batcher("results", self._write, gap=flush_gap, maximum=flush_maximum)
        self._evictions: Batcher[Ending, bool] = Batcher(
            "evictions", self._write_evictions, gap=flush_gap, maximum=flush_maximum
        )

    async def end(self, ending: Ending) -> bool:
        """Write the end of one attempt; True when it was the first, False when the attempt had ended already."""
        return await self._writes.submit(ending)

    async def evict(self, ending: Ending) -> bool:
        """Like :meth:`end` for an attempt that is evicted: with it its run is named among what may become old."""
        return await self._evictions.submit(ending)

    async def end_all(self, endings: Sequence[Ending]) -> list[bool]:
        """Like :meth:`end` for several attempts, written together."""
        return [await written for written in self._writes.submit_all(endings)]

    async def end_all_fenced(self, endings: Sequence[Ending], lease: HeldLease) -> int:
        """Write decisions that only the tenant's owner may make, under its fence; how many were the first."""
        if not endings:
            return 0
        return sum(self._spread(endings, await append_results(self._database, _rows(endings), lease)))

    async def drain(self) -> None:
        """Wait for the writes that are under way, and give the connection back."""
        await self._evictions.drain()
        await self._writes.drain()
        await self._writer.close()

    async def _write(self, batch: Sequence[Ending]) -> list[bool]:
        try:
            written = await append_results(self._writer, _rows(batch))
        except Unavailable:
            # The commit may have happened all the same: the rows tell, when they can be read again.
            for ending in batch:
                self._look_again(ending)
            raise
        return self._spread(batch, written)

    async def _write_evictions(self, batch: Sequence[Ending]) -> list[bool]:
        try:
            async with self._database.transaction() as transaction:
                written = await append_results(transaction, _rows(batch))
                names: dict[str, dict[str, float]] = {}
                for ending in batch:
                    task = ending.task
                    if (task.id, task.attempt) in written:
                        names.setdefault(ending.tenant_id, {})[task.run_id or task.id] = ending.at
                for tenant_id, ids in sorted(names.items()):
                    # In one order everywhere, so that two writers never wait for each other.
                    await reopen(transaction, tenant_id, sorted(ids), max(ids.values()))
                restored = [one for one in batch if one.restored_for and (one.task.id, one.task.attempt) in written]
                for (tenant_id, cause), task_ids in sorted(_by_cause(restored).items()):
                    await append_restores(transaction, tenant_id, task_ids, max(one.at for one in restored), cause)
        except Unavailable:
            for ending in batch:
                self._look_again(ending)
            raise
        accepted = self._spread(batch, written)
        for one in restored:
            owner = self._owners.get(one.tenant_id)
            if owner is not None:
                owner.restored({one.task.id: one.task.attempt + 1}, one.at)
        return accepted

    def ended_before(self, tenant_id: str, task_id: str) -> None:
        """The rows say that the task has ended and this instance did not hear of it: tell whoever waits for it."""
        self._results.look_again(tenant_id, [task_id])

    def _look_again(self, ending: Ending) -> None:
        owner = self._owners.get(ending.tenant_id)
        if owner is not None:
            owner.touched([ending.task.id])

    def _spread(self, batch: Sequence[Ending], written: set[tuple[str, int]]) -> list[bool]:
        """After the commit: free the slots, open the next attempts, wake the subscribers, tell the other instances."""
        accepted: list[bool] = []
        elsewhere: dict[str, list[str]] = {}
        ended_runs: dict[str, list[str]] = {}
        for ending in batch:
            key = (ending.task.id, ending.task.attempt)
            # Removing it makes a second ending of the same attempt in one batch the loser.
            is_first = key in written
            written.discard(key)
            accepted.append(is_first)
            if not is_first:
                self._look_again(ending)
                continue
            self._flights.end(*key)
            self._payloads.take(ending.task.id)
            following = _following(ending)
            self._tell_events(ending)
            owner = self._owners.get(ending.tenant_id)
            if owner is not None:
                owner.ended(ending.task, ending.decision, ending.at, following)
            else:
                elsewhere.setdefault(ending.tenant_id, []).append(ending.task.id)
            if following is None:
                self._publish(ending)
                ended_runs.setdefault(ending.tenant_id, []).append(ending.task.id)
        for tenant_id in {ending.tenant_id for ending in batch}:
            owner = self._owners.get(tenant_id)
            if owner is not None:
                owner.settle()
        if self._bus.has_peers:
            for tenant_id, ids in elsewhere.items():
                self._bus.publish_ids("touched", ids, tenant=tenant_id)
            for tenant_id, ids in ended_runs.items():
                self._bus.publish_ids("finished", ids, tenant=tenant_id)
        return accepted

    def _publish(self, ending: Ending) -> None:
        """The task has ended. A run of several tasks is its owner's to follow."""
        decision, task = ending.decision, ending.task
        end = TaskEnd(decision.outcome, decision.output, decision.error)
        readable_id = task.step.definition.readable_id
        if task.run_id is not None:
            self._results.task_ended(ending.tenant_id, task.run_id, task.id, readable_id, end, ending.at)
            return
        result = task_result(task.id, readable_id, end)
        self._results.finished(ending.tenant_id, RunFinished(run_id=task.id, at=ending.at, results=[result]))
        self._run_events.run_ended(ending.tenant_id, task.id, decision.outcome.status, ending.at)

    def _tell_events(self, ending: Ending) -> None:
        decision, task = ending.decision, ending.task
        kind = _EVENTS.get(decision.outcome)
        if kind is None and decision.retry_at is None:
            kind = RunEventKind.FAILED
        if kind is not None:
            payload = decision.output if kind is RunEventKind.COMPLETED else decision.error
            self._run_events.attempt_ended(
                ending.tenant_id,
                task.run_id or task.id,
                task.id,
                task.retry_count,
                task.step.definition.retries,
                kind,
                payload or "",
                ending.at,
            )


def _following(ending: Ending) -> ReadyTask | None:
    decision, task = ending.decision, ending.task
    if decision.retry_at is None:
        return None
    return task.again(
        decision.retry_at, task.attempt + 1, decision.app_retries, decision.internal_retries, decision.evictions
    )


def _by_cause(restored: Sequence[Ending]) -> dict[tuple[str, str], list[str]]:
    """The tasks that go on at once, by tenant and cause."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in restored:
        found.setdefault((one.tenant_id, one.restored_for), []).append(one.task.id)
    return found


def _rows(endings: Sequence[Ending]) -> list[NewResult]:
    return [
        NewResult(
            ending.tenant_id,
            ending.task.id,
            ending.task.attempt,
            ending.decision.outcome,
            ending.decision.output,
            ending.decision.error,
            ending.started_at,
            ending.at,
            ending.decision.retry_at,
            ending.decision.app_retries,
            ending.decision.internal_retries,
            ending.decision.evictions,
        )
        for ending in endings
    ]
