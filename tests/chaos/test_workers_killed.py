"""kill -9 of workers in the middle of their tasks (behaviour-core C-2.25 to C-2.33)."""

from __future__ import annotations

import pytest
from checker import check
from harness import Chaos

pytestmark = pytest.mark.slow

LOST_SECONDS = 6.0
TASKS = 2000
KILLS = 5
WORKERS = 3


def test_c_2_28_tasks_of_killed_workers_run_elsewhere(chaos: Chaos) -> None:
    engine = chaos.engine(lost_seconds=LOST_SECONDS)
    environment = chaos.environment(engine)
    living = [chaos.worker(f"worker-{number}", environment, slots=10) for number in range(WORKERS)]
    client = chaos.client("client", environment, count=TASKS, milliseconds=50, window=200)
    for kill in range(KILLS):
        chaos.await_results(client, kill * (TASKS - 500) // KILLS)
        victim = living.pop(0)
        chaos.wait(lambda pid=victim.pid: pid in {line["worker"] for line in chaos.history.read()}, "the victim works")
        assert client.is_running
        victim.kill()
        living.append(chaos.worker(f"worker-{WORKERS + kill}", environment, slots=10))
    chaos.await_end(client)
    rows = check(chaos, engine.runtime.dsn)
    results = [row for each in rows.results.values() for row in each]
    assert max(row["internal_retries"] for row in results) >= 1, "no kill hit a running task"
    # C-2.28: the user's retries (here there are none) are not used up.
    assert {row["app_retries"] for row in results} == {0}
