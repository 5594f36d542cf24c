"""The id of a workflow by its name (behaviour-rest R-26.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hatchet_sdk.config import HTTPMethod
from hatchet_sdk.features.rest_models import APIResourceMeta, RestModel

if TYPE_CHECKING:
    from hatchet_sdk.config import ClientConfig
    from hatchet_sdk.wire.rest import Rest

PAGE = 100


class _Row(RestModel):
    metadata: APIResourceMeta
    name: str


class _Rows(RestModel):
    rows: list[_Row] | None = None


async def workflow_id(rest: Rest, config: ClientConfig, name: str) -> str:
    """The id of the workflow `name`, given without the namespace. On the connection thread.

    Raises:
        ValueError: no worker has registered it yet.
        ApiException: the server refused or cannot be reached.
    """
    full = config.apply_namespace(name)
    path = f"/api/v1/tenants/{config.tenant_id}/workflows"
    seen = 0
    while True:
        query = {"name": full, "limit": PAGE, "offset": seen}
        answer = await rest.call(HTTPMethod.GET, path, query=query)
        rows = _Rows.model_validate(answer).rows or []
        # The list may also hold names that merely contain this one.
        for row in rows:
            if row.name == full:
                return row.metadata.id
        seen += len(rows)
        if not rows:
            raise ValueError(f"the engine knows no workflow '{full}': start a worker that registers it first")
