"""Checks of JSON texts that callers hand in: the text is kept as given, it is only looked at (C-4.8, C-5.31).

Accepted is what the JSON grammar allows, also lone surrogates written as escapes, which orjson and PostgreSQL's
``jsonb`` refuse: inputs and outputs are stored as bytes. Metadata is stored as ``jsonb`` and must satisfy both.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

import orjson

from hatchet.core.errors import InvalidArgument

EMPTY_OBJECT = "{}"

_ESCAPED_NULL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_UNUSUAL_NUMBER = re.compile(r"[0-9]{1000}|[0-9.][eE][+-]?[0-9]{3}")
_MAX_EXPONENT = 1000
_MAX_DIGITS = 1000


def json_value(text: str) -> Any:
    """The value of a JSON text that :func:`check_json` lets pass."""
    try:
        return orjson.loads(text)
    except ValueError:
        return json.loads(text)


def check_json(text: str, field: str) -> None:
    """Check that ``text`` is JSON without the character U+0000 in any key or value (C-4.8, C-5.31).

    Raises :class:`InvalidArgument`, whose text begins with ``invalid json in field <field>`` and says why.
    """
    check_grammar(text, field)
    _refuse_null(text, field)


def check_grammar(text: str, field: str) -> None:
    """Check that ``text`` is JSON of any kind: for what only clients look at. Raises like :func:`check_json`."""
    try:
        orjson.loads(text)
    except ValueError:
        _check_slowly(text, field)


def check_json_object(text: str, field: str) -> None:
    """Check that ``text`` is a JSON object that ``jsonb`` can hold, as metadata must be (C-4.8, C-4.10).

    Raises :class:`InvalidArgument` like :func:`check_json`.
    """
    try:
        value = orjson.loads(text)
    except ValueError as error:
        _refuse(field, error)
    if not isinstance(value, dict):
        raise InvalidArgument(f"invalid json in field {field}: it must be a JSON object, such as {{}}")
    _refuse_null(text, field)
    if _UNUSUAL_NUMBER.search(text):
        _check_numbers(text, field)


def normal_input(text: str, field: str = "input") -> str:
    """The input of a run: ``{}`` for an empty text (C-4.3), otherwise ``text``, checked by :func:`check_json`."""
    if not text:
        return EMPTY_OBJECT
    check_json(text, field)
    return text


def normal_metadata(text: str, field: str = "additional_metadata") -> str:
    """The metadata of a run: ``{}`` for an empty text (C-4.10), otherwise checked by :func:`check_json_object`."""
    if not text:
        return EMPTY_OBJECT
    check_json_object(text, field)
    return text


def _check_slowly(text: str, field: str) -> None:
    try:
        json.loads(text, parse_constant=_refuse_constant, parse_int=float, parse_float=float)
    except (ValueError, RecursionError) as error:
        _refuse(field, error)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _refuse(field: str, error: Exception) -> NoReturn:
    reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    raise InvalidArgument(f"invalid json in field {field}: {reason}") from None


def _refuse_null(text: str, field: str) -> None:
    # In JSON a backslash stands only inside strings, so an odd run of them before u0000 is the escape of U+0000.
    if "\\u0000" in text and _ESCAPED_NULL.search(text):
        raise InvalidArgument(f"invalid json in field {field}: it contains the null character \\u0000, remove it")


def _check_numbers(text: str, field: str) -> None:
    def checked(number: str) -> None:
        mantissa, _, exponent = number.lower().partition("e")
        if len(mantissa) > _MAX_DIGITS or len(exponent) > 6 or abs(int(exponent or 0)) > _MAX_EXPONENT:
            raise InvalidArgument(f"invalid json in field {field}: a number is too large or too long to be stored")

    json.loads(text, parse_int=checked, parse_float=checked)
