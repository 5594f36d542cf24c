"""The data of the filters client (R-18)."""

from __future__ import annotations

from typing import Any

from hatchet_sdk.features.rest_models import APIResourceMeta, PaginationResponse, RestModel


class V1Filter(RestModel):
    """A filter of events (R-18.1). ``metadata.id`` is its id; ``is_declarative``: it comes from code."""

    metadata: APIResourceMeta
    tenant_id: str
    workflow_id: str
    scope: str
    expression: str
    payload: dict[str, Any]
    is_declarative: bool | None = None


class V1FilterList(RestModel):
    """Filters, a page of them."""

    pagination: PaginationResponse | None = None
    rows: list[V1Filter] | None = None


class V1UpdateFilterRequest(RestModel):
    """What to change of a filter; what is not given stays."""

    expression: str | None = None
    scope: str | None = None
    payload: dict[str, Any] | None = None
