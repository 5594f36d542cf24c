"""Payloads of users inside the bodies of answers (behaviour-rest R-10.6).

Inputs and outputs are texts that the JSON grammar allows, which is more than an answer may hold: lone surrogates are no
UTF-8, and numbers that a double cannot hold are no JSON number when they are written again.
"""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

import orjson


def object_of(text: str | None) -> dict[str, Any]:
    """The object that a JSON text says, the empty one for another value or for no text."""
    value = _value(text) if text else None
    return value if isinstance(value, dict) else {}


def _value(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        clean = text.encode("utf-8", "replace").decode()
        value = json.loads(clean, parse_float=_number)
        # Escapes of lone surrogates have become characters: they are replaced, everything else stays.
        return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


def _number(text: str) -> float | str:
    number = float(text)
    return number if isfinite(number) else text
