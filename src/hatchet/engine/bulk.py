"""Cancels and replays many runs at once, by their ids or by a filter (behaviour-core C-15.1 to C-15.8, C-15.24)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from hatchet.core.errors import InvalidArgument
from hatchet.core.ids import parse_uuid
from hatchet.core.messages import RunFilter
from hatchet.core.run_filter import LISTED
from hatchet.engine.control import Control
from hatchet.engine.replay import Replay
from hatchet.store.pool import Database
from hatchet.store.run_search import search_runs
from hatchet.store.runs import resolve_ids

MOST_CANCELLED = 20_000
MOST_REPLAYED = 1000
"""Runs a call (C-15.6). More ids are refused; of more matches the newest are taken, the next call takes the next."""

AT_ONCE = 200
"""Ids in one step: writes and memory stay small, and other work gets its turn in between."""


class Bulk:
    """Works through many ids in steps. What was done stays when a step fails: the call can be repeated."""

    def __init__(self, database: Database, control: Control, replay: Replay) -> None:
        self._database = database
        self._control = control
        self._replay = replay

    async def cancel(self, tenant_id: str, wanted: Sequence[str] | RunFilter) -> list[str]:
        """Cancel runs and tasks; returns the ids that were taken: those that exist, or the runs that a filter found.

        Ids of what has ended are among them (behaviour-rest R-11.9), though nothing happens to it (C-6.38). A filter
        looks only for runs that have not ended, so that ended ones never use up the number of a call. Raises
        :class:`InvalidArgument` for more ids than a call may have.
        """
        if isinstance(wanted, RunFilter):
            groups = await self._unended(tenant_id, wanted)
        else:
            groups = await self._known(tenant_id, wanted, MOST_CANCELLED, "cancelled")
        for ids in _steps(groups):
            await self._control.cancel(tenant_id, ids)
        return _in_order(wanted, (one for ids in groups for one in ids))

    async def replay(self, tenant_id: str, wanted: Sequence[str] | RunFilter) -> list[str]:
        """Replay runs and tasks; returns those of the ids of which something was opened again (C-15.9 to C-15.11).

        Ids of one run, and of its tasks, are decided together. Raises :class:`InvalidArgument` for more ids than a call
        may have.
        """
        if isinstance(wanted, RunFilter):
            groups = [[run_id] for run_id in await search_runs(self._database, tenant_id, wanted, MOST_REPLAYED)]
        else:
            groups = await self._known(tenant_id, wanted, MOST_REPLAYED, "replayed")
        opened: list[str] = []
        for ids in _steps(groups):
            opened.extend(await self._replay.replay(tenant_id, ids))
        return _in_order(wanted, opened)

    async def _unended(self, tenant_id: str, wanted: RunFilter) -> list[list[str]]:
        statuses = frozenset(status for status in wanted.statuses or LISTED if not status.is_terminal)
        if not statuses:
            return []
        found = await search_runs(self._database, tenant_id, replace(wanted, statuses=statuses), MOST_CANCELLED)
        return [[run_id] for run_id in found]

    async def _known(self, tenant_id: str, ids: Sequence[str], most: int, done: str) -> list[list[str]]:
        """Those of the ids that the tenant has, the ones of one run together."""
        if len(ids) > most:
            raise InvalidArgument(
                f"at most {most} ids can be {done} in one call, not {len(ids)}: send them in several calls"
            )
        normal = _normal(ids)
        groups: dict[str, list[str]] = {}
        for one in await resolve_ids(self._database, tenant_id, normal) if normal else []:
            groups.setdefault(one.run_id or one.id, []).append(one.id)
        return list(groups.values())


def _normal(ids: Sequence[str]) -> list[str]:
    """The UUIDs among the texts, each once."""
    return list(dict.fromkeys(one for one in map(parse_uuid, ids) if one is not None))


def _steps(groups: Iterable[list[str]]) -> Iterator[list[str]]:
    """The ids in pieces; a group is never torn."""
    step: list[str] = []
    for ids in groups:
        if step and len(step) + len(ids) > AT_ONCE:
            yield step
            step = []
        step.extend(ids)
    if step:
        yield step


def _in_order(wanted: Sequence[str] | RunFilter, ids: Iterable[str]) -> list[str]:
    """The ids as the caller named them, or as the filter found them."""
    if isinstance(wanted, RunFilter):
        return list(ids)
    taken = set(ids)
    return [one for one in _normal(wanted) if one in taken]
