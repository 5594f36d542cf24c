"""The function behind a memo: the key that its call is recognised by, and its result as JSON text (D-12)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json, to_jsonable_python

from hatchet_sdk.declare.signature import UNDECLARED, return_type
from hatchet_sdk.declare.values import Values


class Memoized:
    """One call of a function. Raises ``TypeError`` for arguments that have no text of their own."""

    def __init__(self, task_run_id: str, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._fn = fn
        self._name = getattr(fn, "__qualname__", type(fn).__name__)
        # The function's name is part of the key, so that two memos that changed places are noticed.
        parts = (self._name, self._jsonable(list(args)), self._jsonable(kwargs))
        text = task_run_id + json.dumps(parts, sort_keys=True)
        self.key = hashlib.sha256(text.encode()).digest()

    def _jsonable(self, values: Any) -> Any:
        try:
            return to_jsonable_python(values, fallback=_text)
        except (ValueError, TypeError) as error:
            raise TypeError(f"an argument of the memo of {self._name}: {error}") from None

    def text(self, value: Any) -> bytes:
        """The result as JSON. Raises ``TypeError``."""
        try:
            return to_json(value)
        except (PydanticSerializationError, ValueError) as error:
            raise TypeError(f"the memo of {self._name} returned what JSON cannot hold: {error}") from None

    def read(self, text: bytes) -> Any:
        """The result as a value of the annotated return type. Raises ``pydantic.ValidationError``."""
        value = from_json(text)
        kind = return_type(self._fn, {})
        if kind is UNDECLARED or kind is Any:
            return value
        try:
            values = _values(kind)
        except TypeError:  # a type that cannot be hashed
            values = Values(kind)
        return value if values.problem() is not None else values.parse(value)


@lru_cache(maxsize=256)
def _values(kind: Any) -> Values[Any]:
    """Built once for a type: a log may have thousands of memos of one."""
    return Values(kind)


def _text(value: object) -> str:
    """The text of a value that is no JSON; one with its address in it would differ in every process."""
    if type(value).__repr__ is object.__repr__ and type(value).__str__ is object.__str__:
        raise TypeError(f"{type(value).__name__} has no text of its own; pass plain values, such as an id")
    return str(value)
