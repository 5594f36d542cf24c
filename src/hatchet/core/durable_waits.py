"""What a durable task waits for, and when the wait is over, as pure functions (behaviour-durable D-8 to D-11)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from math import inf
from typing import Any

import orjson

from hatchet.core.durations import MAX_SECONDS, parse_duration
from hatchet.core.errors import InvalidArgument

CREATE = "CREATE"
"""The one key of a wait's result (D-11.1)."""
_LONG_UNITS = {"d": 86_400.0, "w": 7 * 86_400.0, "y": 365 * 86_400.0}
_LONG = re.compile(r"([0-9]+)([dwy])")
_SHOWN = 40
"""How much of a wrong text an error shows, in characters."""


class WaitKind(Enum):
    """What a condition looks at."""

    SLEEP = "SLEEP"
    EVENT = "USER_EVENT"


@dataclass(slots=True, frozen=True, kw_only=True)
class WaitCondition:
    """One condition of a wait. Of ``sleep_for`` and ``event_key`` the one that ``kind`` names is set."""

    kind: WaitKind
    or_group: str
    """Conditions of one group are alternatives, and all groups must hold (D-8.5)."""
    data_key: str
    """Under which key of the result its datum stands, as the client sent it (D-11.5)."""
    expression: str = ""
    sleep_for: str | None = None
    """Duration text, echoed unchanged (D-9.6)."""
    event_key: str | None = None
    event_scope: str | None = None
    since: float | None = None
    """Events that were seen from then on count, too, when there is a scope (D-10.9); seconds since 1970."""

    @property
    def looks_back(self) -> bool:
        """Whether events before the wait count (D-10.9)."""
        return self.event_scope is not None and self.since is not None


@dataclass(slots=True, frozen=True)
class Match:
    """An event met condition number ``condition`` at ``at``, seconds since 1970; ``data`` is its payload, JSON."""

    condition: int
    at: float
    data: str


@dataclass(slots=True, frozen=True)
class Met:
    """A wait is over since ``at``; ``payload``: its result, JSON (D-11.1)."""

    at: float
    payload: str


@lru_cache(maxsize=1024)
def sleep_seconds(text: str) -> float:
    """Seconds of a durable sleep; zero for a negative one (D-9.1, D-9.5).

    Raises InvalidArgument for a text that is no duration, or more than 290 years.
    """
    length = text.removeprefix("-")
    long = _LONG.fullmatch(length)
    try:
        seconds = parse_duration(length) if long is None else float(long[1]) * _LONG_UNITS[long[2]]
    except InvalidArgument as error:
        raise InvalidArgument(
            f"sleep_for: {error.message}, or one whole number with the unit d, w or y, such as 2d"
        ) from None
    if seconds > MAX_SECONDS:
        raise InvalidArgument(f"sleep_for: {text[:_SHOWN]!r} is longer than 290 years")
    return 0.0 if text.startswith("-") else seconds


def checked(conditions: Iterable[WaitCondition]) -> tuple[WaitCondition, ...]:
    """The conditions of a request. Raises InvalidArgument, naming the condition, for one that can never be right."""
    found = tuple(conditions)
    for number, condition in enumerate(found):
        where = f"wait_for_conditions[{number}]"
        if condition.kind is WaitKind.SLEEP:
            try:
                sleep_seconds(condition.sleep_for or "")
            except InvalidArgument as error:
                raise InvalidArgument(f"{where}.{error.message}") from None
        elif not condition.event_key:
            raise InvalidArgument(f"{where}.user_event_key is empty: name the event to wait for")
    return found


def outcome(
    conditions: Sequence[WaitCondition], started_at: float, matches: Mapping[int, Match], now: float
) -> Met | None:
    """How the wait is over at ``now``, or None.

    Of each or-group the condition that held first counts, and the group's result never changes afterwards: a sleep
    holds at ``started_at`` plus its duration, an event when it was matched (D-9.3, D-11.3). A wait without conditions
    is never over (D-8.6).
    """
    groups: dict[str, tuple[float, int]] = {}
    open_groups: set[str] = set()
    for number, condition in enumerate(conditions):
        open_groups.add(condition.or_group)
        at = _held_at(number, condition, started_at, matches)
        if at <= now and at < groups.get(condition.or_group, (inf, 0))[0]:
            groups[condition.or_group] = (at, number)
    if not groups or len(groups) < len(open_groups):
        return None
    data: dict[str, list[Any]] = {}
    for _, number in sorted(groups.values(), key=lambda winner: winner[1]):
        data.setdefault(conditions[number].data_key, []).append(_datum(number, conditions[number], matches))
    return Met(max(at for at, _ in groups.values()), orjson.dumps({CREATE: data}).decode())


