"""Why does it wait? Gathers what a tenant's owner knows about a run or task and asks :func:`hatchet.core.reasons.why`.

The owner has the whole picture in memory. Another instance asks it over the bus.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hatchet.core.clock import Clock, Ids
from hatchet.core.errors import NotFound, Unavailable
from hatchet.core.ids import parse_uuid
from hatchet.core.reasons import Cause, Reason, Waiting, why
from hatchet.engine.bus import Bus
from hatchet.engine.memory import Owners
from hatchet.engine.rebuild import Rebuild
from hatchet.engine.run_facts import RunFacts
from hatchet.engine.schedule import TenantScheduler
from hatchet.store.pool import Database
from hatchet.store.runs import Resolved, resolve_ids

ANSWER_SECONDS = 5.0
MOST_TASKS = 20
"""Of a run with many waiting tasks so many are explained: an answer must fit into a message of the bus."""


Asked = tuple[str, str, str | None]
"""Task id, readable id, and the run's id for a task of several."""


@dataclass(slots=True, frozen=True)
class TaskWait:
    """One waiting task and what it waits for."""

    task_id: str
    readable_id: str
    reasons: tuple[Reason, ...]


class Why:
    """Explains waiting work."""

    def __init__(
        self,
        database: Database,
        owners: Owners,
        rebuild: Rebuild,
        run_facts: RunFacts,
        bus: Bus,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._database = database
        self._owners = owners
        self._rebuild = rebuild
        self._run_facts = run_facts
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._asked: dict[str, asyncio.Future[list[TaskWait]]] = {}
        bus.on("why", self._heard)
        bus.on("because", self._answered)

    async def explain(self, tenant_id: str, id: str) -> list[TaskWait]:  # noqa: A002
        """The tasks of a run (or the one task) that wait, each with its reasons; empty when none waits.

        Raises NotFound for an id that the tenant does not have, and Unavailable when the tenant's scheduler does not
        answer.
        """
        normal = parse_uuid(id)
        resolved = await resolve_ids(self._database, tenant_id, [normal]) if normal is not None else []
        if not resolved:
            raise NotFound(f"no run or task has the id {id}")
        waiting = await self._open_tasks(tenant_id, resolved[0])
        if not waiting:
            return []
        owner = self._owners.get(tenant_id)
        if isinstance(owner, TenantScheduler):
            return _explained(owner, waiting, self._clock.now())
        return await self._ask(tenant_id, waiting)

    async def _open_tasks(self, tenant_id: str, asked: Resolved) -> list[Asked]:
        """Those that wait, as the rows say."""
        if asked.run_id is None:
            states = await self._rebuild.states(tenant_id, [asked.id])
            return [
                (state.id, task.step.definition.readable_id, None)
                for state, task in states
                if state.ended is None and state.assigned_at is None
            ]
        [run] = await self._run_facts.load(tenant_id, [asked.run_id])
        found: list[Asked] = []
        for index, task in enumerate(run.tasks):
            is_open = run.state.tasks[index].outcome is None and task.assigned_at is None
            if is_open and (asked.is_run or task.id == asked.id):
                found.append((task.id, run.version.tasks[index].definition.readable_id, asked.run_id))
        return found[:MOST_TASKS]

    async def _ask(self, tenant_id: str, waiting: list[Asked]) -> list[TaskWait]:
        question = self._ids.new()
        answer: asyncio.Future[list[TaskWait]] = asyncio.get_running_loop().create_future()
        self._asked[question] = answer
        try:
            self._bus.publish("why", tenant=tenant_id, question=question, tasks=waiting)
            return await asyncio.wait_for(answer, ANSWER_SECONDS)
        except TimeoutError:
            raise Unavailable("the scheduler of the tenant does not answer, ask again") from None
        finally:
            del self._asked[question]

    def _heard(self, message: Mapping[str, Any]) -> None:
        owner = self._owners.get(str(message["tenant"]))
        if isinstance(owner, TenantScheduler):
            tasks = [(str(task), str(name), run) for task, name, run in message["tasks"]]
            found = [asdict(one) for one in _explained(owner, tasks, self._clock.now())]
            for one in found:
                for reason in one["reasons"]:
                    reason["cause"] = reason["cause"].value
                    # Who holds places may be many; the text tells how many.
                    reason["ids"] = reason["ids"][:3]
                    reason["text"] = reason["text"][:300]
            while len(found) > 1 and len(str(found)) > 6000:
                found.pop()
            self._bus.publish("because", question=message["question"], found=found)

    def _answered(self, message: Mapping[str, Any]) -> None:
        answer = self._asked.get(str(message["question"]))
        if answer is not None and not answer.done():
            answer.set_result(
                [
                    TaskWait(one["task_id"], one["readable_id"], tuple(map(_reason, one["reasons"])))
                    for one in message["found"]
                ]
            )


def _reason(data: Mapping[str, Any]) -> Reason:
    return Reason(**{**data, "cause": Cause(data["cause"]), "ids": tuple(data["ids"])})


def _explained(scheduler: TenantScheduler, tasks: list[Asked], now: float) -> list[TaskWait]:
    return [
        TaskWait(task_id, name, tuple(why(_waiting(scheduler, task_id, run_id, now))))
        for task_id, name, run_id in tasks
    ]


def _waiting(scheduler: TenantScheduler, task_id: str, run_id: str | None, now: float) -> Waiting:
    task = scheduler.waiting(task_id)
    run = scheduler.runs.get(run_id) if run_id is not None else None
    if task is None:
        if run is None or task_id not in run.task_ids:
            return Waiting(now=now)
        return Waiting(now=now, undecided=(run, run.task_ids.index(task_id)))
    return scheduler.explain(task, now)
