"""Concurrency, rate limits, idempotency and event filters of a declaration, as messages of the registration."""

# ruff: noqa: UP042  # StrEnum prints differently; the documented bases are str and Enum

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, field_validator, model_validator

if TYPE_CHECKING:
    from hatchet_contracts.v1 import workflows_pb2


class ConcurrencyLimitStrategy(str, Enum):
    """What happens to a run whose key has no room."""

    CANCEL_IN_PROGRESS = "CANCEL_IN_PROGRESS"
    QUEUE_OLDEST = "QUEUE_OLDEST"
    QUEUE_NEWEST = "QUEUE_NEWEST"
    GROUP_ROUND_ROBIN = "GROUP_ROUND_ROBIN"
    CANCEL_NEWEST = "CANCEL_NEWEST"
    CANCEL_QUEUED_EXCEPT_NEWEST = "CANCEL_QUEUED_EXCEPT_NEWEST"
    CANCEL_QUEUED_EXCEPT_OLDEST = "CANCEL_QUEUED_EXCEPT_OLDEST"


class ConcurrencyExpression(BaseModel):
    """At most ``max_runs`` at a time for each value of the CEL ``expression`` (C-3.17).

    ``max_runs`` is a number or a CEL expression.
    """

    expression: str
    max_runs: int | str
    limit_strategy: ConcurrencyLimitStrategy
    name: str | None = None
    is_tenant_scoped: bool = False

    @field_validator("max_runs", mode="after")
    @classmethod
    def validate_max_runs(cls, v: int | str) -> int | str:
        if isinstance(v, int) and v < 1:
            raise ValueError(f"max_runs must be at least 1, got {v}")
        return v

    @staticmethod
    def from_int(max_runs: int) -> ConcurrencyExpression:
        """One key for all runs."""
        return ConcurrencyExpression(
            expression="'constant'", max_runs=max_runs, limit_strategy=ConcurrencyLimitStrategy.GROUP_ROUND_ROBIN
        )

    def to_proto(self) -> workflows_pb2.Concurrency:
        from hatchet_contracts.v1 import workflows_pb2

        if self.limit_strategy is ConcurrencyLimitStrategy.QUEUE_OLDEST:
            raise ValueError(
                "the concurrency strategy QUEUE_OLDEST does not exist on the wire; "
                "GROUP_ROUND_ROBIN with one key queues the oldest first"
            )
        message = workflows_pb2.Concurrency(expression=self.expression, limit_strategy=self.limit_strategy.value)
        if isinstance(self.max_runs, int):
            message.max_runs = self.max_runs
        else:
            message.max_runs_expression = self.max_runs
        if self.name is not None:
            message.name = self.name
        if self.is_tenant_scoped:
            message.is_tenant_scoped = True
        return message


Concurrency = int | ConcurrencyExpression | Sequence[ConcurrencyExpression] | None


def concurrency_messages(concurrency: Concurrency) -> list[workflows_pb2.Concurrency]:
    """A number, one expression or several, as messages; none for None."""
    if concurrency is None:
        return []
    if isinstance(concurrency, int):
        return [ConcurrencyExpression.from_int(concurrency).to_proto()]
    if isinstance(concurrency, ConcurrencyExpression):
        return [concurrency.to_proto()]
    return [expression.to_proto() for expression in concurrency]


class RateLimitDuration(str, Enum):
    """The window of a rate limit."""

    SECOND = "SECOND"
    MINUTE = "MINUTE"
    HOUR = "HOUR"
    DAY = "DAY"
    WEEK = "WEEK"
    MONTH = "MONTH"
    YEAR = "YEAR"


class RateLimit(BaseModel):
    """Units of a rate limit that each run of the task takes (C-3.18).

    Either ``static_key`` (the limit is defined elsewhere) or ``dynamic_key`` (a CEL expression; needs ``limit``).
    ``units`` and ``limit`` are numbers or CEL expressions.
    """

    static_key: str | None = None
    dynamic_key: str | None = None
    units: str | int = 1
    limit: int | str | None = None
    duration: RateLimitDuration = RateLimitDuration.MINUTE

    @model_validator(mode="after")
    def _check(self) -> RateLimit:
        if bool(self.static_key) == bool(self.dynamic_key):
            raise ValueError("a RateLimit needs exactly one of static_key and dynamic_key")
        if self.dynamic_key and self.limit is None:
            raise ValueError("a RateLimit with a dynamic_key needs a limit")
        return self

    def to_proto(self) -> workflows_pb2.CreateTaskRateLimit:
        from hatchet_contracts.v1 import workflows_pb2

        message = workflows_pb2.CreateTaskRateLimit(
            key=self.static_key or self.dynamic_key or "",
            duration=self.duration.value,
        )
        if self.dynamic_key:
            message.key_expr = self.dynamic_key
        if isinstance(self.units, int):
            message.units = self.units
        else:
            message.units_expr = self.units
        if self.limit is not None:
            message.limit_values_expr = str(self.limit)
        return message


class DefaultFilter(BaseModel):
    """A filter for events that is registered with the workflow."""

    expression: str
    scope: str
    payload: dict[str, Any] = Field(default_factory=dict)

    def to_proto(self) -> workflows_pb2.DefaultFilter:
        from hatchet_contracts.v1 import workflows_pb2

        payload = json.dumps(self.payload).encode()
        return workflows_pb2.DefaultFilter(expression=self.expression, scope=self.scope, payload=payload)


class BaseIdemotencyConfig(BaseModel, ABC):
    """Runs with the same value of the CEL ``key_expression`` are created once (C-4.32)."""

    key_expression: str

    @abstractmethod
    def to_proto(self) -> workflows_pb2.IdempotencyConfig: ...


class TTLBasedIdempotencyConfig(BaseIdemotencyConfig):
    """The key stays claimed for ``ttl``, also after the run's end (C-4.36)."""

    ttl: timedelta

    def to_proto(self) -> workflows_pb2.IdempotencyConfig:
        return _idempotency(self.key_expression, self.ttl, "TTL")


class StatusBasedIdempotencyConfig(BaseIdemotencyConfig):
    """The key is free again when the run ends, at the latest after ``fallback_ttl`` (C-4.37)."""

    fallback_ttl: timedelta

    def to_proto(self) -> workflows_pb2.IdempotencyConfig:
        return _idempotency(self.key_expression, self.fallback_ttl, "STATUS")


def _idempotency(expression: str, ttl: timedelta, method: str) -> workflows_pb2.IdempotencyConfig:
    from hatchet_contracts.v1 import workflows_pb2

    return workflows_pb2.IdempotencyConfig(
        expression=expression, ttl_ms=round(ttl.total_seconds() * 1000), method=method
    )
