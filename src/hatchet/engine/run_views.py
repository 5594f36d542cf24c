"""Reads runs and tasks whole, as people see them (behaviour-rest R-10.22 to R-10.30, R-11.1 to R-11.5).

Every kind of fact is one statement, whatever the number of runs and tasks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from hatchet.core.clock import Clock
from hatchet.core.errors import NotFound
from hatchet.core.limits import from_text
from hatchet.core.payloads import TaskPayload
from hatchet.core.ready_task import ReadyTask
from hatchet.core.run_views import RunView, TaskView, of_attempt, with_history
from hatchet.core.statuses import RunStatus
from hatchet.engine.histories import Histories, HistoryOf, TaskHistory
from hatchet.engine.rebuild import Rebuild
from hatchet.engine.run_facts import LoadedRun, RunFacts
from hatchet.store.pool import Database
from hatchet.store.runs import Resolved, resolve_ids, run_payloads
from hatchet.store.tasks import TaskState
from hatchet.store.tasks import payloads as payloads_of_tasks

MOST_RUNS_TIMED = 2000
"""Runs whose tasks one answer with timings has; of more children the oldest are taken."""

RUN_NOT_FOUND = "workflow run not found"
TASK_NOT_FOUND = "task not found"

_Unread = tuple[RunView, list[tuple[TaskView, HistoryOf]]]
"""A run without its tasks, and they, without what their histories tell."""


@dataclass(slots=True, frozen=True)
class Timing:
    """One task of a run, or of a run below it."""

    depth: int
    """0: of the run itself."""
    task: TaskView
    parent_task_id: str | None
    """The task that spawned its run."""


class RunViews:
    """Reads single runs and tasks."""

    def __init__(self, database: Database, rebuild: Rebuild, run_facts: RunFacts, clock: Clock) -> None:
        self._database = database
        self._rebuild = rebuild
        self._run_facts = run_facts
        self._histories = Histories(database)
        self._clock = clock

    async def run(self, tenant_id: str, run_id: str, *, payloads: bool = True) -> RunView:
        """A run with its tasks and their events. Raises NotFound, also for the id of one task of several (R-10.22)."""
        return await self._one(tenant_id, await self._run_of(tenant_id, run_id), payloads=payloads)

    async def runs(self, tenant_id: str, run_ids: Sequence[str]) -> list[RunView]:
        """Those of the runs that exist, with their tasks; ids of single tasks of several are none."""
        resolved = [one for one in await resolve_ids(self._database, tenant_id, run_ids) if _is_run(one)]
        return await self._views(tenant_id, resolved, payloads=True)

    async def status(self, tenant_id: str, run_id: str) -> RunStatus:
        """The status of a run; raises NotFound as :meth:`run`."""
        resolved = await self._run_of(tenant_id, run_id)
        if resolved.run_id is None:
            statuses = [state.status for state, _ in await self._rebuild.states(tenant_id, [run_id])]
        else:
            statuses = [run.state.status() for run in await self._run_facts.load(tenant_id, [resolved.run_id])]
        if not statuses:
            raise NotFound(RUN_NOT_FOUND)
        return statuses[0]

    async def task(self, tenant_id: str, task_id: str, attempt: int | None = None) -> TaskView:
        """A task with its events; ``attempt``: counted from 1, None for the current one (R-11.1).

        Raises NotFound for an unknown task or attempt, and for the id of a run of several tasks (R-11.2).
        """
        views = await self._views(tenant_id, await resolve_ids(self._database, tenant_id, [task_id]), payloads=True)
        found = next((task for view in views for task in view.tasks if task.id == task_id), None)
        if found is None:
            raise NotFound(TASK_NOT_FOUND)
        if attempt is None or attempt - 1 == found.retry_count:
            return found
        wanted = HistoryOf(found.id, found.created_at, found.step, from_text(None))
        history = (await self._histories.read(tenant_id, [wanted], outputs=True))[found.id]
        earlier = of_attempt(found, history.attempts, attempt - 1)
        if earlier is None:
            raise NotFound(f"{TASK_NOT_FOUND}: it has had {found.retry_count + 1} attempts, not {attempt}")
        return earlier

    async def timings(self, tenant_id: str, run_id: str, depth: int) -> list[Timing]:
        """The tasks of a run and of the runs that they spawned, down to ``depth``; depth first, by queue time."""
        root = await self._one(tenant_id, await self._run_of(tenant_id, run_id), payloads=True)
        level, parent_of = [root], {root.id: root.parent_task_id}
        below: dict[str, list[TaskView]] = {}
        for _ in range(depth):
            parents = [task.id for view in level for task in view.tasks if task.children]
            if not parents or len(parent_of) >= MOST_RUNS_TIMED:
                break
            rows = await self._database.fetch("task_children", tenant_id, parents, MOST_RUNS_TIMED)
            spawned = {str(row["child_id"]): str(row["parent_id"]) for row in rows}
            fresh = [child for child in spawned if child not in parent_of][: MOST_RUNS_TIMED - len(parent_of)]
            parent_of |= {child: spawned[child] for child in fresh}
            resolved = await resolve_ids(self._database, tenant_id, fresh) if fresh else []
            level = await self._views(tenant_id, [one for one in resolved if _is_run(one)], payloads=False)
            for view in level:
                below.setdefault(parent_of[view.id] or "", []).extend(view.tasks)
        return list(_depth_first(root.tasks, below, parent_of, 0))

    async def _run_of(self, tenant_id: str, run_id: str) -> Resolved:
        resolved = await resolve_ids(self._database, tenant_id, [run_id])
        if not resolved or not _is_run(resolved[0]):
            raise NotFound(RUN_NOT_FOUND)
        return resolved[0]

    async def _one(self, tenant_id: str, resolved: Resolved, *, payloads: bool) -> RunView:
        views = await self._views(tenant_id, [resolved], payloads=payloads)
        if not views:
            raise NotFound(RUN_NOT_FOUND)
        return views[0]

    async def _views(self, tenant_id: str, resolved: Sequence[Resolved], *, payloads: bool) -> list[RunView]:
        """The runs to which the ids belong."""
        plain = [one.id for one in resolved if one.run_id is None]
        run_ids = list(dict.fromkeys(one.run_id for one in resolved if one.run_id is not None))
        views = [
            *(await self._plain_views(tenant_id, plain) if plain else []),
            *(await self._run_views(tenant_id, run_ids) if run_ids else []),
        ]
        texts = await self._payloads(tenant_id, plain, run_ids) if payloads else {}
        tasks = [task for _, unread in views for task, _ in unread]
        counts = await self._children(tenant_id, [task.id for task in tasks])
        histories = await self._histories.read(
            tenant_id, [wanted for _, unread in views for _, wanted in unread], outputs=payloads
        )
        return [
            _completed(view, [task for task, _ in unread], texts.get(view.id), counts, histories)
            for view, unread in views
        ]

    async def _plain_views(self, tenant_id: str, ids: Sequence[str]) -> list[_Unread]:
        return [_plain_view(state, task) for state, task in await self._rebuild.states(tenant_id, ids)]

    async def _run_views(self, tenant_id: str, run_ids: Sequence[str]) -> list[_Unread]:
        now = self._clock.now()
        return [_run_view(run, now) for run in await self._run_facts.load(tenant_id, run_ids)]

    async def _payloads(self, tenant_id: str, plain: list[str], run_ids: list[str]) -> dict[str, TaskPayload]:
        found = await payloads_of_tasks(self._database, tenant_id, plain) if plain else {}
        return found | (await run_payloads(self._database, tenant_id, run_ids) if run_ids else {})

    async def _children(self, tenant_id: str, task_ids: list[str]) -> dict[str, int]:
        rows = await self._database.fetch("task_child_counts", tenant_id, task_ids) if task_ids else []
        return {str(row["parent_id"]): row["children"] for row in rows}


def _is_run(resolved: Resolved) -> bool:
    return resolved.is_run or resolved.run_id is None


def _plain_view(state: TaskState, task: ReadyTask) -> _Unread:
    view = TaskView(
        id=state.id,
        run_id=state.id,
        version=task.version,
        step=task.step,
        status=state.status,
        is_evicted=state.is_evicted,
        retry_count=state.retry_count,
        created_at=state.inserted_at,
        finished_at=state.finished_at,
        output=state.output if state.status is RunStatus.COMPLETED else None,
        error=state.error or "",
    )
    wanted = HistoryOf(state.id, state.inserted_at, task.step, task.limits)
    run = RunView(
        id=state.id,
        version=task.version,
        status=state.status,
        created_at=state.inserted_at,
        task_ids=[state.id],
    )
    return run, [(view, wanted)]


def _run_view(run: LoadedRun, now: float) -> _Unread:
    view = RunView(
        id=run.row.id,
        version=run.version,
        status=run.state.status(),
        created_at=run.row.inserted_at,
        task_ids=run.task_ids,
    )
    return view, [_run_task(run, index, now) for index in range(len(run.tasks)) if run.state.exists(index)]


def _run_task(run: LoadedRun, index: int, now: float) -> tuple[TaskView, HistoryOf]:
    state, end, step = run.tasks[index], run.end(index), run.version.tasks[index]
    status = end.outcome.status if end is not None else state.status
    view = TaskView(
        id=run.task_ids[index],
        run_id=run.row.id,
        version=run.version,
        step=step,
        status=status,
        is_evicted=end is None and state.is_evicted,
        retry_count=state.retry_count,
        created_at=run.row.inserted_at,
        finished_at=run.state.tasks[index].ended_at if end is not None else None,
        output=end.output if end is not None and status is RunStatus.COMPLETED else None,
        error=(end.error or "") if end is not None else "",
    )
    decision = run.state.decide(index, now)
    return view, HistoryOf(view.id, run.row.inserted_at, step, from_text(state.limits), decision)


def _completed(
    run: RunView,
    tasks: Sequence[TaskView],
    payload: TaskPayload | None,
    children: Mapping[str, int],
    histories: Mapping[str, TaskHistory],
) -> RunView:
    """The run with its tasks, and what was read about them."""
    known = payload or TaskPayload("", "")
    whole = []
    for task in tasks:
        history = histories.get(task.id, TaskHistory((), ()))
        view = replace(
            task,
            input=known.input,
            additional_metadata=known.additional_metadata,
            parent_task_id=known.parent_task_id,
            children=children.get(task.id, 0),
        )
        whole.append(with_history(view, history.attempts, history.events))
    return replace(
        run,
        input=known.input,
        additional_metadata=known.additional_metadata,
        parent_task_id=known.parent_task_id,
        tasks=whole,
    )


def _depth_first(
    tasks: Iterable[TaskView],
    below: Mapping[str, Sequence[TaskView]],
    parent_of: Mapping[str, str | None],
    depth: int,
) -> Iterator[Timing]:
    for task in sorted(tasks, key=lambda one: one.queued_at or one.created_at):
        yield Timing(depth, task, parent_of.get(task.run_id))
        yield from _depth_first(below.get(task.id, ()), below, parent_of, depth + 1)
