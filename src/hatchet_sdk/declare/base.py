"""What every definition has: its configuration, the items of its runs, and the message that registers it."""

# ruff: noqa: A002, B008  # `input` and its default EmptyModel() (frozen) are the documented signature

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, cast

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from hatchet_sdk.declare.crons import check_cron
from hatchet_sdk.declare.limits import (
    Concurrency,
    ConcurrencyExpression,
    DefaultFilter,
    StatusBasedIdempotencyConfig,
    TTLBasedIdempotencyConfig,
    concurrency_messages,
    concurrency_rules,
)
from hatchet_sdk.declare.options import (
    EmptyModel,
    Priority,
    StickyStrategy,
    TaskDefaults,
    TriggerWorkflowOptions,
    WorkflowRunTriggerConfig,
)
from hatchet_sdk.declare.task import Task, TWorkflowInput
from hatchet_sdk.declare.triggers import Triggers
from hatchet_sdk.declare.values import Values, json_text

if TYPE_CHECKING:
    from hatchet_contracts.v1 import workflows_pb2
    from hatchet_sdk.declare.labels import DesiredWorkerLabel
    from hatchet_sdk.hatchet import Hatchet


class WorkflowConfig(BaseModel):
    """What a declaration says about the workflow as a whole."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    name: str
    description: str | None = None
    version: str | None = None
    on_events: list[str] = Field(default_factory=list)
    on_crons: list[str] = Field(default_factory=list)
    cron_input: Any = None
    sticky: StickyStrategy | None = None
    concurrency: int | ConcurrencyExpression | Sequence[ConcurrencyExpression] | None = None
    input_validator: TypeAdapter[Any]
    default_priority: int | Priority | None = None
    idempotency: TTLBasedIdempotencyConfig | StatusBasedIdempotencyConfig | None = None
    task_defaults: TaskDefaults = Field(default_factory=TaskDefaults)
    default_filters: list[DefaultFilter] = Field(default_factory=list)
    default_additional_metadata: dict[str, Any] = Field(default_factory=dict)

    @field_validator("on_crons", mode="after")
    @classmethod
    def _check_crons(cls, value: list[str]) -> list[str]:
        return [check_cron(expression) for expression in value]

    @field_validator("concurrency", mode="after")
    @classmethod
    def _check_concurrency(cls, value: Concurrency) -> Concurrency:
        concurrency_rules(value)
        return value


class BaseWorkflow(Triggers[TWorkflowInput], Generic[TWorkflowInput]):
    """What workflows and standalone tasks have in common."""

    def __init__(self, config: WorkflowConfig, client: Hatchet) -> None:
        self.config = config
        self.client = client
        self.inputs: Values[TWorkflowInput] = Values.of(config.input_validator)

    @property
    def name(self) -> str:
        """The name as declared, without namespace."""
        return self.config.name

    @property
    def service_name(self) -> str:
        """The first part of the action ids of this workflow's tasks: the namespaced name in lower case (C-3.3)."""
        return self.client.config.apply_namespace(self.config.name).lower()

    @property
    def tasks(self) -> list[Task[TWorkflowInput, Any]]:
        """The tasks in the order of their declaration."""
        return []

    @property
    def input_validator(self) -> TypeAdapter[TWorkflowInput]:
        return self.config.input_validator

    @property
    def input_validator_type(self) -> type[TWorkflowInput]:
        return cast("type[TWorkflowInput]", self.inputs.kind)

    def create_bulk_run_item(
        self,
        input: TWorkflowInput = cast("TWorkflowInput", EmptyModel()),
        key: str | None = None,
        options: TriggerWorkflowOptions | None = None,
        child_key: str | None = None,
        additional_metadata: dict[str, Any] | None = None,
        priority: Priority | None = None,
        desired_worker_id: str | None = None,
        sticky: bool = False,
        desired_worker_labels: list[DesiredWorkerLabel] | None = None,
    ) -> WorkflowRunTriggerConfig:
        """One item for ``run_many`` and its siblings.

        ``key`` (or ``child_key``) identifies the run among the children of the task that triggers it: two items with
        one key are one run (C-4.13). Outside a task it has no effect. Keyword arguments win over ``options``.
        Raises ``TypeError`` when ``input`` cannot become a JSON object.
        """
        merged = self.merge(
            options,
            child_key=child_key or key,
            additional_metadata=additional_metadata,
            priority=priority,
            desired_worker_id=desired_worker_id,
            sticky=sticky,
            desired_worker_labels=desired_worker_labels,
        )
        return WorkflowRunTriggerConfig(
            workflow_name=self.config.name, input=self.input_text(input), options=merged, key=key
        )

    def merge(
        self,
        options: TriggerWorkflowOptions | None,
        *,
        child_key: str | None,
        additional_metadata: dict[str, Any] | None,
        priority: int | None,
        desired_worker_id: str | None,
        sticky: bool,
        desired_worker_labels: list[DesiredWorkerLabel] | None,
    ) -> TriggerWorkflowOptions:
        """``options`` with the keyword arguments that were given over them, and the workflow's metadata under them."""
        base = options if options is not None else _NO_OPTIONS
        metadata = {
            **self.config.default_additional_metadata,
            **base.additional_metadata,
            **(additional_metadata or {}),
        }
        # Not model_copy or model_construct: the constructor is the fastest of the three.
        return TriggerWorkflowOptions(
            parent_id=base.parent_id,
            parent_step_run_id=base.parent_step_run_id,
            child_index=base.child_index,
            child_key=child_key or base.child_key or base.key,
            namespace=base.namespace,
            additional_metadata=metadata,
            priority=base.priority if priority is None else priority,
            desired_worker_id=desired_worker_id or base.desired_worker_id,
            sticky=sticky or base.sticky,
            key=base.key,
            desired_worker_label=desired_worker_labels or base.desired_worker_label,
        )

    def input_text(self, value: object) -> str:
        """``value`` as the JSON text of a trigger. Raises ``TypeError`` when it cannot be one."""
        try:
            return json_text(value)
        except TypeError as error:
            raise TypeError(f"the input of '{self.name}': {error}") from error

    def to_proto(self) -> workflows_pb2.CreateWorkflowVersionRequest:
        """The registration of this workflow (C-3.1)."""
        from hatchet_contracts.v1 import workflows_pb2

        config, client = self.config, self.client.config
        message = workflows_pb2.CreateWorkflowVersionRequest(
            name=client.apply_namespace(config.name),
            description=config.description or "",
            version=config.version or "",
            event_triggers=[client.apply_namespace(key) for key in config.on_events],
            cron_triggers=config.on_crons,
            tasks=self._task_messages(),
            concurrency_arr=concurrency_messages(config.concurrency),
            default_filters=[item.to_proto() for item in config.default_filters],
            sticky=config.sticky.value if config.sticky is not None else None,
        )
        if config.cron_input is not None:
            message.cron_input = self.input_text(config.cron_input)
        if config.default_priority is not None:
            message.default_priority = int(config.default_priority)
        if config.idempotency is not None:
            message.idempotency.CopyFrom(config.idempotency.to_proto())
        schema = self.inputs.json_schema()
        if schema is not None:
            message.input_json_schema = schema
        return message

    def _task_messages(self) -> list[workflows_pb2.CreateTaskOpts]:
        return [task.to_proto(self.service_name) for task in self.tasks]


_NO_OPTIONS = TriggerWorkflowOptions()