def next_due(conditions: Sequence[WaitCondition], started_at: float, matches: Mapping[int, Match]) -> float | None:
    """When time alone ends the wait or the last open group of it; None: only events can.

    Sleeps of groups that an event has met already do not count.
    """
    met = {conditions[number].or_group for number in matches}
    ends: dict[str, float] = {}
    for condition in conditions:
        if condition.or_group in met:
            continue
        at = started_at + sleep_seconds(condition.sleep_for or "") if condition.kind is WaitKind.SLEEP else inf
        ends[condition.or_group] = min(at, ends.get(condition.or_group, inf))
    last = max(ends.values(), default=inf)
    return None if last == inf else last


def open_events(
    conditions: Sequence[WaitCondition], started_at: float, matches: Mapping[int, Match], at: float
) -> list[int]:
    """The numbers of the event conditions that an event of time ``at`` may still meet."""
    met = {conditions[number].or_group for number in matches}
    slept = {
        condition.or_group
        for condition in conditions
        if condition.kind is WaitKind.SLEEP and started_at + sleep_seconds(condition.sleep_for or "") <= at
    }
    return [
        number
        for number, condition in enumerate(conditions)
        if condition.kind is WaitKind.EVENT and condition.or_group not in met | slept
    ]


def fingerprint(conditions: Iterable[WaitCondition]) -> bytes:
    """What is compared when a wait is asked for again (D-14.2, D-14.5): equal for equal conditions in any order."""
    parts = sorted(
        orjson.dumps([one.expression, one.data_key, one.kind.value, one.sleep_for or "", one.event_key or ""])
        for one in conditions
    )
    return b"\n".join(parts)


def described(conditions: Sequence[WaitCondition]) -> str:
    """The wait for people: ``sleep(5s) and any of (event(a), sleep(1h))`` (D-14.8)."""
    if not conditions:
        return "nothing"
    parts = []
    for members in _groups(conditions):
        names = [
            f"sleep({one.sleep_for})" if one.kind is WaitKind.SLEEP else f"event({one.event_key})" for one in members
        ]
        parts.append(names[0] if len(names) == 1 else f"any of ({', '.join(names)})")
    return " and ".join(parts)


def wait_data(conditions: Sequence[WaitCondition]) -> list[dict[str, Any]]:
    """The wait as REST shows it (D-25.3)."""
    items: list[dict[str, Any]] = []
    for members in _groups(conditions):
        shown = [_shown(one) for one in members]
        items.append(shown[0] if len(shown) == 1 else {"or": shown})
    return items


def to_text(conditions: Iterable[WaitCondition]) -> str:
    """The conditions as they are stored, JSON; unset options are left out."""
    return orjson.dumps(
        [{name: value for name, value in _fields(one).items() if value not in (None, "")} for one in conditions]
    ).decode()


def from_text(text: str) -> tuple[WaitCondition, ...]:
    """What :func:`to_text` made."""
    return tuple(
        WaitCondition(**{"data_key": "", "or_group": "", **one, "kind": WaitKind(one["kind"])})
        for one in orjson.loads(text)
    )


def _held_at(number: int, condition: WaitCondition, started_at: float, matches: Mapping[int, Match]) -> float:
    if condition.kind is WaitKind.SLEEP:
        return started_at + sleep_seconds(condition.sleep_for or "")
    return matches[number].at if number in matches else inf


def _datum(number: int, condition: WaitCondition, matches: Mapping[int, Match]) -> Any:
    if condition.kind is WaitKind.SLEEP:
        return {"sleep_duration": condition.sleep_for}
    text = matches[number].data or "{}"
    # Clients read a list of objects (D-7.4); an event may carry any JSON value.
    return orjson.Fragment(text) if text.lstrip().startswith("{") else {"value": orjson.Fragment(text)}


def _groups(conditions: Sequence[WaitCondition]) -> list[list[WaitCondition]]:
    groups: dict[str, list[WaitCondition]] = {}
    for condition in conditions:
        groups.setdefault(condition.or_group, []).append(condition)
    return list(groups.values())


def _shown(condition: WaitCondition) -> dict[str, Any]:
    if condition.kind is WaitKind.SLEEP:
        milliseconds = round(sleep_seconds(condition.sleep_for or "") * 1000)
        return {"kind": condition.kind.value, "sleepDurationMs": milliseconds}
    return {"kind": condition.kind.value, "eventKey": condition.event_key}


def _fields(condition: WaitCondition) -> dict[str, Any]:
    return {
        "kind": condition.kind.value,
        "or_group": condition.or_group,
        "data_key": condition.data_key,
        "expression": condition.expression,
        "sleep_for": condition.sleep_for,
        "event_key": condition.event_key,
        "event_scope": condition.event_scope,
        "since": condition.since,
    }
