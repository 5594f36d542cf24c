"""Station 7: whoever waits for a run's end hears of it exactly once per request (behaviour-core C-7.1 to C-7.14)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog

from hatchet.core.ids import parse_uuid
from hatchet.core.messages import RunFinished
from hatchet.core.payloads import TaskEnd
from hatchet.engine.batcher import Batcher
from hatchet.engine.bus import Bus
from hatchet.engine.component import Loop
from hatchet.engine.memory import Owners
from hatchet.engine.registration import Registration
from hatchet.engine.run_facts import RunFacts, task_result
from hatchet.store.pool import Database
from hatchet.store.run_ends import ended_runs, task_ends

log = structlog.get_logger("hatchet.engine")

Deliver = Callable[[list[RunFinished]], Awaitable[None]]

RECHECK_SECONDS = 1.0
QUIET_RECHECKS = 30
RECHECK_AT_ONCE = 5000
RECENT_RUNS = 4096
RECENT_CHARACTERS = 8_000_000
RECENT_SECONDS = 10.0
"""A run may be replayed at another instance: what is remembered here must not be believed for long."""


@dataclass(slots=True, frozen=True)
class _Recent:
    """An end that was told a moment ago; ``at`` on the monotonic clock."""

    tenant_id: str
    finished: RunFinished
    size: int
    at: float


class Subscription:
    """One stream of a client: run ids go in, ends come out, each id answered once per request (C-7.4)."""

    def __init__(self, tenant_id: str, deliver: Deliver, results: Results) -> None:
        self.tenant_id = tenant_id
        self._deliver = deliver
        self._results = results
        self._wanted: set[str] = set()
        self._outbox: list[RunFinished] = []
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._pump(), name="subscription")

    def add(self, run_ids: Sequence[str]) -> None:
        """Ask for the ends of runs. Ids that are not UUIDs are ignored, unknown ones stay pending (C-7.5)."""
        normal = [run_id for run_id in map(parse_uuid, run_ids) if run_id is not None]
        self._wanted.update(normal)
        self._results.watch(self, normal)

    def drop(self, run_ids: Sequence[str]) -> None:
        """Ask for these no longer."""
        self._wanted.difference_update(run_ids)
        self._results.unwatch(self, run_ids)

    async def close(self) -> None:
        """Stop listening; nothing is delivered afterwards."""
        self._results.unwatch(self, self._wanted)
        self._wanted.clear()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def push(self, finished: RunFinished) -> None:
        """Queue an end for delivery, if it is still wanted."""
        if finished.run_id in self._wanted:
            self._wanted.discard(finished.run_id)
            self._outbox.append(finished)
            self._wake.set()

    async def _pump(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            outbox, self._outbox = self._outbox, []
            if outbox:
                await self._deliver(outbox)


class Results(Loop):
    """Who waits for which run, across all streams of this instance.

    A subscriber is registered first and the rows are looked at afterwards, so an end between the two is seen. Ends of
    other instances arrive over the bus; the loop asks the rows again, because every message can be lost.
    """

    def __init__(
        self, database: Database, registration: Registration, run_facts: RunFacts, owners: Owners, bus: Bus
    ) -> None:
        super().__init__("results", RECHECK_SECONDS)
        self._database = database
        self._registration = registration
        self._run_facts = run_facts
        self._owners = owners
        self._bus = bus
        self._watchers: dict[tuple[str, str], set[Subscription]] = {}
        self._recent: OrderedDict[str, _Recent] = OrderedDict()
        self._recent_size = 0
        self._turns = 0
        self._lookups: Batcher[tuple[str, str], None] = Batcher("result-lookups", self._look_up, gap=0.0)
        bus.on("finished", self._finished_elsewhere)
        bus.on_resync(self.nudge)

    def open(self, tenant_id: str, deliver: Deliver) -> Subscription:
        """A new subscription; ``deliver`` is called with the ends as they come, several at once when they do."""
        return Subscription(tenant_id, deliver, self)

    def finished(self, tenant_id: str, finished: RunFinished) -> None:
        """A run has ended: tell whoever waits, and remember it for those who are just about to ask."""
        self._tell(tenant_id, finished)
        self._remember(tenant_id, finished)

    def task_ended(self, tenant_id: str, run_id: str, task_id: str, readable_id: str, end: TaskEnd, at: float) -> None:
        """A task of a run has ended: tell who asked for that task (C-7.6)."""
        watchers = self._watchers.pop((tenant_id, task_id), None) if task_id != run_id else None
        if watchers:
            finished = RunFinished(run_id=task_id, at=at, results=[task_result(task_id, readable_id, end)])
            for subscription in watchers:
                subscription.push(finished)

    def _tell(self, tenant_id: str, finished: RunFinished) -> None:
        # What the rows said is not remembered: a replay may have come between the reading and now.
        watchers = self._watchers.pop((tenant_id, finished.run_id), None)
        if watchers:
            for subscription in watchers:
                subscription.push(finished)

    def run_ended(self, tenant_id: str, run_id: str, make: Callable[[], RunFinished] | None) -> None:
        """A run of several tasks has ended.

        ``make`` tells how, when somebody waits for it. Whoever asks a moment later looks at the rows; so does everybody
        without ``make``, and :meth:`look_again` is called once they tell.
        """
        if make is not None and (tenant_id, run_id) in self._watchers:
            self.finished(tenant_id, make())

    def forget(self, run_ids: Iterable[str]) -> None:
        """These runs were opened again: what is remembered of their ends is over (C-7.14)."""
        for run_id in run_ids:
            recent = self._recent.pop(run_id, None)
            if recent is not None:
                self._recent_size -= recent.size

    def watch(self, subscription: Subscription, run_ids: Sequence[str]) -> None:
        """Register, then look: in memory where that can tell, else in the rows."""
        tenant_id = subscription.tenant_id
        owner = self._owners.get(tenant_id)
        unknown: list[tuple[str, str]] = []
        now = time.monotonic()
        for run_id in run_ids:
            recent = self._recent.get(run_id)
            if recent is not None and recent.tenant_id == tenant_id and now - recent.at < RECENT_SECONDS:
                subscription.push(recent.finished)
                continue
            self._watchers.setdefault((tenant_id, run_id), set()).add(subscription)
            if owner is None or not owner.knows(run_id):
                unknown.append((tenant_id, run_id))
        # A lookup that fails is repeated by the loop.
        with contextlib.suppress(Exception):
            self._lookups.submit_all(unknown)

    def look_again(self, tenant_id: str, run_ids: Sequence[str]) -> None:
        """These runs may have ended without a word to this instance: ask the rows, if somebody waits for them."""
        wanted = [(tenant_id, run_id) for run_id in run_ids if (tenant_id, run_id) in self._watchers]
        with contextlib.suppress(Exception):
            self._lookups.submit_all(wanted)

    def unwatch(self, subscription: Subscription, run_ids: Iterable[str]) -> None:
        """Forget a subscription."""
        for run_id in run_ids:
            key = (subscription.tenant_id, run_id)
            watchers = self._watchers.get(key)
            if watchers is not None:
                watchers.discard(subscription)
                if not watchers:
                    del self._watchers[key]

    async def turn(self) -> None:
        self._turns += 1
        self._forget_old()
        if not self._watchers or (not self._bus.has_peers and self._turns % QUIET_RECHECKS):
            return
        pending = [key for key in list(self._watchers) if not self._is_open_here(*key)]
        for start in range(0, len(pending), RECHECK_AT_ONCE):
            await self._look_up(pending[start : start + RECHECK_AT_ONCE])

    def _is_open_here(self, tenant_id: str, run_id: str) -> bool:
        owner = self._owners.get(tenant_id)
        return owner is not None and owner.knows(run_id) and not self._bus.has_peers

    def _finished_elsewhere(self, message: dict[str, object]) -> None:
        ids = message.get("ids")
        if isinstance(ids, list):
            self.look_again(str(message["tenant"]), ids)

    async def _look_up(self, keys: Sequence[tuple[str, str]]) -> list[None]:
        by_tenant: dict[str, list[str]] = {}
        for tenant_id, run_id in keys:
            by_tenant.setdefault(tenant_id, []).append(run_id)
        for tenant_id, run_ids in by_tenant.items():
            await self._look_up_tasks(tenant_id, run_ids)
            left = [run_id for run_id in run_ids if (tenant_id, run_id) in self._watchers]
            ended = await ended_runs(self._database, tenant_id, left) if left else []
            for run in await self._run_facts.load(tenant_id, ended):
                if run.state.is_over:
                    self._tell(tenant_id, run.finished())
        return [None] * len(keys)

    async def _look_up_tasks(self, tenant_id: str, ids: Sequence[str]) -> None:
        ends = await task_ends(self._database, tenant_id, ids)
        versions = await self._registration.versions({end.version_id for end in ends})
        for end in ends:
            readable_id = versions[end.version_id].step(end.step_id).definition.readable_id
            result = task_result(end.task_id, readable_id, end.end)
            self._tell(tenant_id, RunFinished(run_id=end.task_id, at=end.finished_at, results=[result]))

    def _remember(self, tenant_id: str, finished: RunFinished) -> None:
        self.forget([finished.run_id])
        size = 200 + sum(len(result.output or "") + len(result.error or "") for result in finished.results)
        if size > RECENT_CHARACTERS // 8:
            return
        self._recent[finished.run_id] = _Recent(tenant_id, finished, size, time.monotonic())
        self._recent_size += size
        while self._recent_size > RECENT_CHARACTERS or len(self._recent) > RECENT_RUNS:
            self.forget([next(iter(self._recent))])

    def _forget_old(self) -> None:
        before = time.monotonic() - RECENT_SECONDS
        while self._recent and (oldest := next(iter(self._recent.items())))[1].at < before:
            self.forget([oldest[0]])
