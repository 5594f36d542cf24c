"""Runs of several tasks in the engine: what starts when, with which payload, and how the run ends (C-5 to C-7)."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from engine_fixture import OTHER_TENANT, Instance, on_parent, sleep, waits
from engine_worker import TENANT, Action, until

from hatchet.core.conditions import Action as Does
from hatchet.core.errors import InvalidArgument, NotFound, ResourceExhausted
from hatchet.core.messages import ReportKind, TaskReport, TriggerItem
from hatchet.core.run_events import RunEvent
from hatchet.core.statuses import RunStatus
from hatchet.engine import publish, run_writes
from hatchet.store.pool import Connected, Database, Pinned

SKIPPED = '{"skipped":true}'


def payload(action: Action) -> Any:
    return json.loads(action.payload)


# Ids -----------------------------------------------------------------------------------------------------------------


async def test_c_0_7_tasks_of_a_run_have_ids_of_their_own(one: Instance) -> None:
    version = await one.define_dag(a=(), b=("a",))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag", input='{"n":1}')
    a = await worker.task("a")
    assert a.run_id == run_id
    assert a.task_id != run_id
    whole, part = await one.details(run_id), await one.details(a.task_id)
    assert [task.task_id for task in whole.tasks] == [task.task_id for task in part.tasks] == [a.task_id]
    assert part.input == '{"n":1}'
    assert part.status is RunStatus.RUNNING
    await worker.complete(a)
    b = await worker.task("b")
    assert len({run_id, a.task_id, b.task_id}) == 3
    # The task is over, its run is not.
    assert (await one.details(a.task_id)).status is RunStatus.COMPLETED
    assert (await one.details(a.task_id)).done
    assert not (await one.details(run_id)).done
    await worker.complete(b)
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_c_0_7_the_only_task_of_a_run_that_waits_for_something_has_its_runs_id(one: Instance) -> None:
    version = await one.define_dag(a=waits(sleep("20s")))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    ends = one.ends(run_id)
    await one.pass_time(21, worker)
    a = await worker.task("a")
    assert (a.run_id, a.task_id) == (run_id, run_id)
    await worker.complete(a)
    [result] = (await ends.of(run_id)).results
    assert (result.task_id, result.readable_id, result.output) == (run_id, "a", '{"ok":true}')
    assert await one.replay(run_id) == [run_id]
    again = await worker.task("a", 1)
    assert await one.cancel(run_id) == [run_id]
    await worker.cancelled(again.task_id, 1)
    await one.ended(run_id, RunStatus.CANCELLED)
    await one.empty()


# Payloads ------------------------------------------------------------------------------------------------------------


async def test_c_5_7_a_task_sees_the_outputs_of_all_its_ancestors(one: Instance) -> None:
    version = await one.define_dag(a=(), b=("a",), c=("b",), other=())
    worker = await one.dag_worker(version)
    run_id = await one.run("dag", input='{"n":1}', additional_metadata='{"m":2}')
    await worker.complete(await worker.task("other"), '{"o":0}')
    await worker.complete(await worker.task("a"), '{"x":1}')
    await worker.complete(await worker.task("b"), '{"y":[1,2]}')
    c = await worker.task("c")
    assert payload(c) == {
        "input": {"n": 1},
        "parents": {"a": {"x": 1}, "b": {"y": [1, 2]}},
        "triggers": {},
        "triggered_by": "manual",
        "user_data": None,
        "overrides": None,
    }
    assert json.loads(c.additional_metadata) == {"m": 2}
    await worker.complete(c)
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_c_5_8_and_c_5_9_skipped_and_empty_parents_are_told(one: Instance) -> None:
    version = await one.define_dag(
        a=(),
        empty=("a",),
        skipped=waits(on_parent("a", "output.ok", Does.SKIP), parents=("a",)),
        z=("empty", "skipped"),
    )
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    await worker.complete(await worker.task("a"))
    await worker.complete(await worker.task("empty"), "")
    assert payload(await worker.task("z"))["parents"] == {"a": {"ok": True}, "empty": {}, "skipped": {"skipped": True}}
    assert (await one.outcomes(run_id))["empty"] == "COMPLETED:"


async def test_c_5_10_ten_runs_at_once_each_see_their_own_input_and_outputs(one: Instance) -> None:
    version = await one.define_dag(a=(), b=("a",))
    worker = await one.dag_worker(version)

    async def answer(action: Action) -> None:
        seen = payload(action)
        if action.readable_id == "a":
            await worker.complete(action, json.dumps({"from": seen["input"]["n"]}))
        else:
            assert seen["parents"] == {"a": {"from": seen["input"]["n"]}}
            await worker.complete(action, json.dumps(seen["input"]))

    worker.answers(answer)
    runs = [await one.run("dag", input=json.dumps({"n": n})) for n in range(10)]
    for n, run_id in enumerate(runs):
        await one.ended(run_id, RunStatus.COMPLETED)
        assert (await one.outcomes(run_id))["b"] == json.dumps({"n": n})


@pytest.mark.parametrize("budget", [64_000_000, 0, 700], ids=["memory", "rows", "a part"])
async def test_c_5_7_to_c_5_16_payloads_are_the_same_from_memory_and_from_rows(one: Instance, budget: int) -> None:
    one.engine.runs._maximum_size = budget
    skips = waits(on_parent("a", "output.x > 0", Does.SKIP), parents=("a",))
    version = await one.define_dag(a=(), b=("a",), skipped=skips, z=("b", "skipped"), bad=(), on_failure=True)
    worker = await one.dag_worker(version)
    run_id = await one.run("dag", input='{"n":1}', additional_metadata='{"m":"\\u00fc"}')
    ends = one.ends(run_id)
    await worker.complete(await worker.task("a"), '{"x":1}')
    await worker.complete(await worker.task("b"), '"\\ud83d\\ude00"')
    z = await worker.task("z")
    assert payload(z)["input"] == {"n": 1}
    assert payload(z)["parents"] == {"a": {"x": 1}, "b": "\U0001f600", "skipped": {"skipped": True}}
    assert json.loads(z.additional_metadata) == {"m": "\u00fc"}
    await worker.fail(await worker.task("bad"), 'Oops: "no"\nline two')
    last = payload(await worker.task("on-failure"))
    assert last["step_run_errors"] == {"bad": 'Oops: "no"\nline two'}
    assert last["parents"] == {"a": {"x": 1}, "b": "\U0001f600", "skipped": {"skipped": True}}
    await worker.complete(z, '{"z":1}')
    await worker.complete(await worker.task("on-failure"), "")
    told = await ends.of(run_id)
    one.engine.results._recent.clear()
    read = await one.ends(run_id).of(run_id)
    assert told.results == read.results
    assert told.at == pytest.approx(read.at, abs=1e-5)
    # C-7.9: presence matters.
    assert {result.readable_id: (result.output, result.error) for result in told.results} == {
        "a": ('{"x":1}', None),
        "b": ('"\\ud83d\\ude00"', None),
        "skipped": (SKIPPED, None),
        "z": ('{"z":1}', None),
        "bad": (None, 'Oops: "no"\nline two'),
        "on-failure": (None, None),
    }
    await one.empty()


async def test_c_5_15_the_on_failure_task_gets_the_failures_known_when_it_is_queued(one: Instance) -> None:
    version = await one.define_dag(a=(), b=(), slow=(), on_failure=True)
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    slow = await worker.task("slow")
    a, b = await worker.task("a"), await worker.task("b")
    reports = [
        TaskReport(task_id=action.task_id, kind=ReportKind.FAILED, payload=action.readable_id, retry_count=0, at=0)
        for action in (a, b)
    ]
    await one.engine.reports.report_all(TENANT, reports)
    last = await worker.task("on-failure")
    assert payload(last)["step_run_errors"] == {"a": "a", "b": "b"}
    await worker.fail(last, "too")
    # C-6.46: its failure makes no further run of it.
    await worker.complete(slow)
    await one.ended(run_id, RunStatus.FAILED)
    assert worker.begun().count(("on-failure", 0)) == 1
    assert len(worker.begun()) == 4


async def test_c_5_16_an_error_text_of_a_megabyte_arrives_as_it_was_sent(one: Instance) -> None:
    version = await one.define_dag(a=(), on_failure=True)
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    text = 'E: "\n' + "\u00e4\\" * 500_000
    ends = one.ends(run_id)
    await worker.fail(await worker.task("a"), text)
    last = await worker.task("on-failure")
    assert payload(last)["step_run_errors"] == {"a": text}
    await worker.complete(last)
    assert (await ends.of(run_id)).results[0].error == text
    await one.empty()


async def test_c_5_17_a_payload_that_no_transport_takes_fails_only_that_task(one: Instance) -> None:
    version = await one.define_dag(a=(), b=("a",), c=())
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    a, c = await worker.task("a"), await worker.task("c")
    worker.send_error = ResourceExhausted("the action is larger than 4 MiB")
    await worker.complete(a)
    await worker.complete(c)
    # C-2.35: some times more, after longer and longer delays.
    while not (details := await one.details(run_id)).done:
        await one.pass_time(6, worker)
    assert details.status is RunStatus.FAILED
    assert "larger than 4 MiB" in ({task.readable_id: task.error for task in details.tasks}["b"] or "")
    await one.empty()


async def test_c_5_31_output_that_cannot_be_kept_fails_the_task_by_its_retries(one: Instance) -> None:
    version = await one.define_dag(a={"retries": 1}, nul={"retries": 0}, raw={"retries": 0}, b=("a",), on_failure=True)
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    await worker.complete(await worker.task("a"), "{no json")
    await worker.complete(await worker.task("a", 1), '{"good":1}')
    assert payload(await worker.task("b"))["parents"] == {"a": {"good": 1}}
    await worker.complete(await worker.task("nul"), '{"x":"\\u0000"}')
    last = await worker.task("on-failure")
    [(name, error)] = payload(last)["step_run_errors"].items()
    assert name == "nul"
    assert "invalid json in field" in error
    await worker.fail(await worker.task("raw"), "nul \x00 in the error")
    await worker.complete(await worker.task("b"))
    await worker.complete(last)
    details = await one.ended(run_id, RunStatus.FAILED)
    assert {task.readable_id: task.error for task in details.tasks}["raw"] == "nul \ufffd in the error"


# Progress ------------------------------------------------------------------------------------------------------------


async def test_c_6_13_and_c_7_30_tasks_appear_as_they_come_into_being(one: Instance) -> None:
    version = await one.define_dag(r1=(), r2=(), r3=(), r4=(), c1=("r1", "r2"), c2=("r3",))
    run_id = await one.run("dag")
    details = await one.details(run_id)
    assert [task.readable_id for task in details.tasks] == ["r1", "r2", "r3", "r4"]
    # C-6.7: all tasks are queued.
    assert (details.status, details.done) == (RunStatus.QUEUED, False)
    await one.dag_worker(version, completes=True)
    details = await one.ended(run_id, RunStatus.COMPLETED)
    assert len(details.tasks) == 6
    await one.empty()


async def test_c_6_14_a_child_starts_when_all_parents_completed(one: Instance) -> None:
    version = await one.define_dag(a=(), b=(), c=("a", "b"))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    await worker.complete(await worker.task("a"))
    await one.watched()
    assert sorted(worker.begun()) == [("a", 0), ("b", 0)]
    assert set(await one.task_ids(run_id)) == {"a", "b"}
    await worker.complete(await worker.task("b"))
    await worker.complete(await worker.task("c"))
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_c_6_15_and_c_6_17_a_failure_cancels_what_is_below_and_nothing_else(one: Instance) -> None:
    version = await one.define_dag(bad=(), good=(), b1=("bad",), b2=("b1", "good"), g1=("good",), g2=("g1",))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    await worker.fail(await worker.task("bad"), "boom")
    for name in ("good", "g1", "g2"):
        await worker.complete(await worker.task(name))
    await one.ended(run_id, RunStatus.FAILED)
    ok = '{"ok":true}'
    assert await one.outcomes(run_id) == {
        "bad": "FAILED:boom",
        "good": ok,
        "b1": "CANCELLED:",
        "b2": "CANCELLED:",
        "g1": ok,
        "g2": ok,
    }
    await one.empty()
    # C-6.19: every task has rows.
    rows = await one.rows("SELECT outcome FROM task_result ORDER BY outcome")
    assert [row["outcome"] for row in rows] == ["CANCELLED"] * 2 + ["COMPLETED"] * 3 + ["FAILED"]


async def test_c_6_16_a_task_is_skipped_when_all_parents_were(one: Instance) -> None:
    skip = on_parent("a", "true", Does.SKIP)
    version = await one.define_dag(
        a=(),
        s1=waits(skip, parents=("a",)),
        s2=waits(skip, parents=("a",)),
        below=("s1", "s2"),
        mixed=("s1", "a"),
        last=("below",),
    )
    worker = await one.dag_worker(version, completes=True)
    run_id = await one.run("dag")
    await one.ended(run_id, RunStatus.COMPLETED)
    assert sorted(worker.begun()) == [("a", 0), ("mixed", 0)]
    outcomes = await one.outcomes(run_id)
    assert {name for name, outcome in outcomes.items() if outcome == SKIPPED} == {"s1", "s2", "below", "last"}
    await one.empty()
    ids = await one.task_ids(run_id)
    assert "SKIPPED" in await one.event_names(ids["last"])


async def test_c_6_18_children_wait_while_their_parent_is_retried(one: Instance) -> None:
    version = await one.define_dag(a={"retries": 2, "backoff_factor": 1.1}, b=("a",), on_failure=True)
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    await worker.fail(await worker.task("a"))
    await one.watched()
    assert worker.begun() == [("a", 0)]
    assert await one.status(run_id) is RunStatus.RUNNING
    await one.pass_time(2, worker)
    await worker.fail(await worker.task("a", 1))
    await one.pass_time(2, worker)
    await worker.complete(await worker.task("a", 2))
    await worker.complete(await worker.task("b"))
    details = await one.ended(run_id, RunStatus.COMPLETED)
    assert details.tasks[-1].output == SKIPPED


async def test_c_6_8_statuses_of_runs_follow_from_those_of_their_tasks(one: Instance) -> None:
    version = await one.define_dag(a=(), b=(), c=())
    worker = await one.dag_worker(version)

    async def ended(a: str, b: str, c: str) -> RunStatus:
        run_id = await one.run("dag")
        for name, how in (("a", a), ("b", b), ("c", c)):
            action = await worker.task(name, run_id=run_id)
            await worker.say(action, ReportKind[how], "x" if how == "FAILED" else "")
        return (await until(lambda: _final(one, run_id), "the run ends")).status

    assert await ended("COMPLETED", "CANCELLED", "COMPLETED") is RunStatus.CANCELLED
    assert await ended("COMPLETED", "FAILED", "CANCELLED") is RunStatus.FAILED
    assert await ended("COMPLETED", "COMPLETED", "COMPLETED") is RunStatus.COMPLETED
    await until(lambda: _statuses(one, {"CANCELLED": 1, "FAILED": 1, "COMPLETED": 1}), "the ends are written")


async def _final(one: Instance, run_id: str) -> Any:
    details = await one.details(run_id)
    return details if details.done else None


async def _statuses(one: Instance, wanted: dict[str, int]) -> bool:
    return Counter(row["status"] for row in await one.rows("SELECT status FROM run_result")) == wanted


async def test_c_6_10_and_c_7_28_a_run_goes_on_while_one_task_does(one: Instance) -> None:
    version = await one.define_dag(fails=(), cancels=(), slow=(), d=(), e=(), below=("fails",))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    await worker.fail(await worker.task("fails"))
    cancels = await worker.task("cancels")
    # C-6.37: a task cancels itself.
    assert await one.cancel(cancels.task_id) == [cancels.task_id]
    await worker.cancelled(cancels.task_id)
    for name in ("d", "e"):
        await worker.complete(await worker.task(name))
    slow = await worker.task("slow")
    details = await one.details(run_id)
    assert (details.status, details.done) == (RunStatus.RUNNING, False)
    assert len(details.tasks) == 6
    await worker.complete(slow)
    details = await one.ended(run_id, RunStatus.FAILED)
    statuses = {task.readable_id: task.status.value for task in details.tasks}
    assert statuses == {
        "fails": "FAILED",
        "cancels": "CANCELLED",
        "slow": "COMPLETED",
        "d": "COMPLETED",
        "e": "COMPLETED",
        "below": "CANCELLED",
    }


async def test_c_6_43_a_task_that_cancels_itself_cancels_the_run(one: Instance) -> None:
    version = await one.define_dag(a=(), b=(), on_failure=True)
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    a = await worker.task("a")
    await one.cancel(a.task_id)
    await worker.complete(await worker.task("b"))
    details = await one.ended(run_id, RunStatus.CANCELLED)
    # C-6.42: neither error nor output; C-6.49: a cancelled run does not start the on-failure task.
    assert (details.tasks[0].output, details.tasks[0].error) == (None, None)
    assert details.tasks[2].output == SKIPPED


async def test_c_6_45_and_c_6_47_the_on_failure_task_does_not_wait_for_the_others(one: Instance) -> None:
    version = await one.define_dag(a=(), slow=(), on_failure=True)
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    ends = one.ends(run_id)
    slow = await worker.task("slow")
    await worker.fail(await worker.task("a"), "boom")
    last = await worker.task("on-failure")
    assert payload(last)["step_run_errors"] == {"a": "boom"}
    await worker.complete(slow)
    await one.watched()
    # C-7.3: no end before the on-failure task ended.
    assert ends.told == []
    await worker.complete(last)
    finished = await ends.of(run_id)
    assert [(result.readable_id, result.status) for result in finished.results] == [
        ("a", RunStatus.FAILED),
        ("slow", RunStatus.COMPLETED),
        ("on-failure", RunStatus.COMPLETED),
    ]
    await one.ended(run_id, RunStatus.FAILED)
    await one.empty()


async def test_c_6_9_the_on_failure_task_is_skipped_without_a_failure(one: Instance) -> None:
    version = await one.define_dag(on_failure=True, a=(), b=("a",))
    await one.dag_worker(version, completes=True)
    run_id = await one.run("dag")
    finished = await one.ends(run_id).of(run_id)
    # C-7.13: it is listed all the same.
    assert (finished.results[-1].readable_id, finished.results[-1].output) == ("on-failure", SKIPPED)
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_c_6_48_a_task_below_all_leaves_runs_only_if_all_completed(one: Instance) -> None:
    version = await one.define_dag(a=(), b=(), on_success=("a", "b"), on_failure=True)
    worker = await one.dag_worker(version)
    good, bad = await one.run("dag"), await one.run("dag")
    for run_id in (good, bad):
        await worker.complete(await worker.task("a", run_id=run_id))
    await worker.complete(await worker.task("b", run_id=good))
    await worker.fail(await worker.task("b", run_id=bad))
    await worker.complete(await worker.task("on_success", run_id=good))
    await worker.complete(await worker.task("on-failure", run_id=bad))
    await one.ended(good, RunStatus.COMPLETED)
    await one.ended(bad, RunStatus.FAILED)
    assert len(worker.begun(bad)) == 3


async def test_c_6_33_and_c_6_49_children_have_their_own_schedule_timeout(one: Instance) -> None:
    version = await one.define_dag(a=(), b={"parents": ("a",), "schedule_timeout": "60s"}, c=("b",), on_failure=True)
    worker = await one.dag_worker(version, slots=1)
    run_id = await one.run("dag")
    a = await worker.task("a")
    # The time that the parent takes is not the child's.
    await one.pass_time(50, worker)
    other = await one.run("dag")
    await one.engine.workers.set_paused(TENANT, worker.id, True)
    await worker.complete(a)
    await one.pass_time(50, worker)
    assert (await one.details(run_id)).done is False
    await one.pass_time(11, worker)
    await one.ended(run_id, RunStatus.CANCELLED)
    outcomes = await one.outcomes(run_id)
    assert outcomes == {"a": '{"ok":true}', "b": "CANCELLED:", "c": "CANCELLED:", "on-failure": SKIPPED}
    await one.cancel(other)
    await one.empty()


async def test_c_6_30_an_execution_timeout_fails_the_run_and_starts_the_on_failure_task(one: Instance) -> None:
    version = await one.define_dag(a={"execution_timeout": "20s", "retries": 1}, b=("a",), on_failure=True)
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    a = await worker.task("a")
    await one.pass_time(21, worker)
    await worker.cancelled(a.task_id)
    await worker.task("a", 1)
    await one.pass_time(21, worker)
    last = await worker.task("on-failure")
    assert payload(last)["step_run_errors"] == {"a": "Task exceeded timeout of 20s"}
    # C-5.44: a late word changes nothing.
    await worker.complete(a)
    await worker.complete(last)
    await one.ended(run_id, RunStatus.FAILED)
    assert (await one.outcomes(run_id))["b"] == "CANCELLED:"


async def test_c_4_29_all_tasks_of_a_run_have_its_priority(one: Instance) -> None:
    version = await one.define_dag(a=(), b=("a",))
    worker = await one.dag_worker(version, slots=1)
    blocking = await one.run("dag")
    first = await worker.task("a", run_id=blocking)
    low, high = await one.run("dag", priority=1), await one.run("dag", priority=3)
    worker.completes()
    await worker.complete(first)
    for run_id in (blocking, low, high):
        await one.ended(run_id, RunStatus.COMPLETED)
    order = [(action.run_id, action.readable_id) for action in worker.starts]
    assert order.index((high, "b")) < order.index((low, "a"))
    assert {action.priority for action in worker.starts if action.run_id == high} == {3}


async def test_c_2_28_a_task_of_a_lost_worker_goes_to_another_with_its_payload(one: Instance) -> None:
    version = await one.define_dag(a=(), b=("a",))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag", input='{"n":1}')
    await worker.complete(await worker.task("a"), '{"x":1}')
    await worker.task("b")
    await one.lose(worker)
    other = await one.dag_worker(version)
    again = await other.task("b", 1)
    assert payload(again)["parents"] == {"a": {"x": 1}}
    await other.complete(again)
    await one.ended(run_id, RunStatus.COMPLETED)
    assert other.begun() == [("b", 1)]


# Results -------------------------------------------------------------------------------------------------------------


async def test_c_7_2_and_c_7_4_each_request_is_answered_once(one: Instance) -> None:
    version = await one.define_dag(a=(), b=("a",), on_failure=True)
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    before = one.ends(run_id)
    await worker.complete(await worker.task("a"))
    between = one.ends(run_id)
    await worker.complete(await worker.task("b"))
    first = await before.of(run_id)
    after = await one.ends(run_id).of(run_id)
    one.engine.results._recent.clear()
    read = await one.ends(run_id).of(run_id)
    assert first.results == (await between.of(run_id)).results == after.results == read.results
    await one.watched()
    await asyncio.sleep(0)
    assert len(before.told) == len(between.told) == 1
    before.ask(run_id)
    await before.of(run_id, times=2)


async def test_c_7_3_no_end_before_the_last_task(one: Instance) -> None:
    version = await one.define_dag(a=(), b=("a",))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    ends = one.ends(run_id)
    await worker.complete(await worker.task("a"))
    b = await worker.task("b")
    await one.watched()
    await one.engine.results.turn()
    assert ends.told == []
    await worker.complete(b)
    assert len((await ends.of(run_id)).results) == 2


async def test_c_7_6_the_id_of_a_task_gives_that_task_only(one: Instance) -> None:
    skip = waits(on_parent("a", "true", Does.SKIP), parents=("a",))
    version = await one.define_dag(a=(), b=("a",), skipped=skip, bad=("a",), below=("bad",))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    a = await worker.task("a")
    rows = await one.rows("SELECT task.id::text AS id FROM task ORDER BY step_id")
    ends = one.ends(*[row["id"] for row in rows])
    await worker.complete(a, '{"x":1}')
    await worker.fail(await worker.task("bad"), "boom")
    await worker.complete(await worker.task("b"))
    await one.ended(run_id, RunStatus.FAILED)
    ids = await one.task_ids(run_id)
    for name, expected in {
        "a": (RunStatus.COMPLETED, '{"x":1}', None),
        "skipped": (RunStatus.COMPLETED, SKIPPED, None),
        "bad": (RunStatus.FAILED, None, "boom"),
        "below": (RunStatus.CANCELLED, None, None),
    }.items():
        [result] = (await ends.of(ids[name])).results
        assert (result.readable_id, result.task_id) == (name, ids[name])
        assert (result.status, result.output, result.error) == expected
        # And after the end.
        [read] = (await one.ends(ids[name]).of(ids[name])).results
        assert read == result
    await one.empty()


async def test_c_7_6_a_task_that_was_skipped_a_moment_ago_is_answered_without_a_poll(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip = waits(on_parent("a", "true", Does.SKIP), parents=("a",))
    version = await one.define_dag(a=(), skipped=skip, slow=())
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    real, gate, reached = run_writes.append_results, asyncio.Event(), asyncio.Event()

    async def held(*args: Any) -> Any:
        reached.set()
        await gate.wait()
        return await real(*args)

    monkeypatch.setattr(run_writes, "append_results", held)
    await worker.complete(await worker.task("a"))
    await reached.wait()
    skipped = (await one.task_ids(run_id))["skipped"]
    ends = one.ends(skipped)
    await one.engine.results._lookups.drain()
    assert ends.told == []
    gate.set()
    assert (await ends.of(skipped)).results[0].output == SKIPPED
    await worker.complete(await worker.task("slow"))
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_c_7_26_ids_that_are_unknown_foreign_or_no_ids(one: Instance) -> None:
    await one.define_dag(a=(), b=("a",))
    run_id = await one.run("dag")
    ids = await one.task_ids(run_id)
    with pytest.raises(InvalidArgument, match="invalid external id"):
        await one.details("no id")
    for unknown in ("707d0855-80ab-4e1f-a156-f1c4546cbf00",):
        with pytest.raises(NotFound):
            await one.details(unknown)
    for known in (run_id, ids["a"]):
        with pytest.raises(NotFound):
            await one.engine.reading.run_details(OTHER_TENANT, known)
    ends = one.ends("no id", "707d0855-80ab-4e1f-a156-f1c4546cbf00")
    foreign = one.engine.results.open(OTHER_TENANT, ends._deliver)
    foreign.add([run_id, ids["a"]])
    await one.cancel(run_id)
    await one.ended(run_id, RunStatus.CANCELLED)
    await one.engine.results.turn()
    assert ends.told == []
    await foreign.close()


async def test_c_7_29_details_give_input_and_metadata_back(one: Instance) -> None:
    await one.define_dag(a=(), b=("a",))
    run_id = await one.run("dag", input='{"x":[1,"\\u00fc"]}', additional_metadata='{"k":"v"}')
    details = await one.details(run_id)
    assert json.loads(details.input) == {"x": [1, "\u00fc"]}
    assert json.loads(details.additional_metadata) == {"k": "v"}


async def test_c_7_34_every_end_is_one_event_and_the_runs_comes_last(one: Instance) -> None:
    skip = waits(on_parent("a", "true", Does.SKIP), parents=("a",))
    version = await one.define_dag(a=(), skipped=skip, bad=(), below=("bad",), open=(), on_failure=True)
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    events: list[RunEvent] = []
    async with one.engine.run_events.subscribe_run(TENANT, run_id) as queue:
        await worker.complete(await worker.task("a"))
        await worker.fail(await worker.task("bad"), "boom")
        await worker.task("on-failure")
        await worker.task("open")
        await one.cancel(run_id)
        events.extend([event async for event in queue])
    ids = {task_id: name for name, task_id in (await one.task_ids(run_id)).items()}
    seen = Counter((ids.get(event.task_id or "", "run"), event.kind.value) for event in events)
    assert seen == {
        ("a", "COMPLETED"): 1,
        ("skipped", "COMPLETED"): 1,
        ("bad", "FAILED"): 1,
        ("below", "CANCELLED"): 1,
        ("open", "CANCELLED"): 1,
        ("on-failure", "CANCELLED"): 1,
        ("run", "FAILED"): 1,
    }
    assert events[-1].task_id is None


async def test_c_7_2_a_late_or_doubled_report_does_not_tell_the_end_again(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await one.define_dag(a=(), b=("a",))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    real, gate = run_writes.put_run_results, asyncio.Event()

    async def held(*args: Any) -> None:
        await gate.wait()
        await real(*args)

    monkeypatch.setattr(run_writes, "put_run_results", held)
    told: list[str] = []
    run_ended = one.engine.run_events.run_ended
    monkeypatch.setattr(
        one.engine.run_events,
        "run_ended",
        lambda *args: (told.append(args[1]), run_ended(*args)),  # type: ignore[func-returns-value]
    )
    await worker.complete(await worker.task("a"))
    b = await worker.task("b")
    report = TaskReport(task_id=b.task_id, kind=ReportKind.COMPLETED, payload="", retry_count=0, at=0)
    await one.engine.reports.report_all(TENANT, [report, report])
    # The second made the engine look at the rows again, while the run's end is on its way to them.
    await one.watched(4)
    gate.set()
    await one.empty()
    await worker.complete(b)
    await one.watched(4)
    assert told == [run_id]


# Size ----------------------------------------------------------------------------------------------------------------


class Statements:
    """Counts the statements that an instance sends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: Counter[str] = Counter()
        for kind in (Database, Pinned, Connected):
            for method in ("fetch", "execute"):
                monkeypatch.setattr(kind, method, self._counted(getattr(kind, method)))

    def _counted(self, real: Any) -> Any:
        async def counted(database: Any, name: str, *args: object) -> Any:
            self.names[name] += 1
            return await real(database, name, *args)

        return counted

    def of(self, *names: str) -> int:
        return sum(self.names[name] for name in names)


