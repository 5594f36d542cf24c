"""Finished work runs again: single tasks with what is below them, whole runs, plain tasks (behaviour-core C-15)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from engine_fixture import OTHER_TENANT, Instance, World, on_event, on_parent, sleep, waits
from engine_worker import Action, Worker, until

from hatchet.core.conditions import Action as Does
from hatchet.core.ids import time_of
from hatchet.core.statuses import RunStatus
from hatchet.engine import leases, publish, watch
from hatchet.store.leases import raise_watermark

SKIPPED = '{"skipped":true}'
OK = '{"ok":true}'
UNKNOWN = "707d0855-80ab-4e1f-a156-f1c4546cbf00"


async def numbered(worker: Worker, action: Action) -> None:
    """Complete with the number of the attempt."""
    await worker.complete(action, json.dumps({"by": f"{action.readable_id}{action.retry_count}"}))


def numbers(worker: Worker) -> None:
    worker.answers(lambda action: numbered(worker, action))


async def chain(one: Instance, **options: Any) -> tuple[Worker, str]:
    """A finished run of a to d, one below the other."""
    version = await one.define_dag(a=(), b=("a",), c=("b",), d=("c",), **options)
    worker = await one.dag_worker(version)
    numbers(worker)
    run_id = await one.run("dag", input='{"n":1}', additional_metadata='{"m":1}')
    await one.ended(run_id, RunStatus.COMPLETED)
    return worker, run_id


async def closed(one: Instance) -> None:
    """Wait until nothing is named as open again, in the rows and in memory."""

    async def is_closed() -> bool:
        return not await one.rows("SELECT 1 FROM reopened")

    await until(is_closed, "nothing is open again")
    await one.empty()


async def test_c_15_22_a_task_is_replayed_with_what_is_below_it(one: Instance) -> None:
    worker, run_id = await chain(one)
    ids = await one.task_ids(run_id)
    assert await one.replay(ids["b"]) == [ids["b"]]
    d = await worker.task("d", 1)
    # C-15.9: ancestors keep their results; C-5.11: the latest outputs of those that ran again.
    assert json.loads(d.payload)["parents"] == {"a": {"by": "a0"}, "b": {"by": "b1"}, "c": {"by": "c1"}}
    # C-15.12: id, input and metadata stay.
    assert d.task_id == ids["d"]
    assert json.loads(d.payload)["input"] == {"n": 1}
    assert json.loads(d.additional_metadata) == {"m": 1}
    await one.ended(run_id, RunStatus.COMPLETED)
    assert await one.outcomes(run_id) == {
        "a": '{"by": "a0"}',
        "b": '{"by": "b1"}',
        "c": '{"by": "c1"}',
        "d": '{"by": "d1"}',
    }
    assert sorted(worker.begun()) == sorted([("a", 0), *[(name, n) for name in "bcd" for n in (0, 1)]])
    await closed(one)


async def test_c_15_9_a_runs_id_means_all_its_tasks(one: Instance) -> None:
    worker, run_id = await chain(one)
    assert await one.replay(run_id) == [run_id]
    await worker.task("d", 1)
    await one.ended(run_id, RunStatus.COMPLETED)
    await closed(one)
    for attempt in (2, 3):
        assert await one.replay(run_id) == [run_id]
        await worker.task("d", attempt)
        await one.ended(run_id, RunStatus.COMPLETED)
        assert (await one.outcomes(run_id))["d"] == json.dumps({"by": f"d{attempt}"})
    await closed(one)
    assert len(worker.begun()) == 16


async def test_c_15_9_siblings_keep_their_results(one: Instance) -> None:
    version = await one.define_dag(a=(), left=("a",), right=("a",), end=("left", "right"), apart=())
    worker = await one.dag_worker(version)
    numbers(worker)
    run_id = await one.run("dag")
    await one.ended(run_id, RunStatus.COMPLETED)
    ids = await one.task_ids(run_id)
    await one.replay(ids["left"])
    end = await worker.task("end", 1)
    assert json.loads(end.payload)["parents"] == {"a": {"by": "a0"}, "left": {"by": "left1"}, "right": {"by": "right0"}}
    await one.ended(run_id, RunStatus.COMPLETED)
    assert [name for name, attempt in worker.begun() if attempt == 1] == ["left", "end"]


async def test_c_15_8_ids_of_runs_and_tasks_may_be_mixed_and_unknown_ones_are_skipped(one: Instance) -> None:
    worker, first = await chain(one)
    second = await one.run("dag")
    await one.ended(second, RunStatus.COMPLETED)
    await one.define("plain")
    helper = await one.worker("plain", completes=True)
    plain = await one.run("plain")
    await one.ended(plain, RunStatus.COMPLETED)
    c = (await one.task_ids(second))["c"]
    d = (await one.task_ids(second))["d"]
    assert await one.engine.replay.replay(OTHER_TENANT, [first, c, plain]) == []
    assert await one.rows("SELECT 1 FROM reopened") == []
    # C-15.2, C-15.7: d is below c and is replayed once, for both.
    asked = [UNKNOWN, first, "no id", c, plain, d, plain, first]
    assert await one.replay(*asked) == [first, c, plain, d]
    await helper.started(plain, 1)
    for run_id in (first, second):
        await worker.task("d", 1, run_id)
        await one.ended(run_id, RunStatus.COMPLETED)
    await one.ended(plain, RunStatus.COMPLETED)
    assert ("b", 1) not in worker.begun(second)
    assert await one.replay() == []
    await closed(one)


async def test_c_15_10_only_finished_work_is_replayed(one: Instance) -> None:
    version = await one.define_dag(a=(), b=("a",), slow=(), retried={"retries": 1, "backoff_factor": 100.0})
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    slow = await worker.task("slow")
    ids = await one.task_ids(run_id)
    assert await one.replay(ids["a"]) == []
    await worker.complete(await worker.task("a"))
    # Not every task exists yet: the whole run is left alone. (b exists as soon as a has completed.)
    await worker.complete(await worker.task("b"))
    await worker.fail(await worker.task("retried"))
    assert await one.replay(slow.task_id) == []
    assert await one.replay(ids["retried"]) == []
    # Of the run only what has ended.
    assert await one.replay(run_id) == [run_id]
    await worker.complete(await worker.task("a", 1))
    await worker.complete(await worker.task("b", 1))
    await worker.complete(slow)
    await one.pass_time(50, worker)
    await one.pass_time(51, worker)
    retried = await worker.task("retried", 1)
    await worker.complete(retried)
    await one.ended(run_id, RunStatus.COMPLETED)
    assert len(worker.begun()) == 7
    await closed(one)


async def test_c_15_10_a_run_of_which_a_task_does_not_exist_yet_is_left_alone(one: Instance) -> None:
    version = await one.define_dag(a=(), slow=(), below=("slow",))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    a = await worker.task("a")
    await worker.complete(a)
    assert await one.replay(a.task_id) == []
    assert await one.replay(run_id) == []
    await one.cancel(run_id)
    assert await one.replay(a.task_id) == [a.task_id]


@pytest.mark.parametrize("end", ["COMPLETED", "FAILED", "CANCELLED"])
async def test_c_15_11_any_end_may_be_replayed(one: Instance, end: str) -> None:
    version = await one.define_dag(a=(), b=("a",), on_failure=True)
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    a = await worker.task("a")
    if end == "CANCELLED":
        await one.cancel(run_id)
    elif end == "FAILED":
        await worker.fail(a)
        await worker.complete(await worker.task("on-failure"))
    else:
        await worker.complete(a)
        await worker.complete(await worker.task("b"))
    await one.ended(run_id, RunStatus[end])
    assert await one.replay(run_id) == [run_id]
    await worker.complete(await worker.task("a", 1))
    await worker.complete(await worker.task("b", 1))
    details = await one.ended(run_id, RunStatus.COMPLETED)
    assert details.tasks[-1].output == SKIPPED
    await closed(one)


async def test_c_15_12_a_replay_gives_the_whole_retry_budget_again(one: Instance) -> None:
    version = await one.define_dag(a={"retries": 1}, b=("a",))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    await worker.fail(await worker.task("a", 0))
    await worker.fail(await worker.task("a", 1))
    await one.ended(run_id, RunStatus.FAILED)
    await one.replay(run_id)
    details = await one.details(run_id)
    # C-15.17; old outputs and errors are no longer current.
    assert (details.status, details.done) == (RunStatus.RUNNING, False)
    assert {task.error for task in details.tasks} == {None}
    await worker.fail(await worker.task("a", 2))
    await worker.fail(await worker.task("a", 3))
    await one.ended(run_id, RunStatus.FAILED)
    names = await one.event_names((await one.task_ids(run_id))["a"])
    assert names.count("RETRIED_BY_USER") == 1
    assert names.count("FAILED") == 4
    assert names.count("RETRYING") == 2


async def test_c_15_12_replayed_work_comes_first(one: Instance) -> None:
    version = await one.define_dag(a=(), b=("a",))
    worker = await one.dag_worker(version, slots=1)
    first = await one.run("dag")
    await worker.complete(await worker.task("a", run_id=first))
    await worker.complete(await worker.task("b", run_id=first))
    busy = await one.run("dag")
    action = await worker.task("a", run_id=busy)
    later = await one.run("dag", priority=3)
    await one.replay(first)
    await until(lambda: len(one.scheduler.queues) == 2, "the replayed task waits")
    worker.completes()
    await worker.complete(action)
    for run_id in (first, busy, later):
        await one.ended(run_id, RunStatus.COMPLETED)
    order = [(action.run_id, action.readable_id, action.retry_count) for action in worker.starts]
    assert order[3] == (first, "a", 1)


async def test_c_15_14_conditions_of_tasks_below_are_waited_for_anew(one: Instance) -> None:
    version = await one.define_dag(a=(), b=waits(sleep("10s"), on_event("e", group=1), parents=("a",)))
    worker = await one.dag_worker(version)
    numbers(worker)
    run_id = await one.run("dag")
    await until(lambda: len(one.scheduler.runs.waits) == 1, "b listens")
    await one.push("e", '{"v":1}')
    await one.pass_time(10, worker)
    await one.ended(run_id, RunStatus.COMPLETED)
    await one.replay((await one.task_ids(run_id))["a"])
    await worker.task("a", 1)
    await until(lambda: len(one.scheduler.runs.waits) == 1, "b listens anew")
    await one.pass_time(11, worker)
    assert ("b", 1) not in worker.begun()
    await one.push("e", '{"v":2}')
    b = await worker.task("b", 1)
    assert json.loads(b.payload)["triggers"] == {"sleep:10s": {"sleep_duration": "10s"}, "e": {"v": 2}}
    await one.ended(run_id, RunStatus.COMPLETED)
    await closed(one)


async def test_c_15_14_a_task_whose_parents_are_not_replayed_does_not_wait_again(one: Instance) -> None:
    version = await one.define_dag(a=(), b=waits(on_event("e"), parents=("a",)), c=waits(sleep("24h"), parents=("b",)))
    worker = await one.dag_worker(version)
    numbers(worker)
    run_id = await one.run("dag")
    await until(lambda: len(one.scheduler.runs.waits) == 1, "b listens")
    await one.push("e")
    await worker.task("b")
    await until(lambda: len(one.scheduler.runs._sleeps) == 1, "c sleeps")
    # C-6.40: cancelled while it waits.
    await one.cancel(run_id)
    await one.ended(run_id, RunStatus.CANCELLED)
    ids = await one.task_ids(run_id)
    await one.replay(ids["c"])
    await worker.task("c", 1)
    await one.ended(run_id, RunStatus.COMPLETED)
    await one.replay(ids["b"])
    await worker.task("b", 1)
    await until(lambda: len(one.scheduler.runs._sleeps) == 1, "c sleeps again")
    assert ("c", 2) not in worker.begun()
    await one.cancel(run_id)
    await closed(one)


async def test_c_15_15_the_on_failure_task_in_a_replay(one: Instance) -> None:
    version = await one.define_dag(a=(), b=("a",), on_failure=True)
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    await worker.fail(await worker.task("a"), "first")
    await worker.complete(await worker.task("on-failure"))
    await one.ended(run_id, RunStatus.FAILED)
    ids = await one.task_ids(run_id)
    # Together with the others it waits for their outcome.
    await one.replay(run_id)
    await worker.fail(await worker.task("a", 1), "second")
    again = await worker.task("on-failure", 1)
    assert json.loads(again.payload)["step_run_errors"] == {"a": "second"}
    await worker.complete(again)
    await one.ended(run_id, RunStatus.FAILED)
    # Alone it is queued at once.
    await one.replay(ids["on-failure"])
    alone = await worker.task("on-failure", 2)
    assert json.loads(alone.payload)["step_run_errors"] == {"a": "second"}
    await worker.complete(alone)
    await one.ended(run_id, RunStatus.FAILED)
    await closed(one)


@pytest.mark.parametrize("budget", [64_000_000, 0], ids=["memory", "rows"])
async def test_c_5_15_the_on_failure_task_of_a_replay_does_not_see_what_is_over(one: Instance, budget: int) -> None:
    one.engine.runs._maximum_size = budget
    version = await one.define_dag(a=(), b=(), c=(), on_failure=True)
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    for name in ("a", "b"):
        await worker.fail(await worker.task(name), f"{name} first")
    await worker.complete(await worker.task("c"), '{"c":"first"}')
    await worker.complete(await worker.task("on-failure"))
    await one.ended(run_id, RunStatus.FAILED)
    await one.replay(run_id)
    await worker.fail(await worker.task("a", 1), "a second")
    again = json.loads((await worker.task("on-failure", 1)).payload)
    assert again["step_run_errors"] == {"a": "a second"}
    assert again["parents"] == {}
    await one.cancel(run_id)
    await closed(one)


@pytest.mark.parametrize("budget", [64_000_000, 0], ids=["memory", "rows"])
async def test_c_5_9_a_task_that_runs_on_while_its_parent_is_replayed_keeps_its_payload(
    one: Instance, budget: int
) -> None:
    one.engine.runs._maximum_size = budget
    version = await one.define_dag(a=(), b={"parents": ("a",), "retries": 1})
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    a = await worker.task("a")
    await worker.complete(a, '{"x":1}')
    b = await worker.task("b")
    assert await one.replay(a.task_id) == [a.task_id]
    again = await worker.task("a", 1)
    await worker.fail(b)
    # Its retry finds every key that its first attempt found.
    retry = await worker.task("b", 1)
    assert json.loads(retry.payload)["parents"] == {"a": {"x": 1}}
    await worker.complete(again)
    await worker.complete(retry)
    await one.ended(run_id, RunStatus.COMPLETED)
    await closed(one)


async def test_c_15_16_a_task_that_was_skipped_is_decided_anew(one: Instance) -> None:
    version = await one.define_dag(a=(), b=waits(on_parent("a", "output.skip", Does.SKIP), parents=("a",)), c=("b",))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag", input='{"n":1}')
    await worker.complete(await worker.task("a"), '{"skip":true}')
    await one.ended(run_id, RunStatus.COMPLETED)
    await one.replay(run_id)
    await worker.complete(await worker.task("a", 1), '{"skip":false}')
    b = await worker.task("b", 1)
    assert json.loads(b.payload)["input"] == {"n": 1}
    await worker.complete(b)
    await worker.complete(await worker.task("c", 1))
    await one.ended(run_id, RunStatus.COMPLETED)
    await one.replay(run_id)
    await worker.complete(await worker.task("a", 2), '{"skip":true}')
    await one.ended(run_id, RunStatus.COMPLETED)
    assert (await one.outcomes(run_id))["c"] == SKIPPED
    await closed(one)


async def test_c_15_16_the_only_task_of_a_run_is_skipped_again(one: Instance) -> None:
    version = await one.define_dag(a=waits(on_event("e"), on_event("s", Does.SKIP, 1)))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    await until(lambda: len(one.scheduler.runs.waits) == 1, "a listens")
    await one.push("s")
    await one.ended(run_id, RunStatus.COMPLETED)
    await closed(one)
    for attempt in (1, 2):
        await one.replay(run_id)
        # C-15.14: it has no parents that are replayed.
        await worker.complete(await worker.task("a", attempt))
        await one.ended(run_id, RunStatus.COMPLETED)
        await closed(one)
    assert await one.rows("SELECT count(*) AS n FROM task_result") == [(3,)]


async def test_c_15_21_and_c_8_21_a_cancel_condition_that_changes(one: Instance) -> None:
    cancels = waits(on_parent("a", "output.by == 'a0'", Does.CANCEL), parents=("a",))
    version = await one.define_dag(a=(), b=cancels, c=("b",))
    worker = await one.dag_worker(version)
    numbers(worker)
    run_id = await one.run("dag", input='{"n":1}')
    await one.ended(run_id, RunStatus.CANCELLED)
    await one.replay(run_id)
    await one.ended(run_id, RunStatus.COMPLETED)
    assert json.loads((await worker.task("b", 1)).payload)["input"] == {"n": 1}
    assert worker.begun() == [("a", 0), ("a", 1), ("b", 1), ("c", 1)]


async def test_c_15_18_a_replay_keeps_its_version(one: Instance) -> None:
    worker, run_id = await chain(one)
    await one.define_dag(a=(), other=("a",))
    await one.replay(run_id)
    await worker.task("d", 1)
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_c_15_20_many_failed_runs_succeed_the_second_time(one: Instance) -> None:
    names = {"one": 60, "two": 30, "three": 30}

    async def answer(worker: Worker, action: Action) -> None:
        await (worker.complete(action) if action.retry_count else worker.fail(action))

    for name in names:
        tasks: dict[str, Any] = {"a": ()} if name == "one" else {"a": (), "b": ("a",)}
        version = await one.define_dag(name, **tasks)
        worker = await one.dag_worker(version)
        worker.answers(lambda action, worker=worker: answer(worker, action))  # type: ignore[misc]
    runs = [run_id for name, count in names.items() for run_id in await one.run_many(count, name)]
    ends = one.ends(*runs)
    for run_id in runs:
        await ends.of(run_id)
    assert await one.replay(*runs) == runs
    again = one.ends(*runs)
    for run_id in runs:
        results = (await again.of(run_id)).results
        assert {result.status for result in results} == {RunStatus.COMPLETED}
    assert await one.rows("SELECT count(*) AS n FROM task") == [(60 + 2 * 60,)]
    await closed(one)


async def test_c_7_14_a_subscription_after_a_replay_gets_the_new_end(one: Instance) -> None:
    version = await one.define_dag(a=(), b=("a",))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    ends = one.ends(run_id)
    await worker.complete(await worker.task("a"))
    await worker.complete(await worker.task("b"), '{"n":1}')
    await ends.of(run_id)
    ids = await one.task_ids(run_id)
    # The task's own end was asked for, too, and must not be remembered.
    await one.ends(ids["b"]).of(ids["b"])
    await one.replay(ids["b"])
    later = one.ends(run_id, ids["b"])
    b = await worker.task("b", 1)
    await one.watched()
    await one.engine.results.turn()
    assert later.told == []
    await worker.complete(b, '{"n":2}')
    assert (await later.of(run_id)).results[1].output == '{"n":2}'
    assert (await later.of(ids["b"])).results[0].output == '{"n":2}'
    await closed(one)
    assert [end.run_id for end in ends.told] == [run_id]


async def test_a_run_that_ended_while_its_replay_was_under_way(one: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of the first pass reaches the rows after the replay was committed."""
    from hatchet.engine import run_writes

    version = await one.define_dag(a=(), b=("a",))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    real, gate = run_writes.put_run_results, asyncio.Event()

    async def held(*args: Any) -> None:
        await gate.wait()
        await real(*args)

    monkeypatch.setattr(run_writes, "put_run_results", held)
    await worker.complete(await worker.task("a"))
    await worker.complete(await worker.task("b"))
    assert await one.replay(run_id) == [run_id]
    await worker.complete(await worker.task("a", 1))
    b = await worker.task("b", 1)
    gate.set()
    await one.watched()
    ends = one.ends(run_id)
    await one.engine.results._lookups.drain()
    assert ends.told == []
    await worker.complete(b, '{"second":1}')
    assert (await ends.of(run_id)).results[1].output == '{"second":1}'
    await closed(one)
    assert await one.rows("SELECT status FROM run_result") == [("COMPLETED",)]


