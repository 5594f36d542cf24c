"""What a task run or run asks of the limits that its workflow declares, computed from its input (behaviour-core C-9.3).

Computed once, when it is created, and stored with it, so that it is the same over retries, take-overs and replays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from hatchet.core.definitions import StoredRule, StoredTask, StoredVersion
from hatchet.core.expressions import ExpressionFailed, Use, evaluate
from hatchet.core.rules import ConcurrencyRule, RateLimitRule, Strategy, Window

LONGEST_KEY = 256
"""Characters of a key that are kept as they are."""

NO_LIMIT = -1
"""The limit of a dynamic rate limit that leaves the key as it is (C-10.9)."""

MOST_UNITS = 2**63 - 1
"""More do not fit into the database."""

TenantRules = Mapping[str, ConcurrencyRule]
"""The rules that a tenant's workflows share, by name, as the latest registration left them (C-3.38)."""


@dataclass(slots=True, frozen=True)
class Ask:
    """A place in one group of a concurrency rule."""

    rule: str
    strategy: Strategy
    key: str
    max_runs: int
    """The limit of the group as of this member (C-9.5)."""


@dataclass(slots=True, frozen=True)
class Units:
    """Units of one rate limit (C-10.12)."""

    key: str
    units: int
    limit: int | None = None
    """What a dynamic rule sets the limit to (C-10.9); None leaves the key as it is."""
    window: Window | None = None
    """With a limit: its window."""


@dataclass(slots=True, frozen=True)
class Limits:
    """Everything that one attempt must have before it starts, besides a worker's slots."""

    asks: tuple[Ask, ...] = ()
    """In the order in which they are asked (C-9.15)."""
    units: tuple[Units, ...] = ()
    """One a key, sorted by key."""
    batch_key: str | None = None
    size: int = 0
    """Bytes of the input; known for batch tasks only (C-16.9)."""
    error: str | None = None
    """Why it cannot be computed: the task fails with this text when it is due (C-8.35)."""


NONE = Limits()


def short_key(key: str) -> str:
    """A key as it is kept: the end of a long one is replaced by its digest, so that equal keys stay equal."""
    if len(key) <= LONGEST_KEY:
        return key
    return f"{key[:LONGEST_KEY]}…{hashlib.sha256(key.encode()).hexdigest()}"


def of_task(task: StoredTask, variables: Mapping[str, Any], size: int, shared: TenantRules) -> Limits:
    """The limits of a task run.

    ``variables``: ``input``, ``additional_metadata`` and ``workflow_run_id`` (C-8.30). ``size``: bytes of the input.
    """
    definition = task.definition
    try:
        asks = tuple(_ask(rule, variables, shared) for rule in task.rules)
        units = _merged(_units(rule, variables) for rule in definition.rate_limits)
    except _Failed as failed:
        return Limits(error=failed.text)
    if definition.batch is None:
        return Limits(asks, units)
    try:
        batch_key = evaluate(definition.batch.key_expression, Use.BATCH_KEY, variables)
    except ExpressionFailed as failed:
        text = f"failed to parse batch group key expression ({definition.batch.key_expression}): {failed.reason}"
        return Limits(error=text)
    return Limits(asks, units, short_key(batch_key), size)


def of_run(version: StoredVersion, variables: Mapping[str, Any], shared: TenantRules) -> Limits:
    """The limits of a run of several tasks as a whole (C-9.12)."""
    try:
        return Limits(tuple(_ask(rule, variables, shared) for rule in version.rules))
    except _Failed as failed:
        return Limits(error=failed.text)


