"""Runs of several tasks when an engine or its database goes: at every station, nothing is lost and nothing runs twice.

A station is held by a gate in front of the write that it waits for; then the engine is killed there.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from engine_fixture import Instance, World, on_event, on_parent, sleep, waits
from engine_worker import TENANT, Action, Worker, until

from hatchet.core.conditions import Action as Does
from hatchet.core.errors import HatchetError, Unavailable
from hatchet.core.statuses import RunStatus
from hatchet.engine import endings, leases, publish, run_writes, trigger, watch
from hatchet.engine import waits as waits_module

SKIPPED = '{"skipped":true}'
OK = '{"ok":true}'


@pytest.fixture(autouse=True)
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead engine's lease ends after a moment instead of 6 s."""
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.5)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(publish, "RECHECK_SECONDS", 0.2)


class Gate:
    """Holds a function of a module back: who calls it waits until the gate is opened, or for ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
        self.reached = asyncio.Event()
        self._open = asyncio.Event()
        self._patch = monkeypatch
        self._module, self._name, self._real = module, name, getattr(module, name)
        monkeypatch.setattr(module, name, self._held)

    def lift(self) -> None:
        """From now on nobody is held; who waits already goes on waiting."""
        self._patch.setattr(self._module, self._name, self._real)

    async def _held(self, *args: Any) -> Any:
        self.reached.set()
        await self._open.wait()
        return await self._real(*args)


async def insists(worker: Worker, action: Action, output: str = OK) -> None:
    """Report as a client does: again and again until an engine takes it."""
    while True:
        try:
            await worker.complete(action, output)
            return
        except (HatchetError, ConnectionError):
            await asyncio.sleep(0.02)


async def followed(world: World, one: Instance, *workers: Worker) -> Instance:
    """The engine is killed, another takes over, and the workers connect to it."""
    for worker in workers:
        await worker.fall_silent()
    await one.kill()
    two = await world.engine()
    for worker in workers:
        await worker.open(two)
    return two


async def once(one: Instance, worker: Worker, expected: Sequence[str]) -> None:
    """Each of these tasks was sent once, and nothing else was."""
    assert Counter(worker.begun()) == dict.fromkeys([(name, 0) for name in expected], 1)
    await one.empty()


# Stations ------------------------------------------------------------------------------------------------------------


async def test_killed_after_the_trigger(world: World) -> None:
    one = await world.engine()
    version = await one.define_dag(a=(), b=("a",), c=("b",))
    run_id = await one.run("dag", input='{"n":1}')
    two = await followed(world, one)
    worker = await two.dag_worker(version)
    assert json.loads((await worker.task("a")).payload)["input"] == {"n": 1}
    ends = two.ends(run_id)
    worker.completes()
    await worker.complete(await worker.task("a"))
    assert len((await ends.of(run_id)).results) == 3
    await two.ended(run_id, RunStatus.COMPLETED)
    await once(two, worker, "abc")


async def test_killed_while_tasks_run_and_wait(world: World) -> None:
    one = await world.engine()
    version = await one.define_dag(a=(), b=(), c=(), d=("a", "b", "c"))
    worker = await one.dag_worker(version, slots=2)
    run_id = await one.run("dag")
    a, b = await worker.task("a"), await worker.task("b")
    two = await followed(world, one, worker)
    assert two.free(worker) == 0
    await insists(worker, a, '{"x":1}')
    await insists(worker, b, '{"y":1}')
    await worker.complete(await worker.task("c"), '{"z":1}')
    d = await worker.task("d")
    assert json.loads(d.payload)["parents"] == {"a": {"x": 1}, "b": {"y": 1}, "c": {"z": 1}}
    await worker.complete(d)
    await two.ended(run_id, RunStatus.COMPLETED)
    assert two.free(worker) == 2
    await once(two, worker, "abcd")


async def test_killed_between_the_parents_result_and_the_childs_assignment(world: World) -> None:
    one = await world.engine()
    version = await one.define_dag(a=(), b=("a",), c=("a", "b"))
    worker = await one.dag_worker(version, slots=1)
    run_id = await one.run("dag")
    a = await worker.task("a")
    await one.engine.workers.set_paused(TENANT, worker.id, True)
    await worker.complete(a, '{"x":1}')
    two = await followed(world, one, worker)
    assert ("b", 0) not in worker.begun()
    await two.engine.workers.set_paused(TENANT, worker.id, False)
    b = await worker.task("b")
    assert json.loads(b.payload)["parents"] == {"a": {"x": 1}}
    await worker.complete(b, '{"y":1}')
    c = await worker.task("c")
    assert json.loads(c.payload)["parents"] == {"a": {"x": 1}, "b": {"y": 1}}
    await worker.complete(c)
    await two.ended(run_id, RunStatus.COMPLETED)
    await once(two, worker, "abc")


async def test_killed_before_the_result_was_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The result is in the rows, and the engine has not heard that: the worker reports again."""
    one = await world.engine()
    version = await one.define_dag(a=(), b=("a",))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    a = await worker.task("a")
    monkeypatch.setattr(one.engine.endings, "_spread", lambda *_: [True])
    await worker.complete(a, '{"x":1}')
    two = await followed(world, one, worker)
    await insists(worker, a, '{"x":2}')
    b = await worker.task("b")
    assert json.loads(b.payload)["parents"] == {"a": {"x": 1}}
    await worker.complete(b)
    await two.ended(run_id, RunStatus.COMPLETED)
    await once(two, worker, "ab")


