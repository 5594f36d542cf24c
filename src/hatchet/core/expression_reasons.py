"""Makes one clear line of what the CEL library says about a text that does not compile or an evaluation that failed.

The library writes for its own developers: a block with a drawing of the place for every follow-up mistake, operators
by their internal names (``_==_``), status codes around everything. An unknown message comes through as it is, cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

TOO_DEEP = "too_deep"
"""The type name of what stands for a value that is nested too deeply, as the library quotes it."""

_MAX_MISTAKES = 3
_MAX_LENGTH = 300

_STATUS = re.compile(r"\A[A-Z_]+: |\s*\[[A-Z_]+\]\Z")
_MISTAKE = re.compile(r"^ERROR: <input>:(-?\d+):(-?\d+): ", re.MULTILINE)
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")
_OVERLOAD_CHECKED = re.compile(r"found no matching overload for '(\S+)' applied to '(.*)'", re.DOTALL)
_OVERLOAD_EVALUATED = re.compile(
    r"No matching overloads found : (?:\((.*?)\)\.)?([\w@?:\[\]<=>!&|+*/%-]+?)(?:\((.*)\))?", re.DOTALL
)
_NUMBERS_COMPARED = re.compile(
    r"found no matching overload for '_(?:<|<=|>|>=|==|!=)_' applied to '\((?:int|uint|double), (?:int|uint|double)\)'"
)
_REWRITTEN: Sequence[tuple[re.Pattern[str], str]] = tuple(
    (re.compile(pattern, re.DOTALL), text)
    for pattern, text in (
        (
            r"^.*recursion (?:limit|depth).*$",
            "nested too deeply, at most 32 levels (operators in a row are levels, too)",
        ),
        (r"^Iteration budget exceeded$", "it goes round loops more than 10000 times"),
        (r"^std::bad_alloc$", "it needs too much memory"),
        (rf"^Non-CEL value type for .*: {TOO_DEEP}\.$", "a value is nested too deeply"),
        (r"^Key not found in map : (.*)$", r"no such key: \1"),
        (r"^Unexpected value type for '(\w+)': (\w+)\. \(Expected MAP.*\)$", r"\1 is not an object but of type \2"),
        (r"^No matching overloads found : <jump_condition>$", "what stands before '?' is not a bool"),
        (r"^Applying SELECT to non-message type$", "a field is read from a value that is not an object"),
        (r" expecting (?:\{.*\}|'.*'|<EOF>|[A-Z]+)$", ""),
        (r"^Syntax error: (?:mismatched input|extraneous input|no viable alternative at input) ", "unexpected "),
        (r"^Syntax error: token recognition error at: ", "unreadable from "),
        (r"^Syntax error: ", ""),
        (r"'<EOF>'", "end of the text"),
    )
)


def compile_reason(message: str, text: str, variables: Sequence[str]) -> str:
    """One line about ``text``, which the library refused with ``message``: where (line:column from 1) and why."""
    places = []
    undeclared = False
    for line, column, reason in _mistakes(message):
        if _NUMBERS_COMPARED.fullmatch(reason):
            continue
        found = _UNDECLARED.match(reason)
        if found:
            undeclared = True
            reason, column = f"undeclared reference to '{_root(found[1])}'", _start(text, line, column, found[1])
        place = f" at {line}:{column}" if line > 0 else ""
        places.append(f"{place}: {_readable(reason)}")
        if line <= 0 or reason.startswith("Syntax error"):
            break  # What follows comes from this mistake.
    shown = list(dict.fromkeys(places))[:_MAX_MISTAKES] or [f": {evaluation_reason(message)}"]
    hint = f" (variables here: {', '.join(variables)})" if undeclared else ""
    return f"does not compile{';'.join(shown)}{hint}"


def evaluation_reason(message: str) -> str:
    """The library's message about an evaluation, without its status codes and internal names."""
    return _readable(_STATUS.sub("", message))


def only_compares_numbers(message: str) -> bool:
    """Whether the library refused nothing but comparisons of numbers of two types, such as ``double(x) < 5``."""
    reasons = [reason for _, _, reason in _mistakes(message)]
    return bool(reasons) and all(_NUMBERS_COMPARED.fullmatch(reason) for reason in reasons)


def _mistakes(message: str) -> Iterator[tuple[int, int, str]]:
    message = _STATUS.sub("", message)
    starts = list(_MISTAKE.finditer(message))
    ends = [*(start.start() for start in starts[1:]), len(message)]
    for start, end in zip(starts, ends, strict=False):
        reason = message[start.end() : end].partition("\n | ")[0]
        yield int(start[1]), int(start[2]), reason.strip().removesuffix(" (in container '')")


def _root(name: str) -> str:
    return name.partition(".")[0]


def _start(text: str, line: int, column: int, name: str) -> int:
    """Where ``name`` begins: the library points at its last dot, or behind it at the parenthesis of a call."""
    path, dot, _ = name.rpartition(".")
    path, end = (path, column - 1) if dot else (name, column - 1 + len(name))
    lines = text.split("\n")
    found = lines[line - 1].rfind(path, 0, end) if 0 < line <= len(lines) else -1
    return found + 1 if found >= 0 else column


def _readable(reason: str) -> str:
    for pattern, text in _REWRITTEN:
        reason = pattern.sub(text, reason)
    line = " ".join(_overload(reason).split())
    return line if len(line) <= _MAX_LENGTH else line[:_MAX_LENGTH] + "…"


def _overload(reason: str) -> str:
    """The two ways to say that an operator or a function was given the wrong types, as one; others unchanged."""
    if checked := _OVERLOAD_CHECKED.fullmatch(reason):
        return f"'{_operator(checked[1])}' does not take {checked[2]}"
    if evaluated := _OVERLOAD_EVALUATED.fullmatch(reason):
        receiver, name, types = evaluated.groups()
        given = ", ".join(filter(None, (receiver, types))).replace("int64", "int")
        return f"'{_operator(name)}' does not take {f'({given})' if given else 'these types'}"
    return reason


def _operator(name: str) -> str:
    """``_==_`` to ``==``, ``_?_:_`` to ``?:``, ``@in`` to ``in``; a function's name stays."""
    return name if name.isidentifier() else name.strip("@").replace("_", "")
