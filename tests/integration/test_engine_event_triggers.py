"""Events that start runs, with real engines on a real database (behaviour-core C-12.8 to C-12.37)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from engine_fixture import Instance, World, on_event, waits
from engine_worker import TENANT, until

from hatchet.core.definitions import Idempotency, StoredVersion, TaskDefinition, WorkflowDefinition
from hatchet.core.errors import Unavailable
from hatchet.core.event_push import NewEvent
from hatchet.core.held import DuringPause, PauseSettings
from hatchet.core.messages import EventRecord
from hatchet.core.rules import ConcurrencyRule, DefaultFilter, Strategy
from hatchet.core.statuses import RunStatus
from hatchet.grpc.action_messages import assigned_action
from hatchet.store.events import append_events
from hatchet.store.filters import FilterRecord

STARTED = """
SELECT event_run.run_id::text AS run_id, event_run.filter_id::text AS filter_id
FROM event_run WHERE event_id = $1 ORDER BY run_id
"""


async def listen(one: Instance, name: str = "flow", *keys: str, **options: Any) -> StoredVersion:
    """Register a workflow of one task that is started by these keys."""
    task = TaskDefinition(readable_id=name, action=f"{name}:run")
    definition = WorkflowDefinition(name=name, tasks=(task,), event_triggers=keys or ("go",), **options)
    return await one.engine.registration.put(TENANT, definition)


async def add_filter(
    one: Instance, version: StoredVersion, expression: str = "true", *, scope: str = "s", payload: str = "{}"
) -> FilterRecord:
    wanted = DefaultFilter(scope=scope, expression=expression, payload=payload)
    return await one.engine.filters.add(TENANT, version.workflow_id, wanted)


async def push(one: Instance, key: str = "go", payload: str = "{}", **fields: Any) -> EventRecord:
    [record] = await one.engine.events.push(TENANT, [NewEvent(key=key, payload=payload, **fields)])
    return record


async def runs_of(one: Instance, event: EventRecord) -> list[str]:
    return [row["run_id"] for row in await one.rows(STARTED, event.id)]


async def starts(one: Instance, key: str = "go", payload: str = "{}", **fields: Any) -> int:
    """How many runs a new event has when it is acknowledged."""
    return len(await runs_of(one, await push(one, key, payload, **fields)))


async def failures(one: Instance) -> list[tuple[str, str, str]]:
    rows = await one.rows("SELECT source, subject_id::text, expression, error FROM evaluation_failure ORDER BY id")
    return [(row["source"], row["subject_id"], row["expression"]) for row in rows]


async def revision(one: Instance) -> int:
    rows = await one.rows("SELECT revision FROM trigger_revision WHERE tenant_id = $1", TENANT)
    return int(rows[0]["revision"]) if rows else 0


# Matching --------------------------------------------------------------------------------------------------------


async def test_c_12_8_and_c_12_29_an_event_starts_a_run_with_its_payload(one: Instance) -> None:
    await listen(one, default_priority=2)
    worker = await one.worker(completes=True)
    event = await push(one, payload='{"a": 1.0}', additional_metadata='{"who": "me"}', scope="any")
    [run_id] = await runs_of(one, event)
    await one.ended(run_id, RunStatus.COMPLETED)
    [action] = worker.starts
    assert (action.run_id, action.priority) == (run_id, 2)
    payload = json.loads(action.payload)
    assert payload["input"] == {"a": 1.0}
    # C-5.12: there is no filter.
    assert payload["triggers"] == {}
    # C-4.24, C-12.30.
    own = {"hatchet__event_id": event.id, "hatchet__event_key": "go"}
    assert json.loads(action.additional_metadata) == {"who": "me", **own}
    # C-12.31, C-5.1.
    message = assigned_action(action)
    assert (message.triggering_event_external_id, message.triggering_event_key) == (event.id, "go")


async def test_c_12_31_a_run_that_no_event_started(one: Instance) -> None:
    await listen(one)
    worker = await one.worker(completes=True)
    run_id = await one.run(additional_metadata='{"a":1}')
    message = assigned_action(await worker.started(run_id))
    assert not message.HasField("triggering_event_external_id")
    assert not message.HasField("triggering_event_key")


async def test_c_12_29_the_priority_of_the_event_wins(one: Instance) -> None:
    await listen(one, default_priority=1)
    worker = await one.worker(completes=True)
    [run_id] = await runs_of(one, await push(one, priority=3))
    assert (await worker.started(run_id)).priority == 3


async def test_c_12_10_to_c_12_13_keys_and_patterns(one: Instance) -> None:
    await listen(one, "exact", "user:created")
    await listen(one, "prefix", "user:*", "user:cr*ed", "user:created")
    await listen(one, "literal", "user_created", "100%")
    found = {key: await starts(one, key) for key in ("user:created", "user:", "user:x", "userXcreated", "100", "100%")}
    assert found == {"user:created": 2, "user:": 1, "user:x": 1, "userXcreated": 0, "100": 0, "100%": 1}


async def test_c_12_14_a_workflow_that_is_registered_later_does_not_see_earlier_events(one: Instance) -> None:
    event = await push(one)
    await listen(one)
    assert await starts(one) == 1
    assert await runs_of(one, event) == []


async def test_c_3_34_only_the_keys_of_the_latest_version_start_runs(one: Instance) -> None:
    first = await listen(one, "flow", "a", "b")
    assert [await starts(one, key) for key in ("a", "b", "c")] == [1, 1, 0]
    await listen(one, "flow", "b", "c")
    assert [await starts(one, key) for key in ("a", "b", "c")] == [0, 1, 1]
    task = TaskDefinition(readable_id="flow", action="flow:run")
    await one.engine.registration.put(TENANT, WorkflowDefinition(name="flow", tasks=(task,)))
    assert [await starts(one, key) for key in ("a", "b", "c")] == [0, 0, 0]
    again = await listen(one, "flow", "a", "b")
    assert again.id != first.id
    assert await starts(one, "a") == 1


async def test_a_new_version_with_the_same_keys_changes_nothing_for_events(one: Instance) -> None:
    await listen(one)
    before = await revision(one)
    await listen(one, description="another")
    assert await revision(one) == before
    assert await starts(one) == 1


async def test_c_12_7_and_c_12_34_a_payload_that_is_no_object_is_passed_on(one: Instance) -> None:
    await listen(one)
    worker = await one.worker(completes=True)
    [run_id] = await runs_of(one, await push(one, payload="[1, 2]"))
    assert json.loads((await worker.started(run_id)).payload)["input"] == [1, 2]


# Filters ---------------------------------------------------------------------------------------------------------


async def test_c_12_17_to_c_12_24_which_filters_hold(one: Instance) -> None:
    version = await listen(one)
    assert [await starts(one, scope=scope) for scope in (None, "s")] == [1, 1]
    text = "input.should_skip == false && payload.foobar == 'baz'"
    right = await add_filter(one, version, text, payload='{"foobar":"baz"}')
    await add_filter(one, version, text, payload='{"foobar":"qux"}')
    counts = {
        (key, scope, skip): await starts(one, key, json.dumps({"should_skip": skip}), scope=scope)
        for key in ("go", "other")
        for scope in (None, "s", "S")
        for skip in (True, False)
    }
    assert {case for case, count in counts.items() if count} == {("go", "s", False)}
    event = await push(one, payload='{"should_skip": false}', scope="s")
    [row] = await one.rows(STARTED, event.id)
    assert row["filter_id"] == right.id


async def test_c_12_19_and_c_5_12_each_true_filter_starts_a_run_with_its_payload(one: Instance) -> None:
    version = await listen(one)
    made = {(await add_filter(one, version, payload=f'{{"filter_id": {n}}}')).id: n for n in (1, 2)}
    worker = await one.worker(completes=True)
    event = await push(one, scope="s")
    rows = await one.rows(STARTED, event.id)
    assert {row["filter_id"] for row in rows} == set(made)
    for row in rows:
        action = await worker.started(row["run_id"])
        assert json.loads(action.payload)["triggers"] == {"filter_payload": {"filter_id": made[row["filter_id"]]}}


async def test_c_5_12_a_filter_without_a_payload_gives_an_empty_object(one: Instance) -> None:
    version = await listen(one)
    await add_filter(one, version)
    worker = await one.worker()
    [run_id] = await runs_of(one, await push(one, scope="s"))
    assert json.loads((await worker.started(run_id)).payload)["triggers"] == {"filter_payload": {}}


@pytest.mark.parametrize("restarted", [False, True])
async def test_c_12_27_every_task_of_a_dag_gets_the_payload(world: World, restarted: bool) -> None:
    """From the memory of the engine that took the event, and from the rows."""
    one = await world.engine()
    version = await one.define_dag(
        "dag", a=(), b=("a",), c=waits(on_event("x", name="x"), parents=["a"]), workflow={"event_triggers": ("go",)}
    )
    await add_filter(one, version, payload='{"k": 1}')
    [run_id] = await runs_of(one, await push(one, scope="s"))
    if restarted:
        await one.kill()
        one = await world.engine()
    worker = await one.dag_worker(version, completes=True)
    a = await worker.task("a")
    b = await worker.task("b")
    await push(one, "x", '{"y": 2}')
    c = await worker.task("c")
    assert {json.loads(action.payload)["triggers"]["filter_payload"]["k"] for action in (a, b, c)} == {1}
    assert json.loads(c.payload)["triggers"]["x"] == {"y": 2}
    assert {assigned_action(action).triggering_event_key for action in (a, b, c)} == {"go"}
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_c_12_27_a_single_task_gets_the_payload_from_the_rows(world: World) -> None:
    one = await world.engine()
    version = await listen(one)
    await add_filter(one, version, payload='{"k": 1}')
    [run_id] = await runs_of(one, await push(one, scope="s"))
    await one.kill()
    other = await world.engine()
    action = await (await other.worker()).started(run_id)
    assert json.loads(action.payload)["triggers"] == {"filter_payload": {"k": 1}}


async def test_c_12_20_and_c_8_35_failing_filters_are_recorded_and_start_nothing(one: Instance) -> None:
    version = await listen(one)
    bad = [await add_filter(one, version, text) for text in ("input.missing == 1", "1")]
    await add_filter(one, version, "false")
    assert await starts(one, scope="s") == 0
    assert await failures(one) == [("FILTER", one_.id, one_.expression) for one_ in bad]
    await add_filter(one, version, "true")
    assert await starts(one, scope="s") == 1
    assert len(await failures(one)) == 4


async def test_c_12_22_a_bulk_with_two_scopes(one: Instance) -> None:
    version = await listen(one)
    for scope in ("a", "b"):
        await add_filter(one, version, scope=scope)
    items = [NewEvent(key="go", payload=f'{{"n": {n}}}', scope="ab"[n % 2]) for n in range(100)]
    records = await one.engine.events.push(TENANT, items)
    rows = await one.rows("SELECT event_id::text AS event_id, run_id::text AS run_id FROM event_run")
    assert sorted(row["event_id"] for row in rows) == [record.id for record in records]
    assert len({row["run_id"] for row in rows}) == 100
    worker = await one.worker(slots=100, completes=True)
    await until(lambda: len(worker.starts) == 100, "all of them run")
    by_run = {row["run_id"]: row["event_id"] for row in rows}
    numbers = {record.id: n for n, record in enumerate(records)}
    assert all(json.loads(a.payload)["input"] == {"n": numbers[by_run[a.run_id]]} for a in worker.starts)


async def test_c_3_36_declared_filters_are_replaced_and_an_empty_list_leaves_them(one: Instance) -> None:
    def declared(*scopes: str) -> tuple[DefaultFilter, ...]:
        return tuple(DefaultFilter(scope=scope, expression="true", payload='{"d":1}') for scope in scopes)

    async def found() -> list[tuple[str, bool]]:
        rows, _ = await one.engine.filters.list(TENANT, workflow_ids=None, scopes=None, offset=0, limit=100)
        return sorted((row.scope, row.is_declarative) for row in rows)

    async def scopes() -> str:
        return "".join([scope for scope in "abcx" if await starts(one, scope=scope)])

    version = await listen(one, default_filters=declared("a", "b", "b"))
    await add_filter(one, version, scope="x")
    assert await found() == [("a", True), ("b", True), ("x", False)]
    assert await scopes() == "abx"
    await listen(one, default_filters=declared("b", "c"))
    assert await found() == [("b", True), ("c", True), ("x", False)]
    assert await scopes() == "bcx"
    await listen(one)
    assert await found() == [("b", True), ("c", True), ("x", False)]
    assert await scopes() == "bcx"


async def test_filters_of_another_workflow_do_not_count(one: Instance) -> None:
    await listen(one, "flow")
    other = await listen(one, "other", "else")
    await add_filter(one, other, "false")
    assert await starts(one) == 1


# Changes at other instances --------------------------------------------------------------------------------------


async def test_c_12_28_filters_that_change_at_another_instance_count_at_once(world: World) -> None:
    one, other = await world.engine(), await world.engine(owns=False)
    version = await listen(one)
    for instance in (one, other):
        assert await starts(instance, scope="s") == 1
    for _ in range(5):
        false = await add_filter(other, version, "false")
        assert await starts(one, scope="s") == 0
        true = await other.engine.filters.change(TENANT, false.id, scope=None, expression="true", payload=None)
        assert await starts(one, scope="s") == 1
        assert await starts(one, scope="t") == 0
        await other.engine.filters.change(TENANT, true.id, scope="t", expression=None, payload=None)
        assert await starts(one, scope="t") == 1
        await other.engine.filters.remove(TENANT, true.id)
        assert await starts(one) == 1


async def test_c_12_28_a_registration_at_another_instance_counts_at_once(world: World) -> None:
    one, other = await world.engine(), await world.engine(owns=False)
    assert await starts(one) == 0
    await listen(other)
    assert await starts(one) == 1
    await listen(other, "flow", "else")
    assert await starts(one) == 0


async def test_c_12_28_events_and_changes_at_the_same_time(world: World) -> None:
    """Whatever happens in between, no event is lost and none starts its run twice."""
    one, other = await world.engine(), await world.engine(owns=False)
    version = await listen(one)

    async def change() -> None:
        for number in range(15):
            made = await add_filter(other, version, payload=f'{{"n":{number}}}')
            await other.engine.filters.remove(TENANT, made.id)

    async def pushed(instance: Instance) -> list[EventRecord]:
        return [await push(instance, scope="s") for _ in range(40)]

    _, mine, theirs = await asyncio.gather(change(), pushed(one), pushed(other))
    for event in [*mine, *theirs]:
        assert len(await runs_of(one, event)) == 1


async def test_c_12_13_two_engines_one_event_each_run_once(world: World) -> None:
    one, other = await world.engine(), await world.engine(owns=False)
    await listen(one)
    worker = await one.worker(completes=True)
    events = await asyncio.gather(*(push(instance, payload="{}") for instance in (one, other) for _ in range(10)))
    for event in events:
        [run_id] = await runs_of(one, event)
        await one.ended(run_id, RunStatus.COMPLETED)
    assert len(worker.starts) == 20


# One transaction -------------------------------------------------------------------------------------------------


async def counted(one: Instance) -> list[int]:
    tables = ("event", "task", "run", "event_run", "evaluation_failure")
    return [(await one.rows(f"SELECT count(*) AS n FROM {table}"))[0]["n"] for table in tables]


@pytest.mark.parametrize("broken", ["append_event_runs", "append_failures"])
async def test_an_event_without_its_runs_is_not_stored(
    one: Instance, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    version = await listen(one)
    await add_filter(one, version)
    await add_filter(one, version, "input.missing")

    async def away(*_: object) -> None:
        raise Unavailable("the database does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(f"hatchet.engine.event_triggers.{broken}", away)
        with pytest.raises(Unavailable):
            await push(one, scope="s")
        assert await counted(one) == [0, 0, 0, 0, 0]
    assert await starts(one, scope="s") == 1
    assert await counted(one) == [1, 1, 0, 1, 1]


async def test_a_crash_after_the_commit_loses_no_run_and_makes_none_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await world.engine()
    await listen(one)

    def crashed(*_: object) -> None:
        raise ZeroDivisionError

    # Nobody in memory hears of the runs.
    monkeypatch.setattr(one.engine.trigger, "committed", crashed)
    monkeypatch.setattr(one.engine.trigger, "uncertain", lambda *_: None)
    event = await push(one)
    await one.kill()
    monkeypatch.undo()
    other = await world.engine()
    worker = await other.worker(completes=True)
    [run_id] = await runs_of(other, event)
    await other.ended(run_id, RunStatus.COMPLETED)
    assert len(worker.starts) == 1


async def test_a_hand_over_that_fails_does_not_fail_the_push(one: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    await listen(one)
    worker = await one.worker(completes=True)

    def failing(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(one.engine.trigger, "committed", failing)
        event = await push(one)
    [run_id] = await runs_of(one, event)
    await one.ended(run_id, RunStatus.COMPLETED)
    assert len(worker.starts) == 1


async def test_a_batch_is_cut_where_it_is_too_heavy_and_one_lot_that_fails_takes_no_other_with_it(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    await listen(one)
    monkeypatch.setattr("hatchet.engine.events.HEAVIEST", 6)
    sizes: list[int] = []

    async def append(queries: Any, rows: Sequence[EventRecord], *known: Any) -> bool:
        if any(row.payload == '{"bad":1}' for row in rows):
            raise ZeroDivisionError
        sizes.append(len(rows))
        return await append_events(queries, rows, *known)

    monkeypatch.setattr("hatchet.engine.events.append_events", append)
    items = [push(one, payload='{"bad":1}' if n == 10 else "{}") for n in range(20)]
    found = await asyncio.gather(*items, return_exceptions=True)
    assert [n for n, one_ in enumerate(found) if isinstance(one_, BaseException)] == [10]
    assert max(sizes) <= 3
    assert await counted(one) == [19, 19, 0, 19, 0]


async def test_c_12_9_a_replay_starts_runs_like_a_push(one: Instance) -> None:
    version = await listen(one)
    old = await push(one, payload='{"a":1}', scope="s", priority=3)
    await add_filter(one, version, "input.a == 1", payload='{"f":1}')
    again = await one.engine.events.replay(TENANT, old.id)
    [run_id] = await runs_of(one, again)
    assert len(await runs_of(one, old)) == 1
    worker = await one.worker()
    action = await worker.started(run_id)
    assert json.loads(action.payload)["input"] == {"a": 1}
    assert json.loads(action.additional_metadata)["hatchet__event_id"] == again.id
    assert action.priority == 3


# What comes with the ordinary trigger ----------------------------------------------------------------------------


async def test_c_4_34_two_workflows_with_one_key_make_one_run_in_total(one: Instance) -> None:
    idempotency = Idempotency(expression="input.id", ttl_ms=60_000)
    for name in ("flow", "other"):
        await listen(one, name, idempotency=idempotency)
    events = [await push(one, payload='{"id":"1"}') for _ in range(2)]
    # C-4.41, C-12.37: a collision is silent and adds nothing.
    assert [len(await runs_of(one, event)) for event in events] == [1, 0]
    assert await counted(one) == [2, 1, 0, 1, 0]


async def test_c_4_33_a_key_without_a_value_is_recorded_and_the_event_is_accepted(one: Instance) -> None:
    version = await listen(one, idempotency=Idempotency(expression="input.id", ttl_ms=60_000))
    await listen(one, "other")
    event = await push(one)
    assert len(await runs_of(one, event)) == 1
    assert await failures(one) == [("IDEMPOTENCY_KEY", version.workflow_id, "input.id")]
    assert await starts(one, payload='{"id":"1"}') == 2


async def test_c_12_32_a_paused_workflow_keeps_the_runs_of_events_waiting(one: Instance) -> None:
    version = await listen(one)
    worker = await one.worker(completes=True)
    settings = PauseSettings(queue_ttl="10m", crons=DuringPause.QUEUE, scheduled=DuringPause.QUEUE)
    await one.engine.pausing.pause(TENANT, version.workflow_id, settings)
    [run_id] = await runs_of(one, await push(one))
    await until(lambda: run_id in one.scheduler.held, "it is held")
    assert worker.starts == []
    await one.engine.pausing.unpause(TENANT, version.workflow_id)
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_c_12_32_the_key_of_a_concurrency_rule_is_computed_for_runs_of_events(one: Instance) -> None:
    rule = ConcurrencyRule(expression="input.user", strategy=Strategy.GROUP_ROUND_ROBIN)
    task = TaskDefinition(readable_id="flow", action="flow:run", concurrency=(rule,))
    await one.engine.registration.put(TENANT, WorkflowDefinition(name="flow", tasks=(task,), event_triggers=("go",)))
    [run_id] = await runs_of(one, await push(one, payload='{"user":"u1"}'))
    [row] = await one.rows("SELECT limits::text AS limits FROM task WHERE id = $1", run_id)
    assert "u1" in row["limits"]


async def test_c_12_33_an_event_meets_waits_whatever_filters_say(one: Instance) -> None:
    version = await one.define_dag("dag", a=waits(on_event("go")), workflow={"event_triggers": ("start", "go")})
    worker = await one.dag_worker(version, completes=True)
    await add_filter(one, version, "event_key == 'start'")
    [run_id] = await runs_of(one, await push(one, "start", scope="s"))
    await until(lambda: len(one.scheduler.runs.waits), "it waits")
    assert await starts(one, "go", scope="other") == 0
    await worker.task("a")
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_c_4_22_children_of_such_a_run_are_not_of_the_event(one: Instance) -> None:
    await listen(one)
    await one.define("child")
    worker = await one.worker("flow", "child")
    [run_id] = await runs_of(one, await push(one, additional_metadata='{"test_run_id":"7"}'))
    parent = await worker.started(run_id)
    child = await one.run(
        "child", parent_task_id=parent.task_id, child_index=0, additional_metadata=parent.additional_metadata
    )
    action = await worker.started(child)
    assert json.loads(action.additional_metadata)["test_run_id"] == "7"
    assert "hatchet__event_id" not in action.additional_metadata
    assert not assigned_action(action).HasField("triggering_event_external_id")


async def test_events_that_start_nothing_are_one_statement(one: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    version = await listen(one)
    await add_filter(one, version, "false")
    await push(one, "else")
    used: list[str] = []
    monkeypatch.setattr(one.engine.events._hot, "transaction", lambda: used.append("a transaction"))
    for key, scope in (("else", None), ("go", None), ("go", "s"), ("go", "t")):
        assert await starts(one, key, scope=scope) == 0
    assert used == []
