"""The logs of durable tasks for people and for clients that know no stream (behaviour-durable D-22, D-25, D-26)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hatchet.core.clock import Clock
from hatchet.core.durable_log import EntryKind, branched, wait_digest
from hatchet.core.durable_messages import LogLine
from hatchet.core.durable_waits import WaitCondition, checked, from_text, to_text, wait_data
from hatchet.core.errors import FailedPrecondition, NotFound
from hatchet.engine.evicting import Evicting
from hatchet.engine.memory import Owners
from hatchet.engine.rebuild import Rebuild
from hatchet.engine.replay import Replay
from hatchet.store.durable import OfTask, add_signal, append_branch, read_logs, read_page, read_signals
from hatchet.store.pool import Database

ATTEMPTS = 3
SIGNAL = "signal:"


class DurableRecords:
    """Reads and branches logs."""

    def __init__(
        self,
        *,
        database: Database,
        owners: Owners,
        rebuild: Rebuild,
        evicting: Evicting,
        replay: Replay,
        clock: Clock,
        branched: Callable[[OfTask], None],
        entries_added: Callable[[OfTask], None],
    ) -> None:
        """``branched`` tells whoever remembers the task's log that its path is another one, ``entries_added`` of new
        waits."""
        self._database = database
        self._owners = owners
        self._rebuild = rebuild
        self._evicting = evicting
        self._replay = replay
        self._clock = clock
        self._branched = branched
        self._entries_added = entries_added

    async def entries(self, tenant_id: str, task_id: str, offset: int, limit: int) -> list[LogLine]:
        """A page of a task's log (D-25.1). Raises NotFound for a task that the tenant does not have."""
        _, task = await self._rebuild.require(tenant_id, task_id)
        rows = await read_page(self._database, OfTask(tenant_id, task_id), offset, limit)
        name = task.step.definition.readable_id
        return [
            LogLine(
                node=row.node,
                branch=row.branch,
                kind=row.kind,
                wait_data=_shown(row.kind, row.subject),
                is_satisfied=row.satisfied_at is not None,
                satisfied_at=row.satisfied_at,
                inserted_at=row.created_at,
                user_message=row.label,
                task_id=task_id,
                task_name=name,
                run_id=row.run_id,
            )
            for row in rows
        ]

    async def branch(self, tenant_id: str, task_id: str, node: int, branch: int) -> int:
        """Run the task again from a node of a branch on; the new branch's id (D-22.5).

        Raises NotFound for an unknown task or entry, FailedPrecondition for a task that is not finished or evicted
        (D-22.11).
        """
        state, _ = await self._rebuild.require(tenant_id, task_id)
        if state.ended is None and not state.is_evicted:
            raise FailedPrecondition(
                f"the task run {task_id} is {state.status.value}: cancel it first, or wait until it ends or is evicted"
            )
        of = OfTask(tenant_id, task_id)
        while True:
            rows = (await read_logs(self._database, tenant_id, [task_id], payloads=False))[task_id]
            new = branched(rows.branches, rows.entries, branch, node)
            if new is None:
                raise NotFound(f"the durable log of {task_id} has no node {node} on branch {branch}")
            if await append_branch(self._database, of, new, self._clock.now()):
                break
        self._branched(of)
        if state.ended is None:
            await self._evicting.restore(tenant_id, [task_id], f"The run was branched at node {node}")
        else:
            await self._replay.replay(tenant_id, [task_id])
        return new.id

    async def register_signal(
        self, tenant_id: str, task_id: str, signal_key: str, conditions: Sequence[WaitCondition]
    ) -> None:
        """Wait on behalf of a client that knows no log (D-26.1); the same key again changes nothing.

        Raises NotFound for an unknown task, InvalidArgument for conditions that cannot be right.
        """
        state, _ = await self._rebuild.require(tenant_id, task_id)
        found, of, name = checked(conditions), OfTask(tenant_id, task_id), SIGNAL + signal_key
        for _ in range(ATTEMPTS):
            node = await add_signal(self._database, of, name, wait_digest(found), to_text(found), self._clock.now())
            if node is not None or await read_signals(self._database, tenant_id, [(task_id, name)]):
                break
        if state.ended is None:
            self._entries_added(of)

    async def signals(self, tenant_id: str, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str, str]]:
        """Those of the waits (task id, signal key) that are over, with their data (D-26.2)."""
        rows = await read_signals(self._database, tenant_id, [(task_id, SIGNAL + key) for task_id, key in pairs])
        return [(row.task_id, row.name.removeprefix(SIGNAL), row.payload) for row in rows if row.payload is not None]


def _shown(kind: EntryKind, subject: str) -> list[dict[str, Any]] | None:
    """D-25.3."""
    if kind is EntryKind.WAIT_FOR:
        return wait_data(from_text(subject)) if subject else []
    return [{"kind": "CHILD_WORKFLOW", "workflowName": subject}] if kind is EntryKind.RUN else None
