"""Durable runs while workers, engines and databases are killed and connections are cut (behaviour-durable D-29).

Kills go on for ``SOAK_SECONDS`` in each of the settings: 12 in CI, as many as one likes by ``make soak``.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest
from durable_checker import check_durable, check_health
from durable_rows import DurableRows, read_durable_rows
from harness import Chaos
from pairs import owner, two_engines
from test_limits_under_kills import kill_and_restart
from test_postgres_killed import postmaster

from support.fault_proxy import FaultProxy
from support.program import Program

if TYPE_CHECKING:
    from conftest import PostgresServer

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("SOAK_SECONDS", "12"))
LOST_SECONDS = 6.0
RUNS_BETWEEN = 10
SLOTS = 40
PROGRAM = "durable_worker.py"
STATIONS = ("begins", "asks", "computed", "saw", "part", "ends")
"""What a task does at the moment of a kill: the kinds of its lines."""


class Moments:
    """Chooses when to kill."""

    def __init__(self, chaos: Chaos, seed: int) -> None:
        self._chaos = chaos
        self._random = random.Random(seed)
        self._stations = itertools.cycle(STATIONS)

    def await_next(self, worker: Program | None = None) -> None:
        """Wait until a task, of this worker if one is given, has just done the next thing, and a little longer."""
        station, seen = next(self._stations), len(self._chaos.effects)
        pids = {worker.pid} if worker is not None else None

        def is_there() -> bool:
            new = self._chaos.effects.read()[seen:]
            return any(line["kind"] == station and (pids is None or line["worker"] in pids) for line in new)

        self._chaos.wait(is_there, f"a task {station}")
        time.sleep(self._random.choice((0.0, 0.0, 0.05, 0.3)))


def end_well(chaos: Chaos, dsn: str, *, steps_may_be_lost: bool = True, database_died: bool = False) -> DurableRows:
    """No more kills: what is open ends, and the stories agree."""
    try:
        chaos.finish(*chaos.durable_clients)
    except AssertionError as error:
        stories = "\n".join(task.story for task in read_durable_rows(dsn).open())
        raise AssertionError(f"{error}\n{stories}") from None
    rows = check_durable(chaos, dsn, steps_may_be_lost=steps_may_be_lost, database_died=database_died)
    results = [row for task in rows.tasks.values() for row in task.results]
    print(
        f"{len(rows.tasks)} tasks, {sum(len(task.entries) for task in rows.tasks.values())} entries, "
        f"{sum(row['outcome'] == 'EVICTED' for row in results)} evictions, "
        f"{sum(row['outcome'] == 'FAILED' and not row['is_end'] for row in results)} lost steps, "
        f"{sum(max(row['internal_retries'] for row in task.results) for task in rows.tasks.values())} given back"
    )
    assert any(row["outcome"] == "EVICTED" for row in results), "nothing was ever evicted"
    return rows


def was_given_back(rows: DurableRows) -> bool:
    """Whether a kill hit a durable task on a worker, which ran elsewhere then."""
    return any(task.end["internal_retries"] and task.entries for task in rows.tasks.values())


def test_d_29_9_killed_workers_change_no_result(chaos: Chaos) -> None:
    engine = chaos.engine(lost_seconds=LOST_SECONDS)
    environment = chaos.environment(engine)
    numbers, moments = itertools.count(), Moments(chaos, 1)
    living = [chaos.worker(f"worker-{next(numbers)}", environment, slots=SLOTS, program=PROGRAM) for _ in range(3)]
    chaos.durable_client("client", environment, engine.runtime.dsn)
    chaos.await_more(client=RUNS_BETWEEN)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        victim = living.pop(0)
        moments.await_next(victim)
        victim.kill()
        living.append(chaos.worker(f"worker-{next(numbers)}", environment, slots=SLOTS, program=PROGRAM))
        chaos.await_more(client=RUNS_BETWEEN)
    rows = end_well(chaos, engine.runtime.dsn, steps_may_be_lost=False)
    assert was_given_back(rows), "no kill hit a durable task"
    check_health(engine)


def test_d_29_8_killed_engines_lose_no_step(chaos: Chaos, postgres: PostgresServer) -> None:
    dsn, engines = two_engines(chaos, postgres, lost_seconds=LOST_SECONDS)
    left, right = engines.values()
    numbers, moments = itertools.count(), Moments(chaos, 2)
    with FaultProxy(left.grpc_port, shortest=0.5, longest=6.0, seed=20261201) as proxy:
        through_proxy = chaos.environment(left, address=f"127.0.0.1:{proxy.port}")
        places = [chaos.environment(left), chaos.environment(right), through_proxy]

        def a_worker(number: int) -> Program:
            return chaos.worker(f"worker-{number}", places[number % len(places)], slots=SLOTS, program=PROGRAM)

        living = [a_worker(next(numbers)) for _ in range(3)]
        for engine in (left, right):
            chaos.durable_client(f"client-{engine.name}", chaos.environment(engine), dsn)
        progress = {client.name: RUNS_BETWEEN for client in chaos.durable_clients}
        chaos.await_more(**progress)
        end = time.monotonic() + SECONDS
        for victim in itertools.cycle(("owner", "worker", "other")):
            if time.monotonic() > end:
                break
            moments.await_next()
            if victim == "worker":
                living.pop(0).kill()
                living.append(a_worker(next(numbers)))
            else:
                holder = owner(dsn)
                other = next(iter(set(engines) - {holder}))
                kill_and_restart(dsn, engines, holder if victim == "owner" else other)
            chaos.await_more(**progress)
        end_well(chaos, dsn)
        assert proxy.cuts
        check_health(left)


def test_d_29_8_a_killed_database_loses_no_step(chaos: Chaos) -> None:
    engine = chaos.engine(lost_seconds=LOST_SECONDS)
    environment = chaos.environment(engine)
    moments = Moments(chaos, 3)
    for number in range(2):
        chaos.worker(f"worker-{number}", environment, slots=SLOTS, program=PROGRAM)
    chaos.durable_client("client", environment, engine.runtime.dsn)
    chaos.await_more(client=RUNS_BETWEEN)
    end = time.monotonic() + SECONDS
    for victim in itertools.cycle(("database", "both")):
        if time.monotonic() > end:
            break
        moments.await_next()
        if victim == "database":
            os.kill(postmaster(engine.data_dir), signal.SIGKILL)
        else:
            engine.kill()
            engine.launch()
        chaos.await_more(client=RUNS_BETWEEN)
    end_well(chaos, engine.runtime.dsn, database_died=True)
    check_health(engine)
