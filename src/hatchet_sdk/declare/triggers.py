"""What starts runs of a workflow later: schedules, cron triggers, filters of events (behaviour-core C-12, C-14)."""

# ruff: noqa: A002, B008  # `input` and its default EmptyModel() (frozen) are the documented signature

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, cast

from hatchet_sdk.declare.options import EmptyModel, Priority, ScheduleTriggerWorkflowOptions
from hatchet_sdk.declare.task import TWorkflowInput
from hatchet_sdk.declare.values import parse_json

if TYPE_CHECKING:
    from hatchet_contracts.workflows_pb2 import WorkflowVersion
    from hatchet_sdk.declare.base import WorkflowConfig
    from hatchet_sdk.features.cron_models import CronWorkflows
    from hatchet_sdk.features.filter_models import V1Filter
    from hatchet_sdk.hatchet import Hatchet
    from hatchet_sdk.run.call import Call


class Triggers(Generic[TWorkflowInput]):
    """The part of workflows and standalone tasks that is not about running them now."""

    if TYPE_CHECKING:
        config: WorkflowConfig
        client: Hatchet

    @abstractmethod
    def input_text(self, value: object) -> str:
        """``value`` as the JSON text of a trigger. Raises ``TypeError`` when it cannot be one."""

    @cached_property
    def id(self) -> str:
        """The workflow's id at the engine; asked for once, over REST.

        Raises ``ValueError`` when no worker has registered the workflow yet, ``ApiException`` when the server refuses
        or cannot be reached.
        """
        from hatchet_sdk.features.workflow_ids import workflow_id

        client = self.client.client
        return client.connection.run(workflow_id(client.rest, client.config, self.config.name))

    async def _aio_id(self) -> str:
        from hatchet_sdk.features.workflow_ids import workflow_id

        client = self.client.client
        if "id" not in self.__dict__:
            work = workflow_id(client.rest, client.config, self.config.name)
            self.__dict__["id"] = await client.connection.call(work)
        return self.id

    # --- schedules -----------------------------------------------------------------------------------------------

    def schedule(
        self,
        run_at: datetime,
        input: TWorkflowInput = cast("TWorkflowInput", EmptyModel()),
        options: ScheduleTriggerWorkflowOptions | None = None,
        child_key: str | None = None,
        additional_metadata: dict[str, Any] | None = None,
        priority: int | None = None,
    ) -> WorkflowVersion:
        """Let a run start at ``run_at``; without a time zone it means local time, a past time means at once (C-14.22).

        Keyword arguments win over the same fields of ``options``, metadata is merged. The answer's
        ``scheduled_workflows[0].id`` is the id for ``hatchet.scheduled``.

        Raises ``TypeError`` for an input that cannot become a JSON object or a time that is none, ``EngineError`` when
        the engine refuses or cannot be reached.
        """
        return self._schedule(run_at, input, options, child_key, additional_metadata, priority).block()

    async def aio_schedule(
        self,
        run_at: datetime,
        input: TWorkflowInput = cast("TWorkflowInput", EmptyModel()),
        options: ScheduleTriggerWorkflowOptions | None = None,
        child_key: str | None = None,
        additional_metadata: dict[str, Any] | None = None,
        priority: int | None = None,
    ) -> WorkflowVersion:
        """Like :meth:`schedule`, for async code."""
        return await self._schedule(run_at, input, options, child_key, additional_metadata, priority).wait()

    def _schedule(
        self,
        run_at: datetime,
        input: TWorkflowInput,
        options: ScheduleTriggerWorkflowOptions | None,
        child_key: str | None,
        metadata: dict[str, Any] | None,
        priority: int | None,
    ) -> Call[WorkflowVersion, WorkflowVersion]:
        from hatchet_sdk.run.schedule import scheduled_run

        given = options if options is not None else ScheduleTriggerWorkflowOptions()
        merged = given.model_copy(
            update={
                "child_key": child_key or given.child_key,
                "additional_metadata": {**self._metadata(given.additional_metadata), **(metadata or {})},
                "priority": given.priority if priority is None else priority,
            }
        )
        return scheduled_run(self.client.client, self.config.name, run_at, self.input_text(input), merged)

    def _metadata(self, given: dict[str, Any] | None) -> dict[str, Any]:
        return {**self.config.default_additional_metadata, **(given or {})}

    # --- cron triggers -------------------------------------------------------------------------------------------

    def create_cron(
        self,
        cron_name: str,
        expression: str,
        input: TWorkflowInput = cast("TWorkflowInput", EmptyModel()),
        additional_metadata: dict[str, Any] | None = None,
        priority: int | Priority | None = None,
    ) -> CronWorkflows:
        """Start runs at the times of a cron expression, in UTC, beside those that the declaration has.

        See ``hatchet.cron.create`` for the arguments and what it raises; the answer's ``metadata.id`` is the id for
        ``hatchet.cron``.
        """
        given = self._cron(cron_name, expression, input, additional_metadata, priority)
        return self.client.cron.create(**given)

    async def aio_create_cron(
        self,
        cron_name: str,
        expression: str,
        input: TWorkflowInput = cast("TWorkflowInput", EmptyModel()),
        additional_metadata: dict[str, Any] | None = None,
        priority: int | Priority | None = None,
    ) -> CronWorkflows:
        """Like :meth:`create_cron`, for async code."""
        given = self._cron(cron_name, expression, input, additional_metadata, priority)
        return await self.client.cron.aio_create(**given)

    def _cron(
        self,
        cron_name: str,
        expression: str,
        input: TWorkflowInput,
        metadata: dict[str, Any] | None,
        priority: int | None,
    ) -> dict[str, Any]:
        return {
            "workflow_name": self.config.name,
            "cron_name": cron_name,
            "expression": expression,
            # By way of the text, so that the values are those that a run would get.
            "input": parse_json(self.input_text(input)),
            "additional_metadata": self._metadata(metadata),
            "priority": priority,
        }

    # --- filters -------------------------------------------------------------------------------------------------

    def create_filter(self, expression: str, scope: str, payload: dict[str, Any] | None = None) -> V1Filter:
        """Let only those events of ``scope`` start the workflow for which the CEL expression is true.

        See ``hatchet.filters.create`` for the arguments and what it raises. Also raises ``ValueError`` when no worker
        has registered the workflow yet.
        """
        return self.client.filters.create(self.id, expression, scope, payload)

    async def aio_create_filter(self, expression: str, scope: str, payload: dict[str, Any] | None = None) -> V1Filter:
        """Like :meth:`create_filter`, for async code."""
        return await self.client.filters.aio_create(await self._aio_id(), expression, scope, payload)