class _Failed(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def _of(expression: str, reason: str) -> _Failed:
    return _Failed(f"failed to parse step expression ({expression}): {reason}")


def _evaluated(expression: str, use: Use, variables: Mapping[str, Any]) -> Any:
    try:
        return evaluate(expression, use, variables)
    except ExpressionFailed as failed:
        raise _of(expression, failed.reason) from None


def _ask(rule: StoredRule, variables: Mapping[str, Any], shared: TenantRules) -> Ask:
    definition = rule.definition
    if definition.is_tenant_scoped:
        definition = shared.get(definition.name, definition)
    key = _evaluated(definition.expression, Use.CONCURRENCY, variables)
    limit = definition.max_runs
    text = definition.max_runs_expression
    if text is not None:
        limit = _evaluated(text, Use.MAX_RUNS, variables)
        if limit < 1:
            raise _of(text, f"max_runs must be 1 or more, got {limit}")
    return Ask(rule.id, definition.strategy, short_key(key), limit)


def _units(rule: RateLimitRule, variables: Mapping[str, Any]) -> Units:
    if not rule.is_dynamic:
        return Units(short_key(rule.key), rule.units)
    key, units, limit = rule.key, rule.units, None
    if rule.key_expression is not None:
        key = _evaluated(rule.key_expression, Use.RATE_LIMIT_KEY, variables)
        if not key:
            raise _of(rule.key_expression, "the key of a rate limit must not be empty")
    if rule.units_expression is not None:
        units = _evaluated(rule.units_expression, Use.RATE_LIMIT_UNITS, variables)
        if units < 0:
            raise _of(rule.units_expression, f"units must be 0 or more, got {units}")
    if rule.limit_expression is not None:
        limit = _evaluated(rule.limit_expression, Use.RATE_LIMIT_UNITS, variables)
        if limit < NO_LIMIT:
            raise _of(rule.limit_expression, f"a limit must be 0 or more, or -1 for none, got {limit}")
    if limit is None or limit == NO_LIMIT:
        return Units(short_key(key), units)
    return Units(short_key(key), units, limit, rule.window or Window.MINUTE)


_WINDOWS = list(Window)


def _merged(entries: Iterable[Units]) -> tuple[Units, ...]:
    """One entry a key: units add up; of limits the lower one, of windows the larger one counts (C-10.10)."""
    by_key: dict[str, Units] = {}
    for entry in entries:
        known = by_key.get(entry.key)
        by_key[entry.key] = entry if known is None else _both(known, entry)
    return tuple(by_key[key] for key in sorted(by_key))


def _both(one: Units, other: Units) -> Units:
    units = one.units + other.units
    if units > MOST_UNITS:
        raise _Failed(f"the units of rate limit {one.key!r} add up to {units}, at most {MOST_UNITS} fit: ask for fewer")
    limits = [entry.limit for entry in (one, other) if entry.limit is not None]
    windows = [entry.window for entry in (one, other) if entry.window is not None]
    return Units(
        one.key,
        units,
        min(limits, default=None),
        max(windows, key=_WINDOWS.index, default=None),
    )


def to_text(limits: Limits) -> str | None:
    """The limits as they are stored, JSON; None when there are none."""
    if limits == NONE:
        return None
    data: dict[str, Any] = {}
    if limits.error is not None:
        data["error"] = limits.error
    if limits.asks:
        data["asks"] = [[ask.rule, ask.strategy.value, ask.key, ask.max_runs] for ask in limits.asks]
    if limits.units:
        data["units"] = [
            [one.key, one.units]
            if one.limit is None or one.window is None
            else [one.key, one.units, one.limit, one.window.value]
            for one in limits.units
        ]
    if limits.batch_key is not None:
        data["batch"] = [limits.batch_key, limits.size]
    return orjson.dumps(data).decode()


def from_text(text: str | None) -> Limits:
    """What :func:`to_text` made."""
    if not text:
        return NONE
    data = orjson.loads(text)
    batch = data.get("batch", (None, 0))
    return Limits(
        tuple(Ask(rule, Strategy(strategy), key, limit) for rule, strategy, key, limit in data.get("asks", ())),
        tuple(Units(*entry[:3], *map(Window, entry[3:])) for entry in data.get("units", ())),
        batch[0],
        batch[1],
        data.get("error"),
    )
