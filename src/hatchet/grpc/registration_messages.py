"""Registration requests as the engine takes them (behaviour-core C-3.1).

An optional text that is empty counts as not set; equal rules, triggers and filters of one list count once.
"""

from __future__ import annotations

from collections.abc import Iterable

from hatchet.core.definitions import (
    DEFAULT_EXECUTION_TIMEOUT,
    DEFAULT_SCHEDULE_TIMEOUT,
    Idempotency,
    IdempotencyMethod,
    TaskDefinition,
    WorkflowDefinition,
)
from hatchet.core.errors import InvalidArgument
from hatchet.core.json_texts import EMPTY_OBJECT
from hatchet.core.rules import (
    DEFAULT_BATCH_GROUP_KEY,
    DEFAULT_BATCH_GROUP_MAX_RUNS,
    DEFAULT_BATCH_INTERVAL_MS,
    BatchRule,
    ConcurrencyRule,
    DefaultFilter,
    RateLimitRule,
    Sticky,
    Strategy,
    Window,
)
from hatchet.grpc.condition_messages import conditions_of
from hatchet.grpc.fields import decoded
from hatchet.grpc.label_messages import desired_labels
from hatchet_contracts.v1 import workflows_pb2 as pb

_STRATEGIES = {pb.ConcurrencyLimitStrategy.Value(strategy.value): strategy for strategy in Strategy}
_WINDOWS = {pb.RateLimitDuration.Value(window.value): window for window in Window}
_STICKY = {pb.StickyStrategy.Value(sticky.value): sticky for sticky in Sticky}
_INSTEAD = {pb.DROP_NEWEST: Strategy.CANCEL_NEWEST, pb.QUEUE_NEWEST: Strategy.CANCEL_QUEUED_EXCEPT_NEWEST}
_METHODS = {pb.IdempotencyMethod.Value(method.value): method for method in IdempotencyMethod}


def workflow_definition(request: pb.CreateWorkflowVersionRequest) -> WorkflowDefinition:
    """The definition in a registration, not validated. Triggers that are listed twice count once (C-14.16).

    Raises :class:`InvalidArgument` for numbers that stand for nothing and bytes that are no text.
    """
    # The single rule is what old clients know; it comes first (C-3.17).
    rules = [*([request.concurrency] if request.HasField("concurrency") else []), *request.concurrency_arr]
    return WorkflowDefinition(
        name=request.name,
        description=request.description,
        version=request.version,
        tasks=tuple(_task(task, f"tasks[{index}].") for index, task in enumerate(request.tasks)),
        on_failure=(
            _task(request.on_failure_task, "on_failure_task.") if request.HasField("on_failure_task") else None
        ),
        default_priority=request.default_priority if request.HasField("default_priority") else None,
        input_json_schema=decoded(request.input_json_schema, "input_json_schema") or None,
        idempotency=_idempotency(request.idempotency) if request.HasField("idempotency") else None,
        concurrency=_concurrency_rules(rules, "concurrency"),
        sticky=_sticky_of(request.sticky) if request.HasField("sticky") else None,
        event_triggers=tuple(dict.fromkeys(request.event_triggers)),
        cron_triggers=tuple(dict.fromkeys(request.cron_triggers)),
        cron_input=request.cron_input or None,
        default_filters=_default_filters(request.default_filters, "default_filters"),
    )


def _task(task: pb.CreateTaskOpts, where: str) -> TaskDefinition:
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
        concurrency=_concurrency_rules(task.concurrency, f"{where}concurrency"),
        rate_limits=_rate_limit_rules(task.rate_limits, f"{where}rate_limits"),
        batch=_batch_rule(task.batch) if task.HasField("batch") else None,
    )


def _idempotency(config: pb.IdempotencyConfig) -> Idempotency:
    if config.method not in _METHODS:
        raise InvalidArgument(f"idempotency: method {config.method} is unknown, use TTL or STATUS")
    return Idempotency(expression=config.expression, ttl_ms=config.ttl_ms, method=_METHODS[config.method])


