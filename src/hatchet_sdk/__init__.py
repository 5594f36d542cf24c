"""Declare tasks, run them on workers, trigger them and get their results.

Names are imported when they are first used, so that ``import hatchet_sdk`` costs nothing that is not needed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hatchet_sdk.config import ClientConfig as ClientConfig
    from hatchet_sdk.config import ClientTLSConfig as ClientTLSConfig
    from hatchet_sdk.config import HealthcheckConfig as HealthcheckConfig
    from hatchet_sdk.config import TenacityConfig as TenacityConfig
    from hatchet_sdk.context.context import Context as Context
    from hatchet_sdk.context.durable import DurableContext as DurableContext
    from hatchet_sdk.context.worker_context import WorkerContext as WorkerContext
    from hatchet_sdk.declare.base import WorkflowConfig as WorkflowConfig
    from hatchet_sdk.declare.conditions import Condition as Condition
    from hatchet_sdk.declare.conditions import OrGroup as OrGroup
    from hatchet_sdk.declare.conditions import ParentCondition as ParentCondition
    from hatchet_sdk.declare.conditions import SleepCondition as SleepCondition
    from hatchet_sdk.declare.conditions import UserEventCondition as UserEventCondition
    from hatchet_sdk.declare.conditions import or_ as or_
    from hatchet_sdk.declare.eviction import EvictionPolicy as EvictionPolicy
    from hatchet_sdk.declare.labels import DesiredWorkerLabel as DesiredWorkerLabel
    from hatchet_sdk.declare.labels import WorkerLabel as WorkerLabel
    from hatchet_sdk.declare.labels import WorkerLabelComparator as WorkerLabelComparator
    from hatchet_sdk.declare.limits import ConcurrencyExpression as ConcurrencyExpression
    from hatchet_sdk.declare.limits import ConcurrencyLimitStrategy as ConcurrencyLimitStrategy
    from hatchet_sdk.declare.limits import DefaultFilter as DefaultFilter
    from hatchet_sdk.declare.limits import RateLimit as RateLimit
    from hatchet_sdk.declare.limits import RateLimitDuration as RateLimitDuration
    from hatchet_sdk.declare.limits import StatusBasedIdempotencyConfig as StatusBasedIdempotencyConfig
    from hatchet_sdk.declare.limits import TTLBasedIdempotencyConfig as TTLBasedIdempotencyConfig
    from hatchet_sdk.declare.options import EmptyModel as EmptyModel
    from hatchet_sdk.declare.options import Priority as Priority
    from hatchet_sdk.declare.options import ScheduleTriggerWorkflowOptions as ScheduleTriggerWorkflowOptions
    from hatchet_sdk.declare.options import SlotType as SlotType
    from hatchet_sdk.declare.options import StickyStrategy as StickyStrategy
    from hatchet_sdk.declare.options import TaskDefaults as TaskDefaults
    from hatchet_sdk.declare.options import TriggerWorkflowOptions as TriggerWorkflowOptions
    from hatchet_sdk.declare.options import WorkflowRunTriggerConfig as WorkflowRunTriggerConfig
    from hatchet_sdk.declare.standalone import Standalone as Standalone
    from hatchet_sdk.declare.task import Task as Task
    from hatchet_sdk.exceptions import BulkTriggerIdempotencyCollisionError as BulkTriggerIdempotencyCollisionError
    from hatchet_sdk.exceptions import CancelledRunError as CancelledRunError
    from hatchet_sdk.exceptions import ConfigurationError as ConfigurationError
    from hatchet_sdk.exceptions import DedupeViolationError as DedupeViolationError
    from hatchet_sdk.exceptions import DurableOperationError as DurableOperationError
    from hatchet_sdk.exceptions import EvictionNotSupportedError as EvictionNotSupportedError
    from hatchet_sdk.exceptions import FailedTaskRunExceptionGroup as FailedTaskRunExceptionGroup
    from hatchet_sdk.exceptions import IdempotencyCollisionError as IdempotencyCollisionError
    from hatchet_sdk.exceptions import IllegalTaskOutputError as IllegalTaskOutputError
    from hatchet_sdk.exceptions import NonDeterminismError as NonDeterminismError
    from hatchet_sdk.exceptions import NonRetryableException as NonRetryableException
    from hatchet_sdk.exceptions import RetryAfterException as RetryAfterException
    from hatchet_sdk.exceptions import TaskRunError as TaskRunError
    from hatchet_sdk.features.cel import CELEvaluationResult as CELEvaluationResult
    from hatchet_sdk.features.cel import CELFailure as CELFailure
    from hatchet_sdk.features.cel import CELSuccess as CELSuccess
    from hatchet_sdk.features.cron_models import CronWorkflowsOrderByField as CronWorkflowsOrderByField
    from hatchet_sdk.features.event_models import BulkPushEventOptions as BulkPushEventOptions
    from hatchet_sdk.features.event_models import BulkPushEventWithMetadata as BulkPushEventWithMetadata
    from hatchet_sdk.features.event_models import PushEventOptions as PushEventOptions
    from hatchet_sdk.features.filter_models import V1UpdateFilterRequest as V1UpdateFilterRequest
    from hatchet_sdk.features.rate_limit_models import RateLimitOrderByDirection as RateLimitOrderByDirection
    from hatchet_sdk.features.rate_limit_models import RateLimitOrderByField as RateLimitOrderByField
    from hatchet_sdk.features.rest_models import WorkflowRunOrderByDirection as WorkflowRunOrderByDirection
    from hatchet_sdk.features.run_models import BulkCancelReplayOpts as BulkCancelReplayOpts
    from hatchet_sdk.features.run_models import RunFilter as RunFilter
    from hatchet_sdk.features.run_models import RunStatus as RunStatus
    from hatchet_sdk.features.run_models import V1TaskStatus as V1TaskStatus
    from hatchet_sdk.features.scheduled_models import ScheduledRunStatus as ScheduledRunStatus
    from hatchet_sdk.features.scheduled_models import (
        ScheduledWorkflowsBulkUpdateItem as ScheduledWorkflowsBulkUpdateItem,
    )
    from hatchet_sdk.features.scheduled_models import ScheduledWorkflowsOrderByField as ScheduledWorkflowsOrderByField
    from hatchet_sdk.hatchet import Hatchet as Hatchet
    from hatchet_sdk.run.refs import TaskRunRef as TaskRunRef
    from hatchet_sdk.run.refs import WorkflowRunRef as WorkflowRunRef
    from hatchet_sdk.wire.errors import EngineError as EngineError
    from hatchet_sdk.wire.rest_errors import ApiException as ApiException
    from hatchet_sdk.wire.rest_errors import BadRequestException as BadRequestException
    from hatchet_sdk.wire.rest_errors import NotFoundException as NotFoundException
    from hatchet_sdk.wire.rest_errors import RestTransportError as RestTransportError
    from hatchet_sdk.worker.worker import Worker as Worker
    from hatchet_sdk.worker.worker import WorkerStartOptions as WorkerStartOptions
    from hatchet_sdk.worker.worker import WorkerStatus as WorkerStatus

_WHERE = {
    "WorkflowRunOrderByDirection": "features.rest_models",
    "V1UpdateFilterRequest": "features.filter_models",
    "ScheduledWorkflowsOrderByField": "features.scheduled_models",
    "ScheduledWorkflowsBulkUpdateItem": "features.scheduled_models",
    "ScheduledRunStatus": "features.scheduled_models",
    "RateLimitOrderByField": "features.rate_limit_models",
    "RateLimitOrderByDirection": "features.rate_limit_models",
    "CronWorkflowsOrderByField": "features.cron_models",
    "CELSuccess": "features.cel",
    "CELFailure": "features.cel",
    "CELEvaluationResult": "features.cel",
    "RestTransportError": "wire.rest_errors",
    "NotFoundException": "wire.rest_errors",
    "BadRequestException": "wire.rest_errors",
    "ApiException": "wire.rest_errors",
    "TaskDefaults": "declare.options",
    "or_": "declare.conditions",
    "UserEventCondition": "declare.conditions",
    "SleepCondition": "declare.conditions",
    "ParentCondition": "declare.conditions",
    "OrGroup": "declare.conditions",
    "Condition": "declare.conditions",
    "ClientConfig": "config",
    "ClientTLSConfig": "config",
    "HealthcheckConfig": "config",
    "TenacityConfig": "config",
    "Context": "context.context",
    "DurableContext": "context.durable",
    "EvictionPolicy": "declare.eviction",
    "DurableOperationError": "exceptions",
    "EvictionNotSupportedError": "exceptions",
    "NonDeterminismError": "exceptions",
    "WorkerContext": "context.worker_context",
    "DesiredWorkerLabel": "declare.labels",
    "WorkerLabel": "declare.labels",
    "WorkerLabelComparator": "declare.labels",
    "ConcurrencyExpression": "declare.limits",
    "ConcurrencyLimitStrategy": "declare.limits",
    "DefaultFilter": "declare.limits",
    "RateLimit": "declare.limits",
    "RateLimitDuration": "declare.limits",
    "StatusBasedIdempotencyConfig": "declare.limits",
    "TTLBasedIdempotencyConfig": "declare.limits",
    "EmptyModel": "declare.options",
    "Priority": "declare.options",
    "ScheduleTriggerWorkflowOptions": "declare.options",
    "SlotType": "declare.options",
    "StickyStrategy": "declare.options",
    "TriggerWorkflowOptions": "declare.options",
    "WorkflowRunTriggerConfig": "declare.options",
    "Standalone": "declare.standalone",
    "Task": "declare.task",
    "WorkflowConfig": "declare.base",
    "BulkTriggerIdempotencyCollisionError": "exceptions",
    "CancelledRunError": "exceptions",
    "ConfigurationError": "exceptions",
    "DedupeViolationError": "exceptions",
    "FailedTaskRunExceptionGroup": "exceptions",
    "IdempotencyCollisionError": "exceptions",
    "IllegalTaskOutputError": "exceptions",
    "NonRetryableException": "exceptions",
    "RetryAfterException": "exceptions",
    "TaskRunError": "exceptions",
    "BulkPushEventOptions": "features.event_models",
    "BulkPushEventWithMetadata": "features.event_models",
    "PushEventOptions": "features.event_models",
    "BulkCancelReplayOpts": "features.run_models",
    "RunFilter": "features.run_models",
    "RunStatus": "features.run_models",
    "V1TaskStatus": "features.run_models",
    "Hatchet": "hatchet",
    "TaskRunRef": "run.refs",
    "WorkflowRunRef": "run.refs",
    "EngineError": "wire.errors",
    "Worker": "worker.worker",
    "WorkerStartOptions": "worker.worker",
    "WorkerStatus": "worker.worker",
}

__all__ = [
    "ApiException",
    "BadRequestException",
    "BulkCancelReplayOpts",
    "BulkPushEventOptions",
    "BulkPushEventWithMetadata",
    "BulkTriggerIdempotencyCollisionError",
    "CELEvaluationResult",
    "CELFailure",
    "CELSuccess",
    "CancelledRunError",
    "ClientConfig",
    "ClientTLSConfig",
    "ConcurrencyExpression",
    "ConcurrencyLimitStrategy",
    "Condition",
    "ConfigurationError",
    "Context",
    "CronWorkflowsOrderByField",
    "DedupeViolationError",
    "DefaultFilter",
    "DesiredWorkerLabel",
    "DurableContext",
    "DurableOperationError",
    "EmptyModel",
    "EngineError",
    "EvictionNotSupportedError",
    "EvictionPolicy",
    "FailedTaskRunExceptionGroup",
    "Hatchet",
    "HealthcheckConfig",
    "IdempotencyCollisionError",
    "IllegalTaskOutputError",
    "NonDeterminismError",
    "NonRetryableException",
    "NotFoundException",
    "OrGroup",
    "ParentCondition",
    "Priority",
    "PushEventOptions",
    "RateLimit",
    "RateLimitDuration",
    "RateLimitOrderByDirection",
    "RateLimitOrderByField",
    "RestTransportError",
    "RetryAfterException",
    "RunFilter",
    "RunStatus",
    "ScheduleTriggerWorkflowOptions",
    "ScheduledRunStatus",
    "ScheduledWorkflowsBulkUpdateItem",
    "ScheduledWorkflowsOrderByField",
    "SleepCondition",
    "SlotType",
    "Standalone",
    "StatusBasedIdempotencyConfig",
    "StickyStrategy",
    "TTLBasedIdempotencyConfig",
    "Task",
    "TaskDefaults",
    "TaskRunError",
    "TaskRunRef",
    "TenacityConfig",
    "TriggerWorkflowOptions",
    "UserEventCondition",
    "V1TaskStatus",
    "V1UpdateFilterRequest",
    "Worker",
    "WorkerContext",
    "WorkerLabel",
    "WorkerLabelComparator",
    "WorkerStartOptions",
    "WorkerStatus",
    "WorkflowConfig",
    "WorkflowRunOrderByDirection",
    "WorkflowRunRef",
    "WorkflowRunTriggerConfig",
    "or_",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'hatchet_sdk' has no attribute '{name}'")
    value = getattr(import_module(f"hatchet_sdk.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
