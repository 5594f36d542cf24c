"""Waits of clients that know no durable stream (behaviour-durable D-26), on the same conditions as the others."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from durable_worker import DurableWorker, hears, serving, sleeps, started
from engine_fixture import OTHER_TENANT, Instance, World
from engine_worker import TENANT, until

from hatchet.core.durable_waits import WaitCondition
from hatchet.core.errors import InvalidArgument, NotFound
from hatchet.core.messages import Action
from hatchet.core.statuses import RunStatus
from hatchet.engine import leases

UNKNOWN = "707d0855-80ab-4e1f-a156-f1c4546cbf00"


async def register(one: Instance, action: Action, key: str, *conditions: WaitCondition) -> None:
    await one.engine.durable.register_signal(TENANT, action.task_id, key, conditions)


async def signals(one: Instance, action: Action, *keys: str, tenant: str = TENANT) -> dict[str, Any]:
    """Those of the waits that are over, by key."""
    found = await one.engine.durable.signals(tenant, [(action.task_id, key) for key in keys])
    assert all(task_id == action.task_id for task_id, _, _ in found)
    return {key: orjson.loads(data) for _, key, data in found}


async def signalled(one: Instance, action: Action, key: str) -> Any:
    """Wait until a wait is over; its data."""

    async def find() -> list[Any]:
        return list((await signals(one, action, key)).values())

    return (await until(find, f"{key} is over"))[0]


async def running(one: Instance, **options: Any) -> tuple[DurableWorker, Action]:
    worker = await serving(one, **options)
    return worker, await started(worker)


async def test_d_26_1_sleeps_events_and_groups_are_waited_for(one: Instance) -> None:
    """D-26.2: the data has the shape of every wait's result."""
    _, action = await running(one)
    await register(one, action, "sleep:20ms-1", sleeps("20ms"))
    await register(one, action, "event:go-2", hears("go", when="input.n == 7"))
    await register(one, action, "any-3", hears("other", "g"), sleeps("9h", "g"))
    await register(one, action, "both-4", hears("go", name="a"), hears("more", name="b"))
    assert await signalled(one, action, "sleep:20ms-1") == {"CREATE": {"sleep:20ms": [{"sleep_duration": "20ms"}]}}
    await one.push("go", '{"n":1}')
    await one.push("go", '{"n":7}')
    assert await signalled(one, action, "event:go-2") == {"CREATE": {"go": [{"n": 7}]}}
    await one.push("other", '{"o":1}')
    assert await signalled(one, action, "any-3") == {"CREATE": {"other": [{"o": 1}]}}
    assert "both-4" not in await signals(one, action, "both-4", "any-3")
    await one.push("more", '{"m":1}')
    assert await signalled(one, action, "both-4") == {"CREATE": {"a": [{"n": 1}], "b": [{"m": 1}]}}


async def test_d_26_1_the_same_key_again_changes_nothing(one: Instance) -> None:
    """Neither its conditions nor its deadline, also when a retry registers it."""
    worker, action = await running(one, retries=1)
    await register(one, action, "k", hears("go"))
    await register(one, action, "k", hears("other"))
    await worker.worker.fail(action)
    again = await worker.invocation(action.task_id, 2)
    await register(one, again, "k", hears("go"))
    await one.push("other")
    await one.push("go", '{"n":1}')
    assert await signalled(one, again, "k") == {"CREATE": {"go": [{"n": 1}]}}
    assert (await one.rows("SELECT count(*) AS n FROM durable_entry"))[0]["n"] == 1


async def test_d_26_3_a_pair_is_answered_again_from_storage(one: Instance) -> None:
    """Also after its task has ended."""
    worker, action = await running(one)
    await register(one, action, "k", sleeps("1ms"))
    first = await signalled(one, action, "k")
    assert await signals(one, action, "k", "unknown") == {"k": first}
    assert await signals(one, action, "k", tenant=OTHER_TENANT) == {}
    await worker.worker.complete(action)
    await one.ended(action.task_id, RunStatus.COMPLETED)
    assert await signals(one, action, "k") == {"k": first}
    await one.empty()


async def test_d_26_1_what_cannot_be_waited_for_is_refused(one: Instance) -> None:
    _, action = await running(one)
    for task_id in (UNKNOWN, "x"):
        with pytest.raises(NotFound):
            await one.engine.durable.register_signal(TENANT, task_id, "k", [sleeps("1s")])
    with pytest.raises(NotFound):
        await one.engine.durable.register_signal(OTHER_TENANT, action.task_id, "k", [sleeps("1s")])
    with pytest.raises(InvalidArgument, match="sleep_for"):
        await register(one, action, "k", sleeps("soon"))
    with pytest.raises(InvalidArgument, match="user_event_key"):
        await register(one, action, "k", hears(""))
    assert (await one.rows("SELECT count(*) AS n FROM durable_entry"))[0]["n"] == 0


async def test_d_26_5_signals_are_no_part_of_the_log(one: Instance) -> None:
    """D-25.1: neither of its walk nor of what is shown."""
    worker, action = await running(one)
    await register(one, action, "k", sleeps("9h"))
    assert (await worker.wait(action, sleeps("9h"))).node == 1
    await register(one, action, "l", sleeps("9h"))
    assert (await worker.wait(action, hears("go"))).node == 2
    lines = await one.engine.durable.entries(TENANT, action.task_id, 0, 10)
    assert [(line.branch, line.node) for line in lines] == [(1, 1), (1, 2)]


async def test_d_10_9_signals_look_back_too(one: Instance) -> None:
    _, action = await running(one)
    since = one.clock.now()
    await one.push("go", '{"n":1}', scope="s")
    await one.push("go", '{"n":2}', scope="other")
    await register(one, action, "k", hears("go", scope="s", since=since))
    assert await signalled(one, action, "k") == {"CREATE": {"go": [{"n": 1}]}}


async def test_registered_many_times_at_once_it_is_one_wait(one: Instance) -> None:
    _, action = await running(one)
    await asyncio.gather(*(register(one, action, f"k{number % 3}", hears("go")) for number in range(12)))
    await one.push("go")
    for number in range(3):
        await signalled(one, action, f"k{number}")
    assert (await one.rows("SELECT count(*) AS n FROM durable_entry"))[0]["n"] == 3


async def test_d_26_signals_survive_their_owner(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Registered at an instance that owns nothing, satisfied by the owner that comes after the first one."""
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.5)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.1)
    owner = await world.engine()
    other = await world.engine(owns=False)
    await until(lambda: owner.engine.bus.has_peers and other.engine.bus.has_peers, "they know each other")
    worker = await serving(other)
    action = await started(worker)
    await register(other, action, "a", hears("a"))
    await register(other, action, "b", hears("b"))
    await other.push("a", '{"n":1}')
    assert await signalled(other, action, "a") == {"CREATE": {"a": [{"n": 1}]}}
    await owner.kill()
    await other.push("b", '{"n":2}')
    assert await signalled(other, action, "b") == {"CREATE": {"b": [{"n": 2}]}}