def _concurrency_rules(messages: Iterable[pb.Concurrency], field: str) -> tuple[ConcurrencyRule, ...]:
    """The rules in their order; equal ones count once.

    Raises :class:`InvalidArgument` that begins with ``field`` for a strategy that is not supported.
    """
    return tuple(dict.fromkeys(_concurrency(one, f"{field}[{index}]") for index, one in enumerate(messages)))


def _concurrency(message: pb.Concurrency, field: str) -> ConcurrencyRule:
    number = message.limit_strategy
    strategy = _STRATEGIES.get(number)
    if strategy is None:
        name = pb.ConcurrencyLimitStrategy.Name(number) if number in _INSTEAD else str(number)
        remedy = _INSTEAD[number].value if number in _INSTEAD else " or ".join(one.value for one in Strategy)
        raise InvalidArgument(f"{field}: limit_strategy {name} is not supported, use {remedy}")
    return ConcurrencyRule(
        expression=message.expression,
        max_runs=message.max_runs if message.HasField("max_runs") else 1,
        strategy=strategy,
        name=message.name,
        is_tenant_scoped=message.is_tenant_scoped,
        max_runs_expression=message.max_runs_expression or None,
    )


def _rate_limit_rules(messages: Iterable[pb.CreateTaskRateLimit], field: str) -> tuple[RateLimitRule, ...]:
    """The rate limits of a task in their order. Raises :class:`InvalidArgument` for an unknown window."""
    return tuple(_rate_limit(one, f"{field}[{index}]") for index, one in enumerate(messages))


def _rate_limit(message: pb.CreateTaskRateLimit, field: str) -> RateLimitRule:
    window = None
    if message.HasField("duration"):
        window = _WINDOWS.get(message.duration)
        if window is None:
            known = ", ".join(one.value for one in Window)
            raise InvalidArgument(f"{field}: duration {message.duration} is unknown, use one of {known}")
    return RateLimitRule(
        key=message.key,
        units=message.units if message.HasField("units") else 1,
        key_expression=message.key_expr or None,
        units_expression=message.units_expr or None,
        limit_expression=message.limit_values_expr or None,
        window=window,
    )


def _batch_rule(message: pb.TaskBatchConfig) -> BatchRule:
    """A batch task's settings with the defaults of C-3.22."""
    return BatchRule(
        max_size=message.batch_max_size,
        interval_ms=(
            message.batch_max_interval_ms if message.HasField("batch_max_interval_ms") else DEFAULT_BATCH_INTERVAL_MS
        ),
        key_expression=message.batch_group_key or DEFAULT_BATCH_GROUP_KEY,
        max_runs=(
            message.batch_group_max_runs if message.HasField("batch_group_max_runs") else DEFAULT_BATCH_GROUP_MAX_RUNS
        ),
        broadcast_output=message.broadcast_output,
    )


def _sticky_of(number: int) -> Sticky:
    """The strategy of that number. Raises :class:`InvalidArgument` for an unknown one."""
    if number not in _STICKY:
        raise InvalidArgument(f"sticky {number} is unknown, use SOFT or HARD, or leave it out")
    return _STICKY[number]


def _default_filters(messages: Iterable[pb.DefaultFilter], field: str) -> tuple[DefaultFilter, ...]:
    """The filters, equal ones once. Raises :class:`InvalidArgument` for a payload that is no text."""
    return tuple(dict.fromkeys(_filter(one, f"{field}[{index}]") for index, one in enumerate(messages)))


def _filter(message: pb.DefaultFilter, field: str) -> DefaultFilter:
    payload = decoded(message.payload, f"{field}.payload") or EMPTY_OBJECT
    return DefaultFilter(scope=message.scope, expression=message.expression, payload=payload)
