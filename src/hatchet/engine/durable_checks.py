"""Looks once at each evicted task whether something came for it that nobody heard of (behaviour-durable D-29.6)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence

from hatchet.core.clock import Clock
from hatchet.core.durable_log import DurableLog, EntryKind, Key
from hatchet.engine.durable_waiting import Surroundings
from hatchet.store.durable import read_logs
from hatchet.store.pool import Database
from hatchet.store.tasks import task_states

CHECK_SECONDS = 5.0
"""How long after its eviction a task's rows are looked at: whoever evicted it may have died before restoring it."""
BATCH = 1000


class DurableChecks:
    """The evicted tasks of one tenant that are to be looked at."""

    def __init__(
        self,
        tenant_id: str,
        database: Database,
        clock: Clock,
        around: Surroundings,
        *,
        known: Callable[[str], Collection[Key]],
        load: Callable[[Iterable[str]], None],
        restore: Callable[[list[str]], None],
    ) -> None:
        """``known`` tells which entries of a task are waited for here, ``load`` reads those of others anew."""
        self._tenant_id = tenant_id
        self._database = database
        self._clock = clock
        self._around = around
        self._known = known
        self._load = load
        self._restore = restore
        self._due: deque[tuple[float, str]] = deque()

    def evicted(self, task_id: str) -> None:
        """The task was evicted: look at it in a while."""
        self._due.append((self._clock.now() + CHECK_SECONDS, task_id))

    async def turn(self, now: float) -> None:
        """Look at those whose time has come, some in one statement."""
        due: list[str] = []
        while self._due and self._due[0][0] <= now and len(due) < BATCH:
            due.append(self._due.popleft()[1])
        if due:
            await self._check(due)

    async def _check(self, task_ids: Sequence[str]) -> None:
        evicted = {
            task_id: attempt for task_id in task_ids if (attempt := self._around.evicted_attempt(task_id)) is not None
        }
        if not evicted:
            return
        try:
            logs = await read_logs(self._database, self._tenant_id, list(evicted), payloads=False)
        except Exception:
            self._due.extend((self._clock.now() + CHECK_SECONDS, task_id) for task_id in evicted)
            raise
        overdue: list[str] = []
        unknown: list[str] = []
        ended: dict[str, float] = {}
        for task_id, rows in logs.items():
            # The attempt that follows the eviction is one more than the one that was evicted.
            path = DurableLog(evicted[task_id], rows.entries, rows.branches)
            known = self._known(task_id)
            if path.overdue():
                overdue.append(task_id)
            elif any(entry.key not in known for entry in path.waiting()):
                # Another instance wrote it, and its message got lost.
                unknown.append(task_id)
            children = [one for one in path.on_path() if one.kind is EntryKind.RUN and one.release is None]
            if latest := [child.result.at for child in children if child.result is not None]:
                ended[task_id] = max(latest)
        self._load(unknown)
        overdue.extend(await self._unheard({one: at for one, at in ended.items() if one not in overdue}))
        self._restore(overdue)

    async def _unheard(self, ended: dict[str, float]) -> list[str]:
        """Those of the evicted tasks to which something has come since: nobody heard of the eviction before it came."""
        if not ended:
            return []
        states = await task_states(self._database, self._tenant_id, list(ended))
        return [
            task_id
            for task_id, state in states.items()
            if state.is_evicted and ended[task_id] > (state.evicted_at or 0.0) - CHECK_SECONDS
        ]
