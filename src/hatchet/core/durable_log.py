"""A durable task's log as one invocation walks it: a pure state machine (behaviour-durable D-5 to D-8, D-12 to D-15).

A log belongs to a task run. Each invocation asks for its operations from the first one on; what is recorded answers
from the log, and what goes beyond it is new. Whoever uses this class writes what a step says is new, and tells
:meth:`DurableLog.took` once it is committed; and writes the releases of :meth:`DurableLog.releases` before it sends
them. The rows win: when a write finds its node taken, the log is read again and the step decided anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeAlias

from hatchet.core.durable_waits import WaitCondition, described, fingerprint, from_text

Key: TypeAlias = tuple[int, int]
"""(branch, node)"""

ROOT = 1
"""The number of a log's first branch, and of a branch's first node (D-6.1, D-6.2)."""
MOST_ENTRIES = 10_000
"""A log may not grow longer: every invocation walks all of it."""
PATIENCE_SECONDS = 5.0
"""How long a worker must have listed an entry to get its completion ahead of its place in the walk (D-15.17)."""
STALLED_SECONDS = 60.0
"""How long a completion may be held back because another one was never asked for (D-15.10)."""


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
    """The first hand-over of a completion: its place in the satisfied order, for ever (D-7.6, D-7.7)."""

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
    def about(self) -> str:
        """For people (D-14.8)."""
        if self.kind is EntryKind.RUN:
            return f"run({self.subject})"
        if self.kind is EntryKind.WAIT_FOR:
            return described(from_text(self.subject)) if self.subject else described(())
        return "memo"


@dataclass(slots=True, frozen=True)
class Found:
    """The operation is recorded; it is answered from ``entry``."""

    entry: Entry


@dataclass(slots=True, frozen=True)
class New:
    """The operation goes beyond what is recorded: it is to be written at this place."""

    branch: int
    node: int
    digest: bytes


@dataclass(slots=True, frozen=True)
class Mismatch:
    """Something else is recorded at this place (D-14). Nothing has changed (D-14.12)."""

    branch: int
    node: int
    expected: str
    received: str

    def message(self, task_id: str) -> str:
        """For the developer (D-14.8)."""
        return (
            f"non-determinism error in the durable task {task_id} at {self.node}:{self.branch} (node:branch)\n"
            f"expected: {self.expected}, as recorded by an earlier invocation\n"
            f"received: {self.received}, which the code asks for now"
        )


class Restore(Enum):
    """Whether a task that was just evicted has to go on (D-17.15)."""

    NO = "NO"
    NOW = "NOW"
    SOON = "SOON"
    """After some three seconds."""


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


class DurableLog:
    """The log of one task run in the walk of one invocation. Nothing here is thread-safe or does I/O."""

    def __init__(
        self,
        invocation: int,
        entries: Iterable[Entry] = (),
        branches: Iterable[Branch] = (),
        *,
        walked: int = 0,
        hands_over_in_order: bool = True,
    ) -> None:
        """``walked``: the node that this invocation has come to already (:func:`resume_point`).

        ``hands_over_in_order``: the worker blocks behind a completion that nobody waits for, so that children are
        handed over only once they are awaited (D-15.16).
        """
        self.invocation = invocation
        self.hands_over_in_order = hands_over_in_order
        self.walked = walked
        known = {branch.id: branch for branch in branches}
        known.setdefault(ROOT, Branch(ROOT, None, ROOT))
        self.active = known[max(known)]
        self._path = _path(self.active, known)
        self._entries: dict[Key, Entry] = {}
        self._children: dict[str, list[Entry]] = {}
        self._requested: set[Key] = set()
        self._awaited: set[Key] = set()
        self._listed: dict[Key, float] = {}
        self._sent: set[Key] = set()
        self._unused: set[Key] = set()
        """First releases of this invocation that no request has followed."""
        self._ready: dict[Key, Entry] = {}
        """Requested entries with a result that were never released."""
        self.tip = 0
        """The highest node on the active path (D-6.5)."""
        for entry in entries:
            self._add(entry)
        self._released = sorted(
            (entry for entry in self._entries.values() if entry.release is not None and self._is_on_path(entry)),
            key=_order,
        )
        self._next = 0
        """How many of the released ones, from the first on, were sent in this invocation."""
        self.recorded = self.tip
        """How far earlier invocations came: until there the walk answers from the log."""
        for node in range(1, walked + 1):
            # What an invocation asked for before this picture of it was made.
            if (asked := self.at(node)) is not None:
                self._request(asked)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def is_replaying(self) -> bool:
        """Whether operations of earlier invocations lie ahead."""
        return self.walked < self.recorded

    def at(self, node: int) -> Entry | None:
        """The entry of a node on the active path (D-6.8)."""
        return self._entries.get((self._branch_of(node), node))

    def get(self, branch: int, node: int) -> Entry | None:
        """An entry of whatever branch."""
        return self._entries.get((branch, node))

    def on_path(self) -> list[Entry]:
        """The entries of the active path, by node."""
        return sorted((one for one in self._entries.values() if self._is_on_path(one)), key=lambda one: one.node)

    # What the invocation asks for -------------------------------------------------------------------------------------

    def memo(self, key: bytes) -> Found | New | Mismatch:
        """The next operation is a memo (D-12.1)."""
        return self._step(memo_digest(key), "memo")

    def wait(self, conditions: Sequence[WaitCondition]) -> Found | New | Mismatch:
        """The next operation is a wait (D-8)."""
        return self._step(wait_digest(conditions), described(conditions))

    def spawn(self, children: Sequence[Child]) -> list[Found | New] | Mismatch:
        """The next operations are these children, answered in their order (D-13).

        A child that was spawned before stands for its name, and uses up its node only where the walk comes to it
        (D-6.4); one name asked for twice gets one node. On a mismatch none is new.
        """
        position = self.walked
        fresh: dict[str, New] = {}
        steps: list[Found | New] = []
        for child in children:
            name, digest = child.name, run_digest(child.workflow, child.input)
            known = self._child(name)
            if known is not None:
                if not child.key and known.digest != digest:
                    return Mismatch(known.branch, known.node, known.about, f"run({child.workflow}) with another input")
                if known.node == position + 1:
                    position += 1
                steps.append(Found(known))
                continue
            if name is not None and name in fresh:
                steps.append(fresh[name])
                continue
            recorded = self.at(position + 1)
            if recorded is not None:
                return Mismatch(recorded.branch, recorded.node, recorded.about, f"run({child.workflow})")
            position += 1
            new = New(self.active.id, position, digest)
            if name is not None:
                fresh[name] = new
            steps.append(new)
        return steps

    def took(self, entry: Entry) -> None:
        """An operation is about to be acknowledged: ``entry`` answers it, and is committed."""
        self._unused.clear()
        if entry.key not in self._entries:
            self._add(entry)
        if entry.node == self.walked + 1 and self._is_on_path(entry):
            self.walked = entry.node
        self._request(entry)

    # What comes back --------------------------------------------------------------------------------------------------

    def satisfied(self, branch: int, node: int, result: Result) -> bool:
        """An entry has its result, committed; False when that was known or the entry is not."""
        entry = self._entries.get((branch, node))
        if entry is None or entry.result is not None:
            return False
        entry.result = result
        self._make_ready(entry)
        return True

    def listed(self, keys: Iterable[Key], now: float) -> list[Entry]:
        """The worker waits for these. Those that were sent before are returned: they are to be sent again (D-15.5)."""
        again: list[Entry] = []
        for key in keys:
            entry = self._entries.get(key)
            if entry is None:
                continue
            self._awaited.add(key)
            self._listed.setdefault(key, now)
            if key in self._sent:
                again.append(entry)
            else:
                self._make_ready(entry)
        return again

    def received(self, order: int) -> None:
        """The worker has the completions up to this order (D-15.6)."""
        for entry in self._released[self._next :]:
            if _order(entry) <= order:
                self._sent.add(entry.key)

    def releases(self, now: float) -> list[tuple[Entry, Release]]:
        """The completions that may be handed over now, in their order; those without a release get one.

        In a path's order, each not before the walk has come as far as it had at its first hand-over (D-15.3, D-15.17).
        """
        found: list[tuple[Entry, Release]] = []
        self._skip_sent()
        for entry in self._released[self._next :]:
            release = entry.release
            assert release is not None
            if entry.key in self._sent:
                continue
            if entry.key not in self._requested or not self._has_come(entry.key, release.tip, now):
                return found
            found.append((entry, release))
        order = _order(self._released[-1]) if self._released else 0
        for entry in sorted(self._ready.values(), key=_satisfied_first):
            if not self._has_come(entry.key, self.tip, now):
                return found
            order += 1
            found.append((entry, Release(self.active.id, order, self.tip, self.invocation)))
        return found

    def sent(self, entry: Entry, release: Release) -> None:
        """A completion is handed over; its release is committed."""
        self._sent.add(entry.key)
        self._ready.pop(entry.key, None)
        if entry.release is None:
            entry.release = release
            self._released.append(entry)
            self._unused.add(entry.key)
        self._skip_sent()

    def stalled(self, now: float) -> Entry | None:
        """A completion that is held back for too long, because others were never asked for again (D-15.10)."""
        for key, since in self._listed.items():
            entry = self._entries[key]
            is_held = entry.result is not None and entry.kind is not EntryKind.MEMO and key not in self._sent
            if is_held and key in self._requested and now - since > STALLED_SECONDS:
                return entry
        return None

    def after_eviction(self) -> Restore:
        """What the worker cannot have used of this invocation, which was just evicted (D-17.15)."""
        if self._ready or any(self._is_owed(entry) for entry in self._released[self._next :]):
            return Restore.NOW
        if not self._unused:
            return Restore.NO
        is_open = any(
            entry.result is None and entry.kind is not EntryKind.MEMO
            for key in self._requested
            if (entry := self._entries[key]) is not None
        )
        return Restore.SOON if is_open else Restore.NOW

    def overdue(self) -> bool:
        """The same from the rows alone, for an evicted task that this instance did not serve (D-29.6)."""
        for entry in self.on_path():
            if entry.kind is EntryKind.MEMO or entry.result is None:
                continue
            release = entry.release
            if release is None or (release.invocation == self.invocation and release.tip == self.tip):
                return True
        return False

    def waiting(self) -> list[Entry]:
        """The entries of the active path that have no result and may still get one by waiting (D-8.8, D-22.8)."""
        return [one for one in self.on_path() if one.result is None and one.kind is not EntryKind.MEMO]

    # ------------------------------------------------------------------------------------------------------------------

    def _step(self, digest: bytes, received: str) -> Found | New | Mismatch:
        node = self.walked + 1
        entry = self.at(node)
        if entry is None:
            return New(self.active.id, node, digest)
        if entry.digest != digest:
            return Mismatch(entry.branch, entry.node, entry.about, received)
        return Found(entry)

    def _child(self, name: str | None) -> Entry | None:
        """The child of that name on the active path (D-13.5)."""
        if name is None:
            return None
        return next((one for one in reversed(self._children.get(name, ())) if self._is_on_path(one)), None)

    def _add(self, entry: Entry) -> None:
        self._entries[entry.key] = entry
        if entry.child_name is not None:
            self._children.setdefault(entry.child_name, []).append(entry)
        if self._is_on_path(entry):
            self.tip = max(self.tip, entry.node)

    def _request(self, entry: Entry) -> None:
        self._requested.add(entry.key)
        self._make_ready(entry)

    def _make_ready(self, entry: Entry) -> None:
        if entry.result is None or entry.release is not None or entry.kind is EntryKind.MEMO:
            return
        if entry.key not in self._requested:
            return
        is_awaited = entry.kind is EntryKind.WAIT_FOR or not self.hands_over_in_order or entry.key in self._awaited
        if is_awaited:
            self._ready[entry.key] = entry

    def _has_come(self, key: Key, tip: int, now: float) -> bool:
        since = self._listed.get(key)
        return self.walked >= tip or (since is not None and now - since >= PATIENCE_SECONDS)

    def _is_owed(self, entry: Entry) -> bool:
        return entry.key in self._requested and entry.key not in self._sent

    def _skip_sent(self) -> None:
        while self._next < len(self._released) and self._released[self._next].key in self._sent:
            self._next += 1

    def _branch_of(self, node: int) -> int:
        for branch in self._path:
            if branch.first_node <= node:
                return branch.id
        return ROOT

    def _is_on_path(self, entry: Entry) -> bool:
        return self._branch_of(entry.node) == entry.branch


def branched(branches: Iterable[Branch], entries: Iterable[Entry], branch: int, node: int) -> Branch | None:
    """The branch that begins at ``node`` of ``branch`` (D-22.5); None when there is no such entry."""
    known = {one.id: one for one in branches}
    known.setdefault(ROOT, Branch(ROOT, None, ROOT))
    if branch not in known:
        return None
    path = _path(known[branch], known)
    owner = next((one.id for one in path if one.first_node <= node), ROOT)
    if not any(one.key == (owner, node) for one in entries):
        return None
    return replace(known[branch], id=max(known) + 1, parent=branch, first_node=node)


def _path(active: Branch, known: dict[int, Branch]) -> list[Branch]:
    path = [active]
    while (parent := path[-1].parent) is not None:
        path.append(known[parent])
    return path


def _digest(kind: EntryKind, content: bytes) -> bytes:
    return hashlib.sha256(kind.value.encode() + b"\x00" + content).digest()


def _order(entry: Entry) -> int:
    return entry.release.order if entry.release is not None else 0


def _satisfied_first(entry: Entry) -> tuple[float, int, int]:
    assert entry.result is not None
    return entry.result.at, entry.branch, entry.node
