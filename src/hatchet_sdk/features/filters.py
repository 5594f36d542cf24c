"""`hatchet.filters`: which events start a workflow (behaviour-core C-12.16 ff., behaviour-rest R-18)."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

from hatchet_sdk.config import HTTPMethod
from hatchet_sdk.features.filter_models import V1Filter, V1FilterList, V1UpdateFilterRequest
from hatchet_sdk.features.rest_feature import RestFeature, json_object
from hatchet_sdk.wire.rest import segment

if TYPE_CHECKING:
    from hatchet_sdk.run.call import Call


class FiltersClient(RestFeature):
    """Filters. Every method raises `ApiException` when the server refuses or cannot be reached."""

    def create(self, workflow_id: str, expression: str, scope: str, payload: dict[str, Any] | None = None) -> V1Filter:
        """Let events of a scope start a workflow, once for each of its filters that holds.

        Args:
            workflow_id: `workflow.id`.
            expression: a CEL expression over `input`, `payload`, `additional_metadata` and `event_key`.
            scope: the events that it is about are pushed with the same scope.
            payload: found by tasks in `ctx.filter_payload`, and by `expression`.

        Raises:
            ValueError: expression or scope is empty.
            TypeError: the payload cannot become a JSON object.
        """
        return self._create(workflow_id, expression, scope, payload).block()

    async def aio_create(
        self, workflow_id: str, expression: str, scope: str, payload: dict[str, Any] | None = None
    ) -> V1Filter:
        """Like `create`, for async code."""
        return await self._create(workflow_id, expression, scope, payload).wait()

    def _create(
        self, workflow_id: str, expression: str, scope: str, payload: dict[str, Any] | None
    ) -> Call[Any, V1Filter]:
        for name, value in (("expression", expression), ("scope", scope)):
            if not value:
                raise ValueError(f"a filter needs {name}: it is empty")
        body = {
            "workflowId": workflow_id,
            "expression": expression,
            "scope": scope,
            "payload": json_object(payload or {}, f"the payload of the filter with scope '{scope}'"),
        }
        path = self._path("filters", stable=True)
        return self._ask(HTTPMethod.POST, path, V1Filter.model_validate, body=body)

    def get(self, filter_id: str) -> V1Filter:
        """A filter by its id. Raises `NotFoundException` when there is none."""
        return self._one(HTTPMethod.GET, filter_id).block()

    async def aio_get(self, filter_id: str) -> V1Filter:
        """Like `get`, for async code."""
        return await self._one(HTTPMethod.GET, filter_id).wait()

    def delete(self, filter_id: str) -> V1Filter:
        """Delete a filter; what it was. The last filter of a workflow gone, every event of its keys starts it."""
        return self._one(HTTPMethod.DELETE, filter_id).block()

    async def aio_delete(self, filter_id: str) -> V1Filter:
        """Like `delete`, for async code."""
        return await self._one(HTTPMethod.DELETE, filter_id).wait()

    def update(self, filter_id: str, updates: V1UpdateFilterRequest) -> V1Filter:
        """Change expression, scope or payload of a filter."""
        return self._one(HTTPMethod.PATCH, filter_id, updates.to_body()).block()

    async def aio_update(self, filter_id: str, updates: V1UpdateFilterRequest) -> V1Filter:
        """Like `update`, for async code."""
        return await self._one(HTTPMethod.PATCH, filter_id, updates.to_body()).wait()

    def _one(self, method: HTTPMethod, filter_id: str, body: dict[str, Any] | None = None) -> Call[Any, V1Filter]:
        path = self._path(f"filters/{segment(filter_id)}", stable=True)
        return self._ask(method, path, V1Filter.model_validate, body=body)

    def list(
        self,
        limit: int | None = None,
        offset: int | None = None,
        workflow_ids: builtins.list[str] | None = None,
        scopes: builtins.list[str] | None = None,
    ) -> V1FilterList:
        """Filters, declared ones and others, of these workflows and scopes."""
        return self._list(limit, offset, workflow_ids, scopes).block()

    async def aio_list(
        self,
        limit: int | None = None,
        offset: int | None = None,
        workflow_ids: builtins.list[str] | None = None,
        scopes: builtins.list[str] | None = None,
    ) -> V1FilterList:
        """Like `list`, for async code."""
        return await self._list(limit, offset, workflow_ids, scopes).wait()

    def _list(
        self,
        limit: int | None,
        offset: int | None,
        workflow_ids: builtins.list[str] | None,
        scopes: builtins.list[str] | None,
    ) -> Call[Any, V1FilterList]:
        query = {"limit": limit, "offset": offset, "workflowIds": workflow_ids, "scopes": scopes}
        path = self._path("filters", stable=True)
        return self._ask(HTTPMethod.GET, path, V1FilterList.model_validate, query=query)
