"""What ends while rows are being read: those rows do not say so, and nothing may begin again because of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Meanwhile:
    """The reads of one tenant that are under way. Memory does not grow with what ended before."""

    def __init__(self) -> None:
        self._reads: list[set[str]] = []

    def ended(self, id: str) -> None:  # noqa: A002
        """An attempt of a task, or a run, has ended."""
        for ids in self._reads:
            ids.add(id)

    @contextmanager
    def reading(self) -> Iterator[set[str]]:
        """Inside the block rows are read; the set has what ended since its begin."""
        ids: set[str] = set()
        self._reads.append(ids)
        try:
            yield ids
        finally:
            # By identity: two sets that hold the same are not the same read.
            self._reads = [one for one in self._reads if one is not ids]
