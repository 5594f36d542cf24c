"""The graph of a workflow's tasks by their numbers (behaviour-core C-3.9, C-6.13 to C-6.19, C-6.45)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from hatchet.core.conditions import Condition, Kind


class Node(Protocol):
    """What the graph needs of a task definition."""

    @property
    def readable_id(self) -> str: ...
    @property
    def parents(self) -> tuple[str, ...]: ...
    @property
    def conditions(self) -> tuple[Condition, ...]: ...


class Graph:
    """Who depends on whom. Tasks are numbered in the order of the definition; the on-failure task comes last."""

    def __init__(self, tasks: Sequence[Node], *, has_on_failure: bool) -> None:
        self.size = len(tasks)
        self.index_of: dict[str, int] = {task.readable_id: index for index, task in enumerate(tasks)}
        """Readable id to number."""
        self.on_failure: int | None = self.size - 1 if has_on_failure else None
        self.parents: tuple[tuple[int, ...], ...] = tuple(
            tuple(dict.fromkeys(self.index_of[parent] for parent in task.parents)) for task in tasks
        )
        children: list[list[int]] = [[] for _ in tasks]
        for index, parents in enumerate(self.parents):
            for parent in parents:
                children[parent].append(index)
        self.children: tuple[tuple[int, ...], ...] = tuple(map(tuple, children))
        ranks = _ranks(self.parents, self.children)
        self.rank: tuple[int, ...] = (*ranks[:-1], self.size) if has_on_failure else ranks
        """Greater than that of every ancestor; the on-failure task's is the greatest."""
        self.roots: tuple[int, ...] = tuple(
            index for index, parents in enumerate(self.parents) if not parents and index != self.on_failure
        )
        self.judged: frozenset[int] = frozenset(
            self.index_of[condition.parent]
            for task in tasks
            for condition in task.conditions
            if condition.kind is Kind.PARENT and condition.parent is not None
        )
        """Tasks whose output an expression of a child looks at."""
        self.listening: frozenset[int] = frozenset(
            index for index, task in enumerate(tasks) if any(one.kind is Kind.EVENT for one in task.conditions)
        )
        """Tasks that wait for events."""
        self.reads_input = any(
            condition.kind is Kind.PARENT and "input" in condition.expression
            for task in tasks
            for condition in task.conditions
        )
        """Whether an expression over a parent may look at the run's input, too (C-8.30)."""
        self._ancestors: dict[int, tuple[int, ...]] = {}

    def ancestors(self, index: int) -> tuple[int, ...]:
        """All tasks above a task (C-5.7); for the on-failure task all others."""
        found = self._ancestors.get(index)
        if found is None:
            if index == self.on_failure:
                found = tuple(range(index))
            else:
                found = tuple(sorted(_reached(self.parents, self.parents[index])))
            self._ancestors[index] = found
        return found

    def with_descendants(self, indexes: Iterable[int]) -> set[int]:
        """The tasks and all below them."""
        return _reached(self.children, indexes)


def _ranks(parents: Sequence[Sequence[int]], children: Sequence[Sequence[int]]) -> tuple[int, ...]:
    missing = [len(above) for above in parents]
    order = [index for index, count in enumerate(missing) if count == 0]
    ranks = [0] * len(parents)
    for index in order:
        for child in children[index]:
            ranks[child] = max(ranks[child], ranks[index] + 1)
            missing[child] -= 1
            if missing[child] == 0:
                order.append(child)
    return tuple(ranks)


def _reached(edges: Sequence[Sequence[int]], starts: Iterable[int]) -> set[int]:
    found: set[int] = set()
    waiting = list(starts)
    while waiting:
        index = waiting.pop()
        if index not in found:
            found.add(index)
            waiting.extend(edges[index])
    return found
