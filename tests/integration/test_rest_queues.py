"""Workers, queues and task statistics over HTTP, with a real engine behind the door (behaviour-rest R-12, R-14)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest_asyncio
from durable_worker import DurableWorker, sleeps
from engine_fixture import Instance, World
from engine_worker import TENANT, until
from rest_door import RestDoor

from hatchet.core.held import DuringPause, PauseSettings
from hatchet.core.messages import TriggerItem, WorkerRegistration
from hatchet.core.rules import ConcurrencyRule, Strategy

STATS = f"/tenants/{TENANT}/task-stats"
QUEUES = f"/tenants/{TENANT}/step-run-queue-metrics"
WORKERS = f"/tenants/{TENANT}/worker"


@pytest_asyncio.fixture
async def door(one: Instance) -> AsyncIterator[RestDoor]:
    made = RestDoor(one)
    yield made
    await made.client.aclose()


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def stats(one: Instance, door: RestDoor, **params: Any) -> Any:
    """Counted anew: an answer may be a second old."""
    one.clock.skip(1)
    return await door.get(STATS, **params)


async def test_r_12_5_waiting_attempts_by_queue(one: Instance, door: RestDoor) -> None:
    await one.define("a")
    await one.define("b")
    assert await door.get(QUEUES) == {"queues": {}}
    await one.run_many(3, "a")
    await one.run("b")
    one.clock.skip(1)
    assert await door.get(QUEUES) == {"queues": {"a:run": 3, "b:run": 1}}


async def test_r_12_7_what_waits_and_what_runs_by_task(one: Instance, door: RestDoor) -> None:
    rule = ConcurrencyRule(expression="input.k", max_runs=1, strategy=Strategy.GROUP_ROUND_ROBIN)
    await one.define(concurrency=(rule,), retries=1)
    worker = await one.worker()
    running = await one.run(input='{"k":"x"}')
    await worker.started(running)
    others = [await one.run(input=f'{{"k":"{key}"}}') for key in ("x", "x")]
    found = (await stats(one, door))["flow"]
    by_key = {"expression": "input.k", "type": "GROUP_ROUND_ROBIN"}
    assert found["running"]["total"] == 1
    assert found["running"]["concurrency"] == [{**by_key, "keys": {"x": 1}}]
    assert (found["queued"]["total"], found["queued"]["queues"]) == (2, {"flow:run": 2})
    assert found["queued"]["concurrency"] == [{**by_key, "keys": {"x": 2}}]
    # the queue time of the oldest.
    [row] = await one.rows("SELECT extract(epoch FROM inserted_at)::float8 AS at FROM task WHERE id = $1", others[0])
    assert abs(seconds(found["queued"]["oldest"]) - row["at"]) < 0.001
    assert found["queued"]["oldestExcludingRetries"] == found["queued"]["oldest"]


async def test_r_12_9_retries_count_but_are_not_the_oldest_of_the_others(one: Instance, door: RestDoor) -> None:
    await one.define(retries=3)
    worker = await one.worker(slots=1)
    first = await one.run()
    action = await worker.started(first)
    await worker.close_stream()
    await worker.fail(action)
    await until(lambda: one.scheduler.waiting(first), "the retry waits")
    found = (await stats(one, door))["flow"]["queued"]
    assert found["total"] == 1
    assert "oldest" in found
    assert "oldestExcludingRetries" not in found


async def test_r_12_8_a_task_that_is_named_is_there_with_zeros(one: Instance, door: RestDoor) -> None:
    await one.define("busy")
    await one.run("busy")
    idle = {"total": 0, "queues": {}, "concurrency": []}
    found = await stats(one, door, taskNames=["busy,idle", "nobody"])
    assert list(found) == ["busy", "idle", "nobody"]
    assert found["busy"]["queued"]["total"] == 1
    assert found["idle"] == found["nobody"] == {"queued": idle, "running": idle}
    assert list(await stats(one, door)) == ["busy"]


async def test_r_12_7_whatever_it_waits_for_counts(one: Instance, door: RestDoor) -> None:
    """The end of a pause, a retry delay, a worker."""
    version = await one.define("paused")
    await one.define("delayed", retries=1, backoff_factor=60.0, backoff_max_seconds=3600)
    settings = PauseSettings(queue_ttl="1h", crons=DuringPause.QUEUE, scheduled=DuringPause.QUEUE)
    await one.engine.pausing.pause(TENANT, version.workflow_id, settings)
    worker = await one.worker("delayed")
    delayed, _ = await one.run("delayed"), await one.run("paused")
    await worker.fail(await worker.started(delayed))
    await until(lambda: delayed in one.scheduler.backoff, "it waits for its delay")
    found = await stats(one, door)
    assert {name: one["queued"]["total"] for name, one in found.items()} == {"paused": 1, "delayed": 1}


async def test_r_12_7_another_instance_asks_the_owner(world: World) -> None:
    """Also when the answer is larger than a message."""
    first = await world.engine()
    second = await world.engine(owns=False)
    names = [f"workflow-with-a-long-and-random-name-{number * 7919:x}" for number in range(400)]
    for name in names:
        await first.define(name)
    await first.engine.trigger.trigger(TENANT, [TriggerItem(workflow_name=name) for name in names])
    worker = await first.worker(names[0], slots=5)
    await until(lambda: worker.starts, "one runs")
    await until(lambda: second.engine.bus.has_peers, "the instances know each other")
    door = RestDoor(second)
    found = await door.get(STATS)
    assert {name: (one["queued"]["total"], one["running"]["total"]) for name, one in found.items()} == {
        **dict.fromkeys(names, (1, 0)),
        names[0]: (0, 1),
    }
    [row] = (await door.get(WORKERS))["rows"]
    assert row["slotConfig"] == {"default": {"available": 4, "limit": 5}}
    await door.client.aclose()


async def test_r_12_7_without_an_owner_the_caller_is_told_to_ask_again(world: World) -> None:
    lonely = await world.engine()
    version = await lonely.define()
    assert version
    del lonely.engine.owners._by_tenant[TENANT]
    door = RestDoor(lonely)
    assert "ask again" in await door.refusal("GET", STATS, 503)
    await door.client.aclose()


async def test_r_14_5_free_units_of_a_worker(one: Instance, door: RestDoor) -> None:
    version = await one.define()
    worker = await one.worker(slots={"default": 3, "durable": 2})
    run_id = await one.run()
    action = await worker.started(run_id)
    [row] = (await door.get(WORKERS))["rows"]
    assert row["slotConfig"] == {
        "default": {"available": 2, "limit": 3},
        "durable": {"available": 2, "limit": 2},
    }
    assert (row["status"], row["evictedDurableTaskCount"]) == ("ACTIVE", 0)
    alone = await door.get(f"/workers/{worker.id}")
    assert alone["slotConfig"] == row["slotConfig"]
    #
    assert alone["registeredWorkflows"] == [{"id": version.workflow_id, "name": "flow"}]
    assert alone["recentStepRuns"] == []
    await worker.complete(action)

    async def free() -> bool:
        return bool((await door.get(f"/workers/{worker.id}"))["slotConfig"]["default"]["available"] == 3)

    await until(free, "the slot is free")


async def test_d_24_7_how_many_tasks_were_evicted_from_a_worker(one: Instance, door: RestDoor) -> None:
    await one.define(is_durable=True)
    worker = await one.worker(slots={"durable": 5})
    run_ids = await one.run_many(3)
    for run_id in run_ids[:2]:
        action = await worker.started(run_id)
        durable = await DurableWorker(worker).open()
        await durable.wait(action, sleeps("24h"))
        await durable.close()
        flight = one.engine.flights.get(run_id)
        assert flight is not None
        await one.engine.evicting.evict(TENANT, flight, None)
    await until(lambda: sum(task.is_evicted for task in one.scheduler.backoff) == 2, "they are evicted")
    found = await door.get(f"/workers/{worker.id}")
    assert found["evictedDurableTaskCount"] == 2
    task = await door.get(f"/stable/tasks/{run_ids[0]}")
    #
    assert (task["status"], task["isEvicted"], task["isDurable"]) == ("RUNNING", True, True)
    assert await door.get(f"/stable/workflow-runs/{run_ids[0]}/status") == "RUNNING"
    assert (await stats(one, door))["flow"]["queued"]["total"] == 0


async def test_r_14_1_workers_by_status_and_labels(one: Instance, door: RestDoor) -> None:
    workers: dict[str, dict[str, str | int]] = {"first": {"zone": "eu", "size": 3}, "second": {"zone": "us"}}
    ids: list[str] = []
    for name, labels in workers.items():
        registration = WorkerRegistration(name=name, actions=("flow:run",), slots={"default": 1}, labels=labels)
        ids.append(await one.engine.workers.register(TENANT, registration))

    async def names(**params: Any) -> list[str]:
        return [row["name"] for row in (await door.get(WORKERS, **params))["rows"]]

    assert await names() == ["first", "second"]
    assert await names(labels="zone:eu") == await names(labels=["zone:eu", "size:3"]) == ["first"]
    await door.call("PATCH", f"/workers/{ids[0]}", body={"isPaused": True})
    assert await names(statuses="PAUSED") == ["first"]
    assert await names(statuses=["PAUSED", "ACTIVE"]) == ["first", "second"]
    # no heartbeat for more than 5 s.
    one.clock.skip(60)
    assert await names(statuses="INACTIVE") == ["first", "second"]
    for bad in ("zone", "a:b:c", ":x"):
        assert "key:value" in await door.refusal("GET", WORKERS, 400, labels=bad)
