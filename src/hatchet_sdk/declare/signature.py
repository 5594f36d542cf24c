"""What a decorated function takes and returns."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

logger = logging.getLogger("hatchet_sdk")

UNDECLARED: Any = object()
"""The return type of a function that does not annotate one."""


def check_parameters(fn: Callable[..., Any], task_name: str) -> None:
    """Raise ``TypeError`` unless ``fn`` can be called with ``(input, ctx)`` and needs nothing else."""
    if not callable(fn):
        raise TypeError(f"task '{task_name}': a function is expected, got {type(fn).__name__}")
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise TypeError(f"task '{task_name}': a generator function cannot be a task; return a value instead")
    try:
        inspect.signature(fn).bind(None, None)
    except TypeError:
        raise TypeError(
            f"task '{task_name}' must take two arguments, (input, ctx), but its signature is {inspect.signature(fn)}"
        ) from None


def return_type(fn: Callable[..., Any], local_names: Mapping[str, Any]) -> Any:
    """The annotated return type of ``fn``; ``UNDECLARED`` without a usable annotation.

    ``local_names`` are the names where the function was defined, for annotations that are texts.
    """
    annotation = getattr(fn, "__annotations__", {}).get("return", UNDECLARED)
    if not isinstance(annotation, str):
        return annotation
    try:
        # Not typing.get_type_hints: it would also evaluate annotations that exist for type checkers only.
        return eval(annotation, getattr(fn, "__globals__", {}), dict(local_names))
    except Exception as error:
        logger.warning(
            "the return annotation %r of %s cannot be evaluated (%s); its results are returned as plain objects",
            annotation,
            getattr(fn, "__qualname__", fn),
            error,
        )
        return UNDECLARED


def names_where_declared() -> Mapping[str, Any]:
    """The local names where a decorator is applied, for annotations that are texts (``from __future__ import …``).

    For the decorators themselves: between them and the caller there may be frames of this package only.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith("hatchet_sdk."):
        frame = frame.f_back
    return {} if frame.f_locals is frame.f_globals else frame.f_locals
