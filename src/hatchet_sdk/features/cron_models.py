"""The data of the cron client (R-15)."""

# ruff: noqa: UP042  # StrEnum prints differently; the documented bases are str and Enum

from __future__ import annotations

from enum import Enum
from typing import Any

from pydantic import BaseModel, Field, field_validator

from hatchet_sdk.declare.crons import check_cron
from hatchet_sdk.features.rest_models import APIResourceMeta, PaginationResponse, RestModel


class CronWorkflowsMethod(str, Enum):
    """DEFAULT: declared in code; API: created by a call or in the dashboard."""

    DEFAULT = "DEFAULT"
    API = "API"


class CronWorkflowsOrderByField(str, Enum):
    NAME = "name"
    CREATEDAT = "createdAt"


class CronWorkflows(RestModel):
    """A cron trigger (R-15.1). ``metadata.id`` is its id."""

    metadata: APIResourceMeta
    tenant_id: str
    workflow_version_id: str
    workflow_id: str
    workflow_name: str
    cron: str
    name: str | None = None
    input: dict[str, Any] | None = None
    additional_metadata: dict[str, Any] | None = None
    enabled: bool
    method: CronWorkflowsMethod
    priority: int | None = None


class CronWorkflowsList(RestModel):
    """Cron triggers, a page of them."""

    rows: list[CronWorkflows] | None = None
    pagination: PaginationResponse | None = None


class CreateCronTriggerConfig(BaseModel):
    """What a cron trigger needs besides its names."""

    expression: str
    input: dict[str, Any] = Field(default_factory=dict)
    additional_metadata: dict[str, Any] = Field(default_factory=dict)

    @field_validator("expression", mode="after")
    @classmethod
    def validate_cron_expression(cls, v: str) -> str:
        """See `check_cron`."""
        if not v:
            raise ValueError("a cron trigger needs an expression")
        return check_cron(v)