# What goes on whether or not there is work.
BESIDES = {"lease_tick", "worker_heartbeats", "run_rows", "task_states", "ids_resolve", "run_payloads", "clock_read"}


async def _statements_a_task(one: Instance, count: Statements, name: str, size: int) -> float:
    run_id = await one.run(name)
    await one.ends(run_id).of(run_id)
    await one.empty()
    used = sum(times for statement, times in count.names.items() if statement not in BESIDES)
    count.names.clear()
    return used / size


async def test_the_statements_of_a_task_do_not_grow_with_its_run(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chain(length: int) -> dict[str, tuple[str, ...]]:
        return {f"t{n}": (f"t{n - 1}",) if n else () for n in range(length)}

    versions = [
        await one.define_dag("short", **chain(5)),
        await one.define_dag("long", **chain(50)),
        await one.define_dag("wide", **{f"t{n}": () for n in range(50)}, last=tuple(f"t{n}" for n in range(50))),
    ]
    for version in versions:
        await one.dag_worker(version, completes=True)
    await one.run("short")
    count = Statements(monkeypatch)
    short = await _statements_a_task(one, count, "short", 5)
    long = await _statements_a_task(one, count, "long", 50)
    wide = await _statements_a_task(one, count, "wide", 51)
    # The run's own statements are shared by fewer tasks in the short one.
    assert long <= short + 0.5
    assert wide <= short + 0.5


async def test_a_run_of_500_tasks(one: Instance) -> None:
    layers = [[f"t{layer}_{n}" for n in range(50)] for layer in range(10)]
    tasks: dict[str, tuple[str, ...]] = {}
    for layer, names in enumerate(layers):
        for n, name in enumerate(names):
            above = layers[layer - 1] if layer else []
            tasks[name] = tuple(above[(n + k) % 50] for k in range(3)) if above else ()
    version = await one.define_dag(**tasks)
    worker = await one.dag_worker(version, completes=True)
    run_id = await one.run("dag")
    finished = await one.ends(run_id).of(run_id)
    assert len(finished.results) == 500
    assert Counter(worker.begun()) == dict.fromkeys(((name, 0) for name in tasks), 1)
    await one.ended(run_id, RunStatus.COMPLETED)
    await one.empty()


async def test_many_runs_of_50_tasks_in_flight(one: Instance) -> None:
    runs = 200
    tasks = {f"t{n}": (f"t{n - 5}",) if n >= 5 else () for n in range(49)}
    version = await one.define_dag(**tasks, last=tuple(f"t{n}" for n in range(44, 49)))
    await one.dag_worker(version, slots=500, completes=True)
    other = await one.dag_worker(version, slots=500, completes=True)
    ids = await one.run_many(runs, "dag")
    ends = one.ends(*ids)
    for run_id in ids:
        results = (await ends.of(run_id)).results
        assert [result.status for result in results] == [RunStatus.COMPLETED] * 50
    assert other.starts
    rows = await one.rows("SELECT count(*) AS n, max(attempt) AS attempt FROM task_assignment")
    assert rows == [(runs * 50, 0)]
    await one.empty()


async def test_a_mistake_in_one_run_does_not_stop_the_others(one: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    version = await one.define_dag(a=(), b=("a",))
    worker = await one.dag_worker(version)
    bad, good = await one.run("dag"), await one.run("dag")
    actions = [await worker.task("a", run_id=run_id) for run_id in (bad, good)]
    real, is_broken = one.scheduler.runs.advance, True

    def advance(run: Any, indexes: Any) -> None:
        if run.id == bad and is_broken:
            raise ZeroDivisionError
        real(run, indexes)

    monkeypatch.setattr(one.scheduler.runs, "advance", advance)
    reports = [
        TaskReport(task_id=action.task_id, kind=ReportKind.COMPLETED, payload="", retry_count=0, at=0)
        for action in actions
    ]
    await one.engine.reports.report_all(TENANT, reports)
    await worker.complete(await worker.task("b", run_id=good))
    await one.ended(good, RunStatus.COMPLETED)
    is_broken = False
    await worker.complete(await worker.task("b", run_id=bad))
    await one.ended(bad, RunStatus.COMPLETED)


async def test_what_is_remembered_of_ends_is_forgotten_after_a_while(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await one.define_dag(a=(), b=("a",))
    await one.dag_worker(version, completes=True)
    run_id = await one.run("dag")
    await one.ends(run_id).of(run_id)
    results = one.engine.results
    assert list(results._recent) == [run_id]
    monkeypatch.setattr(publish, "RECENT_SECONDS", 0.0)
    await results.turn()
    assert (len(results._recent), results._recent_size) == (0, 0)


async def test_triggers_of_one_request_are_all_or_none(one: Instance) -> None:
    await one.define_dag(a=(), b=("a",))
    await one.define("plain")
    items = [TriggerItem(workflow_name=name) for name in ("dag", "plain", "dag")]
    ids = await one.engine.trigger.trigger(TENANT, items)
    assert [len((await one.details(run_id)).tasks) for run_id in ids] == [1, 1, 1]
    with pytest.raises(InvalidArgument, match="workflow names not found: nobody"):
        await one.engine.trigger.trigger(TENANT, [*items, TriggerItem(workflow_name="nobody")])
    assert await one.rows("SELECT count(*) AS n FROM run") == [(2,)]
