"""What an invocation of a durable task asks for, decided by its log and written (behaviour-durable D-4, D-8, D-12,
D-13).

Everything here runs for one task at a time: the caller keeps the requests of a task in their order.
"""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hatchet.core.clock import Clock
from hatchet.core.durable_log import (
    MOST_ENTRIES,
    Child,
    DurableLog,
    Entry,
    EntryKind,
    Found,
    Key,
    Mismatch,
    New,
    Release,
    Result,
)
from hatchet.core.durable_messages import (
    EntryCompleted,
    EntryRef,
    MemoAck,
    MemoRequest,
    MemoValue,
    Refused,
    SpawnAck,
    SpawnedRun,
    SpawnRequest,
    WaitAck,
    WaitRequest,
)
from hatchet.core.durable_waits import checked, to_text
from hatchet.core.errors import FailedPrecondition, IdempotencyCollision, Unavailable
from hatchet.core.messages import TriggerItem
from hatchet.core.ready_task import ReadyTask
from hatchet.engine.durable_session import DurableSession
from hatchet.engine.durable_writes import DurableWrites
from hatchet.engine.memory import Owners
from hatchet.engine.trigger import Prepared, Refusal, Trigger
from hatchet.store.durable import NewEntry, NewOutcome, NewRelease, OfTask, append_entries
from hatchet.store.pool import Database

if TYPE_CHECKING:
    from hatchet.engine.durable_waits import DurableWaits


class Overtaken(Exception):
    """The rows say something that this picture of the log does not: it is to be read anew."""


class Walk:
    """One invocation of a task, its log, and the stream that its worker listens on."""

    __slots__ = ("has_begun", "log", "next_turn", "of", "seen_at", "session", "task", "worker_id")

    def __init__(self, of: OfTask, task: ReadyTask, worker_id: str, log: DurableLog, session: DurableSession) -> None:
        self.of = of
        self.task = task
        self.worker_id = worker_id
        self.log = log
        self.session = session
        self.has_begun = log.walked > 0
        """Whether the rows know that this invocation has begun to walk what is recorded."""
        self.seen_at = 0.0
        self.next_turn: TimerHandle | None = None
        """When it is looked at again because completions have their turn."""

    @property
    def invocation(self) -> int:
        return self.log.invocation

    def ref(self, key: Key) -> EntryRef:
        return EntryRef(self.of.task_id, self.invocation, *key)

    def refuse(self, message: str, key: Key = (0, 0), *, is_non_determinism: bool = False) -> None:
        self.session.push(Refused(self.ref(key), message, is_non_determinism))


