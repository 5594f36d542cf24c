"""Rules about crons, scheduled runs and batches with a whole engine (behaviour-core C-14, C-16)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from engine_fixture import Instance, World
from engine_worker import TENANT, Worker, until

from hatchet.core.definitions import TaskDefinition, WorkflowDefinition
from hatchet.core.errors import FailedPrecondition
from hatchet.core.messages import Action, ReportKind, TaskReport, TriggerItem
from hatchet.core.rules import BatchRule
from hatchet.core.statuses import RunStatus
from hatchet.engine.scheduled_runs import WantedRun
from hatchet.store.schedule_entries import CronFilter, Method

FAR = 4_000_000_000.0
"""In the year 2096."""
LONG_MS = 600_000


async def schedule(one: Instance, at: float, **fields: Any) -> str:
    _, [(scheduled_id, _)] = await one.engine.scheduled.add(TENANT, WantedRun(workflow="flow", times=[at], **fields))
    return scheduled_id


async def run_of(one: Instance, scheduled_id: str) -> str:
    """Wait until it was triggered; its run."""

    async def find() -> str | None:
        return (await one.engine.scheduled.get(TENANT, scheduled_id)).record.run_id

    return await until(find, "the scheduled run starts")  # type: ignore[return-value]


# Schedules ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("declared", "priority"), [(None, 1), (3, 3)])
async def test_c_14_4_a_declared_cron_has_no_name_and_what_its_workflow_says(
    one: Instance, declared: int | None, priority: int
) -> None:
    task = TaskDefinition(readable_id="flow", action="flow:run")
    definition = WorkflowDefinition(
        name="flow", tasks=(task,), cron_triggers=("0 5 * * *",), cron_input='{"n": 1}', default_priority=declared
    )
    await one.engine.registration.put(TENANT, definition)
    [cron], _ = await one.engine.crons.page(TENANT, CronFilter(), offset=0, limit=5)
    assert (cron.name, cron.expression, cron.input, cron.priority) == ("", "0 5 * * *", '{"n": 1}', priority)
    assert cron.method is Method.DEFAULT


async def test_c_14_20_a_scheduled_run_has_priority_1_unless_it_says_otherwise(one: Instance) -> None:
    await one.define(default_priority=3)
    usual, urgent = await schedule(one, FAR), await schedule(one, FAR, priority=2)
    priorities = [(await one.engine.scheduled.get(TENANT, found)).record.priority for found in (usual, urgent)]
    assert priorities == [1, 2]


async def test_c_14_22_and_c_14_25_a_time_in_the_past_starts_a_run_with_a_new_id_at_once(one: Instance) -> None:
    await one.define()
    worker = await one.worker(completes=True)
    scheduled_id = await schedule(one, 1.0)
    run_id = await run_of(one, scheduled_id)
    assert run_id != scheduled_id
    await one.ended(run_id, RunStatus.COMPLETED)
    assert [action.run_id for action in worker.starts] == [run_id]
    listed = await one.engine.scheduled.get(TENANT, scheduled_id)
    assert (listed.record.triggered_at is not None, listed.status) == (True, RunStatus.COMPLETED)


async def test_c_14_24_a_scheduled_run_starts_exactly_once_whoever_wants_it(world: World) -> None:
    one, two = await world.engine(), await world.engine(owns=False)
    await one.define()
    waiting = [await schedule(one, one.clock.now() + 1) for _ in range(20)]
    asked = [instance.engine.scheduled.trigger(TENANT, each) for each in waiting for instance in (one, two)]
    await asyncio.gather(*asked, return_exceptions=True)
    runs = [await run_of(one, each) for each in waiting]
    for instance in (one, two):
        instance.clock.skip(40)
        instance.engine.schedules.nudge()
    await run_of(two, await schedule(two, 1.0))
    assert len(set(runs)) == 20
    assert len(await one.rows("SELECT 1 FROM task")) == 21


async def test_c_14_26_only_what_has_not_started_is_moved_or_deleted(one: Instance) -> None:
    await one.define()
    scheduled = one.engine.scheduled
    over, moved, deleted = await schedule(one, 1.0), await schedule(one, FAR), await schedule(one, FAR)
    await run_of(one, over)
    with pytest.raises(FailedPrecondition, match="already been triggered"):
        await scheduled.move(TENANT, over, FAR)
    with pytest.raises(FailedPrecondition, match="already been triggered"):
        await scheduled.delete(TENANT, over)
    assert (await scheduled.move(TENANT, moved, FAR + 60)).record.trigger_at == FAR + 60
    await scheduled.delete(TENANT, deleted)
    rows = await one.rows("SELECT id FROM scheduled_run ORDER BY id")
    assert [str(row["id"]) for row in rows] == sorted([over, moved])


async def test_c_14_28_a_scheduled_run_is_one_of_the_version_that_is_the_newest_when_it_starts(one: Instance) -> None:
    await one.define()
    scheduled_id = await schedule(one, one.clock.now() + 60, additional_metadata='{"a": "b"}', input='{"n": 1}')
    newer = await one.define(retries=2)
    one.clock.skip(61)
    one.engine.schedules.nudge()
    run_id = await run_of(one, scheduled_id)
    [row] = await one.rows("SELECT version_id, input, additional_metadata FROM task WHERE id = $1", run_id)
    assert (str(row["version_id"]), row["input"]) == (newer.id, b'{"n": 1}')
    assert json.loads(row["additional_metadata"]) == {"a": "b"}


# Batches ------------------------------------------------------------------------------------------------------------


async def answer(worker: Worker, batch: Action, outputs: dict[str, str]) -> None:
    assert batch.batch is not None
    at = worker.instance.clock.now()
    reports = [
        TaskReport(
            task_id=task_id,
            kind=ReportKind.COMPLETED,
            payload=output,
            at=at,
            retry_count=0,
            batch_id=batch.batch.id,
        )
        for task_id, output in outputs.items()
    ]
    await worker.instance.engine.reports.report_all(TENANT, reports)


@pytest.mark.parametrize("broadcast", [False, True])
async def test_c_16_2_and_c_16_4_every_item_is_a_run_of_its_own(one: Instance, broadcast: bool) -> None:
    """C-16.2: a broadcast output is the client's affair. C-16.23: each flush has an id of its own."""
    await one.define(batch=BatchRule(max_size=2, interval_ms=LONG_MS, broadcast_output=broadcast))
    worker = await one.worker()
    items = [
        TriggerItem(workflow_name="flow", input=f'{{"n": {n}}}', additional_metadata=f'{{"m": "{n}"}}')
        for n in range(4)
    ]
    runs = await one.engine.trigger.trigger(TENANT, items)
    await until(lambda: len(worker.actions) == 2, "two batches arrive")
    first, second = worker.actions
    assert first.batch is not None
    assert second.batch is not None
    assert first.batch.id != second.batch.id
    outputs = {run_id: f'{{"out": {n}}}' for n, run_id in enumerate(runs)}
    for batch in (first, second):
        await answer(worker, batch, {task_id: outputs[task_id] for task_id in json.loads(batch.payload)})
    for n, run_id in enumerate(runs):
        details = await one.ended(run_id, RunStatus.COMPLETED)
        assert (details.tasks[0].output, json.loads(details.input)) == (outputs[run_id], {"n": n})
        assert json.loads(details.additional_metadata)["m"] == str(n)


