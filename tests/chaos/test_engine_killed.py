"""kill -9 of the engine, with its embedded PostgreSQL, ten times during a load of tasks and workflows (design 4.1)."""

from __future__ import annotations

import pytest
from checker import check
from dag_checker import check_dags
from harness import Chaos

pytestmark = pytest.mark.slow

TASKS = 3000
KILLS = 10
RUNS_BETWEEN = 12


def test_invariant_1_ten_kills_of_the_engine_lose_nothing(chaos: Chaos) -> None:
    engine = chaos.engine()
    environment = chaos.environment(engine)
    for name in ("one", "two"):
        chaos.worker(name, environment, slots=20)
    tasks, dags = chaos.client("tasks", environment), chaos.dag_client("dags", environment)
    chaos.pusher("pusher", environment)
    for _ in range(KILLS):
        # Always while triggers, assignments, waits and reports are under way.
        chaos.await_more(tasks=TASKS // (KILLS + 1), dags=RUNS_BETWEEN)
        engine.kill()
        engine.launch()
    chaos.await_results(tasks, TASKS)
    chaos.finish(tasks, dags)
    rows = check(chaos, engine.runtime.dsn, database_died=True)
    assert len(rows.tasks) >= TASKS
    assert set(rows.workers) == {"one", "two"}
    assert len(check_dags(chaos, engine.runtime.dsn, database_died=True).runs) > KILLS * RUNS_BETWEEN
