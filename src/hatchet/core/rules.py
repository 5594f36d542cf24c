"""What a workflow declares about the flow of its runs: plain data (behaviour-core C-3.15 to C-3.22, C-3.27, C-3.38).

Front doors parse their messages into these, :mod:`hatchet.core.definitions` stores and hashes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

DEFAULT_BATCH_INTERVAL_MS = 1000
DEFAULT_BATCH_GROUP_KEY = "'default'"
DEFAULT_BATCH_GROUP_MAX_RUNS = 100


class Strategy(Enum):
    """What becomes of the surplus of a group, by its wire name (C-9.7 to C-9.10)."""

    GROUP_ROUND_ROBIN = "GROUP_ROUND_ROBIN"
    CANCEL_IN_PROGRESS = "CANCEL_IN_PROGRESS"
    CANCEL_NEWEST = "CANCEL_NEWEST"
    CANCEL_QUEUED_EXCEPT_NEWEST = "CANCEL_QUEUED_EXCEPT_NEWEST"
    CANCEL_QUEUED_EXCEPT_OLDEST = "CANCEL_QUEUED_EXCEPT_OLDEST"

    @property
    def queues(self) -> bool:
        """Whether surplus waits for a place; the others keep their members for as long as those are open."""
        return self not in (Strategy.CANCEL_IN_PROGRESS, Strategy.CANCEL_NEWEST)


@dataclass(slots=True, frozen=True, kw_only=True)
class ConcurrencyRule:
    """At most ``max_runs`` of those whose expression renders one key are active (C-9.1)."""

    expression: str
    max_runs: int = 1
    strategy: Strategy = Strategy.CANCEL_IN_PROGRESS
    name: str = ""
    is_tenant_scoped: bool = False
    """One rule for all workflows of the tenant that declare the name (C-3.38)."""
    max_runs_expression: str | None = None
    """Computes the limit for each run (C-9.5)."""


class Window(Enum):
    """For how long the units of a rate limit last, by its wire name (C-10.3)."""

    SECOND = "SECOND"
    MINUTE = "MINUTE"
    HOUR = "HOUR"
    DAY = "DAY"
    WEEK = "WEEK"
    MONTH = "MONTH"
    YEAR = "YEAR"


@dataclass(slots=True, frozen=True, kw_only=True)
class RateLimitRule:
    """Units that a task takes of a rate limit when it starts (C-10.6)."""

    key: str
    """Of the limit; with an expression only a label (C-10.8)."""
    units: int = 1
    key_expression: str | None = None
    units_expression: str | None = None
    limit_expression: str | None = None
    window: Window | None = None

    @property
    def is_dynamic(self) -> bool:
        """Whether anything of it is computed for each task (C-10.8)."""
        return any(text is not None for text in (self.key_expression, self.units_expression, self.limit_expression))


@dataclass(slots=True, frozen=True, kw_only=True)
class BatchRule:
    """How runs of a task are collected into batches (C-16.1)."""

    max_size: int
    interval_ms: int = DEFAULT_BATCH_INTERVAL_MS
    key_expression: str = DEFAULT_BATCH_GROUP_KEY
    max_runs: int = DEFAULT_BATCH_GROUP_MAX_RUNS
    """How many batches of one key may run at a time (C-16.14)."""
    broadcast_output: bool = False
    """For the client only (C-16.2)."""


class Sticky(Enum):
    """Whether a run's tasks go to one worker, by its wire name (C-11.9)."""

    SOFT = "SOFT"
    HARD = "HARD"


@dataclass(slots=True, frozen=True, kw_only=True)
class DefaultFilter:
    """An event filter that is declared in code (C-3.36)."""

    scope: str
    expression: str
    payload: str = "{}"
    """A JSON object."""


def concurrency_data(rules: Iterable[ConcurrencyRule]) -> list[dict[str, Any]]:
    """Concurrency rules as they are stored and hashed; what is unset is left out."""
    return [
        {
            "expression": rule.expression,
            "max_runs": rule.max_runs,
            "strategy": rule.strategy.value,
            **({"name": rule.name} if rule.name else {}),
            **({"is_tenant_scoped": True} if rule.is_tenant_scoped else {}),
            **({"max_runs_expression": rule.max_runs_expression} if rule.max_runs_expression is not None else {}),
        }
        for rule in rules
    ]


def concurrency_from(data: Iterable[Mapping[str, Any]]) -> tuple[ConcurrencyRule, ...]:
    """What :func:`concurrency_data` made."""
    return tuple(ConcurrencyRule(**{**one, "strategy": Strategy(one["strategy"])}) for one in data)


def rate_limit_data(rules: Iterable[RateLimitRule]) -> list[dict[str, Any]]:
    """Rate limit rules as they are stored and hashed; what is unset is left out."""
    options = ("key_expression", "units_expression", "limit_expression")
    return [
        {
            "key": rule.key,
            "units": rule.units,
            **{name: text for name in options if (text := getattr(rule, name)) is not None},
            **({"window": rule.window.value} if rule.window is not None else {}),
        }
        for rule in rules
    ]


def rate_limits_from(data: Iterable[Mapping[str, Any]]) -> tuple[RateLimitRule, ...]:
    """What :func:`rate_limit_data` made."""
    return tuple(
        RateLimitRule(**{**one, **({"window": Window(one["window"])} if "window" in one else {})}) for one in data
    )


def batch_data(rule: BatchRule | None) -> dict[str, Any] | None:
    """A batch rule as it is stored and hashed."""
    if rule is None:
        return None
    return {
        "max_size": rule.max_size,
        "interval_ms": rule.interval_ms,
        "key_expression": rule.key_expression,
        "max_runs": rule.max_runs,
        "broadcast_output": rule.broadcast_output,
    }


def filter_data(filters: Iterable[DefaultFilter]) -> list[dict[str, Any]]:
    """Default filters as they are stored and hashed."""
    return [{"scope": one.scope, "expression": one.expression, "payload": one.payload} for one in filters]
