"""The branches of a durable task's log (behaviour-durable D-6.7 to D-6.10, D-22)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from hatchet.core.durable_entries import ROOT, Branch, Entry, Release


def branched(branches: Iterable[Branch], entries: Iterable[Entry], branch: int, node: int) -> Branch | None:
    """The branch that begins at ``node`` of ``branch`` (D-22.5); None when there is no such entry."""
    known = _known(branches)
    if branch not in known:
        return None
    place = Paths(known.values(), branch).branch_of(node), node
    if not any(one.key == place for one in entries):
        return None
    return Branch(max(known) + 1, branch, node)


class Paths:
    """The branches of a log as the active one sees them: which node lies where, and which hand-overs it inherits."""

    def __init__(self, branches: Iterable[Branch], active: int | None = None) -> None:
        """``active`` None: the newest (D-6.9)."""
        self._known = _known(branches)
        self.active = self._known[max(self._known) if active is None else active]
        path = self._of(self.active)
        self._ranks = {branch.id: rank for rank, branch in enumerate(reversed(path))}
        self._owners: list[tuple[int, int]] = []
        """(first node, branch) of those that own nodes, by first node."""
        self._inherited: dict[int, int | None] = {}
        """By rank: the last node of the path that the branches above have in common; None: there is no branch above."""
        lowest: int | None = None
        for branch in path:
            self._inherited[self._ranks[branch.id]] = None if lowest is None else lowest - 1
            if lowest is None or branch.first_node < lowest:
                lowest = branch.first_node
                self._owners.append((branch.first_node, branch.id))
        self._owners.reverse()
        self._firsts = [first for first, _ in self._owners]

    def branch_of(self, node: int) -> int:
        """The branch whose entry stands for this node (D-6.8)."""
        at = bisect_right(self._firsts, node) - 1
        return self._owners[at][1] if at >= 0 else ROOT

    def counts(self, release: Release) -> bool:
        """Whether a hand-over belongs to the history of this path.

        Not when it was on a branch off the path, nor when the walk had come beyond the node where a later branch
        begins: what was asked for by then is asked for afresh, so that the place of the hand-over is new, too.
        """
        if release.branch not in self._ranks:
            return False
        inherited = self._inherited[self._ranks[release.branch]]
        return inherited is None or release.tip <= inherited

    def _of(self, branch: Branch) -> list[Branch]:
        path = [branch]
        while (parent := path[-1].parent) is not None:
            path.append(self._known[parent])
        return path


def _known(branches: Iterable[Branch]) -> dict[int, Branch]:
    known = {branch.id: branch for branch in branches}
    known.setdefault(ROOT, Branch(ROOT, None, ROOT))
    return known