async def test_replays_at_the_same_time_open_one_attempt(one: Instance) -> None:
    worker, run_id = await chain(one)
    ids = await one.task_ids(run_id)
    answers = await asyncio.gather(*[one.replay(run_id) for _ in range(5)], *[one.replay(ids["b"]) for _ in range(5)])
    assert sum(map(len, answers)) >= 1
    await worker.task("d", 1)
    await one.ended(run_id, RunStatus.COMPLETED)
    await closed(one)
    begun = worker.begun()
    assert len(begun) == len(set(begun))


async def test_replays_again_and_again_while_it_runs(one: Instance) -> None:
    """Whenever something has ended it is replayed; nothing runs twice at once, and in the end everything is over."""
    version = await one.define_dag(a=(), b=("a",), c=(), d=("b", "c"), on_failure=True)
    worker = await one.dag_worker(version, completes=True)
    run_id = await one.run("dag")
    await one.ended(run_id, RunStatus.COMPLETED)
    ids = await one.task_ids(run_id)
    for number in range(40):
        await one.replay(list(ids.values())[number % 5], *([run_id] if number % 7 == 0 else []))
    await until(lambda: _is_over(one, run_id), "the run ends")
    await closed(one)
    begun = worker.begun()
    assert len(begun) == len(set(begun))
    assert await one.rows("SELECT 1 FROM task_assignment GROUP BY task_id, attempt HAVING count(*) > 1") == []


