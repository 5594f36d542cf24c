"""Crons and scheduled runs with real engines on a real database (behaviour-core C-14)."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from engine_fixture import OTHER_TENANT, Instance, World
from engine_worker import TENANT, until

from hatchet.core.definitions import Idempotency, IdempotencyMethod, TaskDefinition, WorkflowDefinition
from hatchet.core.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from hatchet.core.held import DuringPause, PauseSettings
from hatchet.core.statuses import RunStatus
from hatchet.engine import schedules
from hatchet.engine.crons import NewCron
from hatchet.engine.scheduled_runs import WantedRun
from hatchet.store.schedule_entries import CronFilter, CronRecord
from hatchet.store.schedules import forget_scheduled

EVERY_SECOND = "* * * * * *"
FAR = 4_000_000_000.0
"""In the year 2096."""


async def add_cron(one: Instance, expression: str = EVERY_SECOND, name: str = "c", **fields: Any) -> CronRecord:
    new = NewCron(name=name, expression=expression, **{"input": "{}", "additional_metadata": "{}", **fields})
    return await one.engine.crons.add(TENANT, "flow", new)


async def schedule(one: Instance, at: float, **fields: Any) -> str:
    wanted = WantedRun(workflow="flow", times=[at], **fields)
    _, [(scheduled_id, _)] = await one.engine.scheduled.add(TENANT, wanted)
    return scheduled_id


async def declare(one: Instance, *expressions: str, name: str = "flow", **fields: Any) -> str:
    """Register the workflow with these crons; its id."""
    task = TaskDefinition(readable_id=name, action=f"{name}:run")
    definition = WorkflowDefinition(name=name, tasks=(task,), cron_triggers=expressions, **fields)
    return (await one.engine.registration.put(TENANT, definition)).workflow_id


async def fired(one: Instance) -> list[dict[str, Any]]:
    """The metadata of all runs, in their order."""
    rows = await one.rows("SELECT additional_metadata FROM task ORDER BY id")
    return [json.loads(row["additional_metadata"] or "{}") for row in rows]


async def planned(one: Instance) -> list[str]:
    return [metadata["hatchet__cron_scheduled_at"] for metadata in await fired(one)]


async def started(one: Instance, scheduled_id: str) -> Any:
    """Wait until it was triggered; its row."""

    async def find() -> Any:
        rows = await one.rows("SELECT * FROM scheduled_run WHERE id = $1 AND triggered_at IS NOT NULL", scheduled_id)
        return rows[0] if rows else None

    return await until(find, "the scheduled run is triggered")


async def due_in_the_past(one: Instance, cron_id: str, seconds: float) -> None:
    """As if the engine had not looked for so long."""
    now = float(int(one.clock.now()))
    query = "UPDATE cron_trigger SET next_at = to_timestamp($2) WHERE id = $1 RETURNING 1"
    assert await one.rows(query, cron_id, now - seconds)


async def planned_only(one: Instance) -> list[dict[str, Any]]:
    return [metadata for metadata in await fired(one) if "hatchet__cron_scheduled_at" in metadata]


async def _count(one: Instance, least: int) -> bool:
    return len(await fired(one)) >= least


async def _later(one: Instance, before: set[str], least: int) -> list[str] | None:
    found = [text for text in await planned(one) if text not in before]
    return found if len(found) >= least else None


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


async def test_c_14_12_an_every_second_cron_fires_each_second_until_it_is_deleted(one: Instance) -> None:
    await one.define()
    cron = await add_cron(one)
    await until(lambda: _count(one, 3), "three runs")
    await one.engine.crons.delete(TENANT, cron.id)
    at_deletion = await planned(one)
    assert len(set(at_deletion)) == len(at_deletion)
    seconds = [int(text[17:19]) for text in at_deletion]
    assert all((after - before) % 60 == 1 for before, after in pairwise(seconds))
    one.clock.skip(5)
    one.engine.schedules.nudge()
    marker = await schedule(one, 0.0)
    await started(one, marker)
    assert len(await planned_only(one)) == len(at_deletion)


async def test_c_4_25_c_14_11_the_run_of_a_cron_carries_what_the_cron_carries(one: Instance) -> None:
    await one.define()
    one.clock.skip(3600)
    metadata = {"team": "a", "hatchet__cron_name": "overwritten"}
    cron = await add_cron(
        one, "0 0 1 1 *", "new-year", input='{"n": 1}', additional_metadata=json.dumps(metadata), priority=3
    )
    assert await one.rows("SELECT 1 FROM task") == []
    newest = await one.define(retries=2)
    at = 1_893_456_000.0  # 2030-01-01
    one.clock.skip(at - one.clock.now())
    one.engine.schedules.nudge()
    [row] = await until(lambda: one.rows("SELECT * FROM task"), "it fires")
    assert json.loads(row["additional_metadata"]) == {
        "team": "a",
        "hatchet__cron_expression": "0 0 1 1 *",
        "hatchet__cron_name": "new-year",
        "hatchet__cron_scheduled_at": "2030-01-01T00:00:00Z",
    }
    assert (row["input"], row["priority"], str(row["version_id"])) == (b'{"n": 1}', 3, newest.id)
    [moved] = await one.rows(
        "SELECT extract(epoch FROM next_at)::float8 AS at FROM cron_trigger WHERE id = $1", cron.id
    )
    assert moved["at"] == 1_924_992_000.0


async def test_c_14_9_two_engines_fire_each_instant_once(world: World) -> None:
    one, two = await world.engine(), await world.engine(owns=False)
    await one.define()
    crons = [await add_cron(one, name=f"c{number}") for number in range(20)]
    runs = [await schedule(two, 0.0) for _ in range(50)]
    for scheduled_id in runs:
        await started(one, scheduled_id)
    await until(lambda: _count(one, 20 * 3 + 50), "three rounds")
    for cron in crons:
        await one.engine.crons.delete(TENANT, cron.id)
    metadata = await planned_only(one)
    keys = [(found["hatchet__cron_name"], found["hatchet__cron_scheduled_at"]) for found in metadata]
    assert len(set(keys)) == len(keys)
    assert len(await fired(one)) - len(keys) == 50


async def test_c_14_9_a_killed_engine_neither_loses_nor_doubles(world: World) -> None:
    one, two = await world.engine(), await world.engine(owns=False)
    await one.define()
    await add_cron(one)
    waiting = await schedule(one, two.clock.now() + 4)
    await until(lambda: _count(one, 2), "two runs")
    await one.kill()
    row = await started(two, waiting)
    assert row["run_id"] is not None
    await until(lambda: _count(two, 7), "it goes on")
    texts = [found["hatchet__cron_scheduled_at"] for found in await planned_only(two)]
    seconds = [int(text[14:16]) * 60 + int(text[17:19]) for text in texts]
    assert all((after - before) % 3600 == 1 for before, after in pairwise(seconds)), texts


async def test_c_14_9_a_crash_before_the_commit_leaves_the_instant_due(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    await one.define()
    real, failures = schedules.advance_crons, 0

    async def breaking(transaction: Any, next_at: Any) -> None:
        nonlocal failures
        failures += 1
        if failures <= 2:
            raise ConnectionResetError
        await real(transaction, next_at)

    monkeypatch.setattr(schedules, "advance_crons", breaking)
    cron = await add_cron(one, "0 0 1 1 *")
    await due_in_the_past(one, cron.id, 1)
    await one.rows("UPDATE cron_trigger SET expression = $2 WHERE id = $1 RETURNING 1", cron.id, EVERY_SECOND)
    await until(lambda: failures > 2, "it is tried again")
    await until(lambda: _count(one, 2), "both instants fire")
    texts = await planned(one)
    assert len(set(texts)) == len(texts)


async def test_c_14_3_missed_instants_are_not_made_up_and_recent_ones_are(one: Instance) -> None:
    await one.define()
    cron = await add_cron(one)
    await until(lambda: _count(one, 1), "it fires")
    before = set(await planned(one))
    one.clock.skip(3600)
    one.engine.schedules.nudge()
    late = await until(lambda: _later(one, before, 9), "it fires again")
    await one.engine.crons.delete(TENANT, cron.id)
    now = int(one.clock.now())
    assert len(late) <= 8 + 1 + (now - _seconds(late[-1])) + 3
    assert now - _seconds(late[0]) < 30, "an hour was made up"
    assert len(set(late)) == len(late)


async def test_c_14_3_an_instant_of_long_ago_is_skipped(one: Instance) -> None:
    await one.define()
    cron = await add_cron(one, "0 0 1 1 *")
    await due_in_the_past(one, cron.id, 9)
    await until(lambda: one.rows("SELECT 1 FROM cron_trigger WHERE next_at > now()"), "it is moved on")
    assert await fired(one) == []


async def test_c_14_23_a_late_scheduled_run_is_started(one: Instance) -> None:
    await one.define()
    waiting = await schedule(one, one.clock.now() + 3600, additional_metadata='{"a": "b"}', priority=2)
    one.clock.skip(7200)
    row = await started(one, waiting)
    [run] = await one.rows("SELECT id, priority, additional_metadata FROM task")
    assert (run["id"], run["priority"], json.loads(run["additional_metadata"])) == (row["run_id"], 2, {"a": "b"})


async def test_c_14_21_a_scheduled_run_starts_within_a_second_of_its_time(one: Instance) -> None:
    await one.define()
    at = one.clock.now() + 2.5
    row = await started(one, await schedule(one, at))
    assert 0 <= row["triggered_at"].timestamp() - at < 1


async def test_c_14_14_a_cron_that_cannot_be_read_is_deleted_and_the_others_go_on(one: Instance) -> None:
    await one.define()
    await add_cron(one, "0 0 1 1 *", "broken")
    await add_cron(one, "0 0 2 1 *", "nowhere")
    await one.rows(
        "UPDATE cron_trigger SET expression = 'x', next_at = to_timestamp(1) WHERE name = 'broken' RETURNING 1"
    )
    await one.rows(
        "UPDATE cron_trigger SET time_zone = 'Mars/X', next_at = to_timestamp(1) WHERE name = 'nowhere' RETURNING 1"
    )
    await add_cron(one, name="good")
    await until(lambda: _count(one, 1), "the good one fires")
    assert [row["name"] for row in await one.rows("SELECT name FROM cron_trigger")] == ["good"]


async def test_c_14_10_a_disabled_cron_does_not_fire(one: Instance) -> None:
    await one.define()
    cron = await add_cron(one)
    await one.engine.crons.switch(TENANT, cron.id, False)
    before = len(await fired(one))
    one.clock.skip(5)
    await started(one, await schedule(one, 0.0))
    assert len(await planned_only(one)) == before
    await one.engine.crons.switch(TENANT, cron.id, True)
    await until(lambda: _count(one, before + 2), "it fires again")


async def test_c_14_8_another_engine_hears_of_a_new_entry(world: World) -> None:
    one, two = await world.engine(), await world.engine(owns=False)
    await one.engine.schedules.stop()
    await until(lambda: one.engine.bus.has_peers, "they know each other")
    await one.define()
    row = await started(one, await schedule(one, 0.0))
    assert row["run_id"] is not None
    assert not two.is_over


@pytest.mark.parametrize("behaviour", list(DuringPause))
async def test_c_4_56_pause(one: Instance, behaviour: DuringPause) -> None:
    version = await one.define()
    pause = PauseSettings(queue_ttl="1h", crons=behaviour, scheduled=behaviour)
    await one.engine.pausing.pause(TENANT, version.workflow_id, pause)
    await add_cron(one)
    row = await started(one, await schedule(one, one.clock.now()))
    assert (row["run_id"] is None) == (behaviour is DuringPause.DROP)
    one.clock.skip(3)
    if behaviour is DuringPause.QUEUE:
        await until(lambda: _count(one, 4), "they fire")
        assert await one.status(str(row["run_id"])) is RunStatus.QUEUED
    else:
        await started(one, await schedule(one, 0.0))
        assert await fired(one) == []
        await one.engine.pausing.unpause(TENANT, version.workflow_id)
        await until(lambda: _count(one, 1), "it fires again")
        assert len(await fired(one)) < 4, "what the pause dropped came after all"


async def test_c_4_41_collisions_and_expressions_without_value_start_nothing(one: Instance) -> None:
    idempotency = Idempotency(expression="input.id", ttl_ms=3_600_000, method=IdempotencyMethod.TTL)
    await declare(one, idempotency=idempotency)
    first = await schedule(one, one.clock.now() + 3600, input='{"id": "k"}')
    same = await schedule(one, one.clock.now() + 3601, input='{"id": "k"}')
    valueless = await schedule(one, one.clock.now() + 3602, input='{"other": 1}')
    last = await schedule(one, one.clock.now() + 3603, input='{"id": "l"}')
    one.clock.skip(4000)
    found = [(await started(one, scheduled_id))["run_id"] for scheduled_id in (first, same, valueless, last)]
    assert [run_id is None for run_id in found] == [False, True, True, False]
    [failure] = await one.rows("SELECT source, expression FROM evaluation_failure")
    assert (failure["source"], failure["expression"]) == ("IDEMPOTENCY_KEY", "input.id")


async def test_invariant_7_a_poison_row_does_not_stop_the_others(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    await one.define()
    real = one.engine.trigger.prepare

    async def poisoned(tenant_id: str, items: Any, now: float) -> Any:
        if any("poison" in item.input for item in items):
            raise RuntimeError("poison")
        return await real(tenant_id, items, now)

    monkeypatch.setattr(one.engine.trigger, "prepare", poisoned)
    at = one.clock.now() + 3600
    good = [await schedule(one, at + number) for number in range(5)]
    bad = await schedule(one, at + 2, input='{"poison": 1}')
    cron = await add_cron(one, "0 0 1 1 *", input='{"poison": 1}')
    await due_in_the_past(one, cron.id, -3600)
    one.clock.skip(3700)
    one.engine.schedules.nudge()
    for scheduled_id in good:
        assert (await started(one, scheduled_id))["run_id"] is not None
    assert (await started(one, bad))["run_id"] is None
    await until(
        lambda: one.rows("SELECT 1 FROM cron_trigger WHERE next_at > now() + interval '2 hours'"), "it is moved on"
    )


async def test_a_tenant_that_is_too_far_behind_waits_and_stops_nobody(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    await one.define()
    task = TaskDefinition(readable_id="flow", action="flow:run")
    await one.engine.registration.put(OTHER_TENANT, WorkflowDefinition(name="flow", tasks=(task,)))
    real, behind = one.engine.trigger.refuse_overflow, {OTHER_TENANT}

    def refusing(tenant_id: str, count: int) -> None:
        if tenant_id in behind:
            raise ResourceExhausted("too many tasks wait")
        real(tenant_id, count)

    monkeypatch.setattr(one.engine.trigger, "refuse_overflow", refusing)
    monkeypatch.setattr(schedules, "BATCH", 2)
    theirs = [
        scheduled_id
        for _ in range(3)
        for scheduled_id, _ in (await one.engine.scheduled.add(OTHER_TENANT, WantedRun(workflow="flow", times=[0.0])))[
            1
        ]
    ]
    assert (await started(one, await schedule(one, 1.0)))["run_id"] is not None
    assert await one.rows("SELECT 1 FROM scheduled_run WHERE id = ANY($1) AND triggered_at IS NOT NULL", theirs) == []
    behind.clear()
    for scheduled_id in theirs:
        assert (await started(one, scheduled_id))["run_id"] is not None


async def test_what_was_started_is_forgotten_after_the_retention(one: Instance) -> None:
    await one.define()
    old, waiting = await schedule(one, 0.0), await schedule(one, FAR)
    await started(one, old)
    assert await forget_scheduled(one.database, one.clock.now() - 60) == 0
    assert await forget_scheduled(one.database, one.clock.now() + 60) == 1
    assert [str(row["id"]) for row in await one.rows("SELECT id FROM scheduled_run")] == [waiting]


async def test_c_14_8_at_rest_there_is_one_statement_in_two_seconds(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    await one.define()
    await schedule(one, FAR)
    await add_cron(one, "0 0 1 1 *")
    looks: list[float] = []
    real = schedules.upcoming

    async def noted(queries: Any) -> Any:
        looks.append(asyncio.get_running_loop().time())
        return await real(queries)

    monkeypatch.setattr(schedules, "upcoming", noted)
    await until(lambda: len(looks) >= 3, "it looks three times")
    assert looks[2] - looks[1] > schedules.POLL_SECONDS * 0.9


async def test_c_3_35_c_14_16_declared_crons_are_those_of_the_newest_version(one: Instance) -> None:
    workflow_id = await declare(one, "0 5 * * *", "CRON_TZ=Europe/Berlin 0 6 * * *", cron_input='{"a": 1}')
    api = await add_cron(one, "0 5 * * *", "mine")
    waiting = await schedule(one, FAR)
    wanted = CronFilter(workflow_id=workflow_id, descending=False)
    listed, total = await one.engine.crons.page(TENANT, wanted, offset=0, limit=50)
    assert total == 3
    [five] = [cron for cron in listed if cron.expression == "0 5 * * *" and cron.method.value == "DEFAULT"]
    assert (five.name, five.input, five.priority, five.is_enabled) == ("", '{"a": 1}', 1, True)
    assert "Europe/Berlin" in {cron.time_zone for cron in listed}
    await one.engine.crons.switch(TENANT, five.id, False)
    await declare(one, "0 5 * * *", "0 7 * * *", cron_input='{"a": 2}', default_priority=3)
    await declare(one, "0 5 * * *", "0 7 * * *", cron_input='{"a": 2}', default_priority=3)
    listed, total = await one.engine.crons.page(TENANT, wanted, offset=0, limit=50)
    found = {(cron.expression, cron.name): cron for cron in listed}
    assert set(found) == {("0 5 * * *", ""), ("0 7 * * *", ""), ("0 5 * * *", "mine")}
    kept = found["0 5 * * *", ""]
    assert (kept.id, kept.is_enabled, kept.input, kept.priority) == (five.id, False, '{"a": 2}', 3)
    assert found["0 5 * * *", "mine"].id == api.id
    await declare(one)
    listed, total = await one.engine.crons.page(TENANT, wanted, offset=0, limit=50)
    assert [cron.id for cron in listed] == [api.id]
    assert (await one.engine.scheduled.get(TENANT, waiting)).record.triggered_at is None


async def test_c_3_35_a_declared_cron_fires(one: Instance) -> None:
    await declare(one, EVERY_SECOND, cron_input='{"n": 5}')
    [row, *_] = await until(lambda: one.rows("SELECT input, additional_metadata FROM task"), "it fires")
    assert row["input"] == b'{"n": 5}'
    assert json.loads(row["additional_metadata"])["hatchet__cron_name"] == ""


async def test_c_14_15_the_workflow_takes_its_schedules_along(one: Instance) -> None:
    workflow_id = await declare(one, "0 5 * * *")
    await schedule(one, FAR)
    await one.rows("DELETE FROM workflow WHERE id = $1 RETURNING 1", workflow_id)
    assert await one.rows("SELECT 1 FROM cron_trigger UNION ALL SELECT 1 FROM scheduled_run") == []
    with pytest.raises(NotFound, match="workflow not found"):
        await schedule(one, FAR)
    with pytest.raises(InvalidArgument, match="workflow not found"):
        await add_cron(one)


async def test_c_14_13_trigger_now_of_a_cron(one: Instance) -> None:
    workflow_id = await declare(one, "0 5 * * *", cron_input='{"n": 7}')
    listed, _ = await one.engine.crons.page(TENANT, CronFilter(workflow_id=workflow_id), offset=0, limit=5)
    run_id = await one.engine.crons.trigger(TENANT, listed[0].id)
    details = await one.details(run_id)
    assert (details.input, details.status) == ('{"n": 7}', RunStatus.QUEUED)
    assert json.loads(details.additional_metadata)["hatchet__cron_expression"] == "0 5 * * *"


async def test_c_14_27_trigger_now_of_a_scheduled_run_happens_once(one: Instance) -> None:
    await one.define()
    waiting = await schedule(one, FAR, input='{"n": 1}')
    answers = await asyncio.gather(
        *(one.engine.scheduled.trigger(TENANT, waiting) for _ in range(5)), return_exceptions=True
    )
    assert [type(answer) for answer in answers if not isinstance(answer, str)] == [FailedPrecondition] * 4
    [run] = await one.rows("SELECT id FROM task")
    [run_id] = [answer for answer in answers if isinstance(answer, str)]
    assert str(run["id"]) == run_id
    listed = await one.engine.scheduled.get(TENANT, waiting)
    assert (listed.record.run_id, listed.status) == (run_id, RunStatus.QUEUED)


async def test_c_14_27_a_collision_leaves_the_scheduled_run_as_it_is(one: Instance) -> None:
    idempotency = Idempotency(expression="input.id", ttl_ms=3_600_000, method=IdempotencyMethod.TTL)
    await declare(one, idempotency=idempotency)
    await one.run(input='{"id": "k"}')
    waiting = await schedule(one, FAR, input='{"id": "k"}')
    with pytest.raises(FailedPrecondition, match="idempotency"):
        await one.engine.scheduled.trigger(TENANT, waiting)
    assert (await one.engine.scheduled.get(TENANT, waiting)).record.triggered_at is None


async def test_c_4_13_a_scheduled_child_belongs_to_its_parent(one: Instance) -> None:
    await one.define()
    parent = await one.run(additional_metadata='{"of": "parent"}')
    child = {"parent_run_id": parent, "parent_task_id": parent, "child_index": 0}
    row = await started(one, await schedule(one, 0.0, **child))
    again = await started(one, await schedule(one, 0.0, **child))
    assert row["run_id"] == again["run_id"]
    [run] = await one.rows("SELECT parent_task_id, additional_metadata FROM task WHERE id = $1", row["run_id"])
    assert str(run["parent_task_id"]) == parent
    assert json.loads(run["additional_metadata"])["of"] == "parent"


async def test_r_2_2_schedules_of_another_tenant_do_not_exist(one: Instance) -> None:
    await one.define()
    cron, waiting = await add_cron(one, "0 5 * * *"), await schedule(one, FAR)
    crons, scheduled = one.engine.crons, one.engine.scheduled
    for call in (
        crons.get(OTHER_TENANT, cron.id),
        crons.switch(OTHER_TENANT, cron.id, False),
        crons.delete(OTHER_TENANT, cron.id),
        crons.trigger(OTHER_TENANT, cron.id),
        scheduled.get(OTHER_TENANT, waiting),
        scheduled.move(OTHER_TENANT, waiting, 1.0),
        scheduled.delete(OTHER_TENANT, waiting),
        scheduled.trigger(OTHER_TENANT, waiting),
    ):
        with pytest.raises(NotFound):
            await call
    assert (await scheduled.delete_ids(OTHER_TENANT, [waiting])).done == []
    assert (await scheduled.move_all(OTHER_TENANT, {waiting: 1.0})).done == []
    assert (await crons.get(TENANT, cron.id)).is_enabled
    assert (await scheduled.get(TENANT, waiting)).record.trigger_at == FAR


async def test_many_due_at_once_fire_in_few_statements(one: Instance) -> None:
    await one.define()
    now = one.clock.now()
    _, made = await one.engine.scheduled.add(TENANT, WantedRun(workflow="flow", times=[now + 3600] * 1000))
    one.clock.skip(3601)
    one.engine.schedules.nudge()
    await until(lambda: _count(one, 1000), "all are started")
    assert {str(row["id"]) for row in await one.rows("SELECT id FROM scheduled_run WHERE run_id IS NOT NULL")} == {
        scheduled_id for scheduled_id, _ in made
    }
