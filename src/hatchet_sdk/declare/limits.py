"""Concurrency, rate limits, idempotency and event filters of a declaration, as messages of the registration."""

# ruff: noqa: UP042  # StrEnum prints differently; the documented bases are str and Enum

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, field_validator, model_validator
from pydantic_core import to_json

if TYPE_CHECKING:
    from hatchet_contracts.v1 import workflows_pb2


LARGEST = 2**31 - 1
"""The wire's numbers have 32 bits."""


class ConcurrencyLimitStrategy(str, Enum):
    """What happens to a run whose key has no room."""

    CANCEL_IN_PROGRESS = "CANCEL_IN_PROGRESS"
    QUEUE_OLDEST = "QUEUE_OLDEST"
    QUEUE_NEWEST = "QUEUE_NEWEST"
    GROUP_ROUND_ROBIN = "GROUP_ROUND_ROBIN"
    CANCEL_NEWEST = "CANCEL_NEWEST"
    CANCEL_QUEUED_EXCEPT_NEWEST = "CANCEL_QUEUED_EXCEPT_NEWEST"
    CANCEL_QUEUED_EXCEPT_OLDEST = "CANCEL_QUEUED_EXCEPT_OLDEST"


UNSUPPORTED = (ConcurrencyLimitStrategy.QUEUE_OLDEST, ConcurrencyLimitStrategy.QUEUE_NEWEST)


class ConcurrencyExpression(BaseModel):
    """At most ``max_runs`` at a time for each value of the CEL ``expression`` (C-3.17).

    ``max_runs`` is a number from 1, or a CEL expression that gives one for each run (C-9.5). With ``name`` and
    ``is_tenant_scoped`` all workflows that declare the name share the limit (C-3.38).
    """

    expression: str
    max_runs: int | str
    limit_strategy: ConcurrencyLimitStrategy
    name: str | None = None
    is_tenant_scoped: bool = False

    @field_validator("max_runs", mode="after")
    @classmethod
    def validate_max_runs(cls, v: int | str) -> int | str:
        if isinstance(v, int) and not 1 <= v <= LARGEST:
            raise ValueError(f"max_runs must be a number from 1 to {LARGEST} or a CEL expression, got {v}")
        if isinstance(v, str) and not v.strip():
            raise ValueError("max_runs is an empty text; give a number or a CEL expression")
        return v

    @model_validator(mode="after")
    def _check(self) -> ConcurrencyExpression:
        if not self.expression.strip():
            raise ValueError("expression is empty; give a CEL expression such as 'input.user_id'")
        if self.is_tenant_scoped and not self.name:
            raise ValueError("a tenant-scoped concurrency is shared by its name; give it one with name=…")
        return self

    @staticmethod
    def from_int(max_runs: int) -> ConcurrencyExpression:
        """One key for all runs (C-3.40)."""
        return ConcurrencyExpression(
            expression="'constant'", max_runs=max_runs, limit_strategy=ConcurrencyLimitStrategy.GROUP_ROUND_ROBIN
        )

    def to_proto(self) -> workflows_pb2.Concurrency:
        from hatchet_contracts.v1 import workflows_pb2

        if self.limit_strategy in UNSUPPORTED:
            raise ValueError(
                f"the engine has no concurrency strategy {self.limit_strategy.value}; GROUP_ROUND_ROBIN with one key "
                "queues the oldest first, CANCEL_QUEUED_EXCEPT_NEWEST keeps the newest that waits"
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


def concurrency_rules(concurrency: Concurrency) -> list[ConcurrencyExpression]:
    """A number, one rule or several, as rules in their order; none for None.

    Raises ``ValueError`` for a number below 1, ``TypeError`` for something else than rules.
    """
    if concurrency is None:
        return []
    if isinstance(concurrency, int):
        return [ConcurrencyExpression.from_int(concurrency)]
    if isinstance(concurrency, ConcurrencyExpression):
        return [concurrency]
    rules = list(concurrency)
    for rule in rules:
        if not isinstance(rule, ConcurrencyExpression):
            raise TypeError(f"concurrency takes a number or ConcurrencyExpression objects, got {type(rule).__name__}")
    return rules


def concurrency_messages(concurrency: Concurrency) -> list[workflows_pb2.Concurrency]:
    """The rules of a declaration as messages."""
    return [rule.to_proto() for rule in concurrency_rules(concurrency)]


class RateLimitDuration(str, Enum):
    """The window of a rate limit."""

    SECOND = "SECOND"
    MINUTE = "MINUTE"
    HOUR = "HOUR"
    DAY = "DAY"
    WEEK = "WEEK"
    MONTH = "MONTH"
    YEAR = "YEAR"


NO_LIMIT = "-1"
"""As the limit of an entry with expressions: the key keeps the limit that it has (C-10.9)."""


class RateLimit(BaseModel):
    """Units of a rate limit that each run of the task takes (C-3.18).

    Either ``static_key``, whose limit ``hatchet.rate_limits.put`` sets, or ``dynamic_key``, a CEL expression for the
    key. ``units`` and ``limit`` are numbers or CEL expressions. With ``limit`` the key is created or changed when a run
    is created, with a window of one ``duration``; without, the key keeps the limit that it has, and a key that nobody
    has created lets no run start.
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
        for name, value in (("units", self.units), ("limit", self.limit)):
            if isinstance(value, int) and not 0 <= value <= LARGEST:
                raise ValueError(f"{name} of a RateLimit must be a number from 0 to {LARGEST}, got {value}")
            if isinstance(value, str) and not value.strip():
                raise ValueError(f"{name} of a RateLimit is an empty text; give a number or a CEL expression")
        return self

    def to_proto(self) -> workflows_pb2.CreateTaskRateLimit:
        """The entry on the wire (C-10.6, C-10.7). With any expression in it the key is read from ``key_expr`` alone
        (C-10.8), so a static key becomes a text literal there."""
        from hatchet_contracts.v1 import workflows_pb2

        message = workflows_pb2.CreateTaskRateLimit(
            key=self.static_key or self.dynamic_key or "",
            duration=self.duration.value,
        )
        if isinstance(self.units, int):
            message.units = self.units
        else:
            message.units_expr = self.units
        if self.dynamic_key or self.limit is not None or isinstance(self.units, str):
            message.key_expr = self.dynamic_key or to_json(self.static_key).decode()
            message.limit_values_expr = NO_LIMIT if self.limit is None else str(self.limit)
        return message


class DefaultFilter(BaseModel):
    """A filter for events that is registered with the workflow (C-12.16).

    An event with this ``scope`` starts a run when the CEL ``expression`` is true for it; the task finds ``payload`` in
    ``ctx.filter_payload``.
    """

    expression: str
    scope: str
    payload: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> DefaultFilter:
        for name in ("expression", "scope"):
            if not getattr(self, name).strip():
                raise ValueError(f"{name} of a DefaultFilter is empty, and such a filter lets no event through")
        return self

    def to_proto(self) -> workflows_pb2.DefaultFilter:
        """The filter on the wire (C-3.27). Raises ``TypeError`` for a payload that JSON cannot hold."""
        from hatchet_contracts.v1 import workflows_pb2

        try:
            payload = to_json(self.payload)
        except ValueError as error:
            raise TypeError(f"the payload of the filter with scope '{self.scope}': {error}") from error
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