async def test_killed_with_a_skipped_task_whose_row_is_not_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await world.engine()
    version = await one.define_dag(
        a=(), s=waits(on_parent("a", "true", Does.SKIP), parents=("a",)), below=("s",), both=("s", "a"), on_failure=True
    )
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    gate = Gate(monkeypatch, run_writes, "append_results")
    await worker.complete(await worker.task("a"))
    both = await worker.task("both")
    await gate.reached.wait()
    # C-5.8: without a row, too.
    assert json.loads(both.payload)["parents"] == {"a": {"ok": True}, "s": {"skipped": True}}
    assert (await one.outcomes(run_id))["below"] == SKIPPED
    gate.lift()
    two = await followed(world, one, worker)
    assert (await two.outcomes(run_id))["below"] == SKIPPED
    ends = two.ends(run_id)
    await insists(worker, both)
    told = await ends.of(run_id)
    assert [(result.readable_id, result.output) for result in told.results] == [
        ("a", OK),
        ("s", SKIPPED),
        ("below", SKIPPED),
        ("both", OK),
        ("on-failure", SKIPPED),
    ]
    await two.ended(run_id, RunStatus.COMPLETED)
    await once(two, worker, ["a", "both"])
    assert await two.rows("SELECT count(*) AS n FROM task_result") == [(5,)]


async def test_killed_between_the_last_result_and_the_runs_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await world.engine()
    version = await one.define_dag(a=(), b=("a",), on_failure=True)
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    gate = Gate(monkeypatch, run_writes, "put_run_results")
    await worker.complete(await worker.task("a"))
    await worker.complete(await worker.task("b"))
    await gate.reached.wait()
    gate.lift()
    assert await one.rows("SELECT 1 FROM run_result") == []
    two = await followed(world, one, worker)
    # Nobody has to ask for it.
    await until(lambda: _has_end(two), "the end is written")
    assert (await two.ends(run_id).of(run_id)).results[1].output == OK
    await two.ended(run_id, RunStatus.COMPLETED)
    await once(two, worker, "ab")


async def _has_end(one: Instance) -> bool:
    return bool(await one.rows("SELECT 1 FROM run_result"))


async def test_killed_with_an_assignment_that_was_not_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "CONFIRM_SECONDS", 0.2)
    one = await world.engine()
    version = await one.define_dag(a=(), b=("a",))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    a = await worker.task("a")
    worker.takes.clear()
    await worker.complete(a, '{"x":1}')
    await until(lambda: len(one.scheduler.flying) == 1, "b is assigned")
    await worker.fall_silent()
    await one.kill()
    two = await world.engine()
    worker.takes.set()
    await until(lambda: ("b", 0) in worker.begun(), "the line of the dead engine delivers into the void")
    await worker.open(two)
    b = await worker.task("b", 1)
    assert json.loads(b.payload)["parents"] == {"a": {"x": 1}}
    await worker.complete(b)
    await two.ended(run_id, RunStatus.COMPLETED)
    await two.empty()


async def test_killed_while_a_retry_waits(world: World) -> None:
    one = await world.engine()
    version = await one.define_dag(a=(), b={"parents": ("a",), "retries": 2, "backoff_factor": 20.0}, on_failure=True)
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    await worker.complete(await worker.task("a"), '{"x":1}')
    await worker.fail(await worker.task("b"))
    await until(lambda: len(one.scheduler.backoff) == 1, "b waits for its retry")
    two = await followed(world, one, worker)
    [retry] = list(two.scheduler.backoff)
    assert (retry.attempt, retry.app_retries) == (1, 1)
    await two.pass_time(21, worker)
    b = await worker.task("b", 1)
    assert json.loads(b.payload)["parents"] == {"a": {"x": 1}}
    await worker.complete(b)
    await two.ended(run_id, RunStatus.COMPLETED)
    await two.empty()


