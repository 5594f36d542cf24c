"""Inputs and outputs between Python values and JSON text."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from hatchet_sdk.declare.options import EmptyModel


class DataclassInstance(Protocol):
    """Any instance of a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


T = TypeVar("T")

JSONSerializableMapping = dict[str, Any]
EMPTY_OBJECT = "{}"


def normalize_validator(validator: Any) -> Any:
    """The type that inputs are checked against: ``EmptyModel`` when none is declared."""
    return EmptyModel if validator is None else validator


def json_text(value: object) -> str:
    """``value`` as the text of a JSON object.

    Takes pydantic models, dataclass instances and mappings; None is ``{}``. NaN and infinities become null.
    Raises ``TypeError`` for another type, or for a member that JSON cannot hold.
    """
    if isinstance(value, BaseModel):
        # What model_dump_json does, without its many arguments, in a third of the time.
        if type(value).model_dump_json is BaseModel.model_dump_json:
            return value.__pydantic_serializer__.to_json(value).decode()
        return value.model_dump_json()
    if value is None:
        return EMPTY_OBJECT
    if isinstance(value, Mapping) or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
        try:
            return to_json(value if not isinstance(value, Mapping) else dict(value), inf_nan_mode="null").decode()
        except ValueError as error:
            raise TypeError(str(error)) from error
    raise TypeError(f"expected a pydantic model, a dataclass, a mapping or None, got {type(value).__name__}")


class Values(Generic[T]):
    """Reads values of one declared type from JSON; the pydantic machinery is built at the first use."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    @classmethod
    def of(cls, adapter: TypeAdapter[T]) -> Values[T]:
        """Values of the type of an adapter that exists."""
        values = cls(adapter._type)
        values.__dict__["adapter"] = adapter
        return values

    @cached_property
    def adapter(self) -> TypeAdapter[T]:
        """The validator. Raises pydantic's error for a type that cannot be validated."""
        return TypeAdapter(self.kind)

    def problem(self) -> str | None:
        """Why pydantic cannot validate the type; None when it can."""
        try:
            _ = self.adapter
        except (PydanticUserError, NameError) as error:
            return str(error).partition("\n")[0]
        return None

    def parse(self, data: Any) -> T:
        """``data``, which came from JSON, as a value of the declared type.

        Fields are found by name and by alias, because callers write them by name whatever aliases a model has.
        Raises ``pydantic.ValidationError``.
        """
        if self.kind is dict:
            return data  # type: ignore[no-any-return]  # T is dict, and data came from a JSON object
        try:
            return self.adapter.validate_python(data, by_alias=True, by_name=True)
        except ValidationError:
            # A strict model takes dates, UUIDs, tuples and the like from JSON only in JSON mode.
            return self.adapter.validate_json(to_json(data), by_alias=True, by_name=True)

    def json_schema(self) -> bytes | None:
        """The JSON schema of the type; None for a type that has none. It is only shown, never needed (C-3.28)."""
        try:
            return to_json(self.adapter.json_schema())
        except PydanticUserError:
            return None


def parse_json(text: str | bytes) -> Any:
    """JSON text as Python objects. Raises ``ValueError``."""
    return from_json(text)
