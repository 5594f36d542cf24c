"""Tasks that wait for sleeps, events and outputs of their parents, in the engine (behaviour-core C-8.7 to C-8.28).

Sleeps end when the test moves the clock, see ``Instance.pass_time``.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from engine_fixture import OTHER_TENANT, Instance, on_event, on_parent, sleep, waits
from engine_worker import TENANT, Worker, until

from hatchet.core.conditions import Action as Does
from hatchet.core.errors import Unavailable
from hatchet.core.event_push import NewEvent
from hatchet.core.statuses import RunStatus
from hatchet.engine import waits as waits_module

SKIPPED = '{"skipped":true}'
OK = '{"ok":true}'


async def started(one: Instance, worker: Worker, output: str = OK) -> str:
    """A run whose root task ``a`` has completed."""
    run_id = await one.run("dag")
    await worker.complete(await worker.task("a", run_id=run_id), output)
    return run_id


async def listening(one: Instance, count: int = 1) -> None:
    """Wait until that many tasks listen to events, and have looked back."""
    await until(lambda: len(one.scheduler.runs.waits) == count, "the tasks listen")
    await one.scheduler.runs.waits._looks.drain()


async def triggers(worker: Worker, name: str, attempt: int = 0) -> Any:
    return json.loads((await worker.task(name, attempt)).payload)["triggers"]


async def test_c_8_8_a_sleep_counts_from_the_end_of_the_parents(one: Instance) -> None:
    version = await one.define_dag(a=(), b=waits(sleep("10s"), parents=("a",)))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    a = await worker.task("a")
    await one.pass_time(20, worker)
    await worker.complete(a)
    await one.pass_time(9, worker)
    assert worker.begun() == [("a", 0)]
    await one.pass_time(1, worker)
    assert await triggers(worker, "b") == {"sleep:10s": {"sleep_duration": "10s"}}
    await worker.complete(await worker.task("b"))
    await one.ended(run_id, RunStatus.COMPLETED)
    await one.empty()


async def test_c_8_7_and_c_5_14_a_root_task_waits_from_its_trigger_on(one: Instance) -> None:
    version = await one.define_dag(a=waits(sleep("10s"), on_event("e", group=1)), b=())
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    await worker.complete(await worker.task("b"))
    await listening(one)
    await one.push("e", '{"v":1}')
    await one.pass_time(11, worker)
    assert await triggers(worker, "a") == {"sleep:10s": {"sleep_duration": "10s"}, "e": {"v": 1}}
    await worker.complete(await worker.task("a"))
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_a_sleep_ends_by_itself(one: Instance) -> None:
    version = await one.define_dag(a=(), b=waits(sleep("30ms"), parents=("a",)), c=waits(sleep("60ms"), parents=("b",)))
    await one.dag_worker(version, completes=True)
    await one.ended(await one.run("dag"), RunStatus.COMPLETED)
    await one.empty()


async def test_c_8_9_events_before_the_registration_do_not_count(one: Instance) -> None:
    version = await one.define_dag(a=(), b=waits(on_event("e"), parents=("a",)))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    a = await worker.task("a")
    await one.push("e", '{"v":"early"}')
    await worker.complete(a)
    await listening(one)
    await one.watched()
    assert worker.begun() == [("a", 0)]
    await one.push("e", '{"v":"late"}')
    assert await triggers(worker, "b") == {"e": {"v": "late"}}
    await worker.complete(await worker.task("b"))
    await one.ended(run_id, RunStatus.COMPLETED)
    await one.empty()


async def test_c_8_10_an_event_skips_a_task_that_sleeps(one: Instance) -> None:
    version = await one.define_dag(a=(), b=waits(sleep("30s"), on_event("e", Does.SKIP, 1), parents=("a",)))
    worker = await one.dag_worker(version)
    run_id = await started(one, worker)
    await listening(one)
    await one.push("e")
    await one.ended(run_id, RunStatus.COMPLETED)
    assert await one.outcomes(run_id) == {"a": OK, "b": SKIPPED}
    await one.empty()


@pytest.mark.parametrize("comes", [True, False], ids=["the event comes", "it does not"])
async def test_c_8_11_a_sleep_skips_a_task_that_waits_for_an_event(one: Instance, comes: bool) -> None:
    waiting = waits(on_event("e"), sleep("12s", Does.SKIP, 1), parents=("a",))
    version = await one.define_dag(a=(), b=waiting, c=("b",))
    worker = await one.dag_worker(version)
    run_id = await started(one, worker)
    await listening(one)
    if comes:
        await one.push("e")
        await worker.complete(await worker.task("b"))
        await worker.complete(await worker.task("c"))
    else:
        await one.pass_time(13, worker)
    await one.ended(run_id, RunStatus.COMPLETED)
    expected = OK if comes else SKIPPED
    assert await one.outcomes(run_id) == {"a": OK, "b": expected, "c": expected}
    await one.empty()


@pytest.mark.parametrize(
    "conditions",
    [
        (sleep("30s"), on_event("e", Does.CANCEL, 1)),
        (sleep("30s"), on_event("e", Does.CANCEL, 1), sleep("25s", Does.CANCEL, 1)),
    ],
    ids=["event", "event or sleep"],
)
async def test_c_8_12_an_event_cancels(one: Instance, conditions: tuple[Any, ...]) -> None:
    version = await one.define_dag(a=(), b=waits(*conditions, parents=("a",)), c=("b",), on_failure=True)
    worker = await one.dag_worker(version)
    run_id = await started(one, worker)
    await listening(one)
    await one.push("e")
    await one.ended(run_id, RunStatus.CANCELLED)
    assert await one.outcomes(run_id) == {"a": OK, "b": "CANCELLED:", "c": "CANCELLED:", "on-failure": SKIPPED}
    await one.empty()


async def test_c_8_12_a_sleep_cancels(one: Instance) -> None:
    waiting = waits(on_event("e"), sleep("8s", Does.CANCEL, 1), parents=("a",))
    version = await one.define_dag(a=(), b=waiting, c=("b",))
    worker = await one.dag_worker(version)
    run_id = await started(one, worker)
    await listening(one)
    await one.pass_time(9, worker)
    await one.ended(run_id, RunStatus.CANCELLED)
    # C-8.6: that decides it for good.
    await one.push("e")
    await one.watched()
    assert await one.outcomes(run_id) == {"a": OK, "b": "CANCELLED:", "c": "CANCELLED:"}
    await one.empty()


async def test_c_8_13_an_event_of_an_or_group_starts_the_task(one: Instance) -> None:
    version = await one.define_dag(a=(), b=waits(sleep("60s"), on_event("e"), parents=("a",)))
    worker = await one.dag_worker(version)
    run_id = await started(one, worker)
    await listening(one)
    await one.push("e", '{"v":7}')
    # C-5.13: only what was satisfied.
    assert await triggers(worker, "b") == {"e": {"v": 7}}
    await worker.complete(await worker.task("b"))
    await one.ended(run_id, RunStatus.COMPLETED)
    await one.empty()


async def test_c_8_14_one_of_each_group_is_needed(one: Instance) -> None:
    waiting = waits(sleep("20s"), sleep("25s", group=1), on_event("p", group=1), parents=("a",))
    version = await one.define_dag(a=(), b=waiting)
    worker = await one.dag_worker(version)
    by_event, by_sleep = await started(one, worker), await started(one, worker)
    await listening(one, 2)
    await one.cancel(by_sleep)
    await one.push("p", '{"p":1}')
    await one.pass_time(19, worker)
    assert ("b", 0) not in worker.begun()
    await one.pass_time(1, worker)
    assert await triggers(worker, "b") == {"sleep:20s": {"sleep_duration": "20s"}, "p": {"p": 1}}
    await worker.complete(await worker.task("b"))
    await one.ended(by_event, RunStatus.COMPLETED)
    third = await started(one, worker)
    await one.pass_time(24, worker)
    assert ("b", 0) not in worker.begun(third)
    await one.pass_time(2, worker)
    await worker.complete(await worker.task("b", run_id=third))
    await one.ended(third, RunStatus.COMPLETED)
    await one.empty()


async def test_c_8_17_and_c_8_19_outputs_decide_between_siblings(one: Instance) -> None:
    version = await one.define_dag(
        a=(),
        left=waits(on_parent("a", "output.random_number > 50", Does.SKIP), parents=("a",)),
        right=waits(on_parent("a", "output.random_number <= 50", Does.SKIP), parents=("a",)),
        either=waits(
            on_parent("a", "output.random_number > 50", Does.SKIP),
            on_parent("a", "output.random_number <= 50", Does.SKIP),
            parents=("a", "other"),
        ),
        other=(),
    )
    worker = await one.dag_worker(version)
    for number, ran, skipped in ((51, "right", "left"), (50.0, "left", "right")):
        run_id = await started(one, worker, json.dumps({"random_number": number}))
        await worker.complete(await worker.task(ran, run_id=run_id))
        await worker.complete(await worker.task("other", run_id=run_id))
        await one.ended(run_id, RunStatus.COMPLETED)
        outcomes = await one.outcomes(run_id)
        assert (outcomes[ran], outcomes[skipped], outcomes["either"]) == (OK, SKIPPED, SKIPPED)


async def test_c_8_20_an_output_cancels(one: Instance) -> None:
    cancels = waits(on_parent("a", "output.random_number > 1", Does.CANCEL), parents=("a",))
    version = await one.define_dag(a=(), b=cancels, c=("b",))
    worker = await one.dag_worker(version)
    run_id = await started(one, worker, '{"random_number":2}')
    await one.ended(run_id, RunStatus.CANCELLED)
    other = await started(one, worker, '{"random_number":1}')
    await worker.complete(await worker.task("b", run_id=other))
    await worker.complete(await worker.task("c", run_id=other))
    await one.ended(other, RunStatus.COMPLETED)
    assert worker.begun(run_id) == [("a", 0)]


async def test_c_8_16_a_condition_on_a_parent_replaces_its_completion(one: Instance) -> None:
    waiting = waits(on_parent("a", "output.ready"), on_event("go"), parents=("a", "b"))
    version = await one.define_dag(a=(), b=(), c=waiting)
    worker = await one.dag_worker(version)
    run_id = await started(one, worker, '{"ready":false}')
    await worker.complete(await worker.task("b"))
    await listening(one)
    assert ("c", 0) not in worker.begun()
    # Its partner in the group releases it.
    await one.push("go", '{"by":"event"}')
    assert await triggers(worker, "c") == {"go": {"by": "event"}}
    assert json.loads((await worker.task("c")).payload)["parents"]["a"] == {"ready": False}
    await worker.complete(await worker.task("c"))
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_c_8_16_a_task_that_can_never_be_released_does_not_hold_its_run_for_ever(one: Instance) -> None:
    version = await one.define_dag(a=(), b=waits(on_parent("a", "output.ready"), parents=("a",)), c=("b",))
    worker = await one.dag_worker(version)
    run_id = await started(one, worker, '{"ready":false}')
    await one.ended(run_id, RunStatus.CANCELLED)
    await one.empty()
    [row] = await one.rows("SELECT error FROM task_result WHERE error IS NOT NULL")
    assert "can no longer be met" in row["error"]


async def test_c_8_22_a_skipped_parent_and_missing_fields_in_expressions(one: Instance) -> None:
    version = await one.define_dag(
        a=(),
        s=waits(on_parent("a", "true", Does.SKIP), parents=("a",)),
        seen=waits(on_parent("s", "has(output.skipped) && output.skipped", Does.SKIP), parents=("s", "a")),
        unseen=waits(on_parent("a", "output.nothing.there", Does.SKIP), parents=("a",)),
    )
    worker = await one.dag_worker(version, completes=True)
    run_id = await one.run("dag")
    await one.ended(run_id, RunStatus.COMPLETED)
    assert await one.outcomes(run_id) == {"a": OK, "s": SKIPPED, "seen": SKIPPED, "unseen": OK}
    assert len(worker.begun()) == 2


async def test_c_8_23_scopes_and_keys_are_compared_exactly(one: Instance) -> None:
    version = await one.define_dag(
        a=(),
        any=waits(on_event("e"), parents=("a",)),
        scoped=waits(on_event("e", scope="s1"), parents=("a",)),
        star=waits(on_event("*"), on_event("e%", group=0), parents=("a",)),
    )
    worker = await one.dag_worker(version)
    run_id = await started(one, worker)
    await listening(one, 3)
    await one.push("e", scope="s2")
    await worker.task("any")
    await one.push("e", scope="s1")
    await worker.task("scoped")
    await one.engine.events.push(OTHER_TENANT, [NewEvent(key="*", payload="{}")])
    await one.watched()
    assert ("star", 0) not in worker.begun()
    await one.push("*")
    await worker.task("star")
    await one.cancel(run_id)
    await one.empty()


async def test_c_8_24_expressions_over_the_payload(one: Instance) -> None:
    version = await one.define_dag(
        a=(),
        b=waits(on_event("e", when="input.n == 2", name="mine"), parents=("a",)),
        c=waits(on_event("e"), parents=("a",)),
    )
    worker = await one.dag_worker(version)
    run_id = await started(one, worker)
    await listening(one, 2)
    for text in ('{"n":1}', "[]", "{}", '"n"'):
        await one.push("e", text)
    # C-8.27: an event is not consumed, and the first that matches counts.
    await worker.task("c")
    assert await triggers(worker, "c") == {"e": {"n": 1}}
    assert ("b", 0) not in worker.begun()
    await one.push("e", '{"n":2.0,"x":1}')
    await one.push("e", '{"n":2,"x":2}')
    assert await triggers(worker, "b") == {"mine": {"n": 2.0, "x": 1}}
    await one.cancel(run_id)
    await one.empty()


async def test_c_8_27_one_event_starts_any_number_of_tasks(one: Instance) -> None:
    version = await one.define_dag(a=(), b=waits(on_event("e"), parents=("a",)))
    worker = await one.dag_worker(version)
    runs = [await started(one, worker) for _ in range(20)]
    await listening(one, 20)
    await one.push("e")
    for run_id in runs:
        await worker.complete(await worker.task("b", run_id=run_id))
        await one.ended(run_id, RunStatus.COMPLETED)
    assert await one.rows("SELECT count(*) AS n FROM task_match") == [(20,)]
    await one.empty()


async def test_c_8_28_data_outlives_a_retry_and_c_6_24_the_wait_is_not_repeated(one: Instance) -> None:
    waiting = waits(sleep("10s"), on_event("e", group=1), parents=("a",), retries=2)
    version = await one.define_dag(a=(), b=waiting)
    worker = await one.dag_worker(version)
    run_id = await started(one, worker)
    await listening(one)
    await one.push("e", '{"v":1}')
    await one.pass_time(10, worker)
    data = await triggers(worker, "b")
    assert data == {"sleep:10s": {"sleep_duration": "10s"}, "e": {"v": 1}}
    await worker.fail(await worker.task("b"))
    assert await triggers(worker, "b", 1) == data
    # The run is read anew, as after a restart.
    one.scheduler.runs.drop(run_id)
    await worker.fail(await worker.task("b", 1))
    assert await triggers(worker, "b", 2) == data
    await worker.complete(await worker.task("b", 2))
    await one.ended(run_id, RunStatus.COMPLETED)
    await one.empty()


async def test_c_8_5_skip_comes_before_cancel_and_cancel_before_queue(one: Instance) -> None:
    version = await one.define_dag(
        a=(),
        all=waits(
            on_event("e", Does.QUEUE, 0), on_event("e", Does.CANCEL, 1), on_event("e", Does.SKIP, 2), parents=("a",)
        ),
        two=waits(on_event("e", Does.QUEUE, 0), on_event("e", Does.CANCEL, 1), parents=("a",)),
    )
    worker = await one.dag_worker(version)
    run_id = await started(one, worker)
    await listening(one, 2)
    await one.push("e")
    await one.ended(run_id, RunStatus.CANCELLED)
    assert await one.outcomes(run_id) == {"a": OK, "all": SKIPPED, "two": "CANCELLED:"}


async def test_c_6_40_a_cancel_ends_waits_and_sleeps(one: Instance) -> None:
    version = await one.define_dag(
        a=(), b=waits(on_event("e"), parents=("a",)), c=waits(sleep("24h"), parents=("a",)), d=("b", "c")
    )
    worker = await one.dag_worker(version)
    run_id = await started(one, worker)
    await listening(one)
    assert len(one.scheduler.runs._sleeps) == 1
    assert await one.cancel(run_id) == [run_id]
    await one.ended(run_id, RunStatus.CANCELLED)
    assert await one.outcomes(run_id) == {"a": OK, "b": "CANCELLED:", "c": "CANCELLED:", "d": "CANCELLED:"}
    await one.empty()
    await one.push("e")
    await one.watched()
    assert worker.begun() == [("a", 0)]


async def test_c_6_34_the_wait_for_conditions_does_not_count_as_schedule_timeout(one: Instance) -> None:
    version = await one.define_dag(a=(), b=waits(sleep("50s"), parents=("a",), schedule_timeout="20s"))
    worker = await one.dag_worker(version)
    run_id = await started(one, worker)
    await one.engine.workers.set_paused(TENANT, worker.id, True)
    await one.pass_time(55, worker)
    assert not (await one.details(run_id)).done
    await one.pass_time(16, worker)
    await one.ended(run_id, RunStatus.CANCELLED)


# What may go wrong ---------------------------------------------------------------------------------------------------


async def test_an_event_pushed_while_the_parent_completes_is_found(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await one.define_dag(a=(), b=waits(on_event("e"), parents=("a",)))
    worker = await one.dag_worker(version)
    run_id = await one.run("dag")
    a = await worker.task("a")
    # The parent's end is committed; before the engine goes on with it the event is pushed and told.
    settle = one.scheduler.runs.settle
    monkeypatch.setattr(one.scheduler.runs, "settle", lambda: None)
    await worker.complete(a)
    await one.push("e", '{"v":1}')
    assert len(one.scheduler.runs.waits) == 0
    monkeypatch.setattr(one.scheduler.runs, "settle", settle)
    assert await triggers(worker, "b") == {"e": {"v": 1}}
    await worker.complete(await worker.task("b"))
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_an_event_that_comes_while_the_engine_looks_back_is_found(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await one.define_dag(a=(), b=waits(on_event("e"), parents=("a",)))
    worker = await one.dag_worker(version)
    real, gate, reached = waits_module.events_since, asyncio.Event(), asyncio.Event()

    async def held(*args: Any) -> Any:
        found = await real(*args)
        reached.set()
        await gate.wait()
        return found

    monkeypatch.setattr(waits_module, "events_since", held)
    run_id = await started(one, worker)
    await reached.wait()
    await one.push("e")
    gate.set()
    await worker.complete(await worker.task("b"))
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_a_look_back_and_a_match_that_fail_are_repeated(one: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits_module, "RETRY_SECONDS", 0.02)
    version = await one.define_dag(a=(), b=waits(on_event("e"), parents=("a",)))
    worker = await one.dag_worker(version)
    failures = {"events_since": 2, "append_matches": 2}

    def failing(name: str) -> Any:
        real = getattr(waits_module, name)

        async def fails(*args: Any) -> Any:
            if failures[name]:
                failures[name] -= 1
                raise Unavailable("the database does not answer")
            return await real(*args)

        return fails

    for name in failures:
        monkeypatch.setattr(waits_module, name, failing(name))
    run_id = await one.run("dag")
    a = await worker.task("a")
    settle = one.scheduler.runs.settle
    monkeypatch.setattr(one.scheduler.runs, "settle", lambda: None)
    await worker.complete(a)
    await one.push("e")
    monkeypatch.setattr(one.scheduler.runs, "settle", settle)
    await worker.complete(await worker.task("b"))
    await one.ended(run_id, RunStatus.COMPLETED)
    assert failures == {"events_since": 0, "append_matches": 0}
    await one.empty()


async def test_a_match_whose_answer_got_lost_counts(one: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits_module, "RETRY_SECONDS", 0.02)
    version = await one.define_dag(a=(), b=waits(on_event("e"), parents=("a",)))
    worker = await one.dag_worker(version)
    real, lost = waits_module.append_matches, []

    async def loses(*args: Any) -> Any:
        written = await real(*args)
        if not lost:
            lost.append(written)
            raise Unavailable("the database does not answer")
        return written

    monkeypatch.setattr(waits_module, "append_matches", loses)
    run_id = await started(one, worker)
    await listening(one)
    await one.push("e", '{"v":1}')
    assert await triggers(worker, "b") == {"e": {"v": 1}}
    await worker.complete(await worker.task("b"))
    await one.ended(run_id, RunStatus.COMPLETED)
    assert lost


async def test_many_sleeps_that_are_forgotten_leave_no_trace(one: Instance) -> None:
    version = await one.define_dag(a=(), b=waits(sleep("24h"), on_event("e"), parents=("a",)))
    worker = await one.dag_worker(version, completes=True)
    runs = await one.run_many(300, "dag")
    await listening(one, 300)
    sleeps = one.scheduler.runs._sleeps
    assert len(sleeps) == 300
    await one.push("e")
    ends = one.ends(*runs)
    for run_id in runs:
        await ends.of(run_id)
    assert len(worker.begun()) == 600
    await one.empty()
    assert len(sleeps._heap) <= 100


async def test_a_parent_condition_sees_large_and_odd_outputs(one: Instance) -> None:
    version = await one.define_dag(a=(), b=waits(on_parent("a", "size(output.text) > 1000"), parents=("a",)))
    worker = await one.dag_worker(version)
    big = await started(one, worker, json.dumps({"text": "\u00e4" * 400_000}))
    await worker.complete(await worker.task("b", run_id=big))
    await one.ended(big, RunStatus.COMPLETED)
    for odd in ("", "null", "[1]", '"text"', '{"text":"\\ud800"}'):
        await one.ended(await started(one, worker, odd), RunStatus.CANCELLED)
    await one.empty()


async def test_c_8_30_an_expression_over_a_parent_reads_the_runs_input(one: Instance) -> None:
    skip = on_parent("a", "output.n > input.limit", Does.SKIP)
    version = await one.define_dag(a=(), b={"parents": ("a",), "conditions": (skip,)})
    worker = await one.dag_worker(version)
    low, high = await one.run("dag", input='{"limit":1}'), await one.run("dag", input='{"limit":9}')
    for run_id in (low, high):
        await worker.complete(await worker.task("a", run_id=run_id), '{"n":5}')
    await one.ended(low, RunStatus.COMPLETED)
    await worker.complete(await worker.task("b", run_id=high))
    await one.ended(high, RunStatus.COMPLETED)
    assert [action.run_id for action in worker.starts if action.readable_id == "b"] == [high]
    assert (await one.engine.run_facts.are_over(TENANT, [low, high])) == {low, high}
