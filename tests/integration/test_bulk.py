"""Cancel and replay in bulk, by ids and by filters, on a real database (behaviour-core C-15, C-6.37)."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from engine_fixture import OTHER_TENANT, Instance
from engine_worker import TENANT, Action, Worker, until

from hatchet.core.definitions import StoredVersion
from hatchet.core.errors import InvalidArgument
from hatchet.core.ids import task_ids
from hatchet.core.messages import RunFilter
from hatchet.core.statuses import RunStatus
from hatchet.engine import bulk
from hatchet.store.run_search import search_runs

EVER = RunFilter(since=0.0)
EVERYTHING = 100_000


async def found(one: Instance, *statuses: RunStatus, **fields: Any) -> list[str]:
    """The runs that a filter finds, newest first."""
    wanted = RunFilter(**{"since": 0.0, "statuses": frozenset(statuses), **fields})
    return await search_runs(one.database, TENANT, wanted, EVERYTHING)


async def have(one: Instance, run_ids: Iterable[str], *statuses: RunStatus) -> None:
    """Wait until the search knows that these runs have one of the statuses."""
    wanted = set(run_ids)

    async def look() -> bool:
        return wanted <= set(await found(one, *statuses))

    await until(look, f"{len(wanted)} runs are {statuses}")


async def cancel(one: Instance, *ids: str) -> list[str]:
    return await one.engine.bulk.cancel(TENANT, ids)


async def replay(one: Instance, *ids: str) -> list[str]:
    return await one.engine.bulk.replay(TENANT, ids)


async def inserted_at(one: Instance, run_id: str) -> float:
    [row] = await one.rows("SELECT extract(epoch FROM inserted_at)::float8 AS at FROM task WHERE id = $1", run_id)
    at: float = row["at"]
    return at


async def settled(one: Instance) -> tuple[StoredVersion, Worker, list[str]]:
    """Five runs of one task that completed, and a worker that goes on completing."""
    version = await one.define()
    worker = await one.worker(completes=True)
    run_ids = await one.run_many(5)
    await have(one, run_ids, RunStatus.COMPLETED)
    return version, worker, run_ids


# What is re-run ---------------------------------------------------------------------------------------------------


async def test_c15_20_a_filter_replays_the_failed_runs_of_three_workflows(one: Instance) -> None:
    flow, other = await one.define("flow"), await one.define("other")
    dag = await one.define_dag("dag", a=(), b=("a",))
    await one.define("untouched")
    worker = await one.worker("flow", "other", "untouched", slots=100)
    dag_worker = await one.dag_worker(dag)

    async def fails_at_first(action: Action) -> None:
        if action.retry_count == 0:
            await worker.fail(action)
        else:
            await worker.complete(action)

    worker.answers(fails_at_first)
    dag_worker.answers(fails_at_first)
    at = one.clock.now()
    pair = json.dumps({"suite": "replay", "n": 1})
    mine = await one.run_many(101, "flow", additional_metadata=pair)
    mine += await one.run_many(49, "other", additional_metadata=pair)
    mine += await one.run_many(48, "dag", additional_metadata=pair)
    others = await one.run_many(3, "flow", additional_metadata='{"suite":"else"}')
    others += await one.run_many(3, "untouched", additional_metadata=pair)
    await have(one, mine + others, RunStatus.FAILED)
    wanted = RunFilter(
        since=at,
        workflow_ids=(flow.workflow_id, other.workflow_id, dag.workflow_id),
        additional_metadata=(("suite", "replay"),),
    )
    replayed = await one.engine.bulk.replay(TENANT, wanted)
    assert Counter(replayed) == Counter(mine)
    await have(one, mine, RunStatus.COMPLETED)
    assert set(await found(one, RunStatus.FAILED)) == set(others)
    assert Counter(await found(one)) == Counter(mine + others)
    attempts = await one.rows("SELECT task_id, max(attempt) AS attempt FROM task_result GROUP BY task_id")
    by_run = {str(row["task_id"]): row["attempt"] for row in attempts}
    assert {by_run[run_id] for run_id in mine[:150]} == {1}
    assert {by_run[run_id] for run_id in others} == {0}


async def test_c15_11_a_filter_replays_completed_and_cancelled_runs_too(one: Instance) -> None:
    _, worker, run_ids = await settled(one)
    # A replay of what has not ended is silent: nobody serves the other workflow.
    await one.define("idle")
    waiting = await one.run("idle")
    assert await one.engine.bulk.replay(TENANT, EVER) == run_ids[::-1]
    for run_id in run_ids:
        await worker.started(run_id, 1)
    assert await one.status(waiting) is RunStatus.QUEUED


async def test_c15_8_ids_of_runs_and_of_tasks_in_one_call(one: Instance) -> None:
    dag = await one.define_dag(a=(), b=("a",), c=("b",))
    worker = await one.dag_worker(dag, completes=True)
    _, _, plain = await settled(one)
    whole, part = await one.run("dag"), await one.run("dag")
    await have(one, [whole, part], RunStatus.COMPLETED)
    b = (await worker.task("b", run_id=part)).task_id
    strangers = [str(uuid.uuid4()), "no uuid"]
    assert await replay(one, plain[0], strangers[0], b.upper(), whole, strangers[1], b) == [plain[0], b, whole]
    await worker.task("c", 1, run_id=whole)
    await worker.task("c", 1, run_id=part)
    await have(one, [whole, part, plain[0]], RunStatus.COMPLETED)
    assert {name for name, attempt in worker.begun(whole) if attempt == 1} == {"a", "b", "c"}
    assert {name for name, attempt in worker.begun(part) if attempt == 1} == {"b", "c"}


async def test_the_ids_of_one_run_are_decided_together(one: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "AT_ONCE", 2)
    dag = await one.define_dag(a=(), b=("a",), c=("b",))
    worker = await one.dag_worker(dag, completes=True)
    _, _, plain = await settled(one)
    run_id = await one.run("dag")
    await have(one, [run_id], RunStatus.COMPLETED)
    c = (await worker.task("c", run_id=run_id)).task_id
    # In steps of their own, c would run at once, and once more or with the old output of b.
    assert set(await replay(one, c, *plain, run_id)) >= {run_id, *plain}
    await worker.task("c", 1, run_id=run_id)
    await have(one, [run_id], RunStatus.COMPLETED)
    assert worker.begun(run_id) == [(name, attempt) for attempt in (0, 1) for name in "abc"]


# Which runs a filter means ----------------------------------------------------------------------------------------


async def test_c15_4_statuses_of_runs_of_one_task(one: Instance) -> None:
    await one.define("flow", retries=1, backoff_factor=1000.0, backoff_max_seconds=1000)
    await one.define("once")
    await one.define("short", execution_timeout="1s")
    await one.define("idle")
    worker = await one.worker("flow", "once", "short")
    runs: dict[str, str] = {}
    for name in ("completed", "running", "cancelled", "replayed", "running again", "ended again"):
        runs[name] = await one.run()
        await worker.started(runs[name])
    runs["failed"], runs["retrying"], runs["timed out"] = await one.run("once"), await one.run(), await one.run("short")
    runs["queued"] = await one.run("idle")
    for name in ("completed", "replayed", "running again", "ended again"):
        await worker.complete(await worker.started(runs[name]))
    for name in ("failed", "retrying"):
        await worker.fail(await worker.started(runs[name]))
    await one.ended(runs["timed out"], RunStatus.FAILED)
    await cancel(one, runs["cancelled"])
    await replay(one, runs["running again"], runs["ended again"])
    await worker.started(runs["running again"], 1)
    await worker.fail(await worker.started(runs["ended again"], 1), should_not_retry=True)
    await worker.die()
    await replay(one, runs["replayed"])
    expected = {
        RunStatus.QUEUED: {"queued", "retrying", "replayed"},
        RunStatus.RUNNING: {"running", "running again"},
        RunStatus.COMPLETED: {"completed"},
        RunStatus.FAILED: {"failed", "timed out", "ended again"},
        RunStatus.CANCELLED: {"cancelled"},
    }
    await agree(one, runs, expected)


async def test_c15_4_statuses_of_runs_of_several_tasks(one: Instance) -> None:
    dag = await one.define_dag(a=(), b=("a",))
    worker = await one.dag_worker(dag)
    runs: dict[str, str] = {}
    for name in ("begun", "between", "completed", "failed", "cancelled", "replayed", "a part again"):
        runs[name] = await one.run("dag")
        if name not in ("begun", "cancelled"):
            first = await worker.task("a", run_id=runs[name])
            await (worker.fail(first) if name == "failed" else worker.complete(first))
        if name in ("completed", "replayed", "a part again"):
            await worker.complete(await worker.task("b", run_id=runs[name]))
    await worker.task("a", run_id=runs["begun"])
    await worker.task("b", run_id=runs["between"])
    await cancel(one, runs["cancelled"])
    await worker.die()
    runs["queued"], runs["b cancelled"] = await one.run("dag"), await one.run("dag")
    await cancel(one, task_ids(runs["b cancelled"], 2)[1])
    await have(one, [runs[name] for name in ("replayed", "a part again")], RunStatus.COMPLETED)
    await replay(one, runs["replayed"])
    await replay(one, (await worker.task("b", run_id=runs["a part again"])).task_id)
    expected = {
        RunStatus.QUEUED: {"queued"},
        # A run counts as running from the first start or end of any task on (C-6.10), also after a replay.
        RunStatus.RUNNING: {"begun", "between", "b cancelled", "replayed", "a part again"},
        RunStatus.COMPLETED: {"completed"},
        RunStatus.FAILED: {"failed"},
        RunStatus.CANCELLED: {"cancelled"},
    }
    await agree(one, runs, expected)


async def test_c15_4_runs_of_one_moment_are_told_apart(one: Instance) -> None:
    dag = await one.define_dag(a=(), b=("a",))
    run_ids = await one.run_many(30, "dag")
    worker = await one.dag_worker(dag, slots=4)
    await until(lambda: len(worker.starts) == 4, "the worker is full")
    running = sorted({action.run_id for action in worker.starts}, reverse=True)
    waiting = [run_id for run_id in run_ids[::-1] if run_id not in running]
    # However few are asked for, others in between do not end the search.
    for limit in (1, 3, 4, 26, EVERYTHING):
        for status, wanted in ((RunStatus.RUNNING, running), (RunStatus.QUEUED, waiting)):
            by_status = RunFilter(since=0.0, statuses=frozenset({status}))
            assert await search_runs(one.database, TENANT, by_status, limit) == wanted[:limit]


async def agree(one: Instance, runs: dict[str, str], expected: dict[RunStatus, set[str]]) -> None:
    """Each search finds what is expected, and what the details of the runs say."""
    names = {run_id: name for name, run_id in runs.items()}
    for status, wanted in expected.items():
        await have(one, [runs[name] for name in wanted], status)
    for status, wanted in expected.items():
        assert {names[run_id] for run_id in await found(one, status)} == wanted
        assert {await one.status(runs[name]) for name in wanted} <= {status}
    ends = (RunStatus.FAILED, RunStatus.QUEUED)
    assert {names[run_id] for run_id in await found(one, *ends)} == expected[ends[0]] | expected[ends[1]]
    opened = (RunStatus.RUNNING, RunStatus.QUEUED)
    assert {names[run_id] for run_id in await found(one, *opened)} == expected[opened[0]] | expected[opened[1]]
    assert await found(one) == sorted(runs.values(), reverse=True)


async def test_c15_4_fields_are_anded_and_pairs_are_ored(one: Instance) -> None:
    flow, other = await one.define("flow"), await one.define("other")
    dag = await one.define_dag(a=(), b=("a",))
    metadata = ['{"k":"1","n":5}', '{"k":"2"}', '{"n":"5"}', "", '{"k":null,"deep":{"x": true}}']
    by_flow = [await one.run("flow", additional_metadata=text) for text in metadata]
    by_other = [await one.run("other", additional_metadata=text) for text in metadata]
    by_dag = [await one.run("dag", additional_metadata=text) for text in metadata]

    async def matching(*pairs: tuple[str, str], **fields: Any) -> set[str]:
        return set(await found(one, additional_metadata=pairs, **fields))

    def at(index: int, *runs: list[str]) -> set[str]:
        return {of_workflow[index] for of_workflow in runs}

    every = (by_flow, by_other, by_dag)
    assert await matching(("k", "1")) == at(0, *every)
    assert await matching(("k", "1"), ("k2", "x"), ("n", "5")) == at(0, *every) | at(2, *every)
    assert await matching(("n", "5")) == at(0, *every) | at(2, *every)
    assert await matching(("deep", '{"x": true}')) == at(4, *every)
    assert await matching(("k", "null")) == await matching(("k", "")) == await matching(("", "")) == set()
    mine = {"workflow_ids": (flow.workflow_id,)}
    assert await matching(("k", "1"), **mine) == {by_flow[0]}
    assert await matching(**mine) == set(by_flow)
    assert await matching(("k", "1"), workflow_ids=(flow.workflow_id, dag.workflow_id)) == {by_flow[0], by_dag[0]}
    assert await matching(workflow_ids=(str(uuid.uuid4()),)) == set()
    # Older versions of a workflow belong to it.
    await one.define("other", retries=1)
    by_other.append(await one.run("other"))
    assert await matching(workflow_ids=(other.workflow_id,)) == set(by_other)


async def test_c15_3_since_and_until_belong_to_the_stretch(one: Instance) -> None:
    await one.define()
    run_ids = []
    for _ in range(3):
        run_ids.append(await one.run())
        one.clock.skip(0.001)
    first, middle, last = [await inserted_at(one, run_id) for run_id in run_ids]
    assert await found(one, since=middle) == [run_ids[2], run_ids[1]]
    assert await found(one, until=middle) == [run_ids[1], run_ids[0]]
    assert await found(one, since=first, until=last) == run_ids[::-1]
    assert await found(one, since=middle, until=middle) == [run_ids[1]]
    assert await found(one, since=last + 0.0001) == await found(one, until=first - 0.0001) == []
    # every time that can be sent may be asked for.
    assert await found(one, since=-62_135_596_800.0, until=253_402_300_799.0) == run_ids[::-1]
    assert await found(one, since=253_402_300_799.0) == await found(one, until=-62_135_596_800.0) == []


@pytest.mark.parametrize("seconds", [-30.0, 30.0])
async def test_the_database_clock_counts_not_the_one_in_the_ids(one: Instance, seconds: float) -> None:
    await one.define()
    one.clock.skip(seconds)
    run_id = await one.run()
    at = await inserted_at(one, run_id)
    assert await found(one, since=at - 1, until=at + 1) == [run_id]
    assert await found(one, since=at + 1) == await found(one, until=at - 1) == []


# Bulk cancel ------------------------------------------------------------------------------------------------------


async def test_c15_24_a_filter_cancels_what_waits_and_what_runs(one: Instance) -> None:
    await one.define("idle")
    dag = await one.define_dag(a=(), b=("a",))
    dag_worker = await one.dag_worker(dag)
    _, _, ended = await settled(one)
    waiting, running = await one.run("idle"), await one.run("dag")
    first = await dag_worker.task("a", run_id=running)
    assert await one.engine.bulk.cancel(TENANT, EVER) == [running, waiting]
    await dag_worker.cancelled(first.task_id)
    for run_id in (waiting, running):
        await one.ended(run_id, RunStatus.CANCELLED)
    for run_id in ended:
        await one.ended(run_id, RunStatus.COMPLETED)
    # C-6.44: the task that did not exist yet was made, cancelled.
    assert [task.status for task in (await one.details(running)).tasks] == [RunStatus.CANCELLED] * 2


async def test_c15_24_a_filter_of_ended_statuses_cancels_nothing(one: Instance) -> None:
    await one.define()
    run_id = await one.run()
    wanted = RunFilter(since=0.0, statuses=frozenset({RunStatus.FAILED, RunStatus.COMPLETED}))
    assert await one.engine.bulk.cancel(TENANT, wanted) == []
    assert await one.status(run_id) is RunStatus.QUEUED


async def test_c15_25_a_run_that_finishes_meanwhile_is_left_alone(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    await one.define()
    worker = await one.worker()
    run_ids = await one.run_many(2)
    actions = [await worker.started(run_id) for run_id in run_ids]
    control = one.engine.control.cancel

    async def late(tenant_id: str, ids: Sequence[str]) -> list[str]:
        await worker.complete(actions[0])
        return await control(tenant_id, ids)

    monkeypatch.setattr(one.engine.control, "cancel", late)
    wanted = RunFilter(since=0.0, statuses=frozenset({RunStatus.RUNNING}))
    assert await one.engine.bulk.cancel(TENANT, wanted) == run_ids[::-1]
    await one.ended(run_ids[0], RunStatus.COMPLETED)
    await one.ended(run_ids[1], RunStatus.CANCELLED)


async def test_r_11_9_a_cancel_by_ids_answers_those_that_exist(one: Instance) -> None:
    _, _, ended = await settled(one)
    await one.define("idle")
    waiting = await one.run("idle")
    assert await cancel(one, waiting.upper(), str(uuid.uuid4()), ended[0], waiting) == [waiting, ended[0]]
    await one.ended(waiting, RunStatus.CANCELLED)
    await one.ended(ended[0], RunStatus.COMPLETED)
    assert await cancel(one) == []


async def test_c1_12_another_tenants_runs_are_unknown(one: Instance) -> None:
    await one.define("idle")
    version, _, ended = await settled(one)
    await one.define_dag(a=(), b=("a",))
    waiting, run_id = await one.run("idle"), await one.run("dag")
    by_workflow = RunFilter(since=0.0, workflow_ids=(version.workflow_id,))
    for wanted in ([waiting, run_id, *ended], EVER, by_workflow):
        assert await one.engine.bulk.cancel(OTHER_TENANT, wanted) == []
        assert await one.engine.bulk.replay(OTHER_TENANT, wanted) == []
    assert await search_runs(one.database, OTHER_TENANT, EVER, EVERYTHING) == []
    assert await found(one, RunStatus.QUEUED) == [run_id, waiting]
    assert await found(one, RunStatus.COMPLETED) == ended[::-1]


# Limits -----------------------------------------------------------------------------------------------------------


async def test_c15_6_too_many_ids_are_refused(one: Instance) -> None:
    for does, most in ((one.engine.bulk.cancel, 20_000), (one.engine.bulk.replay, 1000)):
        ids = [str(uuid.uuid4()) for _ in range(most + 1)]
        assert await does(TENANT, ids[:most]) == []
        with pytest.raises(InvalidArgument, match=rf"at most {most} ids .* not {most + 1}: send them in several calls"):
            await does(TENANT, ids)


async def test_c15_6_a_cancel_takes_the_newest_and_the_next_call_the_next(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MOST_CANCELLED", 3)
    monkeypatch.setattr(bulk, "AT_ONCE", 2)
    await one.define("idle")
    run_ids = await one.run_many(5, "idle")
    # Runs that have ended do not use up the number, though they are newer.
    await settled(one)
    assert await one.engine.bulk.cancel(TENANT, EVER) == run_ids[:1:-1]
    assert await found(one, RunStatus.CANCELLED) == run_ids[:1:-1]
    assert await one.engine.bulk.cancel(TENANT, EVER) == run_ids[1::-1]
    assert await one.engine.bulk.cancel(TENANT, EVER) == []


async def test_c15_6_a_replay_takes_the_newest_and_the_next_call_the_next(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MOST_REPLAYED", 3)
    monkeypatch.setattr(bulk, "AT_ONCE", 2)
    _, worker, run_ids = await settled(one)
    await one.engine.workers.set_paused(TENANT, worker.id, True)
    wanted = RunFilter(since=0.0, statuses=frozenset({RunStatus.COMPLETED}))
    assert await one.engine.bulk.replay(TENANT, wanted) == run_ids[:1:-1]
    assert await one.engine.bulk.replay(TENANT, wanted) == run_ids[1::-1]
    assert await one.engine.bulk.replay(TENANT, wanted) == []