async def test_killed_with_the_on_failure_task_running(world: World) -> None:
    one = await world.engine()
    version = await one.define_dag(a=(), slow=(), below=("a",), on_failure=True)
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    await worker.fail(await worker.task("a"), "boom")
    last, slow = await worker.task("on-failure"), await worker.task("slow")
    two = await followed(world, one, worker)
    await insists(worker, last)
    assert not (await two.details(run_id)).done
    await worker.complete(slow)
    await two.ended(run_id, RunStatus.FAILED)
    await once(two, worker, ["a", "slow", "on-failure"])


async def test_c_6_33_schedule_timeouts_of_children_pass_on_time_after_a_take_over(world: World) -> None:
    one = await world.engine()
    version = await one.define_dag(a=(), b={"parents": ("a",), "schedule_timeout": "60s"})
    await one.define("plain", schedule_timeout="60s")
    worker = await one.dag_worker(version, slots=1)
    run_id = await one.run("dag")
    a = await worker.task("a")
    await one.engine.workers.set_paused(TENANT, worker.id, True)
    await worker.complete(a)
    await until(lambda: len(one.scheduler.queues) == 1, "b waits for a worker")
    await one.pass_time(30, worker)
    # A task that was queued later is no reason to wait longer.
    plain = await one.run("plain")
    await worker.fall_silent()
    await one.kill()
    two = await world.engine(skipped=30)
    two.clock.skip(31)
    await two.ended(run_id, RunStatus.CANCELLED)
    assert await two.status(plain) is RunStatus.QUEUED


# Conditions ----------------------------------------------------------------------------------------------------------


async def test_c_8_8_the_end_of_a_sleep_survives_a_restart(world: World) -> None:
    one = await world.engine()
    version = await one.define_dag(a=(), b=waits(sleep("60s"), parents=("a",)))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    await worker.complete(await worker.task("a"))
    await until(lambda: len(one.scheduler.runs._sleeps) == 1, "b sleeps")
    await one.pass_time(40, worker)
    await worker.fall_silent()
    await one.kill()
    two = await world.engine(skipped=40)
    await worker.open(two)
    await until(lambda: len(two.scheduler.runs._sleeps) == 1, "b sleeps on")
    await two.pass_time(15, worker)
    assert ("b", 0) not in worker.begun()
    await two.pass_time(6, worker)
    b = await worker.task("b")
    assert json.loads(b.payload)["triggers"] == {"sleep:60s": {"sleep_duration": "60s"}}
    await worker.complete(b)
    await two.ended(run_id, RunStatus.COMPLETED)
    await once(two, worker, "ab")


async def test_c_8_11_a_sleep_that_ended_while_no_engine_ran(world: World) -> None:
    one = await world.engine()
    version = await one.define_dag(a=(), b=waits(on_event("e"), sleep("30s", Does.SKIP, 1), parents=("a",)), c=("b",))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    await worker.complete(await worker.task("a"))
    await until(lambda: len(one.scheduler.runs._sleeps) == 1, "b waits")
    await worker.fall_silent()
    await one.kill()
    two = await world.engine(skipped=100)
    await two.ended(run_id, RunStatus.COMPLETED)
    assert await two.outcomes(run_id) == {"a": OK, "b": SKIPPED, "c": SKIPPED}
    # An event after that is too late, whoever looks.
    await two.push("e")
    await two.watched()
    assert await two.outcomes(run_id) == {"a": OK, "b": SKIPPED, "c": SKIPPED}
    await two.empty()


async def test_c_8_9_an_event_that_was_pushed_elsewhere_while_the_owner_was_down(world: World) -> None:
    one = await world.engine()
    door = await world.engine(owns=False, settings={"SERVER_SERVICES": "grpc-api"})
    version = await one.define_dag(a=(), b=waits(on_event("e", when="input.v > 1"), parents=("a",)))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    a = await worker.task("a")
    await worker.fall_silent()
    await one.kill()
    # Nobody schedules: the parent's end and the event are told to an instance that may only accept.
    await worker.open(door)
    await worker.complete(a)
    for value in (1, 2, 3):
        await door.push("e", json.dumps({"v": value}))
    two = await world.engine()
    await until(lambda: two.owns, "the tenant has an owner")
    b = await worker.task("b")
    assert json.loads(b.payload)["triggers"] == {"e": {"v": 2}}
    await worker.complete(b)
    await two.ended(run_id, RunStatus.COMPLETED)
    await once(two, worker, "ab")


