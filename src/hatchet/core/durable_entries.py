"""The records of a durable log as plain data, and what of a request is compared (behaviour-durable D-7, D-14)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from hatchet.core.durable_waits import WaitCondition, described, fingerprint, from_text

Key: TypeAlias = tuple[int, int]
"""(branch, node)"""
Turn: TypeAlias = tuple[int, float]
"""What is handed over together (:attr:`Entry.turn`)."""

ROOT = 1
"""The number of a log's first branch, and of a branch's first node (D-6.1, D-6.2)."""


class EntryKind(Enum):
    """D-7.1."""

    RUN = "RUN"
    WAIT_FOR = "WAIT_FOR"
    MEMO = "MEMO"


@dataclass(slots=True, frozen=True)
class Branch:
    """Nodes from ``first_node`` on belong to it, the others to ``parent`` (D-6.7); None: it is the root."""

    id: int
    parent: int | None
    first_node: int


@dataclass(slots=True, frozen=True)
class Result:
    """What an entry came to, for ever (D-7.3). ``at``: seconds since 1970; ``payload``: JSON object text or empty."""

    at: float
    payload: str = ""
    is_failure: bool = False
    error: str | None = None


@dataclass(slots=True, frozen=True)
class Release:
    """The first hand-over of a completion on a branch: its place in the satisfied order, for ever (D-7.6, D-7.7)."""

    branch: int
    """The active branch then; orders are unique in it."""
    order: int
    tip: int
    """The highest node of the path then: a later walk must have come as far before it is handed over (D-15.17)."""
    invocation: int


@dataclass(slots=True, frozen=True)
class Child:
    """A child run that is asked for. ``key`` wins over ``index`` (D-13.4)."""

    workflow: str
    input: str
    key: str | None = None
    index: int | None = None

    @property
    def name(self) -> str | None:
        """Under which it is found again; None: never."""
        if self.key:
            return f"key:{self.key}"
        return None if self.index is None else f"index:{self.index}"


@dataclass(slots=True)
class Entry:
    """One record of the log (D-7.2)."""

    kind: EntryKind
    branch: int
    node: int
    digest: bytes
    """Of what was asked, its kind included (D-14.1)."""
    invocation: int
    """That wrote it."""
    created_at: float
    subject: str = ""
    """Conditions of a wait as :func:`hatchet.core.durable_waits.to_text` makes them; the workflow of a run."""
    label: str | None = None
    child_name: str | None = None
    """:attr:`Child.name` of a run."""
    run_id: str | None = None
    is_single: bool = False
    """Whether the run's result is the output of its only task (D-13.12)."""
    result: Result | None = None
    release: Release | None = None

    @property
    def key(self) -> Key:
        return self.branch, self.node

    @property
    def turn(self) -> Turn:
        """What is handed over together: the children of one request, or the entry alone."""
        return (self.invocation, self.created_at) if self.kind is EntryKind.RUN else self.key

    @property
    def about(self) -> str:
        """For people (D-14.8)."""
        if self.kind is EntryKind.RUN:
            return f"run({self.subject})"
        if self.kind is EntryKind.WAIT_FOR:
            return described(from_text(self.subject)) if self.subject else described(())
        return "memo"


def memo_digest(key: bytes) -> bytes:
    """D-14.6."""
    return _digest(EntryKind.MEMO, key)


def wait_digest(conditions: Iterable[WaitCondition]) -> bytes:
    """D-14.2."""
    return _digest(EntryKind.WAIT_FOR, fingerprint(conditions))


def run_digest(workflow: str, text: str) -> bytes:
    """D-14.3."""
    return _digest(EntryKind.RUN, workflow.encode() + b"\x00" + text.encode())


def resume_point(invocation: int, entries: Iterable[Entry], marks: Sequence[int]) -> int | None:
    """How far an invocation has walked, according to the rows; None: that is lost, and only a new invocation helps.

    ``marks``: the nodes that it noted. It notes 0 before it answers from a log of earlier invocations, and the tip when
    it has walked all of that; what it wrote itself lies beyond.
    """
    own = max((entry.node for entry in entries if entry.invocation == invocation), default=0)
    furthest = max(own, *marks, 0)
    return None if marks and not furthest else furthest


def _digest(kind: EntryKind, content: bytes) -> bytes:
    return hashlib.sha256(kind.value.encode() + b"\x00" + content).digest()
