"""Registration requests as the engine takes them, and the one list of features that are not served yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hatchet.core.definitions import (
    DEFAULT_EXECUTION_TIMEOUT,
    DEFAULT_SCHEDULE_TIMEOUT,
    Idempotency,
    IdempotencyMethod,
    TaskDefinition,
    WorkflowDefinition,
)
from hatchet.core.errors import Unimplemented
from hatchet.grpc.condition_messages import conditions_of
from hatchet.grpc.fields import decoded, quoted
from hatchet.grpc.label_messages import desired_labels
from hatchet_contracts.v1.workflows_pb2 import CreateTaskOpts, CreateWorkflowVersionRequest, IdempotencyConfig
from hatchet_contracts.v1.workflows_pb2 import IdempotencyMethod as IdempotencyMethodName


def workflow_definition(request: CreateWorkflowVersionRequest) -> WorkflowDefinition:
    """The definition in a registration (C-3.1), not validated.

    Raises :class:`Unimplemented` that names every feature in it that this version does not serve.
    """
    has_on_failure = request.HasField("on_failure_task")
    every = [*request.tasks, *([request.on_failure_task] if has_on_failure else [])]
    unserved = [*_unserved_by_workflow(request), *_unserved_by_tasks(every)]
    if unserved:
        raise Unimplemented(
            f"workflow {quoted(request.name)} was not registered: this version of the server does not yet serve "
            + "; ".join(unserved)
        )
    return WorkflowDefinition(
        name=request.name,
        description=request.description,
        version=request.version,
        tasks=tuple(_task(task) for task in request.tasks),
        on_failure=_task(request.on_failure_task) if has_on_failure else None,
        default_priority=request.default_priority if request.HasField("default_priority") else None,
        input_json_schema=decoded(request.input_json_schema, "input_json_schema") or None,
        idempotency=_idempotency(request.idempotency) if request.HasField("idempotency") else None,
    )


def _unserved_by_workflow(request: CreateWorkflowVersionRequest) -> Iterator[str]:
    """A row per feature: when a version serves it, its row goes."""
    features = {
        "event triggers": bool(request.event_triggers),
        "cron triggers": bool(request.cron_triggers),
        "concurrency of the workflow": request.HasField("concurrency") or bool(request.concurrency_arr),
        "sticky assignment": request.HasField("sticky"),
        "default filters": bool(request.default_filters),
    }
    return (feature for feature, is_used in features.items() if is_used)


def _unserved_by_tasks(tasks: Iterable[CreateTaskOpts]) -> Iterator[str]:
    for task in tasks:
        features = {
            "rate limits": bool(task.rate_limits),
            "concurrency": bool(task.concurrency),
            "batches": task.HasField("batch"),
        }
        yield from (f"{feature} of task {quoted(task.readable_id)}" for feature, is_used in features.items() if is_used)


def _task(task: CreateTaskOpts) -> TaskDefinition:
    """A durable task runs as an ordinary one in the slots of the pool ``durable``."""
    return TaskDefinition(
        readable_id=task.readable_id,
        action=task.action.lower(),
        execution_timeout=task.timeout or DEFAULT_EXECUTION_TIMEOUT,
        schedule_timeout=task.schedule_timeout or DEFAULT_SCHEDULE_TIMEOUT,
        parents=tuple(task.parents),
        retries=task.retries,
        backoff_factor=task.backoff_factor if task.HasField("backoff_factor") else None,
        backoff_max_seconds=task.backoff_max_seconds if task.HasField("backoff_max_seconds") else None,
        is_durable=task.is_durable,
        slot_requests=dict(task.slot_requests),
        conditions=conditions_of(task.conditions),
        worker_labels=desired_labels(task.worker_labels, "worker_labels"),
    )


def _idempotency(config: IdempotencyConfig) -> Idempotency:
    method = IdempotencyMethod(IdempotencyMethodName.Name(config.method))
    return Idempotency(expression=config.expression, ttl_ms=config.ttl_ms, method=method)
