"""kill -9 of workers in the middle of their tasks (behaviour-core C-2.25 to C-2.33)."""

from __future__ import annotations

import pytest
from checker import check
from dag_checker import check_dags
from harness import Chaos

from support.program import Program

pytestmark = pytest.mark.slow

LOST_SECONDS = 6.0
TASKS = 1500
KILLS = 5
WORKERS = 3


def waits_for_children(chaos: Chaos, worker: Program) -> bool:
    """Whether the worker has a task that has spawned its children, and not ended."""
    lines = chaos.steps.read()
    ended = {(line["task"], line["attempt"]) for line in lines if line["kind"] == "effect"}
    spawned = (
        (line["task"], line["attempt"]) for line in lines if line.get("children") and line["worker"] == worker.pid
    )
    return any(attempt not in ended for attempt in spawned)


def test_c_2_28_tasks_of_killed_workers_run_elsewhere(chaos: Chaos) -> None:
    engine = chaos.engine(lost_seconds=LOST_SECONDS)
    environment = chaos.environment(engine)
    living = [chaos.worker(f"worker-{number}", environment, slots=10) for number in range(WORKERS)]
    tasks = chaos.client("tasks", environment, milliseconds=50, window=100)
    dags = chaos.dag_client("dags", environment)
    chaos.pusher("pusher", environment)
    for kill in range(KILLS):
        chaos.await_more(tasks=TASKS // (KILLS + 1), dags=1)
        victim = living.pop(0)
        chaos.wait(lambda pid=victim.pid: pid in {line["worker"] for line in chaos.history.read()}, "the victim works")
        chaos.wait(lambda victim=victim: waits_for_children(chaos, victim), "a task of the victim waits for children")
        victim.kill()
        living.append(chaos.worker(f"worker-{WORKERS + kill}", environment, slots=10))
    chaos.await_results(tasks, TASKS)
    chaos.finish(tasks, dags)
    rows = check(chaos, engine.runtime.dsn)
    results = [row for each in rows.results.values() for row in each]
    assert max(row["internal_retries"] for row in results) >= 1, "no kill hit a running task"
    # C-2.28: the user's retries (here there are none) are not used up.
    assert {row["app_retries"] for row in results} == {0}
    # In workflows they are not either, and whoever spawned children finds the same ones again (C-4.14).
    dag_rows = check_dags(chaos, engine.runtime.dsn)
    parents = [task for task in dag_rows.tasks.values() if task.name == "parent"]
    assert max(task.end["internal_retries"] for task in parents) >= 1, "no kill hit a task with children"
