"""The doctor: checks the invariants between rows on a live database, and mends what can be mended safely.

Looking writes nothing and locks nothing: each look is a snapshot of its own with a time limit on its statements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from hatchet.core.clock import Clock, Ids
from hatchet.core.ids import lowest_at
from hatchet.engine.bus import Bus
from hatchet.engine.doctor_checks import CHECKS, Found, Outcome
from hatchet.engine.doctor_looks import LOOKS, Look, Sight
from hatchet.engine.doctor_mends import Mends
from hatchet.engine.doctor_runs import RunLook
from hatchet.engine.rebuild import Rebuild
from hatchet.engine.registration import Registration
from hatchet.engine.run_facts import RunFacts
from hatchet.store.doctor import LookFailed, reading
from hatchet.store.pool import Database

NAME = "doctor"
DAY = 86_400.0


@dataclass(slots=True, frozen=True, kw_only=True)
class Scope:
    """How far a look goes."""

    days: float | None = None
    """Only what was created in these last days; None: everything that is kept."""
    patience_seconds: float = 30.0
    """For each statement."""


class Doctor:
    """Looks, and mends."""

    def __init__(self, database: Database, clock: Clock, ids: Ids, *, max_internal_retries: int) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._max_internal_retries = max_internal_retries

    async def examine(self, scope: Scope) -> list[Outcome]:
        """What each check found, in the order of :data:`CHECKS`. Raises Unavailable when the database is away."""
        outcomes = {check.name: Outcome(check) for check in CHECKS}
        looks: list[tuple[Look, tuple[str, ...]]] = [*LOOKS, (RunLook(), RunLook.NAMES)]
        for look, names in looks:
            try:
                for name, found in (await self._look(look, scope)).items():
                    outcomes[name].found += found
            except (LookFailed, asyncpg.PostgresError) as error:
                _not_checked(outcomes, names, str(error))
            except KeyError as error:
                # The others say which rows are missing; the engine stumbles over them, too.
                _not_checked(outcomes, names, f"a row that others need is missing: {error}")
        return list(outcomes.values())

    async def mend(self, outcomes: list[Outcome]) -> None:
        """Mend what was found; each outcome says afterwards how many of its cases were."""
        registration = Registration(database=self._database, clock=self._clock, ids=self._ids)
        bus = Bus(self._database, NAME)
        bus.has_peers = True
        mends = Mends(
            self._database,
            Rebuild(self._database, registration),
            RunFacts(self._database, registration, self._clock),
            bus,
            self._clock,
            self._max_internal_retries,
        )
        by_name = {outcome.check.name: outcome for outcome in outcomes}
        try:
            for name, mend in mends.by_name.items():
                outcome = by_name[name]
                if outcome.found:
                    outcome.mended = await mend(outcome.found)
        finally:
            await bus.stop()

    async def _look(self, look: Look, scope: Scope) -> dict[str, list[Found]]:
        now = self._clock.now()
        since = lowest_at(0.0 if scope.days is None else now - scope.days * DAY)
        async with reading(self._database, scope.patience_seconds) as rows:
            registration = Registration(database=rows, clock=self._clock, ids=self._ids)
            return await look(Sight(rows, registration, RunFacts(rows, registration, self._clock), now, since))


def _not_checked(outcomes: Mapping[str, Outcome], names: Sequence[str], reason: str) -> None:
    for name in names:
        outcomes[name].error = reason
