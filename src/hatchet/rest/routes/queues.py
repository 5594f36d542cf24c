"""What waits and what runs now, for people and autoscalers (behaviour-rest R-12.5, R-12.7 to R-12.9).

Calls are not limited (R-4.3): an answer may serve for a second, so asking often costs little.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from hatchet.core.queue_stats import Standing, TaskStats
from hatchet.core.roles import Role
from hatchet.rest.access import needs
from hatchet.rest.guard import CallerOf, GuardedRoute, ServicesOf
from hatchet.rest.schemas_queues import ConcurrencyStat, TaskStat, TaskStatusStat, TenantStepRunQueueMetrics
from hatchet.rest.times import maybe_instant
from hatchet.rest.version_bodies import strategy_name

router = APIRouter(route_class=GuardedRoute)


@router.get("/api/v1/tenants/{tenant}/step-run-queue-metrics", response_model_exclude_none=True)
@needs(Role.VIEWER)
async def get_queue_metrics(tenant: str, caller: CallerOf, services: ServicesOf) -> TenantStepRunQueueMetrics:
    """How many attempts wait in each queue (R-12.5)."""
    return TenantStepRunQueueMetrics(queues=dict(await services.queue_stats.queues(caller.tenant_id)))


@router.get("/api/v1/tenants/{tenant}/task-stats", response_model_exclude_none=True)
@needs(Role.VIEWER)
async def get_task_stats(
    tenant: str,
    caller: CallerOf,
    services: ServicesOf,
    task_names: Annotated[list[str] | None, Query(alias="taskNames")] = None,
) -> dict[str, TaskStat]:
    """Attempts by task. Of tasks that are named, repeatedly or separated by commas, each one is there (R-12.8)."""
    found = await services.queue_stats.tasks(caller.tenant_id)
    named = [name.strip() for given in task_names or () for name in given.split(",") if name.strip()]
    return {name: _stat_body(found.get(name, TaskStats())) for name in named or found}


def _stat_body(stats: TaskStats) -> TaskStat:
    return TaskStat(queued=_standing_body(stats.queued), running=_standing_body(stats.running))


def _standing_body(standing: Standing) -> TaskStatusStat:
    return TaskStatusStat(
        total=standing.total,
        queues=standing.queues,
        concurrency=[
            ConcurrencyStat(expression=rule.expression, type=strategy_name(rule.strategy), keys=rule.keys)
            for rule in standing.rules.values()
        ],
        oldest=maybe_instant(standing.oldest),
        oldest_excluding_retries=maybe_instant(standing.oldest_first_try),
    )
