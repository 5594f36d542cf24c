"""kill -9 of the engine, with its embedded PostgreSQL, ten times during runs of workflows (design section 4.1)."""

from __future__ import annotations

import pytest
from dag_checker import check_dags
from harness import Chaos

pytestmark = pytest.mark.slow

KILLS = 10
RUNS_BETWEEN = 12


def test_invariant_1_ten_kills_of_the_engine_lose_nothing_of_a_run(chaos: Chaos) -> None:
    engine = chaos.engine()
    environment = chaos.environment(engine)
    for name in ("one", "two"):
        chaos.worker(name, environment, slots=20)
    client = chaos.dag_client("dags", environment)
    chaos.pusher("pusher", environment)
    for _ in range(KILLS):
        # Always while runs begin, wait and end.
        chaos.await_results(client, len(client.results) + RUNS_BETWEEN)
        engine.kill()
        engine.launch()
    client.enough()
    chaos.await_end(client)
    rows = check_dags(chaos, engine.runtime.dsn, database_died=True)
    assert len(rows.runs) > KILLS * RUNS_BETWEEN
