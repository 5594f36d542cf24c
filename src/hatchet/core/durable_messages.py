"""What travels on a durable task stream, as plain data (behaviour-durable D-3).

Ids are lower-case UUID texts, payloads JSON texts, times seconds since 1970. Front doors translate their wire format to
these and back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from hatchet.core.durable_log import EntryKind
from hatchet.core.durable_waits import WaitCondition
from hatchet.core.messages import TriggerItem


@dataclass(slots=True, frozen=True)
class EntryRef:
    """Names one entry of a log, and the invocation that is meant (D-3.17)."""

    task_id: str
    invocation: int
    branch: int
    node: int


# Requests -------------------------------------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class MemoRequest:
    """D-3.2. ``payload``: the value, when the worker has it already (D-12.4)."""

    task_id: str
    invocation: int
    key: bytes
    payload: str | None = None


@dataclass(slots=True, frozen=True)
class SpawnRequest:
    """D-3.3: start child runs."""

    task_id: str
    invocation: int
    items: tuple[TriggerItem, ...]


@dataclass(slots=True, frozen=True)
class WaitRequest:
    """D-3.4. ``label``: for people (D-11.9)."""

    task_id: str
    invocation: int
    conditions: tuple[WaitCondition, ...]
    label: str | None = None


@dataclass(slots=True, frozen=True)
class EvictRequest:
    """D-3.6: the worker lets go of a waiting invocation."""

    task_id: str
    invocation: int
    reason: str | None = None


@dataclass(slots=True, frozen=True)
class ReceivedOrder:
    """Up to which satisfied order a worker has an invocation's completions (D-15.6)."""

    task_id: str
    invocation: int
    order: int


@dataclass(slots=True, frozen=True)
class StatusRequest:
    """D-3.7: what a worker waits for. ``received`` None: the client does not know that list."""

    waiting: tuple[EntryRef, ...]
    received: tuple[ReceivedOrder, ...] | None = None


@dataclass(slots=True, frozen=True)
class MemoValue:
    """D-3.8: the value that was computed for a memo."""

    ref: EntryRef
    payload: str


@dataclass(slots=True, frozen=True)
class UnreadableRequest:
    """A request that the front door could not translate; it is answered in its turn (D-4.8).

    ``task_id`` may be no UUID.
    """

    task_id: str
    invocation: int
    message: str


Request = MemoRequest | SpawnRequest | WaitRequest | EvictRequest | StatusRequest | MemoValue | UnreadableRequest


# Responses ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class MemoAck:
    """D-3.10."""

    ref: EntryRef
    existed: bool
    payload: str | None = None


@dataclass(slots=True, frozen=True)
class SpawnedRun:
    """One child of :class:`SpawnAck`."""

    node: int
    branch: int
    run_id: str


@dataclass(slots=True, frozen=True)
class SpawnAck:
    """D-3.11; ``runs`` in the order of the request (D-4.7)."""

    task_id: str
    invocation: int
    runs: tuple[SpawnedRun, ...]


@dataclass(slots=True, frozen=True)
class WaitAck:
    """D-3.12."""

    ref: EntryRef


@dataclass(slots=True, frozen=True)
class EntryCompleted:
    """D-3.13. ``order`` None: a memo (D-7.6)."""

    ref: EntryRef
    payload: str
    is_failure: bool = False
    error: str | None = None
    order: int | None = None


@dataclass(slots=True, frozen=True)
class Refused:
    """D-3.14."""

    ref: EntryRef
    message: str
    is_non_determinism: bool = False


@dataclass(slots=True, frozen=True)
class EvictionAck:
    """D-3.15."""

    task_id: str
    invocation: int


@dataclass(slots=True, frozen=True)
class ServerEvict:
    """D-3.16: the invocation is not the current one any more; the worker forgets it (D-16.3)."""

    task_id: str
    invocation: int
    reason: str


Response = MemoAck | SpawnAck | WaitAck | EntryCompleted | Refused | EvictionAck | ServerEvict

SendResponse = Callable[[Response], Awaitable[None]]
"""Hands one response to a worker's transport; raises Unavailable when the stream is gone."""


# What people see ------------------------------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True, kw_only=True)
class LogLine:
    """One entry of a log for people (D-25.2)."""

    branch: int
    node: int
    kind: EntryKind
    wait_data: list[dict[str, Any]] | None
    """What the entry waits for, as JSON values (D-25.3); None for a memo."""
    is_satisfied: bool
    satisfied_at: float | None
    inserted_at: float
    user_message: str | None
    """The label of the wait (D-11.9)."""
    task_id: str
    """The durable task that the log belongs to, not the child of a RUN entry."""
    task_name: str
    run_id: str | None = None
    """The child run of a RUN entry."""
