"""`hatchet.scheduled`: runs that start at a given time (behaviour-core C-14.17 ff., behaviour-rest R-16)."""

# ruff: noqa: A002  # `input` is the documented name

from __future__ import annotations

import builtins
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from hatchet_sdk.config import HTTPMethod
from hatchet_sdk.features.rest_feature import json_object, nothing
from hatchet_sdk.features.rest_models import WorkflowRunOrderByDirection, metadata_items, time_text
from hatchet_sdk.features.scheduled_bulk import ScheduledInBulk
from hatchet_sdk.features.scheduled_models import (
    ScheduledFilter,
    ScheduledRunStatus,
    ScheduledWorkflows,
    ScheduledWorkflowsList,
    ScheduledWorkflowsOrderByField,
)
from hatchet_sdk.wire.rest import segment

if TYPE_CHECKING:
    from hatchet_sdk.run.call import Call

T = TypeVar("T")


class ScheduledClient(ScheduledInBulk):
    """Scheduled runs. Every method raises `ApiException` when the server refuses or cannot be reached.

    Times without a time zone mean local time (C-14.29); the engine answers in UTC.
    """

    def create(
        self, workflow_name: str, trigger_at: datetime, input: dict[str, Any], additional_metadata: dict[str, Any]
    ) -> ScheduledWorkflows:
        """Schedule a run of a workflow by its name; `workflow.schedule` is the typed way to do that.

        Args:
            workflow_name: without the namespace.
            trigger_at: a time in the past starts the run at once.

        Raises:
            TypeError: input or metadata cannot become a JSON object, or the time is none.
            BadRequestException: there is no such workflow.
        """
        return self._create(workflow_name, trigger_at, input, additional_metadata).block()

    async def aio_create(
        self, workflow_name: str, trigger_at: datetime, input: dict[str, Any], additional_metadata: dict[str, Any]
    ) -> ScheduledWorkflows:
        """Like `create`, for async code."""
        return await self._create(workflow_name, trigger_at, input, additional_metadata).wait()

    def _create(
        self, workflow_name: str, trigger_at: datetime, input: dict[str, Any], metadata: dict[str, Any]
    ) -> Call[Any, ScheduledWorkflows]:
        body = {
            "triggerAt": time_text(trigger_at, "trigger_at"),
            "input": json_object(input, f"the input of '{workflow_name}'"),
            "additionalMetadata": json_object(metadata, f"additional_metadata of '{workflow_name}'"),
        }
        name = segment(self._client.config.apply_namespace(workflow_name))
        path = self._path(f"workflows/{name}/scheduled")
        return self._ask(HTTPMethod.POST, path, ScheduledWorkflows.model_validate, body=body)

    def delete(self, scheduled_id: str) -> None:
        """Delete a scheduled run that has not started. Raises `ForbiddenException` for one that code declares."""
        self._one(HTTPMethod.DELETE, scheduled_id, nothing).block()

    async def aio_delete(self, scheduled_id: str) -> None:
        """Like `delete`, for async code."""
        await self._one(HTTPMethod.DELETE, scheduled_id, nothing).wait()

    def update(self, scheduled_id: str, trigger_at: datetime) -> ScheduledWorkflows:
        """Give a scheduled run another time. Raises `BadRequestException` when it has started already."""
        return self._update(scheduled_id, trigger_at).block()

    async def aio_update(self, scheduled_id: str, trigger_at: datetime) -> ScheduledWorkflows:
        """Like `update`, for async code."""
        return await self._update(scheduled_id, trigger_at).wait()

    def _update(self, scheduled_id: str, trigger_at: datetime) -> Call[Any, ScheduledWorkflows]:
        body = {"triggerAt": time_text(trigger_at, "trigger_at")}
        return self._one(HTTPMethod.PATCH, scheduled_id, ScheduledWorkflows.model_validate, body)

    def get(self, scheduled_id: str) -> ScheduledWorkflows:
        """A scheduled run by its id. Raises `NotFoundException` when there is none."""
        return self._one(HTTPMethod.GET, scheduled_id, ScheduledWorkflows.model_validate).block()

    async def aio_get(self, scheduled_id: str) -> ScheduledWorkflows:
        """Like `get`, for async code."""
        return await self._one(HTTPMethod.GET, scheduled_id, ScheduledWorkflows.model_validate).wait()

    def _one(
        self, method: HTTPMethod, scheduled_id: str, finish: Callable[[Any], T], body: dict[str, Any] | None = None
    ) -> Call[Any, T]:
        return self._ask(method, self._path(f"workflows/scheduled/{segment(scheduled_id)}"), finish, body=body)

    def list(
        self,
        offset: int | None = None,
        limit: int | None = None,
        workflow_id: str | None = None,
        parent_workflow_run_id: str | None = None,
        statuses: builtins.list[ScheduledRunStatus] | None = None,
        additional_metadata: dict[str, Any] | None = None,
        order_by_field: ScheduledWorkflowsOrderByField | None = None,
        order_by_direction: WorkflowRunOrderByDirection | None = None,
    ) -> ScheduledWorkflowsList:
        """Scheduled runs for which all that is given holds, the latest first; 50 unless `limit` says more."""
        chosen = ScheduledFilter(
            workflow_id=workflow_id,
            parent_workflow_run_id=parent_workflow_run_id,
            statuses=statuses,
            additional_metadata=metadata_items(additional_metadata),
        )
        return self._list(offset, limit, chosen, order_by_field, order_by_direction).block()

    async def aio_list(
        self,
        offset: int | None = None,
        limit: int | None = None,
        workflow_id: str | None = None,
        parent_workflow_run_id: str | None = None,
        statuses: builtins.list[ScheduledRunStatus] | None = None,
        additional_metadata: dict[str, Any] | None = None,
        order_by_field: ScheduledWorkflowsOrderByField | None = None,
        order_by_direction: WorkflowRunOrderByDirection | None = None,
    ) -> ScheduledWorkflowsList:
        """Like `list`, for async code."""
        chosen = ScheduledFilter(
            workflow_id=workflow_id,
            parent_workflow_run_id=parent_workflow_run_id,
            statuses=statuses,
            additional_metadata=metadata_items(additional_metadata),
        )
        return await self._list(offset, limit, chosen, order_by_field, order_by_direction).wait()

    def _list(
        self,
        offset: int | None,
        limit: int | None,
        chosen: ScheduledFilter,
        field: ScheduledWorkflowsOrderByField | None,
        direction: WorkflowRunOrderByDirection | None,
    ) -> Call[Any, ScheduledWorkflowsList]:
        query = {
            "offset": offset,
            "limit": limit,
            **chosen.members(),
            "orderByField": field,
            "orderByDirection": direction,
        }
        path = self._path("workflows/scheduled")
        return self._ask(HTTPMethod.GET, path, ScheduledWorkflowsList.model_validate, query=query)
