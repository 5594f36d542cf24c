"""CEL expressions: where users decide about keys, limits and conditions in a line of text (behaviour-core C-8.30 ff.).

The only module that knows the CEL library. What users may write is the CEL standard with its macros, the string
functions (``lowerAscii``, ``split``, ``join``, ``replace``, ``substring``, ``trim``, ``format`` …) and ``checksum``.

- Whole JSON numbers are ints, others doubles; they compare with each other. An int beyond 64 bits counts as a double,
  and half a surrogate pair as U+FFFD.
- A key that is missing is a failure: ask ``has(input.key)`` first (C-8.34).
- Limits of the library: 32 levels of nesting, 10,000 rounds of all macros of an evaluation together.
- An evaluation holds the GIL until it ends. These limits do not bound it in bytes: a text that was written to do harm
  can still build a string of gigabytes.
- Only what a text names is handed to the library, for that converts all it gets: an input with 8,000 values took
  2.2 ms, the one field that ``input.user`` reads of it 9 us (the evaluation with everything around it).
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Literal, TypeAlias, overload

from cel_expr_python import cel
from cel_expr_python.ext import ext_strings
from google.protobuf.descriptor_pool import DescriptorPool

from hatchet.core.expression_data import Reads, data_for, is_too_deep, reads_of, union
from hatchet.core.expression_reasons import compile_reason, evaluation_reason, only_compares_numbers

MAX_TEXT_BYTES = 16 * 1024
"""Longer expressions are refused."""

CACHE_CHARACTERS = 512 * 1024
"""What the texts of the compiled expressions that are kept may add up to, 64 for each on top: about 6,000 usual ones.
A compiled text takes up to 180 bytes of memory a character."""


class Use(Enum):
    """What an expression is for: decides the variables it sees and the type it must yield (C-8.30)."""

    PARENT_CONDITION = "parent condition"
    USER_EVENT_CONDITION = "user event condition"
    IDEMPOTENCY = "idempotency key"
    EVENT_FILTER = "event filter"
    CONCURRENCY = "concurrency key"
    MAX_RUNS = "max runs"
    RATE_LIMIT_KEY = "rate limit key"
    RATE_LIMIT_UNITS = "rate limit units"
    """Units and limit. A double is truncated."""
    BATCH_KEY = "batch group key"
    WEBHOOK = "webhook"
    """Event key and scope of a webhook."""

    # Members are single objects; the usual hash is a function in Python, and compiled texts are found by it.
    __hash__ = object.__hash__


class ExpressionFailed(Exception):
    """The expression has no value for these variables."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        """Why, in one line without the expression itself."""


_Truth: TypeAlias = Literal[Use.PARENT_CONDITION, Use.USER_EVENT_CONDITION, Use.EVENT_FILTER]
_Number: TypeAlias = Literal[Use.MAX_RUNS, Use.RATE_LIMIT_UNITS]
_Key: TypeAlias = Literal[Use.IDEMPOTENCY, Use.CONCURRENCY, Use.RATE_LIMIT_KEY, Use.BATCH_KEY, Use.WEBHOOK]

_OF_A_TASK = ("input", "additional_metadata", "workflow_run_id", "parents")
_VARIABLES: Mapping[Use, tuple[str, ...]] = {
    Use.PARENT_CONDITION: ("output", "input", "parents"),
    Use.USER_EVENT_CONDITION: ("input",),
    Use.IDEMPOTENCY: ("input", "additional_metadata"),
    Use.EVENT_FILTER: ("input", "additional_metadata", "payload", "event_id", "event_key"),
    Use.CONCURRENCY: _OF_A_TASK,
    Use.MAX_RUNS: ("input", "additional_metadata"),
    Use.RATE_LIMIT_KEY: _OF_A_TASK,
    Use.RATE_LIMIT_UNITS: _OF_A_TASK,
    Use.BATCH_KEY: _OF_A_TASK,
    Use.WEBHOOK: ("input", "headers"),
}
_TEXTS = frozenset({"workflow_run_id", "event_id", "event_key"})
_CONDITIONS = frozenset({Use.PARENT_CONDITION, Use.USER_EVENT_CONDITION})
_BOOLS = _CONDITIONS | {Use.EVENT_FILTER}
_INTS = frozenset({Use.MAX_RUNS, Use.RATE_LIMIT_UNITS})
_INT64 = range(-(2**63), 2**63)


def check(text: str, use: Use) -> str | None:
    """Why ``text`` cannot be an expression for ``use``, in one line with line:column from 1; None when it can.

    Only whether it compiles is looked at (C-3.17 ff.): a text of the wrong type fails when it is evaluated (C-8.36).
    The empty text is refused; where it is allowed (C-8.24) the caller asks before.
    """
    try:
        _compile(text, use)
    except ExpressionFailed as failed:
        return failed.reason
    return None


@overload
def evaluate(text: str, use: _Truth, variables: Mapping[str, Any]) -> bool: ...
@overload
def evaluate(text: str, use: _Key, variables: Mapping[str, Any]) -> str: ...
@overload
def evaluate(text: str, use: _Number, variables: Mapping[str, Any]) -> int: ...
@overload
def evaluate(text: str, use: Use, variables: Mapping[str, Any]) -> bool | str | int: ...
def evaluate(text: str, use: Use, variables: Mapping[str, Any]) -> bool | str | int:
    """The value of ``text``: a bool, a string without U+0000, or an int of 64 bits, as ``use`` wants it.

    ``variables`` are plain values from JSON. Those of the use that are missing or None are the empty object, or the
    empty string for ids and event keys; others are ignored.
    Raises :class:`ExpressionFailed`, and nothing else, for a text that does not compile, a failing evaluation and a
    result of another type (``expected string output, got int``, C-8.36).
    """
    program = _programs.get(text, use)
    data = data_for(program.reads, variables, _TEXTS)
    try:
        result = program.expression.eval(data=data)
        value, kind = result.value(), str(result.type().name()).partition("<")[0].lower()
    except Exception as error:
        # The library raises whatever its C++ threw, also std::bad_alloc, when it gives up in the middle.
        raise ExpressionFailed(evaluation_reason(str(error))) from None
    if kind == "error":
        raise ExpressionFailed(evaluation_reason(str(value)))
    wanted = _result(use)
    if kind == wanted or (kind == "uint" and wanted == "int"):
        return _checked(value)
    if kind == "double" and use is Use.RATE_LIMIT_UNITS and math.isfinite(value):
        return _checked(int(value))
    raise ExpressionFailed(f"expected {wanted} output, got {kind}")


def holds(text: str, use: Use, variables: Mapping[str, Any]) -> bool:
    """Whether a condition is true: a failure or another type is false, an empty condition is true (C-8.22, C-8.24).

    Only conditions of tasks may be empty; an empty event filter is false (C-12.20).
    """
    if not text and use in _CONDITIONS:
        return True
    try:
        return evaluate(text, use, variables) is True
    except ExpressionFailed:
        return False


def holds_all(
    questions: Sequence[tuple[str, Mapping[str, Any]]], use: _Truth, variables: Mapping[str, Any]
) -> list[bool | ExpressionFailed]:
    """What :func:`evaluate` says to several texts about the same ``variables``, in their order; failures are returned.

    Each text may have variables of its own. Questions with the same object of these, and those that read none of
    theirs, share one conversion of the data: 4 us instead of 15 for a short text (``python -m benchmarks.events``).
    """
    found: list[bool | ExpressionFailed] = [False] * len(questions)
    alike: dict[int, list[tuple[int, _Program]]] = {}
    programs = _programs.get_all([text for text, _ in questions], use)
    for number, ((_, own), program) in enumerate(zip(questions, programs, strict=True)):
        if isinstance(program, ExpressionFailed):
            found[number] = program
        else:
            group = id(own) if any(name in own for name, _ in program.reads) else 0
            alike.setdefault(group, []).append((number, program))
    environment = _environment(_VARIABLES[use])
    for asked in alike.values():
        own = questions[asked[0][0]][1]
        together = union(tuple([program.reads for _, program in asked]))
        data = data_for(together, {**variables, **own}, _TEXTS)
        if is_too_deep(data) and len(asked) > 1:
            # That must fail only those that read it.
            for number, _ in asked:
                [found[number]] = holds_all([questions[number]], use, variables)
            continue
        activation = None
        for number, program in asked:
            try:
                activation = activation or environment.Activation(data)
                result = program.expression.eval(activation)
                value = result.value()
            except Exception as error:
                found[number] = ExpressionFailed(evaluation_reason(str(error)))
            else:
                found[number] = value if value is True or value is False else _no_truth(result)
    return found


def _no_truth(result: Any) -> ExpressionFailed:
    kind = str(result.type().name()).partition("<")[0].lower()
    if kind == "error":
        return ExpressionFailed(evaluation_reason(str(result.value())))
    return ExpressionFailed(f"expected bool output, got {kind}")


def _result(use: Use) -> str:
    return "bool" if use in _BOOLS else "int" if use in _INTS else "string"


def _checked(value: bool | str | int) -> bool | str | int:
    if isinstance(value, str) and "\x00" in value:
        raise ExpressionFailed("the result contains the null character")
    if isinstance(value, int) and value not in _INT64:
        raise ExpressionFailed(f"the result {value:.3e} does not fit into 64 bits")
    return value


@dataclass(slots=True, frozen=True)
class _Program:
    expression: Any
    reads: Reads


def _compile(text: str, use: Use) -> Any:
    _refuse_unusable(text)
    names = _VARIABLES[use]
    environment = _environment(names)
    try:
        return environment.compile(text)
    except Exception as error:
        message = str(error)
    if only_compares_numbers(message):
        # The checker knows no comparison of an int with a double, the evaluation does (C-8.31).
        try:
            return environment.compile(text, disable_check=True)
        except Exception as error:
            message = str(error)
    raise ExpressionFailed(compile_reason(message, text, names))


def _refuse_unusable(text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ExpressionFailed("does not compile: it contains half a surrogate pair, remove it") from None
    if not text:
        raise ExpressionFailed("does not compile: it is empty")
    if "\x00" in text:
        raise ExpressionFailed("does not compile: it contains the null character, remove it")
    if size > MAX_TEXT_BYTES:
        raise ExpressionFailed(f"does not compile: it has {size} bytes, {MAX_TEXT_BYTES} are allowed")


@lru_cache
def _environment(variables: tuple[str, ...]) -> Any:
    checksum = cel.Overload("checksum_string", return_type=cel.Type.STRING, parameters=[cel.Type.STRING], impl=_sha256)
    values = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
    return cel.NewEnv(
        # An empty pool: the messages of our own contracts are no types of the language.
        DescriptorPool(),
        variables={name: cel.Type.STRING if name in _TEXTS else values for name in variables},
        extensions=[ext_strings.ExtStrings()],
        functions=[cel.FunctionDecl("checksum", [checksum])],
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class _Programs:
    """The expressions compiled last, within a budget of characters: compiling takes five evaluations or more."""

    def __init__(self, budget: int) -> None:
        self._left = budget
        self._kept: OrderedDict[tuple[Use, str], _Program] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, text: str, use: Use) -> _Program:
        """The program of ``text``. Raises :class:`ExpressionFailed` when it does not compile."""
        key = (use, text)
        with self._lock:
            program = self._kept.get(key)
            if program is not None:
                self._kept.move_to_end(key)
                return program
        return self._compiled(text, use)

    def get_all(self, texts: Sequence[str], use: Use) -> list[_Program | ExpressionFailed]:
        """The programs of several texts, and why those that do not compile do not."""
        with self._lock:
            found = [self._kept.get((use, text)) for text in texts]
            for text, program in zip(texts, found, strict=True):
                if program is not None:
                    self._kept.move_to_end((use, text))
        return [program or self._or_failure(text, use) for text, program in zip(texts, found, strict=True)]

    def _or_failure(self, text: str, use: Use) -> _Program | ExpressionFailed:
        try:
            return self.get(text, use)
        except ExpressionFailed as failed:
            return failed

    def _compiled(self, text: str, use: Use) -> _Program:
        key = (use, text)
        program = _Program(_compile(text, use), reads_of(text, _VARIABLES[use]))
        with self._lock:
            if key not in self._kept:
                self._kept[key] = program
                self._left -= _weight(text)
            while self._left < 0:
                (_, oldest), _ = self._kept.popitem(last=False)
                self._left += _weight(oldest)
        return program


def _weight(text: str) -> int:
    return len(text) + 64


_programs = _Programs(CACHE_CHARACTERS)
