"""Who may be active under the concurrency rules of one tenant (behaviour-core C-9): pure, in memory, rebuilt from rows.

An applicant is a task, or a run of several tasks as a whole. It asks its groups in the order of its rules (C-9.15). A
cancelling rule is asked as soon as those before it have room, and keeps its members until they have ended. Places of
rules that make others wait are taken all together or not at all, so that nobody holds one place while waiting for
another: there is no deadlock, and no place that is held for nothing.

Fairness: applicants with the same groups are one flow, in the order of urgency and creation; flows take turns (C-9.7).
A flow stands in the line of one group that is full for it, and is looked at when that group gets room. One that was
first in turn ``PATIENCE`` times and found another of its groups full has places kept free for it, one flow at a time in
the order of their complaints, so that it cannot starve between two busy groups. Such a place stays empty until the
flow's other groups have room, too.

A change costs the logarithm of what waits, and as much again for each applicant that it admits or cancels and each flow
that it finds in a line with room while another of its groups is full; that flow then stands in the right line, until
another group gets room.

After a take-over: ``expect`` those that wait, ``hold`` all that are active or between two attempts, ``step_back`` for
the latter, ``arrive`` for those that wait in the order of their ids, then ``settle``. Limits are those of the newest
member that is still open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush, nsmallest

from hatchet.core.groups import Applicant, Flow, Group, Groups, Order, Turn, Where
from hatchet.core.limits import Ask
from hatchet.core.rules import Strategy

PATIENCE = 8


@dataclass(slots=True)
class Verdict:
    """What follows from a change, by the ids of applicants, each at most once; both in the order of the decisions."""

    admitted: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    """They are forgotten here; the caller ends them (C-9.11)."""


@dataclass(slots=True, frozen=True)
class Held:
    """A group that is full, for whoever asks why something waits."""

    rule: str
    key: str
    limit: int
    holders: tuple[str, ...]
    """Ids of tasks or runs."""


class Concurrency:
    """All groups of one tenant."""

    def __init__(self) -> None:
        self._groups = Groups()
        self._applicants: dict[str, Applicant] = {}
        self._freed: dict[Group, None] = {}
        """Groups at which somebody may have a place now."""
        self._impatient: dict[Flow, None] = {}
        """Flows that were passed over too often, in the order of their complaints."""
        self._favoured: Flow | None = None
        """The first of these: places are kept free for it."""
        self._admitted: dict[str, None] = {}
        self._cancelled: list[str] = []

    def __contains__(self, id: str) -> bool:  # noqa: A002
        return id in self._applicants

    def __len__(self) -> int:
        return len(self._applicants)

    def has_place(self, id: str) -> bool:  # noqa: A002
        """Whether it is admitted."""
        applicant = self._applicants.get(id)
        return applicant is not None and applicant.where is Where.ADMITTED

    def waits(self, id: str) -> bool:  # noqa: A002
        """Whether it waits for places."""
        applicant = self._applicants.get(id)
        return applicant is not None and applicant.where is Where.WAITING

    # What happens to applicants -------------------------------------------------------------------------------------

    def arrive(
        self,
        id: str,  # noqa: A002
        asks: Sequence[Ask],
        order: Order,
        *,
        is_first: bool = True,
        is_urgent: bool = False,
    ) -> Verdict:
        """It asks for its places, for the first time or again. Who has them already is admitted at once."""
        applicant = self._known(id, asks, order)
        if applicant.where is Where.ADMITTED or not asks:
            applicant.where = Where.ADMITTED
            self._admitted[id] = None
            return self._told()
        self._stop_waiting(applicant)
        self._adjust(id, asks)
        flow = applicant.flow
        applicant.order, applicant.is_first, applicant.is_urgent = order, is_first, is_urgent
        applicant.where = Where.WAITING
        flow.line.add(applicant, order)
        if flow.at is None or flow.line.first() is applicant:
            self._file(flow)
        self._serve()
        if applicant.where is Where.WAITING and self._join(applicant, _before(self._full_for(flow), flow)):
            self._serve()
            if applicant.where is Where.WAITING:
                self._queue(applicant)
        return self._told()

    def expect(self, id: str, asks: Sequence[Ask], order: Order) -> None:  # noqa: A002
        """It will arrive: of several that arrive together the newest decides about limits before any of them asks."""
        self._known(id, asks, order)
        self._adjust(id, asks)

    def hold(self, id: str, asks: Sequence[Ask], order: Order) -> None:  # noqa: A002
        """It is active already, whatever the limits: what runs at a take-over."""
        applicant = self._known(id, asks, order)
        self._stop_waiting(applicant)
        self._adjust(id, asks)
        applicant.where = Where.ADMITTED
        for group in applicant.flow.groups:
            group.members[id] = applicant

    def step_back(self, id: str) -> Verdict:  # noqa: A002
        """It gives up the places that others wait for, and will ask again (C-9.14). Cancelling rules keep it."""
        applicant = self._applicants.get(id)
        if applicant is not None:
            self._stop_waiting(applicant)
            applicant.where = Where.AWAY
            self._give_up(id, (group for group in applicant.flow.groups if group.queues))
        return self._told()

    def leave(self, id: str) -> Verdict:  # noqa: A002
        """It has ended (C-9.18)."""
        self._forget(id)
        return self._told()

    def settle(self) -> Verdict:
        """After a take-over: cancel what is too many in groups whose oldest members give way (C-9.8)."""
        for group in list(self._groups):
            if group.strategy is Strategy.CANCEL_IN_PROGRESS:
                self._outrun(group)
        return self._told()

    def full(self, id: str) -> list[Held]:  # noqa: A002
        """The groups that keep an applicant waiting."""
        applicant = self._applicants.get(id)
        if applicant is None or applicant.where is not Where.WAITING:
            return []
        return [
            Held(group.rule, group.key, group.limit, tuple(group.members)) for group in self._full_for(applicant.flow)
        ]

    # Places ---------------------------------------------------------------------------------------------------------

    def _is_full(self, group: Group, flow: Flow) -> bool:
        """Whether the flow must wait here; a place may be kept free for another flow."""
        favoured = self._favoured
        kept = favoured is not None and favoured is not flow and group in favoured.groups
        return group.queues and group.limit - len(group.members) <= kept

    def _full_for(self, flow: Flow) -> list[Group]:
        return [group for group in flow.groups if self._is_full(group, flow)]

    def _file(self, flow: Flow) -> None:
        """Let a flow stand where it must: in the line of a full group; where it is, to be served, when none is."""
        applicant = flow.line.first()
        if applicant is None:
            self._stand(flow, None)
            self._content(flow)
            return
        at = flow.at
        if at is None or not self._is_full(at, flow):
            full = self._full_for(flow)
            # Where fewest wait it is tried least often in vain.
            at = min(full, key=lambda group: len(group.line)) if full else at or flow.groups[0]
            if not full:
                self._freed[at] = None
        self._stand(flow, at, (not applicant.is_urgent, flow.turn))

    def _stand(self, flow: Flow, at: Group | None, key: Turn = (False, 0)) -> None:
        if flow.at is not None:
            if flow.at is at and _turn_of(flow) == key:
                return
            flow.at.line.remove(flow)
        flow.at = at
        if at is not None:
            at.line.add(flow, key)

    def _serve(self) -> None:
        """Admit whoever has room: of the lines with room the flow whose turn it is first, until nothing is left."""
        lines: list[tuple[Turn, int, Group]] = []
        pushed = 0
        while self._freed or lines:
            for group in self._freed:
                flow = self._next(group)
                if flow is not None:
                    pushed += 1
                    heappush(lines, (_turn_of(flow), pushed, group))
            self._freed.clear()
            if not lines:
                return
            turn, _, group = heappop(lines)
            flow = self._next(group)
            if flow is not None and _turn_of(flow) == turn:
                self._serve_one(flow)
            self._freed[group] = None

    def _next(self, group: Group) -> Flow | None:
        """The flow that may be served at a group; None when it has no room for the next, or nobody waits."""
        favoured = self._favoured
        flow = favoured if favoured is not None and favoured.at is group else group.line.first()
        return None if flow is None or self._is_full(group, flow) else flow

    def _serve_one(self, flow: Flow) -> None:
        """The first of a flow has its turn: it is admitted, or the flow goes to wait for a group that is full."""
        applicant = flow.line.first()
        assert applicant is not None
        full = self._full_for(flow)
        if full:
            flow.tries += 1
            if flow.tries >= PATIENCE:
                self._complain(flow)
            if self._join(applicant, _before(full, flow)):
                self._file(flow)
        elif self._join(applicant, flow.groups):
            flow.turn, flow.tries = self._groups.next_turn(), 0
            self._content(flow)
            self._admit(applicant)

    def _admit(self, applicant: Applicant) -> None:
        """Take all places."""
        flow = applicant.flow
        for group in flow.groups:
            group.members[applicant.id] = applicant
        applicant.where = Where.ADMITTED
        self._admitted[applicant.id] = None
        self._stop_waiting(applicant)

    def _stop_waiting(self, applicant: Applicant) -> None:
        if applicant.entry is None:
            return
        flow = applicant.flow
        was_first = flow.line.first() is applicant
        flow.line.remove(applicant)
        if applicant.where is Where.WAITING:
            applicant.where = Where.AWAY
        for group in flow.groups:
            if group.queued:
                group.queued.pop(applicant.id, None)
        if was_first:
            self._file(flow)

    def _give_up(self, id: str, groups: Iterable[Group]) -> None:  # noqa: A002
        for group in groups:
            if group.members.pop(id, None) is not None:
                self._freed[group] = None

    def _complain(self, flow: Flow) -> None:
        """Places are kept free for the flow once it is the first of those that complain."""
        if all(group.limit > 0 for group in flow.groups if group.queues):
            self._impatient[flow] = None
            self._favoured = next(iter(self._impatient))

    def _content(self, flow: Flow) -> None:
        """Nothing is kept free for the flow any more."""
        if flow in self._impatient:
            del self._impatient[flow]
            if self._favoured is flow:
                self._favoured = next(iter(self._impatient), None)
                self._freed.update(dict.fromkeys(flow.groups))

    # Cancelling rules -----------------------------------------------------------------------------------------------

    def _join(self, applicant: Applicant, groups: Iterable[Group]) -> bool:
        """Become a member of the cancelling groups among these; False when one of them has no place for it."""
        for group in groups:
            if group.queues or applicant.id in group.members:
                continue
            if group.strategy is Strategy.CANCEL_NEWEST and group.room <= 0:
                self._cancel(applicant.id)
                return False
            group.members[applicant.id] = applicant
            if group.strategy is Strategy.CANCEL_IN_PROGRESS:
                self._outrun(group)
                if applicant.id not in self._applicants:
                    return False
        return True

    def _outrun(self, group: Group) -> None:
        """The newest members stay (C-9.8)."""
        if group.room < 0:
            for id in nsmallest(-group.room, group.members):  # noqa: A001
                self._cancel(id)

    def _queue(self, applicant: Applicant) -> None:
        """It waits and never ran: it counts for the strategies that cancel such (C-9.10)."""
        for group in applicant.flow.groups if applicant.is_first else ():
            if group.cancels_queued:
                group.queued[applicant.id] = applicant
                self._thin_out(group)
                if applicant.where is not Where.WAITING:
                    return

    def _thin_out(self, group: Group) -> None:
        """Of those that are queued only the newest or the oldest stays."""
        stays = max if group.strategy is Strategy.CANCEL_QUEUED_EXCEPT_NEWEST else min
        kept = stays(group.queued, default=None)
        for id in [id for id in group.queued if id != kept]:  # noqa: A001
            self._cancel(id)

    def _cancel(self, id: str) -> None:  # noqa: A002
        self._admitted.pop(id, None)
        self._cancelled.append(id)
        self._forget(id)

    # Bookkeeping ----------------------------------------------------------------------------------------------------

    def _known(self, id: str, asks: Sequence[Ask], order: Order) -> Applicant:  # noqa: A002
        flow = self._groups.flow(asks)
        applicant = self._applicants.get(id)
        if applicant is not None and applicant.flow is not flow:
            # A replay computes the keys again (C-9.3).
            self._forget(id)
            applicant = None
        if applicant is None:
            flow.size += 1
            applicant = self._applicants[id] = Applicant(id, flow, order)
        return applicant

    def _adjust(self, id: str, asks: Sequence[Ask]) -> None:  # noqa: A002
        """The newest member's limit is the group's (C-9.5), and its strategy."""
        for ask in asks:
            group = self._groups.of(ask)
            if id < group.limit_from:
                continue
            group.limit_from = id
            if ask.max_runs != group.limit:
                group.limit = ask.max_runs
                self._freed[group] = None
                if group.limit <= 0:
                    for flow in [flow for flow in self._impatient if group in flow.groups]:
                        self._content(flow)
            if ask.strategy is not group.strategy:
                group.follow(ask.strategy)
                self._freed[group] = None
                self._thin_out(group)

    def _forget(self, id: str) -> None:  # noqa: A002
        applicant = self._applicants.pop(id, None)
        if applicant is None:
            return
        flow = applicant.flow
        self._stop_waiting(applicant)
        applicant.where = Where.AWAY
        self._give_up(id, flow.groups)
        flow.size -= 1
        if not flow.size:
            self._groups.forget(flow)

    def _told(self) -> Verdict:
        self._serve()
        verdict = Verdict(list(self._admitted), self._cancelled)
        self._admitted, self._cancelled = {}, []
        return verdict


def _turn_of(flow: Flow) -> Turn:
    assert flow.entry is not None
    turn: Turn = flow.entry[0]
    return turn


def _before(full: Sequence[Group], flow: Flow) -> Sequence[Group]:
    """The groups that are asked before the first full one (C-9.15)."""
    return flow.groups[: flow.groups.index(full[0])] if full else flow.groups
