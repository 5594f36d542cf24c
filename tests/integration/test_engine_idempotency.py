"""Idempotency keys of runs, plain ones and such of several tasks (behaviour-core C-4.32 to C-4.47)."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest
from engine_fixture import OTHER_TENANT, Instance, World, on_event, waits
from engine_worker import TENANT, Worker, until

from hatchet.core.definitions import Idempotency, IdempotencyMethod, TaskDefinition, WorkflowDefinition
from hatchet.core.errors import IdempotencyCollision, InvalidArgument
from hatchet.core.messages import TriggerItem
from hatchet.core.statuses import RunStatus
from hatchet.store.triggers import sweep_claims

SHAPES = ["plain", "dag"]
"""A task that is a run of its own, and a run of two tasks: each rule holds for both."""


async def keyed(
    one: Instance,
    shape: str,
    name: str = "keyed",
    *,
    method: IdempotencyMethod = IdempotencyMethod.TTL,
    ttl: float = 60.0,
    expression: str = "input.id",
    **options: Any,
) -> Worker:
    """Register a workflow with a key, and a worker for it."""
    idempotency = Idempotency(expression=expression, ttl_ms=int(ttl * 1000), method=method)
    tasks: dict[str, Any] = {"a": options} if shape == "plain" else {"a": options, "b": ("a",)}
    version = await one.define_dag(name, workflow={"idempotency": idempotency}, **tasks)
    assert version.is_plain is (shape == "plain")
    return await one.dag_worker(version)


async def trigger(one: Instance, key: str = "1", name: str = "keyed") -> str:
    return await one.run(name, input=json.dumps({"id": key}))


async def refused(one: Instance, key: str = "1", name: str = "keyed") -> str:
    """Trigger in vain; the run that holds the key."""
    with pytest.raises(IdempotencyCollision, match=r"^idempotency key collision$") as error:
        await trigger(one, key, name)
    [(holder, colliding)] = error.value.collisions
    assert error.value.created == []
    # C-4.44: the second id is that of the run that was not created.
    assert colliding != holder
    assert await one.rows("SELECT 1 FROM task WHERE id = $1 OR run_id = $1", colliding) == []
    return holder


@pytest.mark.parametrize("shape", SHAPES)
async def test_c_4_36_ttl_holds_the_key_until_it_expires(one: Instance, shape: str) -> None:
    worker = await keyed(one, shape, ttl=2.0)
    worker.completes()
    first = await trigger(one)
    await one.ended(first, RunStatus.COMPLETED)
    one.clock.skip(1.5)
    # C-4.47: also when the run has ended.
    assert await refused(one) == first
    one.clock.skip(2.5)
    second = await trigger(one)
    one.clock.skip(3.5)
    third = await trigger(one)
    assert len({first, second, third}) == 3
    assert await refused(one) == third


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("end", ["COMPLETED", "FAILED", "CANCELLED"])
async def test_c_4_37_status_releases_the_key_with_the_end_of_the_run(one: Instance, shape: str, end: str) -> None:
    worker = await keyed(one, shape, method=IdempotencyMethod.STATUS)
    first = await trigger(one)
    assert await refused(one) == first
    a = await worker.task("a", run_id=first)
    assert await refused(one) == first
    if end == "CANCELLED":
        await one.cancel(first)
    elif end == "FAILED":
        await worker.fail(a)
    else:
        await worker.complete(a)
        if shape == "dag":
            b = await worker.task("b", run_id=first)
            # C-4.39: not with the end of its first task.
            assert await refused(one) == first
            await worker.complete(b)
    assert await trigger(one) != first
    await one.ended(first, RunStatus[end])


@pytest.mark.parametrize("shape", SHAPES)
async def test_c_4_37_the_ttl_is_the_fallback_of_status(one: Instance, shape: str) -> None:
    await keyed(one, shape, method=IdempotencyMethod.STATUS, ttl=5.0)
    first = await trigger(one)
    assert await refused(one) == first
    one.clock.skip(5.1)
    assert await refused_after(one, await trigger(one))


async def refused_after(one: Instance, holder: str) -> bool:
    return await refused(one) == holder


@pytest.mark.parametrize("shape", SHAPES)
async def test_c_4_38_retries_and_their_delays_hold_the_key(one: Instance, shape: str) -> None:
    worker = await keyed(
        one, shape, method=IdempotencyMethod.STATUS, ttl=3600.0, retries=3, backoff_factor=2.0, backoff_max_seconds=5
    )
    first = await trigger(one)
    for attempt in range(3):
        await worker.fail(await worker.task("a", attempt))
        assert await refused(one) == first
        await one.pass_time(6, worker)
        await worker.task("a", attempt + 1)
        assert await refused(one) == first
    await worker.fail(await worker.task("a", 3))
    assert await trigger(one) != first


async def test_c_4_37_a_run_that_waits_for_its_conditions_holds_its_key(one: Instance) -> None:
    idempotency = Idempotency(expression="input.id", ttl_ms=3_600_000, method=IdempotencyMethod.STATUS)
    version = await one.define_dag(
        "keyed", a=(), b=waits(on_event("e"), parents=("a",)), workflow={"idempotency": idempotency}
    )
    worker = await one.dag_worker(version, completes=True)
    first = await trigger(one)
    await until(lambda: len(one.scheduler.runs.waits) == 1, "b listens")
    assert await refused(one) == first
    await one.push("e")
    await one.ended(first, RunStatus.COMPLETED)
    assert await trigger(one) != first
    assert len(worker.begun(first)) == 2


async def test_c_4_34_keys_are_the_tenants(one: Instance) -> None:
    await keyed(one, "plain", "one")
    await keyed(one, "dag", "two")
    first = await trigger(one, name="one")
    assert await refused(one, name="two") == first
    second = await trigger(one, key="2", name="two")
    assert await refused(one, key="2", name="one") == second
    # Another tenant has keys of its own.
    definition = WorkflowDefinition(
        name="one",
        tasks=(TaskDefinition(readable_id="a", action="one:a"),),
        idempotency=Idempotency(expression="input.id", ttl_ms=60_000),
    )
    await one.engine.registration.put(OTHER_TENANT, definition)
    item = TriggerItem(workflow_name="one", input='{"id":"1"}')
    [foreign] = await one.engine.trigger.trigger(OTHER_TENANT, [item])
    assert foreign != first


async def test_c_4_43_and_c_4_46_of_a_bulk_the_others_are_created(one: Instance) -> None:
    worker = await keyed(one, "dag")
    await one.define("free")
    held = await trigger(one, "held")
    names = [("keyed", "x"), ("keyed", "x"), ("keyed", "held"), ("free", "x"), ("keyed", "y")]
    items = [TriggerItem(workflow_name=name, input=json.dumps({"id": key})) for name, key in names]
    with pytest.raises(IdempotencyCollision) as error:
        await one.engine.trigger.trigger(TENANT, items)
    x, free, y = error.value.created
    # Within a batch the first with a key wins.
    assert [holder for holder, _ in error.value.collisions] == [x, held]
    worker.completes()
    await one.worker("free", completes=True)
    for run_id in (x, free, y):
        await one.ended(run_id, RunStatus.COMPLETED)
    assert await one.rows("SELECT count(*) AS n FROM run") == [(3,)]


@pytest.mark.parametrize("shape", SHAPES)
async def test_c_4_43_callers_at_the_same_time_create_one_run(world: World, shape: str) -> None:
    one = await world.engine()
    two = await world.engine(owns=False)
    await keyed(one, shape)
    calls = [trigger(instance, key) for instance in (one, two) * 10 for key in ("x", "y")]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    created = [answer for answer in answers if isinstance(answer, str)]
    holders = {error.collisions[0][0] for error in answers if isinstance(error, IdempotencyCollision)}
    assert len(created) == 2
    assert holders == set(created)
    assert len(answers) == 40
    await until(lambda: world_settles(one, created), "both are known to the owner")


async def world_settles(one: Instance, run_ids: list[str]) -> bool:
    return all(one.scheduler.knows(run_id) for run_id in run_ids)


async def test_c_4_33_an_expression_without_a_key_refuses_a_direct_trigger(one: Instance) -> None:
    await keyed(one, "plain")
    await keyed(one, "dag", "reserved", expression="'hatchet_internal_' + input.id")
    await keyed(one, "plain", "meta", expression="additional_metadata.k")
    with pytest.raises(InvalidArgument, match=r"input\.id"):
        await one.run("keyed", input='{"other":1}')
    # C-8.36: an int is no key.
    with pytest.raises(InvalidArgument, match=r"input\.id"):
        await one.run("keyed", input='{"id":1}')
    with pytest.raises(InvalidArgument, match="hatchet_internal_"):
        await trigger(one, name="reserved")
    with pytest.raises(InvalidArgument, match="additional_metadata"):
        await one.run("meta")
    await one.run("meta", additional_metadata='{"k":"v"}')
    # All items are looked at before any run is created.
    items = [TriggerItem(workflow_name="keyed", input=text) for text in ('{"id":"1"}', "{}")]
    with pytest.raises(InvalidArgument):
        await one.engine.trigger.trigger(TENANT, items)
    assert await one.rows("SELECT count(*) AS n FROM task") == [(1,)]
    assert await one.rows("SELECT count(*) AS n FROM idempotency_claim") == [(1,)]


async def test_odd_keys_are_keys(one: Instance) -> None:
    await keyed(one, "plain")
    for key in ("", " ", "\u00e4\U0001f600", "x" * 100_000, "x" * 100_001, "'; DROP TABLE task --"):
        holder = await trigger(one, key)
        assert await refused(one, key) == holder
    with pytest.raises(InvalidArgument, match="null character"):
        await trigger(one, "a\x00b")


@pytest.mark.parametrize("shape", SHAPES)
async def test_c_15_17_a_replay_claims_nothing(one: Instance, shape: str) -> None:
    worker = await keyed(one, shape, method=IdempotencyMethod.STATUS)
    worker.completes()
    first = await trigger(one)
    await one.ended(first, RunStatus.COMPLETED)
    second = await trigger(one)
    await one.ended(second, RunStatus.COMPLETED)
    assert await one.replay(first) == [first]
    await worker.task("a", 1)
    await one.ended(first, RunStatus.COMPLETED)
    assert await trigger(one) not in (first, second)


@pytest.mark.parametrize("shape", SHAPES)
async def test_claims_survive_a_restart_and_hold_at_every_instance(world: World, shape: str) -> None:
    one = await world.engine()
    worker = await keyed(one, shape, method=IdempotencyMethod.STATUS)
    first = await trigger(one)
    a = await worker.task("a")
    await worker.fall_silent()
    await one.stop()
    two = await world.engine()
    assert await refused(two) == first
    await worker.open(two)
    worker.completes()
    await worker.complete(a)
    await two.ended(first, RunStatus.COMPLETED)
    assert await trigger(two) != first


async def test_claims_whose_time_is_over_can_be_swept(one: Instance) -> None:
    await keyed(one, "plain", ttl=10.0)
    await trigger(one, "1")
    one.clock.skip(6)
    second = await trigger(one, "2")
    one.clock.skip(6)
    assert await sweep_claims(one.database, one.clock.now()) == 1
    assert await refused(one, "2") == second
    assert uuid.UUID(await trigger(one, "1"))
