"""Connections that break in the middle of calls, over and over, on both sides of the engine (design section 10)."""

from __future__ import annotations

import pytest
from checker import check
from dag_checker import check_dags
from harness import Chaos

from support.fault_proxy import FaultProxy

pytestmark = pytest.mark.slow

TASKS = 500
# Forty slots and 300 ms a task: the run takes at least 4 s on any machine, and a connection lives 1.6 s on average.
MILLISECONDS = 300
CUTS = 6
RUNS = 30


def test_invariant_6_everything_ends_although_connections_break(chaos: Chaos) -> None:
    engine = chaos.engine()
    with FaultProxy(engine.grpc_port, shortest=0.2, longest=3.0, seed=20261124) as proxy:
        environment = chaos.environment(engine, address=f"127.0.0.1:{proxy.port}")
        for name in ("one", "two"):
            chaos.worker(name, environment)
        tasks = chaos.client("tasks", environment, count=TASKS, milliseconds=MILLISECONDS)
        dags = chaos.dag_client("dags", environment)
        chaos.pusher("pusher", environment)
        chaos.await_results(dags, RUNS)
        chaos.await_end(tasks)
        chaos.finish(dags)
        assert proxy.cuts > CUTS, "too little was cut to mean anything"
        rows = check(chaos, engine.runtime.dsn)
        check_dags(chaos, engine.runtime.dsn)
    assert set(rows.workers) == {"one", "two"}
