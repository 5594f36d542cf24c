"""A durable task's log as one invocation walks it: a pure state machine (behaviour-durable D-5 to D-8, D-12 to D-15).

A log belongs to a task run. Each invocation asks for its operations from the first one on; what is recorded answers
from the log, and what goes beyond it is new. Whoever uses this class writes what a step says is new, and tells
:meth:`DurableLog.took` once it is committed; and writes the releases of :meth:`DurableLog.releases` before it sends
them. The rows win: when a write finds its node taken, the log is read again and the step decided anew.

It is one long class, because what an invocation asks for and what is handed over to it decide each other: a release
waits for the walk, and a request ends a turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from math import inf

from hatchet.core.durable_entries import (
    ROOT,
    Branch,
    Child,
    Entry,
    EntryKind,
    Key,
    Release,
    Result,
    Turn,
    memo_digest,
    resume_point,
    run_digest,
    wait_digest,
)
from hatchet.core.durable_paths import Paths, branched
from hatchet.core.durable_waits import WaitCondition, described

__all__ = [
    "MOST_COMPUTATIONS",
    "MOST_ENTRIES",
    "PATIENCE_SECONDS",
    "ROOT",
    "STALLED_SECONDS",
    "UNDER_WAY_SECONDS",
    "Branch",
    "Child",
    "DurableLog",
    "Entry",
    "EntryKind",
    "Found",
    "Key",
    "Mismatch",
    "New",
    "Release",
    "Restore",
    "Result",
    "branched",
    "memo_digest",
    "resume_point",
    "run_digest",
    "wait_digest",
]

MOST_ENTRIES = 10_000
"""A log may not grow longer: every invocation walks all of it."""
PATIENCE_SECONDS = 5.0
"""How long a worker must list an entry, and the walk stand still, before its completion is handed over ahead of its
place in the walk (D-15.17)."""
MOST_PAUSE_SECONDS = 50.0
"""How much longer, at most, when the code took its time at that place before."""
UNDER_WAY_SECONDS = 0.5
"""How long an answer or a completion may be on its way to a worker and into its code, and the next request on its way
back (D-17.15). Less than the second after which workers evict at the earliest, so that restoring comes to an end."""
MOST_COMPUTATIONS = 10
"""In how many invocations a memo without a value brings its evicted task back: its function may fail every time."""
TURN_SECONDS = 0.02
"""How long what a completion wakes may take to ask for its next operation before another one is handed over."""
SPACE_SECONDS = 0.005
"""For how long at least: a request that comes sooner may have been on its way before. Also how far apart completions
are replayed between which nothing was asked for."""
BURST_SECONDS = 0.2
"""For how long completions are held for their turn without any request: code that waits for all of them asks for
nothing."""
STALLED_SECONDS = 60.0
"""How long a completion may be held back because another one was never asked for (D-15.10)."""


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
        """``entries``: an entry comes once for each of its releases.

        ``walked``: the node that this invocation has come to already (:func:`resume_point`).

        ``hands_over_in_order``: the worker blocks behind a completion that nobody waits for, so that children are
        handed over only once they are awaited (D-15.16).
        """
        self.invocation = invocation
        self.hands_over_in_order = hands_over_in_order
        self.walked = walked
        self._paths = Paths(branches)
        self.active = self._paths.active
        self._entries: dict[Key, Entry] = {}
        self._children: dict[str, Entry] = {}
        """The children of the active path by name (D-13.5)."""
        self._requested: set[Key] = set()
        self._awaited: set[Key] = set()
        self._listed: dict[Key, float] = {}
        self._sent: set[Key] = set()
        self._unused: set[Key] = set()
        """What first came back in this invocation, and no request has followed."""
        self._ready: dict[Key, Entry] = {}
        """Requested entries with a result that were never released."""
        self._fresh: list[Key] = []
        """Those of them that were not looked at yet."""
        self._held_from: dict[Key, float] = {}
        """When those of them that have to wait were first looked at."""
        self._turn: Turn | None = None
        """Whose turn it was last, since when, until when at most, and how far the walk had come at its first one."""
        self._turn_at = 0.0
        self._turn_until = 0.0
        self._turn_tip = -1
        self._held_at: float | None = None
        """Since when completions are held for their turn, and no request has come."""
        self._held_until = 0.0
        self._holds_replay = False
        """Whether they were handed over by earlier invocations."""
        self._still: tuple[int, float] = (-1, 0.0)
        """At which node the walk stands, and since when."""
        self._looked_at = 0.0
        self._told_at = -inf
        """When the worker got something last; infinity: just now."""
        self._last_at = 0.0
        """The latest time at which a result that this invocation has seen came to be."""
        self.tip = 0
        """The highest node on the active path (D-6.5)."""
        self._highest = 0
        """The highest order that an entry of the path ever had."""
        for entry in entries:
            self._read(entry)
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
        if walked:
            self._unused.update(entry.key for entry in self._released if self._is_latest(entry))

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def is_replaying(self) -> bool:
        """Whether operations of earlier invocations lie ahead."""
        return self.walked < self.recorded

    def at(self, node: int) -> Entry | None:
        """The entry of a node on the active path (D-6.8)."""
        return self._entries.get((self._paths.branch_of(node), node))

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
            known = self._children.get(name) if name is not None else None
            recorded = self.at(position + 1)
            if known is None and name is not None and name in fresh:
                if not child.key and fresh[name].digest != digest:
                    about = f"run({child.workflow})"
                    return Mismatch(self.active.id, fresh[name].node, about, f"{about} with another input")
                steps.append(fresh[name])
                continue
            if known is None and recorded is not None:
                # Names are not compared (D-14.5): what was asked for at this place answers.
                if recorded.digest != digest:
                    return Mismatch(recorded.branch, recorded.node, *_unlike(recorded, f"run({child.workflow})"))
                known = recorded
            if known is not None:
                if not child.key and known.digest != digest:
                    return Mismatch(known.branch, known.node, *_unlike(known, f"run({child.workflow})"))
                if known is recorded:
                    position += 1
                steps.append(Found(known))
                continue
            position += 1
            new = New(self.active.id, position, digest)
            if name is not None:
                fresh[name] = new
            steps.append(new)
        return steps

    def took(self, entry: Entry) -> None:
        """An operation is about to be acknowledged: ``entry`` answers it, and is committed."""
        self._unused.clear()
        self._turn_until = min(self._turn_until, self._turn_at + SPACE_SECONDS)
        self._held_at = None
        self._told_at = inf
        known = self._entries.get(entry.key)
        if known is None:
            known = entry
            self._add(entry)
        if known.node == self.walked + 1 and self._is_on_path(known):
            self.walked = known.node
        self._request(known)

    # What comes back --------------------------------------------------------------------------------------------------

    def satisfied(self, branch: int, node: int, result: Result) -> bool:
        """An entry has its result, committed; False when that was known or the entry is not."""
        key = branch, node
        entry = self._entries.get(key)
        if entry is None or entry.result is not None:
            return False
        entry.result = result
        self._make_ready(entry)
        if entry.kind is EntryKind.MEMO and key in self._requested:
            self._unused.add(key)
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
                self._told_at = now
                again.append(entry)
            else:
                self._make_ready(entry)
        return sorted(again, key=_order)

    def received(self, order: int) -> None:
        """The worker has this invocation's completions up to this order (D-15.6)."""
        for at in range(self._next, len(self._released)):
            entry = self._released[at]
            if _order(entry) > order:
                break
            self._sent.add(entry.key)
        self._skip_sent()

    def reconnected(self) -> None:
        """The worker has a new stream: what was sent on the old one may be lost, but for what it says it has.

        Call it before :meth:`received` and :meth:`listed` of the first message. Everything else is handed over again
        in its order; clients drop what they have (D-15.5).
        """
        self._sent.clear()
        self._next = 0

    def releases(self, now: float) -> list[tuple[Entry, Release]]:
        """The completions that may be handed over now, in their order; those without a release get one.

        In a path's order, each not before the walk has come as far as it had at its first hand-over (D-15.3, D-15.17).
        New ones take turns: what one of them wakes asks for its next operation before the next one is handed over, so
        that later invocations find the two in that order. Children of one request have one turn. What is handed over
        again and was never followed by a request has its turn again. Those between which nothing was asked for come
        one after the other again, for what they wake may have asked later.
        """
        self._looked_at = now
        if self._told_at == inf:
            self._told_at = now
        if self._still[0] != self.walked:
            self._still = self.walked, now
        self._look_at_ready(now)
        held_at, self._held_at = self._held_at, None
        takes_turns = held_at is None or now < held_at + BURST_SECONDS
        found: list[tuple[Entry, Release]] = []
        turn, tip = self._turn if now < self._turn_at + SPACE_SECONDS else None, self._turn_tip
        for at in range(self._next, len(self._released)):
            entry = self._released[at]
            if entry.key in self._sent:
                continue
            release = entry.release
            assert release is not None
            if entry.key not in self._requested or not self._has_come(entry.key, release.tip, now):
                return found
            if takes_turns and turn not in (None, entry.turn) and release.tip == tip:
                self._held_at = now if held_at is None else held_at
                self._held_until = (now if found else self._turn_at) + SPACE_SECONDS
                self._holds_replay = True
                return found
            turn, tip = entry.turn, release.tip
            found.append((entry, release))
        if self.walked < self.tip and now - self._still[1] < PATIENCE_SECONDS:
            return found
        if not found:
            turn = self._turn if now < self._turn_until else None
        order = self._highest
        for entry in sorted(self._ready.values(), key=_satisfied_first):
            if not self._has_come(entry.key, self.tip, now):
                return found
            if takes_turns and turn not in (None, entry.turn):
                self._held_at = now if held_at is None else held_at
                self._held_until = now + TURN_SECONDS if found else self._turn_until
                self._holds_replay = False
                return found
            turn = entry.turn
            order += 1
            found.append((entry, Release(self.active.id, order, self.tip, self.invocation)))
        return found

    def sent(self, entry: Entry, release: Release) -> None:
        """A completion is handed over; its release is committed."""
        self._sent.add(entry.key)
        self._ready.pop(entry.key, None)
        self._held_from.pop(entry.key, None)
        self._told_at = self._looked_at
        if entry.result is not None:
            self._last_at = max(self._last_at, entry.result.at)
        if entry.release is None:
            entry.release = release
            self._released.append(entry)
            self._highest = max(self._highest, release.order)
            self._unused.add(entry.key)
        self._turn, self._turn_at, self._turn_tip = entry.turn, self._looked_at, release.tip
        self._turn_until = self._turn_at + (TURN_SECONDS if release.tip == self.tip else SPACE_SECONDS)
        self._skip_sent()

    def next_turn(self) -> float | None:
        """When completions may be handed over that wait for their turn, in seconds since 1970; None: none does."""
        if self._held_at is None:
            return None
        return min(self._held_until, self._held_at + BURST_SECONDS)

    def next_replay(self) -> float | None:
        """The same for completions that earlier invocations got before the walk went on: the next request waits."""
        return self.next_turn() if self._holds_replay else None

    def stalled(self, now: float) -> Entry | None:
        """A completion that is held back for too long, because others were never asked for again (D-15.10)."""
        if self._held_at is not None:
            return None
        for key in self._listed:
            entry = self._entries[key]
            is_held = entry.result is not None and entry.kind is not EntryKind.MEMO and key not in self._sent
            if is_held and key in self._requested and now - self._still_since(key) > STALLED_SECONDS:
                return entry
        return None

    def skip_unasked(self) -> None:
        """Completions of operations that the code does not ask for any more hold others back no longer (D-14.11)."""
        self._sent.update(entry.key for entry in self._released[self._next :] if entry.key not in self._requested)
        self._skip_sent()

    def after_eviction(self, now: float | None = None) -> Restore:
        """What the worker cannot have used of this invocation, which was just evicted (D-17.15).

        It waited for something, or it would not have been evicted: when nothing is open, for what is on its way.
        With ``now``, what was sent a moment ago counts beside open entries, too.
        """
        if self._ready or any(self._is_owed(entry) for entry in self._released[self._next :]):
            return Restore.NOW
        requested = [self._entries[key] for key in self._requested]
        if any(self._was_computing(entry) for entry in requested) or not any(map(_is_open, requested)):
            return Restore.NOW
        is_under_way = now is not None and now - self._told_at < UNDER_WAY_SECONDS
        return Restore.SOON if self._unused or is_under_way else Restore.NO

    def overdue(self) -> bool:
        """The same from the rows alone, for an evicted task that this instance did not serve (D-29.6)."""
        path = self.on_path()
        return not any(map(_is_open, path)) or any(map(self._was_in_use, path))

    def waiting(self) -> list[Entry]:
        """The entries of the active path that have no result and may still get one by waiting (D-8.8, D-22.8)."""
        return [one for one in self.on_path() if _is_open(one)]

    # ------------------------------------------------------------------------------------------------------------------

    def _step(self, digest: bytes, received: str) -> Found | New | Mismatch:
        node = self.walked + 1
        entry = self.at(node)
        if entry is None:
            return New(self.active.id, node, digest)
        if entry.digest != digest:
            return Mismatch(entry.branch, entry.node, *_unlike(entry, received))
        return Found(entry)

    def _read(self, entry: Entry) -> None:
        """Take over a row: an entry with one of its releases, of which at most one counts on this path."""
        release, known = entry.release, self._entries.get(entry.key)
        if release is not None:
            if self._is_on_path(entry):
                self._highest = max(self._highest, release.order)
            if not self._paths.counts(release):
                entry.release = None
        if known is None:
            self._add(entry)
        elif entry.release is not None:
            known.release = entry.release

    def _add(self, entry: Entry) -> None:
        self._entries[entry.key] = entry
        if self._is_on_path(entry):
            self.tip = max(self.tip, entry.node)
            if entry.child_name is not None:
                self._children[entry.child_name] = entry

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
            self._fresh.append(entry.key)

    def _look_at_ready(self, now: float) -> None:
        for key in self._fresh:
            self._held_from.setdefault(key, now)
        self._fresh.clear()

    def _has_come(self, key: Key, tip: int, now: float) -> bool:
        if self.walked >= tip:
            return True
        if key not in self._listed:
            return False
        return now - self._still_since(key) >= PATIENCE_SECONDS + self._pause()

    def _still_since(self, key: Key) -> float:
        """Since when a listed entry's completion waits while the walk stands still."""
        return max(self._listed[key], self._still[1], self._held_from.get(key, 0.0))

    def _pause(self) -> float:
        """How long the code computed before the next operation when it was recorded, in seconds.

        Code between operations runs again in every invocation, and as long.
        """
        ahead, behind = self.at(self.walked + 1), self.at(self.walked)
        if ahead is None:
            return 0.0
        begun = max(self._last_at, behind.created_at if behind is not None else 0.0)
        return min(max(ahead.created_at - begun, 0.0), MOST_PAUSE_SECONDS) if begun else 0.0

    def _is_owed(self, entry: Entry) -> bool:
        return entry.key in self._requested and entry.key not in self._sent

    def _is_latest(self, entry: Entry) -> bool:
        """Whether its completion was first handed over in this invocation, and nothing new was asked for since."""
        release = entry.release
        return release is not None and release.invocation == self.invocation and release.tip == self.tip

    def _was_computing(self, entry: Entry) -> bool:
        """Whether this invocation may have been computing the value of a memo."""
        is_without = entry.kind is EntryKind.MEMO and entry.result is None
        return is_without and self.invocation - entry.invocation < MOST_COMPUTATIONS

    def _was_in_use(self, entry: Entry) -> bool:
        """Whether an evicted invocation may have owed something to this entry, or the other way round."""
        if entry.kind is EntryKind.MEMO:
            is_last = entry.node == self.tip and entry.invocation == self.invocation
            return is_last or self._was_computing(entry)
        if entry.release is None:
            return entry.kind is EntryKind.WAIT_FOR and entry.result is not None
        return self._is_latest(entry)

    def _skip_sent(self) -> None:
        while self._next < len(self._released) and self._released[self._next].key in self._sent:
            self._next += 1

    def _is_on_path(self, entry: Entry) -> bool:
        return self._paths.branch_of(entry.node) == entry.branch


def _unlike(recorded: Entry, received: str) -> tuple[str, str]:
    """What was expected and what came, so that the two can be told apart."""
    if recorded.about == received:
        return recorded.about, f"{received} with another {'key' if recorded.kind is EntryKind.MEMO else 'input'}"
    return recorded.about, received


def _is_open(entry: Entry) -> bool:
    """Whether it has no result and may get one by waiting."""
    return entry.result is None and entry.kind is not EntryKind.MEMO


def _order(entry: Entry) -> int:
    assert entry.release is not None
    return entry.release.order


def _satisfied_first(entry: Entry) -> tuple[float, int, int]:
    assert entry.result is not None
    return entry.result.at, entry.branch, entry.node
