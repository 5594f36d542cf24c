"""Order, placement and slots with a whole engine (behaviour-core C-11.1 to C-11.8, C-11.25 to C-11.33)."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest
from engine_fixture import OTHER_TENANTS, Instance
from engine_worker import TENANT, Action, until

from hatchet.core.definitions import TaskDefinition, WorkflowDefinition
from hatchet.core.errors import InvalidArgument
from hatchet.core.messages import TriggerItem, WorkerRegistration
from hatchet.core.statuses import RunStatus
from hatchet.engine.memory import PayloadCache


async def finished(one: Instance, *runs: str) -> None:
    ends = one.ends(*runs)
    for run_id in runs:
        await ends.of(run_id)


async def test_c_11_1_and_c_11_4_one_slot_serves_by_priority_then_in_order(one: Instance) -> None:
    await one.define(default_priority=2)
    priorities = [1, 3, None, 1, 2, 3, None, 3, 1, 2]
    runs = [await one.run(priority=priority) for priority in priorities]
    worker = await one.worker(slots=1, is_open=False)
    running = Counter[str]()

    async def answer(action: Action) -> None:
        running["now"] += 1
        assert running["now"] == 1, "two at a time on one slot"
        running["now"] -= 1
        await worker.complete(action)

    worker.answers(answer)
    await worker.open()
    await finished(one, *runs)
    order = [runs.index(action.task_id) for action in worker.starts]
    levels = [2 if priority is None else priority for priority in priorities]
    assert order == sorted(range(len(runs)), key=lambda index: (-levels[index], index))


async def test_c_4_8_a_priority_outside_1_to_3_is_refused(one: Instance) -> None:
    await one.define()
    for priority in (0, 4, -1):
        with pytest.raises(InvalidArgument, match="between 1 and 3"):
            await one.run(priority=priority)


async def test_c_4_7_nothing_is_created_when_one_item_is_wrong(one: Instance) -> None:
    await one.define()
    items = [TriggerItem(workflow_name="flow"), TriggerItem(workflow_name="b"), TriggerItem(workflow_name="a")]
    with pytest.raises(InvalidArgument, match="workflow names not found: a, b"):
        await one.engine.trigger.trigger(TENANT, items)
    assert await one.rows("SELECT count(*) AS n FROM task") == [(0,)]


async def test_c_11_3_a_retry_goes_before_every_priority(one: Instance) -> None:
    await one.define(retries=1)
    worker = await one.worker(slots=1)
    first = await one.run(priority=1)
    action = await worker.started(first)
    others = [await one.run(priority=3) for _ in range(3)]
    worker.completes()
    await worker.fail(action)
    await finished(one, first, *others)
    assert [action.task_id for action in worker.starts] == [first, first, *others]


async def test_c_11_5_a_task_that_no_worker_can_hold_does_not_block_the_others(one: Instance) -> None:
    await one.define(slot_requests={"default": 100})
    await one.worker(slots=2, completes=True)
    large = await one.run_many(100, priority=3)
    # A new version of the same action asks for less.
    await one.define(slot_requests={"default": 1})
    small = await one.run_many(10)
    await finished(one, *small)
    # C-11.29: the large ones wait for their schedule timeout.
    assert {await one.status(run_id) for run_id in large[:3]} == {RunStatus.QUEUED}
    assert len(one.scheduler.queues) == 100


async def test_c_11_5_actions_that_nobody_serves_do_not_block_the_others(one: Instance) -> None:
    for name in ("left", "right"):
        await one.define(name)
    waiting = await one.run_many(50, "left")
    await one.worker("right", completes=True)
    await finished(one, *await one.run_many(50, "right"))
    assert await one.status(waiting[0]) is RunStatus.QUEUED


async def test_c_11_2_two_actions_share_a_worker_with_one_slot(one: Instance) -> None:
    for name in ("left", "right"):
        await one.define(name)
    left, right = await one.run_many(30, "left"), await one.run_many(5, "right")
    worker = await one.worker("left", "right", slots=1, completes=True)
    await finished(one, *right)
    done_before = [action.readable_id for action in worker.starts].count("left")
    assert done_before <= 10
    await finished(one, *left)


async def test_c_11_6_a_task_waits_for_its_first_worker(one: Instance) -> None:
    await one.define()
    run_id = await one.run()
    assert await one.status(run_id) is RunStatus.QUEUED

    async def is_told() -> bool:
        return "REQUEUED_NO_WORKER" in [event.type.value for event in await one.history(run_id)]

    await until(is_told, "the history tells that there is no worker")
    await one.worker(completes=True)
    await one.ended(run_id, RunStatus.COMPLETED)


async def test_c_11_8_equal_workers_share_the_work(one: Instance) -> None:
    await one.define()
    workers = [await one.worker(slots=50) for _ in range(3)]
    for worker in workers:
        worker.completes()
    await finished(one, *await one.run_many(60))
    assert [len(worker.starts) for worker in workers] == [20, 20, 20]


async def test_c_11_26_every_requested_type_must_have_room(one: Instance) -> None:
    await one.define(slot_requests={"default": 2, "gpu": 1})
    poor = await one.worker(slots={"default": 10})
    tight = await one.worker(slots={"default": 5, "gpu": 1})
    runs = await one.run_many(2)
    first = await tight.started(runs[0])
    assert (one.free(tight), one.free(tight, "gpu")) == (3, 0)
    assert poor.actions == []
    await tight.complete(first)
    await tight.started(runs[1])
    assert poor.actions == []


async def test_c_11_27_durable_tasks_take_durable_units_only(one: Instance) -> None:
    await one.define(is_durable=True)
    worker = await one.worker(slots={"default": 1, "durable": 1})
    run_id = await one.run()
    await worker.started(run_id)
    assert (one.free(worker), one.free(worker, "durable")) == (1, 0)


async def test_c_11_28_t_two_large_tasks_on_a_worker_with_room_for_one_and_a_half(one: Instance) -> None:
    await one.define(slot_requests={"default": 3})
    worker = await one.worker(slots=5)
    runs = await one.run_many(2)
    first = await worker.started(runs[0])
    await one.watched()
    assert len(worker.starts) == 1
    await worker.complete(first)
    await worker.started(runs[1])


async def test_c_11_33_a_worker_never_gets_more_than_its_slots(one: Instance) -> None:
    await one.define(retries=1)
    worker = await one.worker(slots=5)
    held: set[tuple[str, int]] = set()
    most = 0

    async def answer(action: Action) -> None:
        nonlocal most
        held.add((action.task_id, action.retry_count))
        most = max(most, len(held))
        await asyncio.sleep(0)
        held.discard((action.task_id, action.retry_count))
        if action.retry_count == 0:
            await worker.fail(action)
        else:
            await worker.complete(action)

    worker.answers(answer)
    await finished(one, *await one.run_many(100))
    assert most <= 5
    assert one.free(worker) == 5


async def test_c_11_1_duplicates_and_bulk_keep_the_callers_order(one: Instance) -> None:
    for name in ("left", "right"):
        await one.define(name)
    names = ["left", "right", "right", "left", "left"]
    items = [TriggerItem(workflow_name=name, input=f"[{index}]") for index, name in enumerate(names)]
    runs = await one.engine.trigger.trigger(TENANT, items)
    details = [await one.details(run_id) for run_id in runs]
    assert [(found.tasks[0].readable_id, found.input) for found in details] == [
        (name, f"[{index}]") for index, name in enumerate(names)
    ]


async def test_inputs_that_are_not_in_memory_are_read_from_the_rows(one: Instance) -> None:
    one.engine.payloads._maximum_size = 500
    await one.define()
    runs = [await one.run(input=f'{{"n":{number}}}') for number in range(20)]
    assert len(one.engine.payloads._by_task) < 5
    worker = await one.worker(slots=50)
    for number, run_id in enumerate(runs):
        assert f'"input":{{"n":{number}}}' in (await worker.started(run_id)).payload
        await worker.complete(await worker.started(run_id))
    assert one.engine.payloads._by_task == {}
    assert one.engine.payloads._size == 0


def test_the_payload_cache_stays_within_its_size() -> None:
    from hatchet.core.payloads import TaskPayload

    payload = TaskPayload("x" * 100, "")
    cache = PayloadCache(3 * payload.size)
    for number in range(5):
        cache.put(str(number), payload)
    assert [cache.take(str(number)) is not None for number in range(5)] == [True, True, True, False, False]
    assert cache.take("0") is None
    cache.put("5", replace(payload))
    assert cache.take("5") == payload


async def test_poison_a_run_that_the_database_refuses_does_not_block_the_others(one: Instance) -> None:
    await one.define()
    await one.rows("ALTER TABLE task ADD CONSTRAINT poison CHECK (input <> '[666]') NOT VALID")
    inputs = [f"[{number}]" for number in range(660, 672)]
    answers = await asyncio.gather(*(one.run(input=text) for text in inputs), return_exceptions=True)
    assert [text for text, answer in zip(inputs, answers, strict=True) if isinstance(answer, Exception)] == ["[666]"]
    await one.worker(slots=50, completes=True)
    await finished(one, *(answer for answer in answers if isinstance(answer, str)))


async def test_the_scheduler_survives_an_error_of_its_own(one: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    from hatchet.engine import assigning

    await one.define()
    failures = iter([RuntimeError("a bug")])
    real = assigning.place

    def place(*args: object) -> object:
        for failure in failures:
            raise failure
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(assigning, "place", place)
    await one.worker(completes=True)
    await one.ended(await one.run(), RunStatus.COMPLETED)


async def test_the_scheduler_survives_a_database_that_is_away_when_it_asks_for_its_lease(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hatchet.core.errors import Unavailable
    from hatchet.engine import assigning

    asked: list[str] = []

    async def away(*_: object) -> bool:
        asked.append("x")
        raise Unavailable("away")

    await one.define()
    refused, fine = await one.run(), await one.run()
    monkeypatch.setattr(assigning, "still_held", away)
    # Somebody else ended the first one, and this instance did not hear of it.
    await one.rows(
        "INSERT INTO task_result (tenant_id, task_id, attempt, outcome, finished_at, app_retries, internal_retries) "
        "VALUES ($1::uuid, $2::uuid, 0, 'CANCELLED', to_timestamp(0), 0, 0)",
        TENANT,
        refused,
    )
    await one.worker(completes=True)
    await one.ended(fine, RunStatus.COMPLETED)
    await until(lambda: asked, "the scheduler asks")
    await one.ended(await one.run(), RunStatus.COMPLETED)
    await until(lambda: not one.scheduler.knows(refused), "the refused task is forgotten")


async def test_many_tenants_share_the_connections_of_an_instance(one: Instance) -> None:
    engine = one.engine
    task = TaskDefinition(readable_id="flow", action="flow:run")
    sent: list[Action] = []

    async def send(action: Action) -> None:
        sent.append(action)

    listening = []
    for tenant_id in (TENANT, *OTHER_TENANTS):
        await until(lambda: engine.owners.get(tenant_id), "the tenant has its scheduler")  # noqa: B023
        await engine.registration.put(tenant_id, WorkflowDefinition(name="flow", tasks=(task,)))
        registration = WorkerRegistration(name="w", actions=("flow:run",), slots={"default": 1})
        worker_id = await engine.workers.register(tenant_id, registration)
        listening.append(asyncio.create_task(engine.dispatch.listen(tenant_id, worker_id, send)))
        await until(lambda: engine.workers.get(worker_id).sessions, "the stream opens")  # type: ignore[union-attr] # noqa: B023
        await engine.trigger.trigger(tenant_id, [TriggerItem(workflow_name="flow")])
        await engine.workers.heartbeat(tenant_id, worker_id)
    await until(lambda: len(sent) == 6, "each tenant's task is sent")
    # The relaxed connections are not used up: heartbeats are still written.
    await asyncio.wait_for(engine.workers.turn(), 10)
    assert {action.tenant_id for action in sent} == {TENANT, *OTHER_TENANTS}
    for task_ in listening:
        task_.cancel()
    await asyncio.gather(*listening, return_exceptions=True)
