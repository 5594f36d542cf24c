"""`hatchet.cron`: cron triggers beside those that code declares (behaviour-core C-14, behaviour-rest R-15)."""

# ruff: noqa: A002  # `input` is the documented name

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from hatchet_sdk.config import HTTPMethod
from hatchet_sdk.declare.options import Priority
from hatchet_sdk.features.cron_models import (
    CreateCronTriggerConfig,
    CronWorkflows,
    CronWorkflowsList,
    CronWorkflowsOrderByField,
)
from hatchet_sdk.features.rest_feature import RestFeature, json_object, nothing
from hatchet_sdk.features.rest_models import WorkflowRunOrderByDirection, metadata_items
from hatchet_sdk.wire.rest import segment

if TYPE_CHECKING:
    from hatchet_sdk.run.call import Call

T = TypeVar("T")


class CronClient(RestFeature):
    """Cron triggers. Every method raises `ApiException` when the server refuses or cannot be reached."""

    def create(
        self,
        workflow_name: str,
        cron_name: str,
        expression: str,
        input: dict[str, Any],
        additional_metadata: dict[str, Any],
        priority: int | Priority | None = None,
    ) -> CronWorkflows:
        """Start runs of a workflow at the times of `expression`, in UTC; it survives new versions of the workflow.

        Args:
            workflow_name: without the namespace.
            cron_name: one name may be used once with one expression (C-14.5).
            expression: five parts, six with seconds first, or an alias such as `@daily`.
            input: of every run.
            additional_metadata: of every run.
            priority: 1 to 3; by default the workflow's.

        Raises:
            ValueError: `expression` has not the form of a cron expression, or the name is empty.
            TypeError: input or metadata cannot become a JSON object.
            BadRequestException: no such workflow, or name and expression are in use already.
        """
        return self._create(workflow_name, cron_name, expression, input, additional_metadata, priority).block()

    async def aio_create(
        self,
        workflow_name: str,
        cron_name: str,
        expression: str,
        input: dict[str, Any],
        additional_metadata: dict[str, Any],
        priority: int | Priority | None = None,
    ) -> CronWorkflows:
        """Like `create`, for async code."""
        return await self._create(workflow_name, cron_name, expression, input, additional_metadata, priority).wait()

    def _create(
        self,
        workflow_name: str,
        cron_name: str,
        expression: str,
        input: dict[str, Any],
        metadata: dict[str, Any],
        priority: int | None,
    ) -> Call[Any, CronWorkflows]:
        if not cron_name:
            raise ValueError("a cron trigger needs a name: pass cron_name=…")
        what = f"the cron trigger '{cron_name}'"
        checked = CreateCronTriggerConfig(
            expression=expression,
            input=json_object(input, f"the input of {what}"),
            additional_metadata=json_object(metadata, f"additional_metadata of {what}"),
        )
        body: dict[str, Any] = {
            "cronName": cron_name,
            "cronExpression": checked.expression,
            "input": checked.input,
            "additionalMetadata": checked.additional_metadata,
        }
        if priority is not None:
            body["priority"] = int(priority)
        name = segment(self._client.config.apply_namespace(workflow_name))
        path = self._path(f"workflows/{name}/crons")
        return self._ask(HTTPMethod.POST, path, CronWorkflows.model_validate, body=body)

    def delete(self, cron_id: str) -> None:
        """Delete a cron trigger; runs that it has started go on."""
        self._one(HTTPMethod.DELETE, cron_id, nothing).block()

    async def aio_delete(self, cron_id: str) -> None:
        """Like `delete`, for async code."""
        await self._one(HTTPMethod.DELETE, cron_id, nothing).wait()

    def get(self, cron_id: str) -> CronWorkflows:
        """A cron trigger by its id. Raises `NotFoundException` when there is none."""
        return self._one(HTTPMethod.GET, cron_id, CronWorkflows.model_validate).block()

    async def aio_get(self, cron_id: str) -> CronWorkflows:
        """Like `get`, for async code."""
        return await self._one(HTTPMethod.GET, cron_id, CronWorkflows.model_validate).wait()

    def _one(self, method: HTTPMethod, cron_id: str, finish: Callable[[Any], T]) -> Call[Any, T]:
        return self._ask(method, self._path(f"workflows/crons/{segment(cron_id)}"), finish)

    def list(
        self,
        offset: int | None = None,
        limit: int | None = None,
        workflow_id: str | None = None,
        additional_metadata: dict[str, Any] | None = None,
        order_by_field: CronWorkflowsOrderByField | None = None,
        order_by_direction: WorkflowRunOrderByDirection | None = None,
        workflow_name: str | None = None,
        cron_name: str | None = None,
    ) -> CronWorkflowsList:
        """Cron triggers, declared ones and others, for which all that is given holds; 50 unless `limit` says more.

        `workflow_name` (without the namespace) and `cron_name` are compared as a whole.
        """
        return self._list(
            offset,
            limit,
            workflow_id,
            additional_metadata,
            order_by_field,
            order_by_direction,
            workflow_name,
            cron_name,
        ).block()

    async def aio_list(
        self,
        offset: int | None = None,
        limit: int | None = None,
        workflow_id: str | None = None,
        additional_metadata: dict[str, Any] | None = None,
        order_by_field: CronWorkflowsOrderByField | None = None,
        order_by_direction: WorkflowRunOrderByDirection | None = None,
        workflow_name: str | None = None,
        cron_name: str | None = None,
    ) -> CronWorkflowsList:
        """Like `list`, for async code."""
        return await self._list(
            offset,
            limit,
            workflow_id,
            additional_metadata,
            order_by_field,
            order_by_direction,
            workflow_name,
            cron_name,
        ).wait()

    def _list(
        self,
        offset: int | None,
        limit: int | None,
        workflow_id: str | None,
        metadata: dict[str, Any] | None,
        field: CronWorkflowsOrderByField | None,
        direction: WorkflowRunOrderByDirection | None,
        workflow_name: str | None,
        cron_name: str | None,
    ) -> Call[Any, CronWorkflowsList]:
        items: builtins.list[str] | None = metadata_items(metadata)
        query = {
            "offset": offset,
            "limit": limit,
            "workflowId": workflow_id,
            "workflowName": self._client.config.apply_namespace(workflow_name),
            "cronName": cron_name,
            "additionalMetadata": items,
            "orderByField": field,
            "orderByDirection": direction,
        }
        return self._ask(HTTPMethod.GET, self._path("workflows/crons"), CronWorkflowsList.model_validate, query=query)
