"""kill -9 of the engine, with its embedded PostgreSQL, ten times during a run of 5,000 tasks (design section 4.1)."""

from __future__ import annotations

import pytest
from checker import check
from harness import Chaos

pytestmark = pytest.mark.slow

TASKS = 5000
KILLS = 10


def test_invariant_1_ten_kills_of_the_engine_lose_nothing(chaos: Chaos) -> None:
    engine = chaos.engine()
    environment = chaos.environment(engine)
    for name in ("one", "two"):
        chaos.worker(name, environment, slots=20)
    client = chaos.client("client", environment, count=TASKS)
    for kill in range(KILLS):
        # At different moments of the run, and always while triggers, assignments and reports are under way.
        chaos.await_results(client, 100 + kill * (TASKS - 500) // KILLS)
        assert client.is_running
        engine.kill()
        engine.launch()
    chaos.await_end(client)
    rows = check(chaos, engine.runtime.dsn, database_died=True)
    assert len(rows.tasks) >= TASKS
    assert set(rows.workers) == {"one", "two"}
