"""Reads what tasks wrote to their logs (behaviour-rest R-12.4, R-23)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hatchet.core.clock import Clock
from hatchet.core.definitions import StoredVersion
from hatchet.core.errors import InvalidArgument, NotFound
from hatchet.core.point_metrics import intervals
from hatchet.core.run_views import display_name
from hatchet.engine.registration import Registration
from hatchet.store.logs_read import LogFilter, TaskLine, log_page, log_points
from hatchet.store.pool import Database
from hatchet.store.task_logs import LogLine
from hatchet.store.tasks import task_states

POINTS_SECONDS = 86400.0
"""The range of counts when nobody says."""
TASK_NOT_FOUND = "task not found"


@dataclass(slots=True, frozen=True)
class ShownLine:
    """A line as people see it."""

    line: LogLine
    task_id: str
    task_name: str


@dataclass(slots=True, frozen=True)
class LogPoint:
    """How many lines of each level were written in an interval; levels without any are absent."""

    begins_at: float
    lines: dict[str, int]


class LogReading:
    """Log lines, inside a tenant."""

    def __init__(self, database: Database, registration: Registration, clock: Clock) -> None:
        self._database = database
        self._registration = registration
        self._clock = clock

    async def of_task(
        self, tenant_id: str, task_id: str, wanted: LogFilter, *, newest_first: bool, limit: int
    ) -> Sequence[ShownLine]:
        """The lines of one task, in the order of their times. Raises NotFound."""
        if not await task_states(self._database, tenant_id, [task_id]):
            raise NotFound(TASK_NOT_FOUND)
        of_task = replace(wanted, task_ids=(task_id,))
        return await self.of_tenant(tenant_id, of_task, newest_first=newest_first, limit=limit)

    async def of_tenant(
        self, tenant_id: str, wanted: LogFilter, *, newest_first: bool, limit: int
    ) -> Sequence[ShownLine]:
        """The lines of all tasks, in the order of their times."""
        if not _storable(wanted):
            return []
        lines = await log_page(self._database, tenant_id, wanted, newest_first=newest_first, limit=limit)
        return await self._shown(lines)

    async def points(self, tenant_id: str, wanted: LogFilter) -> Sequence[LogPoint]:
        """How many lines were written when; every interval is there. Raises InvalidArgument for a range without end.

        The range is the last day, unless times are given.
        """
        until = self._clock.now() if wanted.until is None else wanted.until
        since = until - POINTS_SECONDS if wanted.since is None else wanted.since
        if since >= until:
            raise InvalidArgument("since must be before until")
        begins, width = intervals(since, until)
        counts: dict[float, dict[str, int]] = {at: {} for at in begins}
        first = max(since, begins[0])
        found = await log_points(self._database, tenant_id, wanted, first, until, width) if _storable(wanted) else {}
        for (at, level), lines in found.items():
            counts.setdefault(at, {})[level] = lines
        return [LogPoint(at, counts[at]) for at in sorted(counts)]

    async def _shown(self, lines: Sequence[TaskLine]) -> list[ShownLine]:
        versions = await self._registration.versions({one.version_id for one in lines})
        return [ShownLine(one.line, one.task_id, _name(one, versions[one.version_id])) for one in lines]


def _name(one: TaskLine, version: StoredVersion) -> str:
    return display_name(version.step(one.step_id).definition.readable_id, one.task_created_at)


def _storable(wanted: LogFilter) -> bool:
    """Whether PostgreSQL can be asked for it; no message has what it cannot hold."""
    return not any(char == "\x00" or "\ud800" <= char <= "\udfff" for char in wanted.search or "")