async def _is_over(one: Instance, run_id: str) -> bool:
    return (await one.details(run_id)).done


async def test_c_15_9_a_plain_task_is_replayed(one: Instance) -> None:
    await one.define(retries=1)
    worker = await one.worker()
    run_id = await one.run()
    await worker.complete(await worker.started(run_id), '{"n":1}')
    assert await one.replay(run_id) == [run_id]
    assert await one.replay(run_id) == []
    assert (await one.details(run_id)).tasks[0].output is None
    ends = one.ends(run_id)
    await worker.fail(await worker.started(run_id, 1))
    await worker.complete(await worker.started(run_id, 2), '{"n":2}')
    assert (await ends.of(run_id)).results[0].output == '{"n":2}'
    await closed(one)


# Restarts ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead engine's lease ends after a moment instead of 6 s."""
    monkeypatch.setattr(leases, "LEASE_SECONDS", 1.2)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.3)
    monkeypatch.setattr(publish, "RECHECK_SECONDS", 0.2)


@pytest.mark.usefixtures("short_leases")
async def test_replays_of_runs_below_the_watermark_survive_a_restart(world: World) -> None:
    one = await world.engine()
    worker, old = await chain(one)
    await one.define("plain")
    helper = await one.worker("plain", completes=True)
    plain = await one.run("plain")
    await one.ended(plain, RunStatus.COMPLETED)
    await one.empty()
    # As after hours of other work: recovery begins above both.
    lease = one.scheduler.lease
    mark = max(old, plain)[:-12] + "ffffffffffff"
    await raise_watermark(one.database, lease.name, lease.epoch, mark)
    worker.answers(_nothing)
    helper.answers(_nothing)
    await one.replay(old, plain)
    await worker.task("a", 1)
    await helper.started(plain, 1)
    await worker.fall_silent()
    await helper.fall_silent()
    await one.kill()

    two = await world.engine()
    assert (two.scheduler.lease.low_watermark or "") >= mark
    await until(lambda: plain in two.scheduler.flying, "the plain task is known")
    await until(lambda: old in two.scheduler.runs, "the run is known")
    ends = two.ends(old, plain)
    await worker.open(two)
    await helper.open(two)
    numbers(worker)
    await numbered(worker, await worker.task("a", 1))
    await helper.complete(await helper.started(plain, 1), '{"again":1}')
    assert (await ends.of(old)).results[3].output == '{"by": "d1"}'
    assert (await ends.of(plain)).results[0].output == '{"again":1}'
    await two.ended(old, RunStatus.COMPLETED)
    await closed(two)
    begun = worker.begun()
    assert len(begun) == len(set(begun)) == 8


