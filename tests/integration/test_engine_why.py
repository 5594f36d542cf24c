"""Why does it wait? Each gate with a whole engine, and from another instance."""

from __future__ import annotations

import orjson
import pytest
from engine_fixture import Instance, World, on_event, sleep, waits
from engine_worker import TENANT

from hatchet.core.errors import NotFound
from hatchet.core.held import PauseSettings
from hatchet.core.labels import DesiredLabel
from hatchet.core.reasons import Cause, Reason
from hatchet.core.rules import BatchRule, ConcurrencyRule, RateLimitRule, Strategy, Window


async def reasons(one: Instance, run_id: str) -> list[Reason]:
    await one.watched()
    return [reason for wait in await one.engine.why.explain(TENANT, run_id) for reason in wait.reasons]


async def reason(one: Instance, run_id: str) -> Reason:
    [found] = await reasons(one, run_id)
    return found


def rule(most: int = 1) -> ConcurrencyRule:
    return ConcurrencyRule(expression="input.k", max_runs=most, strategy=Strategy.GROUP_ROUND_ROBIN)


async def run(one: Instance, name: str = "flow", **values: object) -> str:
    return await one.run(name, input=orjson.dumps(values).decode())


async def test_no_worker_has_the_action(one: Instance) -> None:
    await one.define()
    found = await reason(one, await run(one))
    assert found.cause is Cause.NO_WORKER
    assert "flow:run" in found.text


async def test_no_free_slot_and_more_than_any_worker_has(one: Instance) -> None:
    await one.define()
    await one.define("large", slot_requests={"default": 50})
    worker = await one.worker("flow", "large", slots=1)
    first, second, large = await run(one), await run(one), await run(one, "large")
    await worker.started(first)
    assert (await reason(one, second)).cause is Cause.NO_SLOT
    assert (await reason(one, large)).cause is Cause.TOO_LARGE
    assert await reasons(one, first) == []


async def test_labels_and_workers_that_are_not_ready(one: Instance) -> None:
    await one.define(worker_labels=(DesiredLabel(key="gpu", value="h100", required=True),))
    await one.define("other")
    worker = await one.worker("flow", "other")
    found = await reason(one, await run(one))
    assert (found.cause, "gpu" in found.text) == (Cause.LABELS, True)
    await worker.close_stream()
    assert (await reason(one, await run(one, "other"))).cause is Cause.WORKER_NOT_READY


async def test_a_key_limit_names_who_holds_the_places(one: Instance) -> None:
    await one.define(concurrency=(rule(),))
    worker = await one.worker()
    first, second = await run(one, k="a"), await run(one, k="a")
    await worker.started(first)
    found = await reason(one, second)
    assert (found.cause, found.key, found.ids) == (Cause.KEY_LIMIT, "a", (first,))


async def test_a_limit_of_the_workflow_names_the_runs(one: Instance) -> None:
    version = await one.define_dag("dag", a=(), b=(), workflow={"concurrency": (rule(),)})
    worker = await one.dag_worker(version)
    first, second = await run(one, "dag", k="a"), await run(one, "dag", k="a")
    await worker.started((await one.task_ids(first))["a"])
    found = await reasons(one, second)
    assert [(one.cause, one.ids) for one in found] == [(Cause.RUN_LIMIT, (first,))] * 2


async def test_a_rate_limit_says_until_when(one: Instance) -> None:
    await one.define(rate_limits=(RateLimitRule(key="api"),))
    await one.engine.rate_limits.put(TENANT, "api", 1, Window.HOUR)
    worker = await one.worker()
    first, second = await run(one), await run(one)
    await worker.started(first)
    found = await reason(one, second)
    assert (found.cause, found.key) == (Cause.RATE_LIMIT, "api")
    assert found.until is not None
    assert 3500 < found.until - one.clock.now() <= 3600


async def test_pause_retry_delay_and_batch(one: Instance) -> None:
    version = await one.define(retries=1, backoff_factor=50.0)
    batch = BatchRule(max_size=3, interval_ms=3_600_000)
    await one.define("batch", batch=batch)
    worker = await one.worker("flow", "batch")
    failed = await run(one)
    await worker.fail(await worker.started(failed))
    found = await reason(one, failed)
    assert (found.cause, found.until is not None) == (Cause.RETRY_DELAY, True)
    found = await reason(one, await run(one, "batch"))
    assert found.cause is Cause.BATCH
    assert "1 of 3" in found.text
    await one.engine.pausing.pause(TENANT, version.workflow_id, PauseSettings(queue_ttl="1h"))
    assert (await reason(one, await run(one))).cause is Cause.PAUSED


async def test_parents_sleeps_and_events(one: Instance) -> None:
    version = await one.define_dag(
        "dag", a=(), b=waits(sleep("1h"), parents=["a"]), c=waits(on_event("paid"), parents=["a"])
    )
    worker = await one.dag_worker(version)
    run_id = await run(one, "dag")
    a = await worker.started((await one.task_ids(run_id))["a"])
    assert [found.cause for found in await reasons(one, run_id)] == [Cause.PARENTS] * 2
    await worker.complete(a)
    asleep, event = await reasons(one, run_id)
    assert (asleep.cause, asleep.until is not None) == (Cause.SLEEP, True)
    assert (event.cause, event.key) == (Cause.EVENT, "paid")


async def test_another_instance_asks_the_owner(world: World) -> None:
    one = await world.engine()
    two = await world.engine(owns=False)
    await one.define(concurrency=(rule(),))
    worker = await one.worker()
    first, second = await run(one, k="a"), await run(one, k="a")
    await worker.started(first)
    [wait] = await two.engine.why.explain(TENANT, second)
    assert [(found.cause, found.ids) for found in wait.reasons] == [(Cause.KEY_LIMIT, (first,))]
    with pytest.raises(NotFound):
        await two.engine.why.explain(TENANT, "0192f5a5-0000-7000-8000-000000000000")
