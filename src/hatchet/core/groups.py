"""Groups of concurrency rules and those that ask for places in them: the data of :mod:`hatchet.core.concurrency`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from heapq import heapify, heappop, heappush
from typing import Any, Generic, TypeVar

from hatchet.core.limits import Ask
from hatchet.core.rules import Strategy

Order = tuple[float, str]
"""Who of one flow comes first: urgency, then id."""
Turn = tuple[bool, int]
"""Which flow comes first: one with an urgent applicant, then the one served longest ago. No two flows have the same."""

SPARE = 16
"""How many entries that no longer hold a line may keep beside as many as hold."""


class Where(Enum):
    """Where an applicant stands."""

    WAITING = "WAITING"
    ADMITTED = "ADMITTED"
    AWAY = "AWAY"
    """It gave its places up and will ask again (a retry delay, a rate limit)."""


class InLine:
    """What can stand in one line at a time."""

    __slots__ = ("entry",)

    def __init__(self) -> None:
        self.entry: tuple[Any, int, Any] | None = None
        """Its entry in the line where it stands: key, number, itself."""


Member = TypeVar("Member", bound=InLine)


class Line(Generic[Member]):
    """Those that wait, the one with the least key first; they may leave from the middle.

    A heap in which entries of those that left stay until they are the first, or are too many: whoever waits long at
    its head must not make the line grow for ever.
    """

    __slots__ = ("_added", "_heap", "_size")

    def __init__(self) -> None:
        self._heap: list[tuple[Any, int, Any]] = []
        self._size = 0
        self._added = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Member]:
        """In no order."""
        return (entry[2] for entry in self._heap if entry[2].entry is entry)

    def add(self, member: Member, key: Order | Turn) -> None:
        """``member`` must stand in no line."""
        # The number keeps equal keys, of those that left and came back, from being compared further.
        self._added += 1
        member.entry = entry = (key, self._added, member)
        self._size += 1
        heappush(self._heap, entry)

    def remove(self, member: Member) -> None:
        """``member`` must stand in this line."""
        entry, member.entry = member.entry, None
        self._size -= 1
        if self._heap[0] is entry:
            heappop(self._heap)
        elif len(self._heap) > 2 * self._size + SPARE:
            self._heap = [entry for entry in self._heap if entry[2].entry is entry]
            heapify(self._heap)

    def first(self) -> Member | None:
        heap = self._heap
        while heap:
            entry = heap[0]
            member: Member = entry[2]
            if member.entry is entry:
                return member
            heappop(heap)
        return None


class Applicant(InLine):
    """A task, or a run of several tasks, that asks for a place in each of its groups."""

    __slots__ = ("flow", "id", "is_first", "is_urgent", "order", "where")

    def __init__(self, id: str, flow: Flow, order: Order) -> None:  # noqa: A002
        super().__init__()
        self.id = id
        self.flow = flow
        self.order = order
        self.is_first = False
        """Whether it never had its places: only such count as queued for the strategies that cancel queued ones."""
        self.is_urgent = False
        """Whether it comes before all others: retries, reassignments, replays (C-11.3)."""
        self.where = Where.AWAY


class Group:
    """One key of one rule."""

    __slots__ = (
        "flows",
        "key",
        "limit",
        "limit_from",
        "line",
        "members",
        "queued",
        "queues",
        "rule",
        "strategy",
    )

    def __init__(self, ask: Ask) -> None:
        self.rule = ask.rule
        self.key = ask.key
        self.strategy = ask.strategy
        self.queues = ask.strategy.queues
        """Whether surplus waits."""
        self.limit = ask.max_runs
        self.limit_from = ""
        """The id of the member that the limit is from: the newest one (C-9.5)."""
        self.flows: dict[Flow, None] = {}
        """Who asks here; a group that nobody asks is forgotten."""
        self.members: dict[str, Applicant] = {}
        """Those that have a place, by id."""
        self.queued: dict[str, Applicant] = {}
        """Those that wait and never had a place; kept for the strategies that cancel among them."""
        self.line: Line[Flow] = Line()
        """The flows that wait for a place here."""

    @property
    def room(self) -> int:
        """How many more it takes; negative when the limit was lowered."""
        return self.limit - len(self.members)

    @property
    def cancels_queued(self) -> bool:
        """Whether but one of those that wait stays (C-9.10)."""
        return self.strategy in (Strategy.CANCEL_QUEUED_EXCEPT_NEWEST, Strategy.CANCEL_QUEUED_EXCEPT_OLDEST)

    def follow(self, strategy: Strategy) -> None:
        """From now on the surplus is treated in another way: what was kept for the old one goes."""
        if strategy.queues and not self.queues:
            # Cancelling rules keep members that wait elsewhere, which here would wait for themselves.
            self.members = {one.id: one for one in self.members.values() if one.where is Where.ADMITTED}
        self.strategy = strategy
        self.queues = strategy.queues
        self.queued = {}
        if self.cancels_queued:
            self.queued = {one.id: one for flow in self.flows for one in flow.line if one.is_first}


class Flow(InLine):
    """Those that ask for places in the same groups. What keeps one of them waiting keeps all of them waiting.

    Flows take turns: the one that was served longest ago comes first, so that no backlog of one key delays another.
    """

    __slots__ = ("at", "groups", "line", "size", "tries", "turn")

    def __init__(self, groups: tuple[Group, ...], turn: int) -> None:
        super().__init__()
        self.groups = groups
        """In the order in which they are asked."""
        self.turn = turn
        """When it was served last."""
        self.size = 0
        """How many applicants know it."""
        self.tries = 0
        """How often it was the first somewhere and another group was full."""
        self.line: Line[Applicant] = Line()
        """Those of it that wait."""
        self.at: Group | None = None
        """The group in whose line it stands, if any of it wait."""


class Groups:
    """All groups and flows of one tenant, for as long as an applicant knows them."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], Group] = {}
        self._flows: dict[tuple[Group, ...], Flow] = {}
        self._turn = 0

    def __iter__(self) -> Iterator[Group]:
        return iter(self._groups.values())

    def __len__(self) -> int:
        return len(self._groups)

    def next_turn(self) -> int:
        self._turn += 1
        return self._turn

    def of(self, ask: Ask) -> Group:
        """The group that is asked; it must be known."""
        return self._groups[ask.rule, ask.key]

    def flow(self, asks: Sequence[Ask]) -> Flow:
        """The flow of those that ask for these places, perhaps a new one, which comes after all others."""
        # A rule that is asked twice with one key is one group.
        groups = tuple(dict.fromkeys([self._group(ask) for ask in asks]))
        flow = self._flows.get(groups)
        if flow is None:
            flow = self._flows[groups] = Flow(groups, self.next_turn())
            for group in groups:
                group.flows[flow] = None
        return flow

    def forget(self, flow: Flow) -> None:
        """Nobody is in the flow any more."""
        del self._flows[flow.groups]
        for group in flow.groups:
            del group.flows[flow]
            if not group.flows:
                del self._groups[group.rule, group.key]

    def _group(self, ask: Ask) -> Group:
        name = (ask.rule, ask.key)
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = Group(ask)
        return group