class Walking:
    """Answers requests from logs, and writes what is new."""

    def __init__(
        self,
        *,
        hot: Database,
        writes: DurableWrites,
        trigger: Trigger,
        owners: Owners,
        clock: Clock,
        entries_added: Callable[[OfTask], None],
    ) -> None:
        """``entries_added`` tells the tenant's owner, when it is another instance, whose tasks have new waits."""
        self._hot = hot
        self._writes = writes
        self._trigger = trigger
        self._owners = owners
        self._clock = clock
        self._entries_added = entries_added

    async def memo(self, walk: Walk, request: MemoRequest) -> None:
        """D-12."""
        step = walk.log.memo(request.key)
        if isinstance(step, Mismatch):
            self._mismatch(walk, step)
            return
        if isinstance(step, Found):
            if step.entry.result is None and request.payload is not None:
                walk.log.satisfied(*step.entry.key, await self._memoized(walk, step.entry, request.payload))
            await self._pass(walk, [step.entry])
            result = step.entry.result
            payload = result.payload if result is not None else None
            walk.session.push(MemoAck(walk.ref(step.entry.key), existed=True, payload=payload))
            self._tell_memo(walk, step.entry)
            return
        entry = self._entry(walk, step, EntryKind.MEMO)
        await self._append(walk, entry)
        if request.payload is not None:
            entry.result = await self._memoized(walk, entry, request.payload)
        walk.log.took(entry)
        walk.session.push(MemoAck(walk.ref(entry.key), existed=False))
        self._tell_memo(walk, entry)

    async def memo_value(self, walk: Walk, request: MemoValue) -> None:
        """The value of a memo that was computed just now; nobody waits for an answer (D-12.3, D-12.7)."""
        entry = walk.log.get(request.ref.branch, request.ref.node)
        if entry is None or entry.kind is not EntryKind.MEMO or entry.result is not None:
            return
        walk.log.satisfied(*entry.key, await self._memoized(walk, entry, request.payload))
        self._tell_memo(walk, entry)

    async def wait(self, walk: Walk, request: WaitRequest) -> None:
        """D-8."""
        conditions = checked(request.conditions)
        step = walk.log.wait(conditions)
        if isinstance(step, Mismatch):
            self._mismatch(walk, step)
            return
        waits = self._waits(walk)
        if isinstance(step, Found):
            await self._pass(walk, [step.entry])
            walk.session.push(WaitAck(walk.ref(step.entry.key)))
            if step.entry.result is None:
                self._tell_waits(walk, waits, step.entry.key)
            return
        entry = self._entry(walk, step, EntryKind.WAIT_FOR)
        entry.subject, entry.label = to_text(conditions), request.label or None
        held = waits.hold(walk.of.task_id, entry) if waits is not None else None
        try:
            await self._append(walk, entry)
        except BaseException:
            if waits is not None and held is not None:
                waits.drop(held)
            raise
        walk.log.took(entry)
        walk.session.push(WaitAck(walk.ref(entry.key)))
        if waits is not None and held is not None:
            waits.committed(held)
        else:
            self._entries_added(walk.of)

    async def spawn(self, walk: Walk, request: SpawnRequest) -> None:
        """D-13: entries and runs are one transaction."""
        children = [Child(one.workflow_name, one.input, one.child_key, one.child_index) for one in request.items]
        steps = walk.log.spawn(children)
        if isinstance(steps, Mismatch):
            self._mismatch(walk, steps)
            return
        fresh: dict[int, tuple[New, TriggerItem, Child]] = {}
        for step, item, child in zip(steps, request.items, children, strict=True):
            if isinstance(step, New):
                fresh.setdefault(step.node, (step, item, child))
        written = await self._spawned(walk, list(fresh.values())) if fresh else {}
        entries = [step.entry if isinstance(step, Found) else written[step.node] for step in steps]
        await self._pass(walk, entries)
        runs = tuple(SpawnedRun(entry.node, entry.branch, entry.run_id or "") for entry in entries)
        walk.session.push(SpawnAck(walk.of.task_id, walk.invocation, runs))
        waits = self._waits(walk)
        if waits is None:
            if written:
                self._entries_added(walk.of)
            return
        for entry in written.values():
            waits.committed(waits.hold(walk.of.task_id, entry))

    async def release(self, walk: Walk) -> None:
        """Hand over what may be handed over now (D-15)."""
        if walk.session.is_closed:
            return
        now = self._clock.now()
        pairs = walk.log.releases(now)
        fresh = [(entry, release) for entry, release in pairs if entry.release is None]
        if fresh:
            rows = [NewRelease(walk.of, entry.key, release) for entry, release in fresh]
            if not all(await self._writes.releases(rows)):
                raise Overtaken
        for entry, release in pairs:
            walk.log.sent(entry, release)
            self._complete(walk, entry, release)

    def send_again(self, walk: Walk, entries: Sequence[Entry]) -> None:
        """Hand completions over that were handed over before (D-15.5)."""
        for entry in entries:
            if entry.release is not None:
                self._complete(walk, entry, entry.release)

    def tell_memos(self, walk: Walk, keys: Sequence[Key]) -> None:
        """Tell of memos that the worker still lists (D-12.8)."""
        for key in keys:
            entry = walk.log.get(*key)
            if entry is not None:
                self._tell_memo(walk, entry)

    # ------------------------------------------------------------------------------------------------------------------

    async def _pass(self, walk: Walk, entries: Sequence[Entry]) -> None:
        """These entries answer the request; how far the walk has come by then is in the rows before anybody hears."""
        log = walk.log
        recorded = log.recorded if log.is_replaying else 0
        ahead = log.walked
        for entry in entries:
            if entry.node == ahead + 1:
                ahead += 1
        if recorded:
            if ahead >= recorded:
                await self._writes.walked(walk.of, walk.invocation, recorded)
            elif not walk.has_begun:
                await self._writes.walked(walk.of, walk.invocation, 0)
            walk.has_begun = True
        for entry in entries:
            log.took(entry)

    async def _append(self, walk: Walk, entry: Entry) -> None:
        _check_room(walk.log, 1)
        if not await self._writes.entry(walk.of, entry):
            raise Overtaken

    async def _memoized(self, walk: Walk, entry: Entry, payload: str) -> Result:
        result = Result(self._clock.now(), payload)
        if not await self._writes.outcome(NewOutcome(walk.of, entry.key, result)):
            raise Overtaken
        return result

    async def _spawned(self, walk: Walk, fresh: Sequence[tuple[New, TriggerItem, Child]]) -> dict[int, Entry]:
        """The new children's entries by node, committed with their runs."""
        _check_room(walk.log, len(fresh))
        items = [
            replace(
                item,
                parent_task_id=item.parent_task_id or walk.of.task_id,
                parent_run_id=item.parent_run_id or walk.task.run_id or walk.of.task_id,
            )
            for _, item, _ in fresh
        ]
        made = await self._trigger.prepare(walk.of.tenant_id, items, self._clock.now())
        prepared: list[Prepared] = []
        for one in made:
            if isinstance(one, Refusal):
                raise one.error
            prepared.append(one)
        entries: list[Entry] = []
        # They have one time, by which those of one request are told.
        now = self._clock.now()
        for (step, item, child), one in zip(fresh, prepared, strict=True):
            entry = self._entry(walk, step, EntryKind.RUN, now)
            entry.subject, entry.child_name, entry.run_id = item.workflow_name, child.name, one.work.id
            entry.is_single = len(one.version.tasks) == 1
            entries.append(entry)
        try:
            async with self._hot.transaction() as transaction:
                written = await append_entries(transaction, [NewEntry(walk.of, entry) for entry in entries])
                if len(written) < len(entries):
                    raise Overtaken
                accepted = await self._trigger.write(transaction, prepared, claims_children=False)
                if accepted.collisions:
                    raise FailedPrecondition(_collision(accepted.collisions))
        except Unavailable:
            self._trigger.uncertain(prepared)
            raise
        self._trigger.committed(prepared, accepted)
        return {entry.node: entry for entry in entries}

    def _entry(self, walk: Walk, step: New, kind: EntryKind, now: float | None = None) -> Entry:
        at = self._clock.now() if now is None else now
        return Entry(kind, step.branch, step.node, step.digest, walk.invocation, at)

    def _mismatch(self, walk: Walk, step: Mismatch) -> None:
        walk.refuse(step.message(walk.of.task_id), (step.branch, step.node), is_non_determinism=True)

    def _tell_memo(self, walk: Walk, entry: Entry) -> None:
        """Python keeps asking for a memo until it hears that it is done; the value went with the ack (D-12.8)."""
        if entry.kind is EntryKind.MEMO and entry.result is not None:
            walk.session.push(EntryCompleted(walk.ref(entry.key), ""))

    def _complete(self, walk: Walk, entry: Entry, release: Release) -> None:
        result = entry.result
        assert result is not None
        walk.session.push(
            EntryCompleted(walk.ref(entry.key), result.payload, result.is_failure, result.error, release.order)
        )

    def _waits(self, walk: Walk) -> DurableWaits | None:
        owner = self._owners.get(walk.of.tenant_id)
        return owner.durable if owner is not None else None

    def _tell_waits(self, walk: Walk, waits: DurableWaits | None, key: Key) -> None:
        if waits is not None:
            waits.asked_again(walk.of.task_id, key)
        else:
            self._entries_added(walk.of)


def _check_room(log: DurableLog, count: int) -> None:
    if len(log) + count > MOST_ENTRIES:
        raise FailedPrecondition(
            f"the durable log has {len(log)} entries, and {MOST_ENTRIES} are the most: every invocation walks all of "
            "them. Continue the work in a child run, which has a log of its own"
        )


def _collision(collisions: dict[str, str]) -> str:
    holders = ", ".join(sorted(set(collisions.values()))[:3])
    return f"{IdempotencyCollision([], []).message}: the child's idempotency key is held by the run {holders}"
