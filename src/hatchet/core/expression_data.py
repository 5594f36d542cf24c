"""What an expression is handed: of the variables only what its text names, and only values that CEL knows.

The library converts all it gets, and overflows the stack on values that are nested too deeply.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import orjson

from hatchet.core.expression_reasons import TOO_DEEP

MAX_DEPTH = 250
"""Values nested deeper are not handed to the library, which would overflow the stack; reading one is a failure."""

Reads: TypeAlias = tuple[tuple[str, frozenset[str] | None], ...]
"""The variables that a text names, each with the only fields of it that can matter; None when all can."""


def data_for(reads: Reads, variables: Mapping[str, Any], texts: Collection[str]) -> dict[str, Any]:
    """What of ``variables`` is handed over; those that are missing are the empty object, ``texts`` the empty string."""
    data = {}
    for name, fields in reads:
        value = variables.get(name)
        if value is None:
            value = "" if name in texts else {}
        elif fields is not None and isinstance(value, Mapping):
            value = {field: value[field] for field in fields if field in value}
        data[name] = value
    try:
        # Fails for all that the library cannot take, in a fraction of the time that the library takes.
        orjson.dumps(data)
    except TypeError:
        return {name: _fitting(value) for name, value in data.items()}
    return data


def is_too_deep(data: Mapping[str, Any]) -> bool:
    """Whether something of what :func:`data_for` made stands for a value that is nested too deeply."""
    return any(isinstance(value, _TooDeep) for value in data.values())


@lru_cache(maxsize=1024)
def union(several: tuple[Reads, ...]) -> Reads:
    """What texts read together."""
    if len(several) == 1:
        return several[0]
    fields: dict[str, frozenset[str] | None] = {}
    for name, some in (one for reads in several for one in reads):
        known = fields.get(name, frozenset())
        fields[name] = None if known is None or some is None else known | some
    return tuple(fields.items())


class _TooDeep:
    """Stands for a value that is nested too deeply; the library refuses it by the name of its type."""


_TooDeep.__name__ = TOO_DEEP


def _fitting(value: Any) -> Any:
    """``value`` without ints beyond 64 bits and half surrogate pairs, or what stands for a too deep one."""
    try:
        return _fitted(value, MAX_DEPTH)
    except RecursionError:
        return _TooDeep()


def _fitted(value: Any, depth: int) -> Any:
    if depth < 0:
        raise RecursionError
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return _as_double(value)
    if isinstance(value, Mapping):
        return {_fitted(key, 0): _fitted(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_fitted(item, depth - 1) for item in value]
    return value


def _as_double(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def reads_of(text: str, variables: tuple[str, ...]) -> Reads:
    """Which of the variables a text reads, and what of them."""
    return tuple((name, _fields(text, name)) for name in variables if re.search(rf"\b{name}\b", text, re.ASCII))


def _fields(text: str, name: str) -> frozenset[str] | None:
    """The fields that ``text`` reads of a variable, when it only ever reads fields of it; otherwise None.

    Looks at the text, not at its grammar: a name inside a string adds a field too many, which does no harm.
    """
    if "//" in text:
        return None
    # A field is a name without a parenthesis behind it (that would be a function of the whole), or a plain string.
    field = r"""\s*(?:\.\s*([A-Za-z_]\w*+)(?!\s*\()|\[\s*(?:'([^'\\]*)'|"([^"\\]*)")\s*\])"""
    fields = set()
    for mention in re.finditer(rf"\b{name}\b(?:{field})?", text, re.ASCII):
        if mention.lastindex is None:
            return None
        fields.add(mention[mention.lastindex])
    return frozenset(fields)
