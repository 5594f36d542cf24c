"""Concurrency rules, rate limits, batches, events, crons and scheduled runs while everything is killed (design 10).

Kills go on for ``SOAK_SECONDS`` in each of the two settings: 20 in CI, as many as one likes by ``make soak``.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest
from harness import Chaos
from limits_checker import check_limits
from limits_rows import LimitsRows, Span
from pairs import column, owner, two_engines

from support.engine_process import EngineProcess
from support.fault_proxy import FaultProxy
from support.program import Program

if TYPE_CHECKING:
    from conftest import PostgresServer

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("SOAK_SECONDS", "20"))
LOST_SECONDS = 6.0
PAUSE_SECONDS = 1.5
"""Between two kills, besides what has to happen in between."""
RUNS_BETWEEN = 60
RUNS_IN_CALM = 300
SLOTS = 40
PROGRAM = "limits_worker.py"


def end_well(
    chaos: Chaos, dsn: str, environments: Sequence[dict[str, str]], kills: list[Span], *, database_died: bool = False
) -> LimitsRows:
    """No more kills: what is open ends, the same keys work once more, and the stories agree.

    ``environments``: those of the clients.
    """
    clients = list(chaos.limits_clients)
    chaos.finish(*clients)
    calm = chaos.now()
    again = [
        chaos.limits_client(f"again-{client.name}", environment, label=client.name)
        for client, environment in zip(clients, environments, strict=True)
    ]
    for client in again:
        chaos.await_results(client, RUNS_IN_CALM)
    chaos.finish(*again)
    column(dsn, "UPDATE cron_trigger SET next_at = NULL, is_enabled = false RETURNING id")
    rows = check_limits(chaos, dsn, kills, calm, database_died=database_died)
    print({flow: len(rows.of(flow)) for flow in sorted({task.flow for task in rows.tasks.values()})})
    return rows


def test_limits_hold_when_owners_and_workers_of_two_engines_are_killed(chaos: Chaos, postgres: PostgresServer) -> None:
    dsn, engines = two_engines(chaos, postgres, lost_seconds=LOST_SECONDS)
    left, right = engines.values()
    numbers, kills = itertools.count(), []
    with FaultProxy(left.grpc_port, shortest=0.5, longest=6.0, seed=20261125) as proxy:
        through_proxy = chaos.environment(left, address=f"127.0.0.1:{proxy.port}")
        places = [chaos.environment(left), chaos.environment(right), through_proxy]

        def a_worker(number: int) -> Program:
            environment = places[number % len(places)]
            return chaos.worker(f"worker-{number}", environment, slots=SLOTS, program=PROGRAM)

        living = [a_worker(next(numbers)) for _ in range(3)]
        for engine in (left, right):
            chaos.limits_client(f"client-{engine.name}", chaos.environment(engine))
        progress = {client.name: RUNS_BETWEEN for client in chaos.limits_clients}
        chaos.await_more(**progress)

        end = time.monotonic() + SECONDS
        for victim in itertools.cycle(("owner", "worker", "other")):
            if time.monotonic() > end:
                break
            if victim == "worker":
                living.pop(0).kill()
                living.append(a_worker(next(numbers)))
            else:
                holder = owner(dsn)
                instance = holder if victim == "owner" else next(iter(set(engines) - {holder}))
                began = chaos.now()
                kill_and_restart(dsn, engines, instance)
                kills.append((began, chaos.now()))
            time.sleep(PAUSE_SECONDS)
            chaos.await_more(**progress)
        rows = end_well(chaos, dsn, places[:2], kills)
        assert proxy.cuts
    # The kills hit something: attempts went back, and nobody's retries were used up for it.
    assert any(task.end["internal_retries"] for task in rows.tasks.values())


def kill_and_restart(dsn: str, engines: dict[str, EngineProcess], instance: str) -> None:
    """kill -9 of an engine; it comes back under another id."""
    engine = engines.pop(instance)
    before = set(column(dsn, "SELECT id::text FROM instance"))
    engine.kill()
    engine.launch()
    [new] = set(column(dsn, "SELECT id::text FROM instance")) - before
    engines[new] = engine


def test_limits_hold_when_an_engine_and_its_database_are_killed(chaos: Chaos) -> None:
    engine = chaos.engine(lost_seconds=LOST_SECONDS)
    environment = chaos.environment(engine)
    for number in range(2):
        chaos.worker(f"worker-{number}", environment, slots=SLOTS, program=PROGRAM)
    chaos.limits_client("client", environment)
    chaos.await_more(client=RUNS_BETWEEN)
    kills = []
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        began = chaos.now()
        engine.kill()
        engine.launch()
        kills.append((began, chaos.now()))
        time.sleep(PAUSE_SECONDS)
        chaos.await_more(client=RUNS_BETWEEN)
    end_well(chaos, engine.runtime.dsn, [environment], kills, database_died=True)