async def _nothing(_: Action) -> None:
    return None


@pytest.mark.usefixtures("short_leases")
async def test_an_old_replay_does_not_hold_the_watermark_down(one: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "WATERMARK_TURNS", 1)
    version = await one.define_dag(a=(), b=waits(sleep("24h"), parents=("a",)))
    worker = await one.dag_worker(version, completes=True)
    run_id = await one.run("dag")
    await worker.task("a")
    await until(lambda: len(one.scheduler.runs._sleeps) == 1, "b sleeps")
    await one.cancel(run_id)
    await one.replay(run_id)
    await until(lambda: len(one.scheduler.runs._sleeps) == 1, "b sleeps again")
    await one.pass_time(300, worker)

    async def is_above() -> bool:
        [row] = await one.rows(
            "SELECT low_watermark::text AS mark FROM lease WHERE name = $1", one.scheduler.lease.name
        )
        return row["mark"] is not None and time_of(row["mark"]) > time_of(run_id)

    await until(is_above, "the watermark passes the run")
    assert run_id in one.scheduler.runs


@pytest.mark.usefixtures("short_leases")
async def test_a_replay_at_an_instance_whose_clock_is_ahead_ends_all_the_same(world: World) -> None:
    one = await world.engine()
    two = await world.engine(owns=False, skipped=0.8)
    await until(lambda: one.engine.bus.has_peers and two.engine.bus.has_peers, "they know each other")
    worker, run_id = await chain(one)
    await one.define("plain")
    await one.worker("plain", completes=True)
    plain = await one.run("plain")
    await one.ended(plain, RunStatus.COMPLETED)
    assert await two.replay(run_id, plain) == [run_id, plain]
    ends = two.ends(run_id, plain)
    await worker.task("d", 1)
    assert (await ends.of(run_id)).results[3].output == '{"by": "d1"}'
    await ends.of(plain)
    await closed(one)
