"""The bodies of the routes for event filters and expressions, by the names of the contract (behaviour-rest R-18)."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from hatchet.rest.schemas import APIResourceMeta, Body, PaginationResponse


class V1Filter(Body):
    """R-18.1"""

    metadata: APIResourceMeta
    tenant_id: str
    workflow_id: UUID
    scope: str
    expression: str
    payload: dict[str, Any]
    is_declarative: bool | None = None


class V1FilterList(Body):
    """R-18.4"""

    pagination: PaginationResponse | None = None
    rows: list[V1Filter] | None = None


class V1CreateFilterRequest(Body):
    """R-18.2"""

    workflow_id: UUID
    scope: str
    expression: str
    payload: dict[str, Any] | None = None


class V1UpdateFilterRequest(Body):
    """R-18.4; a field that is absent is left as it is."""

    scope: str | None = None
    expression: str | None = None
    payload: dict[str, Any] | None = None


class V1CELDebugRequest(Body):
    """R-18.6"""

    expression: str
    input: dict[str, Any]
    filter_payload: dict[str, Any] | None = None
    additional_metadata: dict[str, Any] | None = None


class V1CELDebugResponse(Body):
    """R-18.6"""

    status: Literal["SUCCESS", "ERROR"]
    output: bool | None = None
    error: str | None = None
