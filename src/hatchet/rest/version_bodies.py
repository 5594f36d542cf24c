"""A version of a workflow in the shape of the contract (behaviour-rest R-13.4 to R-13.6)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence

from hatchet.core.definitions import TaskDefinition, WorkflowDefinition, from_json
from hatchet.core.rules import ConcurrencyRule, Strategy
from hatchet.rest.json_bodies import object_of
from hatchet.rest.schemas import Workflow
from hatchet.rest.schemas_versions import (
    ConcurrencySetting,
    Job,
    LimitStrategy,
    Step,
    WorkflowConcurrency,
    WorkflowTriggerCronRef,
    WorkflowTriggerEventRef,
    WorkflowTriggers,
    WorkflowVersion,
)
from hatchet.rest.times import resource_meta
from hatchet.store.workflows_read import VersionDetails, WorkflowRecord

_STRATEGIES: dict[Strategy, LimitStrategy] = {
    Strategy.GROUP_ROUND_ROBIN: "GROUP_ROUND_ROBIN",
    Strategy.CANCEL_IN_PROGRESS: "CANCEL_IN_PROGRESS",
    # Clients know no others than these four: what becomes of the newest is what they say.
    Strategy.CANCEL_NEWEST: "DROP_NEWEST",
    Strategy.CANCEL_QUEUED_EXCEPT_NEWEST: "QUEUE_NEWEST",
    Strategy.CANCEL_QUEUED_EXCEPT_OLDEST: "DROP_NEWEST",
}


def strategy_name(strategy: Strategy) -> LimitStrategy:
    """A strategy by one of the four names that clients know."""
    return _STRATEGIES[strategy]


def version_body(record: WorkflowRecord, workflow: Workflow, version: VersionDetails) -> WorkflowVersion:
    """``workflow``: the body of the workflow, which is shown with its version."""
    definition, step_ids = from_json(version.definition)
    first = definition.concurrency[0] if definition.concurrency else None
    schema = object_of(definition.input_json_schema)
    return WorkflowVersion(
        metadata=resource_meta(version.id, version.created_at),
        version=definition.version,
        order=version.order,
        workflow_id=record.id,
        sticky=definition.sticky.value if definition.sticky is not None else None,
        default_priority=definition.default_priority,
        workflow=workflow,
        concurrency=None if first is None else _older_rule(first),
        v1_concurrency=list(_rules(definition)),
        triggers=_triggers(record.tenant_id, version.id, definition),
        schedule_timeout=definition.all_tasks[0].schedule_timeout if definition.all_tasks else None,
        jobs=list(_jobs(record.tenant_id, version, definition, step_ids)),
        workflow_config=object_of(version.definition),
        input_json_schema=schema or None,
    )


def _older_rule(rule: ConcurrencyRule) -> WorkflowConcurrency:
    return WorkflowConcurrency(
        max_runs=rule.max_runs,
        limit_strategy=strategy_name(rule.strategy),
        get_concurrency_group=rule.expression,
    )


def _rules(definition: WorkflowDefinition) -> Iterator[ConcurrencySetting]:
    for rule in definition.concurrency:
        yield _rule(rule, None)
    for task in definition.all_tasks:
        for rule in task.concurrency:
            yield _rule(rule, task.readable_id)


def _rule(rule: ConcurrencyRule, readable_id: str | None) -> ConcurrencySetting:
    return ConcurrencySetting(
        max_runs=rule.max_runs,
        limit_strategy=strategy_name(rule.strategy),
        expression=rule.expression,
        step_readable_id=readable_id,
        scope="WORKFLOW" if readable_id is None else "TASK",
    )


def _triggers(tenant_id: str, version_id: str, definition: WorkflowDefinition) -> WorkflowTriggers:
    return WorkflowTriggers(
        tenant_id=tenant_id,
        workflow_version_id=version_id,
        events=[WorkflowTriggerEventRef(event_key=key) for key in definition.event_triggers],
        crons=[WorkflowTriggerCronRef(cron=expression) for expression in definition.cron_triggers],
    )


def _jobs(
    tenant_id: str, version: VersionDetails, definition: WorkflowDefinition, step_ids: Mapping[str, str]
) -> Iterator[Job]:
    yield _job(tenant_id, version, definition.name, definition.description, definition.tasks, step_ids)
    if definition.on_failure is not None:
        name = f"{definition.name}-on-failure"
        yield _job(tenant_id, version, name, "", (definition.on_failure,), step_ids)


def _job(
    tenant_id: str,
    version: VersionDetails,
    name: str,
    description: str,
    tasks: Sequence[TaskDefinition],
    step_ids: Mapping[str, str],
) -> Job:
    # Jobs are no rows of their own; an id derived from version and name stays the same from read to read.
    job_id = str(uuid.uuid5(uuid.UUID(version.id), name))
    children: dict[str, list[str]] = {}
    for task in tasks:
        for parent in task.parents:
            children.setdefault(parent, []).append(step_ids[task.readable_id])
    return Job(
        metadata=resource_meta(job_id, version.created_at),
        tenant_id=tenant_id,
        version_id=version.id,
        name=name,
        description=description,
        steps=[
            Step(
                metadata=resource_meta(step_ids[task.readable_id], version.created_at),
                readable_id=task.readable_id,
                tenant_id=tenant_id,
                job_id=job_id,
                action=task.action,
                timeout=task.execution_timeout,
                children=children.get(task.readable_id, []),
                parents=[step_ids[parent] for parent in task.parents],
                is_durable=task.is_durable,
                slot_requests=task.slots,
            )
            for task in tasks
        ],
    )