async def test_killed_between_a_match_and_its_decision(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One event of two is remembered; after the restart the other is enough."""
    one = await world.engine()
    version = await one.define_dag(a=(), b=waits(on_event("e"), on_event("f", group=1), parents=("a",)))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    await worker.complete(await worker.task("a"))
    await until(lambda: len(one.scheduler.runs.waits) == 1, "b listens")
    await one.scheduler.runs.waits._looks.drain()
    monkeypatch.setattr(one.scheduler.runs.waits, "_matched", lambda _: None)
    await one.push("e", '{"v":1}')
    await until(lambda: _has_match(one), "the match is written")
    two = await followed(world, one, worker)
    await two.push("f", '{"v":2}')
    b = await worker.task("b")
    assert json.loads(b.payload)["triggers"] == {"e": {"v": 1}, "f": {"v": 2}}
    await worker.complete(b)
    await two.ended(run_id, RunStatus.COMPLETED)
    assert await two.rows("SELECT count(*) AS n FROM task_match") == [(2,)]
    await once(two, worker, "ab")


async def _has_match(one: Instance) -> bool:
    return bool(await one.rows("SELECT 1 FROM task_match"))


async def test_an_event_whose_match_got_lost_with_the_engine_counts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await world.engine()
    version = await one.define_dag(a=(), b=waits(on_event("e"), sleep("60s", Does.SKIP, 1), parents=("a",)))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    await worker.complete(await worker.task("a"))
    gate = Gate(monkeypatch, waits_module, "append_matches")
    await until(lambda: len(one.scheduler.runs.waits) == 1, "b listens")
    await one.push("e", '{"v":1}')
    await gate.reached.wait()
    gate.lift()
    await worker.fall_silent()
    await one.kill()
    two = await world.engine()
    await worker.open(two)
    b = await worker.task("b")
    assert json.loads(b.payload)["triggers"] == {"e": {"v": 1}}
    await worker.complete(b)
    await two.ended(run_id, RunStatus.COMPLETED)


async def test_c_5_13_the_data_of_conditions_is_delivered_after_a_restart(world: World) -> None:
    one = await world.engine()
    waiting = waits(sleep("10s"), on_event("e", group=1), on_event("never"), parents=("a",), retries=2)
    version = await one.define_dag(a=(), b=waiting)
    worker = await one.dag_worker(version, slots=1)
    run_id = await one.run("dag")
    await worker.complete(await worker.task("a"))
    await until(lambda: len(one.scheduler.runs.waits) == 1, "b listens")
    await one.push("e", '{"v":1}')
    await until(lambda: _has_match(one), "the match is written")
    await one.engine.workers.set_paused(TENANT, worker.id, True)
    await one.pass_time(11, worker)
    await until(lambda: len(one.scheduler.queues) == 1, "b is queued")
    await worker.fall_silent()
    await one.kill()
    two = await world.engine(skipped=11)
    await worker.open(two)
    await two.engine.workers.set_paused(TENANT, worker.id, False)
    data = {"sleep:10s": {"sleep_duration": "10s"}, "e": {"v": 1}}
    b = await worker.task("b")
    assert json.loads(b.payload)["triggers"] == data
    await worker.fail(b)
    b = await worker.task("b", 1)
    assert json.loads(b.payload)["triggers"] == data
    await worker.fall_silent()
    await two.kill()
    three = await world.engine(skipped=11)
    await worker.open(three)
    await worker.fail(b)
    b = await worker.task("b", 2)
    assert json.loads(b.payload)["triggers"] == data
    await worker.complete(b)
    await three.ended(run_id, RunStatus.COMPLETED)
    await three.empty()


# Answers that get lost -----------------------------------------------------------------------------------------------


async def test_a_run_that_was_written_without_an_answer_is_not_stuck(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = trigger.accept, iter([Unavailable("the connection broke")])

    async def accept(*args: Any) -> Any:
        held = await real(*args)
        for failure in failures:
            raise failure
        return held

    monkeypatch.setattr(trigger, "accept", accept)
    version = await one.define_dag(a=(), b=("a",))
    with pytest.raises(Unavailable):
        await one.run("dag")
    [row] = await one.rows("SELECT id FROM run")
    await one.dag_worker(version, completes=True)
    await one.ended(str(row["id"]), RunStatus.COMPLETED)
    await one.empty()


async def test_a_result_that_was_written_without_an_answer_is_not_stuck(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await one.define_dag(a=(), b=("a",))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    a = await worker.task("a")
    real, failures = endings.append_results, iter([Unavailable("the connection broke")])

    async def append(*args: Any) -> Any:
        written = await real(*args)
        for failure in failures:
            raise failure
        return written

    monkeypatch.setattr(endings, "append_results", append)
    with pytest.raises(Unavailable):
        await worker.complete(a, '{"x":1}')
    b = await worker.task("b")
    assert json.loads(b.payload)["parents"] == {"a": {"x": 1}}
    await worker.complete(b)
    await one.ended(run_id, RunStatus.COMPLETED)
    await one.empty()


async def test_what_the_owner_could_not_write_is_written_later(one: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    skip = waits(on_parent("a", "true", Does.SKIP), parents=("a",))
    version = await one.define_dag(a=(), skipped=skip)
    worker = await one.dag_worker(version, completes=True)
    failures = {"append_results": 2, "put_run_results": 2}

    def failing(name: str) -> Any:
        real = getattr(run_writes, name)

        async def fails(*args: Any) -> Any:
            if failures[name]:
                failures[name] -= 1
                raise Unavailable("the database does not answer")
            return await real(*args)

        return fails

    for name in failures:
        monkeypatch.setattr(run_writes, name, failing(name))
    run_id = await one.run("dag")
    await one.ends(run_id).of(run_id)
    await until(lambda: _has_end(one), "the end is written")
    await one.empty()
    assert await one.rows("SELECT count(*) AS n FROM task_result") == [(2,)]
    await once(one, worker, "a")


async def test_runs_survive_a_broken_connection(one: Instance) -> None:
    version = await one.define_dag(a=(), b=("a",), c=("b",), d=waits(sleep("20ms"), parents=("c",)))
    worker = await one.dag_worker(version)
    worker.answers(lambda action: insists(worker, action))
    runs = await one.run_many(20, "dag")
    for _ in range(5):
        await until(lambda: len(worker.starts) % 7 == 3 or len(worker.starts) >= 80, "some tasks run")
        await one.engine.registration._database._pool.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    for run_id in runs:
        await until(lambda run_id=run_id: _completed(one, run_id), "the run ends")  # type: ignore[misc]
    await until(lambda: one.owns, "the tenant has an owner")
    await one.empty()


async def _completed(one: Instance, run_id: str) -> bool:
    try:
        return (await one.details(run_id)).status is RunStatus.COMPLETED
    except Unavailable:
        return False


def _has_begun(worker: Worker, count: int) -> bool:
    return len(worker.starts) >= count


# Anywhere ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
async def test_killed_anywhere(world: World, seed: int) -> None:
    """Runs of many shapes while engines are killed after random numbers of starts."""
    chance = random.Random(seed)
    one = await world.engine()
    version = await one.define_dag(
        a=(),
        b=("a",),
        skipped=waits(on_parent("a", "output.ok", Does.SKIP), parents=("a",)),
        slept=waits(sleep("30ms"), parents=("b",)),
        heard=waits(on_event("e"), parents=("a",)),
        end=("b", "skipped", "slept", "heard"),
        on_failure=True,
    )
    worker = await one.dag_worker(version)
    worker.answers(lambda action: insists(worker, action))
    runs = await one.run_many(15, "dag")
    for _ in range(3):
        enough = len(worker.starts) + chance.randrange(1, 25)
        await until(partial(_has_begun, worker, min(enough, 45)), "some tasks started")
        one = await followed(world, one, worker)
    ends = one.ends(*runs)
    while len(ends.told) < 15:
        await one.push("e")
        await one.watched()
    for run_id in runs:
        assert await one.outcomes(run_id) == {
            **dict.fromkeys(["a", "b", "slept", "heard", "end"], OK),
            "skipped": SKIPPED,
            "on-failure": SKIPPED,
        }
        assert len((await ends.of(run_id)).results) == 7
    await one.empty()
    # Only what was with the worker when an engine died may have been sent again, as a further attempt.
    assert set(Counter((action.task_id, action.retry_count) for action in worker.starts).values()) == {1}
    assert await one.rows("SELECT count(*) AS n FROM run_result WHERE status = 'COMPLETED'") == [(15,)]
