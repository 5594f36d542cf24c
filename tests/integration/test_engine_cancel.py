"""Cancelling runs of several tasks and single tasks of them (behaviour-core C-6.37 to C-6.44, C-15.24)."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from engine_fixture import OTHER_TENANT, Instance, on_event, sleep, waits
from engine_worker import TENANT, Worker, until

from hatchet.core.messages import ReportKind, TriggerItem
from hatchet.core.statuses import RunStatus

SKIPPED = '{"skipped":true}'
OK = '{"ok":true}'
UNKNOWN = "707d0855-80ab-4e1f-a156-f1c4546cbf00"


async def running(one: Instance, **tasks: Any) -> tuple[Worker, str]:
    """A run whose root ``a`` is with a worker."""
    version = await one.define_dag(**tasks)
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    await worker.task("a")
    return worker, run_id


async def test_c_6_38_and_c_6_44_a_run_is_cancelled_with_all_its_tasks(one: Instance) -> None:
    worker, run_id = await running(one, on_failure=True, a=(), b=("a",), c=("b",))
    a = await worker.task("a")
    ends = one.ends(run_id)
    assert await one.cancel(run_id) == [run_id]
    # C-6.39: when the call returns, the state is written and the slot free.
    assert one.free(worker) == 100
    await worker.cancelled(a.task_id)
    told = await ends.of(run_id)
    assert await one.outcomes(run_id) == {
        "a": "CANCELLED:",
        "b": "CANCELLED:",
        "c": "CANCELLED:",
        "on-failure": SKIPPED,
    }
    one.engine.results._recent.clear()
    assert (await one.ends(run_id).of(run_id)).results == told.results
    # C-6.42, C-7.9: neither error nor output; C-5.18: the same attempt, no payload.
    assert [(result.error, result.output) for result in told.results[:3]] == [(None, None)] * 3
    [cancel] = worker.cancels
    assert (cancel.retry_count, cancel.payload, cancel.readable_id) == (0, "", "a")
    await one.ended(run_id, RunStatus.CANCELLED)
    # C-5.44: what comes later changes nothing, and starts nothing.
    await worker.complete(a)
    await worker.fail(a)
    await one.watched()
    await one.ended(run_id, RunStatus.CANCELLED)
    assert worker.begun() == [("a", 0)]
    await one.empty()


async def test_c_6_38_a_tasks_id_cancels_that_task_and_what_is_below(one: Instance) -> None:
    worker, run_id = await running(one, a=(), b=("a",), side=(), c=("side",), both=("b", "c"))
    a = await worker.task("a")
    assert await one.cancel(a.task_id) == [a.task_id]
    await worker.cancelled(a.task_id)
    await worker.complete(await worker.task("side"))
    await worker.complete(await worker.task("c"))
    await one.ended(run_id, RunStatus.CANCELLED)
    assert await one.outcomes(run_id) == {
        "a": "CANCELLED:",
        "b": "CANCELLED:",
        "side": OK,
        "c": OK,
        "both": "CANCELLED:",
    }
    await one.empty()


async def test_c_6_38_terminal_tasks_are_left_alone_and_unknown_ids_ignored(one: Instance) -> None:
    worker, run_id = await running(one, a=(), b=("a",))
    a = await worker.task("a")
    await worker.complete(a)
    b = await worker.task("b")
    assert await one.cancel(UNKNOWN, "no id", "", a.task_id) == []
    assert await one.engine.control.cancel(OTHER_TENANT, [run_id, b.task_id]) == []
    assert await one.cancel() == []
    # C-15.8: ids of runs and tasks, mixed and repeated.
    assert await one.cancel(run_id, UNKNOWN, b.task_id, run_id) == [run_id, b.task_id]
    await one.ended(run_id, RunStatus.CANCELLED)
    assert await one.outcomes(run_id) == {"a": OK, "b": "CANCELLED:"}
    assert await one.cancel(run_id, b.task_id) == []
    assert len(worker.cancels) == 1
    assert await one.rows("SELECT count(*) AS n FROM task_result") == [(2,)]


async def test_c_6_38_a_task_that_waits_for_its_parents_can_be_cancelled(one: Instance) -> None:
    worker, run_id = await running(one, a=(), b=("a",), c=("b",), side=("a",))
    # Its id follows from the run's, so that a client may know it before it exists.
    a = await worker.task("a")
    open_run = one.scheduler.runs.get(run_id)
    assert open_run is not None
    b = open_run.task_ids[open_run.version.graph.index_of["b"]]
    assert b not in (await one.task_ids(run_id)).values()
    assert await one.cancel(b) == [b]
    await worker.complete(a)
    await worker.complete(await worker.task("side"))
    await one.ended(run_id, RunStatus.CANCELLED)
    assert await one.outcomes(run_id) == {"a": OK, "b": "CANCELLED:", "c": "CANCELLED:", "side": OK}


async def test_c_6_44_a_run_with_a_failure_and_a_running_on_failure_task(one: Instance) -> None:
    worker, run_id = await running(one, a=(), slow=(), below=("slow",), on_failure=True)
    await worker.fail(await worker.task("a"), "boom")
    last, slow = await worker.task("on-failure"), await worker.task("slow")
    assert await one.cancel(run_id) == [run_id]
    await worker.cancelled(last.task_id)
    await worker.cancelled(slow.task_id)
    await one.ended(run_id, RunStatus.FAILED)
    assert await one.outcomes(run_id) == {
        "a": "FAILED:boom",
        "slow": "CANCELLED:",
        "below": "CANCELLED:",
        "on-failure": "CANCELLED:",
    }
    await one.empty()


async def test_c_6_49_a_cancelled_task_does_not_start_the_on_failure_task(one: Instance) -> None:
    worker, run_id = await running(one, a=(), b=(), on_failure=True)
    a = await worker.task("a")
    await worker.say(a, ReportKind.CANCELLED)
    await worker.complete(await worker.task("b"))
    await one.ended(run_id, RunStatus.CANCELLED)
    assert (await one.outcomes(run_id))["on-failure"] == SKIPPED
    assert len(worker.begun()) == 2


async def test_c_6_40_retry_delays_and_queued_tasks_end(one: Instance) -> None:
    version = await one.define_dag(
        a={"retries": 1, "backoff_factor": 1000.0}, queued=(), slept=waits(sleep("24h")), heard=waits(on_event("e"))
    )
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    queued = await worker.task("queued")
    await worker.fail(await worker.task("a"))
    await one.engine.workers.set_paused(TENANT, worker.id, True)
    second = await one.run("dag")
    await until(lambda: len(one.scheduler.backoff) == 1, "a waits for its retry")
    assert sorted(await one.cancel(run_id, second)) == sorted([run_id, second])
    await worker.cancelled(queued.task_id)
    for cancelled in (run_id, second):
        details = await one.ended(cancelled, RunStatus.CANCELLED)
        assert {task.status for task in details.tasks} == {RunStatus.CANCELLED}
    await one.empty()
    await one.engine.workers.set_paused(TENANT, worker.id, False)
    await one.push("e")
    await one.pass_time(2000, worker)
    assert len(worker.begun()) == 2


async def test_c_6_39_a_cancel_races_with_reports(one: Instance) -> None:
    """Whichever comes first to an attempt counts, and the run ends by what is in the rows."""
    version = await one.define_dag(a=(), b=("a",), c=("b",), on_failure=True)
    worker = await one.dag_worker(version)
    runs = await one.run_many(30, "dag")
    for run_id in runs:
        await worker.task("a", run_id=run_id)
    firsts = list(worker.starts)
    worker.completes()
    ends = one.ends(*runs)
    await asyncio.gather(*(worker.complete(action) for action in firsts), *(one.cancel(run_id) for run_id in runs))
    for run_id in runs:
        told = await ends.of(run_id)
        await one.ended(run_id, (await one.status(run_id)))
        assert (await one.status(run_id)).is_terminal
        one.engine.results._recent.clear()
        read = await one.ends(run_id).of(run_id)
        assert told.results == read.results
    await one.empty()
    assert one.free(worker) == 100
    begun = Counter((action.task_id, action.retry_count) for action in worker.starts)
    assert set(begun.values()) == {1}


async def test_c_5_19_a_task_that_starts_while_it_is_cancelled_is_stopped(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await one.define_dag(a=(), b=("a",))
    await one.define("plain")
    run_id, plain = await one.run("dag"), await one.run("plain")
    real = one.engine.endings.end_all

    async def end_all(found: Any) -> Any:
        # What is to be cancelled was read; now workers come and get it.
        worker, helper = await one.dag_worker(version), await one.worker("plain")
        workers.extend([worker, helper])
        await worker.task("a")
        await helper.started(plain)
        return await real(found)

    workers: list[Worker] = []
    monkeypatch.setattr(one.engine.endings, "end_all", end_all)
    assert await one.cancel(run_id, plain) == [run_id, plain]
    worker, helper = workers
    await worker.cancelled((await worker.task("a")).task_id)
    await helper.cancelled(plain)
    await one.ended(run_id, RunStatus.CANCELLED)
    await one.empty()


async def test_c_15_24_many_runs_at_once(one: Instance) -> None:
    version = await one.define_dag(a=(), b=("a",), c=("b",))
    await one.define("plain")
    worker = await one.dag_worker(version, slots=30)
    runs = [*await one.run_many(100, "dag"), *await one.run_many(20, "plain")]
    await until(lambda: len(worker.starts) == 30, "30 tasks run")
    assert await one.cancel(*runs) == runs
    for run_id in runs:
        assert await one.status(run_id) is RunStatus.CANCELLED
    await until(lambda: len(worker.cancels) == 30, "every running task is told")
    await one.empty()
    assert one.free(worker) == 30
    assert len(worker.starts) == 30


async def test_a_run_of_500_tasks_is_cancelled(one: Instance) -> None:
    tasks = {f"t{n}": (f"t{n - 1}",) if n % 10 else () for n in range(500)}
    version = await one.define_dag(**tasks, on_failure=True)
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    await until(lambda: len(worker.starts) == 50, "the roots run")
    assert await one.cancel(run_id) == [run_id]
    details = await one.ended(run_id, RunStatus.CANCELLED)
    assert len(details.tasks) == 501
    assert details.tasks[-1].output == SKIPPED
    await one.empty()


@pytest.mark.parametrize("name", ["a", "dag"])
async def test_c_6_41_children_go_on(one: Instance, name: str) -> None:
    worker, run_id = await running(one, a=(), b=("a",))
    await one.define("child")
    helper = await one.worker("child")
    a = await worker.task("a")
    item = TriggerItem(workflow_name="child", parent_task_id=a.task_id, child_index=0)
    [child] = await one.engine.trigger.trigger(TENANT, [item])
    await one.cancel(a.task_id if name == "a" else run_id)
    await one.ended(run_id, RunStatus.CANCELLED)
    await helper.complete(await helper.started(child))
    await one.ended(child, RunStatus.COMPLETED)