async def test_c_16_5_c_16_6_c_16_10_and_c_16_15_groups_are_those_of_one_task_and_tell_why_they_went(
    one: Instance,
) -> None:
    rule = BatchRule(max_size=3, interval_ms=LONG_MS)
    await one.define("a", batch=rule)
    await one.define("b", batch=rule)
    worker = await one.worker("a", "b")
    full = [*await one.run_many(2, "a")]
    other = await one.run_many(2, "b")
    await until(lambda: len(one.scheduler.gates.batches) == 4, "two and two are buffered")
    assert not worker.actions, "the default key of two tasks is not one group"
    full += await one.run_many(1, "a")
    await until(lambda: len(worker.actions) == 1, "the full batch does not wait for its interval")
    assert list(json.loads(worker.actions[0].payload)) == full
    assert worker.actions[0].batch is not None
    assert worker.actions[0].batch.key == "default"
    await told(one, full[0], "batch_size_reached")
    assert await one.status(other[0]) is RunStatus.QUEUED


async def told(one: Instance, run_id: str, reason: str) -> None:
    """The history of an item shows how it went through its batch, and why that was flushed."""
    history = await one.history(run_id)
    names = [event.type.value for event in history]
    at = [names.index(name) for name in ("BATCH_BUFFERED", "BATCH_FLUSHED", "ASSIGNED")]
    assert at == sorted(at)
    assert history[at[1]].message.startswith(reason)


async def test_c_16_6_and_c_16_10_a_batch_that_is_not_full_goes_when_its_interval_ends(one: Instance) -> None:
    await one.define(batch=BatchRule(max_size=3, interval_ms=200_000))
    worker = await one.worker()
    runs = await one.run_many(2)
    await until(lambda: len(one.scheduler.gates.batches) == 2, "two are buffered")
    await one.pass_time(100, worker)
    assert not worker.actions
    await one.pass_time(101, worker)
    await until(lambda: worker.actions, "the batch arrives")
    assert list(json.loads(worker.actions[0].payload)) == runs
    await told(one, runs[0], "interval_elapsed")


async def test_c_16_32_and_c_11_31_the_one_unit_of_a_batch_is_free_when_its_last_item_has_ended(one: Instance) -> None:
    await one.define(batch=BatchRule(max_size=3, interval_ms=LONG_MS))
    worker = await one.worker(slots=1)
    runs = await one.run_many(3)
    await until(lambda: worker.actions, "the batch arrives")
    assert one.free(worker) == 0, "one unit for three items"
    for run_id in runs[:2]:
        await answer(worker, worker.actions[0], {run_id: "{}"})
        await one.ended(run_id, RunStatus.COMPLETED)
    assert one.free(worker) == 0
    await answer(worker, worker.actions[0], {runs[2]: "{}"})
    await until(lambda: one.free(worker) == 1, "the unit is free")
