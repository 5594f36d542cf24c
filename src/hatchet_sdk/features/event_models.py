"""The data of the events client: what is pushed, and what the engine says it has kept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel, ConfigDict, Field, field_validator

from hatchet_sdk.declare.options import Priority

if TYPE_CHECKING:
    from hatchet_contracts import events_pb2


class PushEventOptions(BaseModel):
    """Options of a push. ``namespace`` stands in for the client's; ``priority`` is that of the runs it starts."""

    additional_metadata: dict[str, Any] = Field(default_factory=dict)
    namespace: str | None = None
    priority: int | Priority | None = None
    scope: str | None = None

    @field_validator("namespace")
    @classmethod
    def validate_namespace(cls, v: str | None) -> str | None:
        """An empty namespace is none."""
        return v or None


class BulkPushEventWithMetadata(BaseModel):
    """One event of a bulk push."""

    key: str = ""
    payload: dict[str, Any] = Field(default_factory=dict)
    additional_metadata: dict[str, Any] = Field(default_factory=dict)
    priority: int | Priority | None = None
    scope: str | None = None


class BulkPushEventOptions(BulkPushEventWithMetadata):
    """What holds for every event of a bulk push that does not say otherwise itself. ``key`` and ``payload`` do not."""

    namespace: str | None = None

    @field_validator("namespace")
    @classmethod
    def validate_namespace(cls, v: str | None) -> str | None:
        """An empty namespace is none."""
        return v or None


class Event(BaseModel):
    """An event that the engine has kept (C-12.2). ``key`` has its namespace; payload and metadata are JSON texts."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    tenant_id: str
    event_id: str
    key: str
    payload: str
    event_timestamp: Timestamp
    additional_metadata: str | None = None
    scope: str | None = None
    seen_at: datetime

    @classmethod
    def from_proto(cls, proto: events_pb2.Event) -> Event:
        return cls(
            tenant_id=proto.tenant_id,
            event_id=proto.event_id,
            key=proto.key,
            payload=proto.payload,
            event_timestamp=proto.event_timestamp,
            additional_metadata=proto.additional_metadata or None,
            scope=proto.scope or None,
            seen_at=proto.event_timestamp.ToDatetime(tzinfo=UTC),
        )
