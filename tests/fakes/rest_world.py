"""What the tests of the feature clients share: resources as the REST API describes them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from hatchet_sdk import Hatchet

Both = Callable[..., Any]

NOON = datetime(2026, 11, 25, 12, tzinfo=timezone(timedelta(hours=1)))
META = {"id": "m1", "createdAt": "2026-11-25T08:00:00Z", "updatedAt": "2026-11-25T09:00:00Z"}
CRON = {
    "metadata": META,
    "tenantId": "t",
    "workflowVersionId": "v",
    "workflowId": "w",
    "workflowName": "ns_flow",
    "cron": "0 12 * * *",
    "name": "daily",
    "input": {"a": 1},
    "additionalMetadata": {"customer": "a"},
    "enabled": True,
    "method": "API",
    "priority": 2,
    "somethingNew": [1],
}
SCHEDULED = {
    "metadata": META,
    "tenantId": "t",
    "workflowVersionId": "v",
    "workflowId": "w",
    "workflowName": "ns_flow",
    "triggerAt": "2026-11-25T11:00:00.5Z",
    "method": "API",
    "workflowRunStatus": "SUCCEEDED",
    "workflowRunId": "run",
}
FILTER = {
    "metadata": META,
    "tenantId": "t",
    "workflowId": "w",
    "scope": "s",
    "expression": "true",
    "payload": {"a": 1},
    "isDeclarative": False,
}
LIMIT = {
    "key": "api",
    "tenantId": "t",
    "limitValue": 10,
    "value": 4,
    "window": "1 minute",
    "lastRefill": "2026-11-25T08:00:00Z",
    "pausedUntil": None,
}


def tenant(hatchet: Hatchet, rest_of_path: str, stable: str = "") -> str:
    return f"/api/v1/{stable}tenants/{hatchet.tenant_id}/{rest_of_path}"
