"""Events that durable tasks wait for (behaviour-durable D-10, D-27.12, D-27.13)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import replace

import pytest
from durable_worker import DurableWorker, hears, retried, serving, sleeps, started
from engine_fixture import OTHER_TENANT, Instance
from engine_worker import TENANT, until

from hatchet.core.durable_messages import EntryRef, WaitAck, WaitRequest
from hatchet.core.event_push import NewEvent
from hatchet.core.messages import Action
from hatchet.engine import durable_writes
from hatchet.store.durable import NewEntry, Place, append_entries
from hatchet.store.pool import Queries


async def waiter(one: Instance, worker: DurableWorker, *ignored: str, **wanted: object) -> tuple[Action, EntryRef]:
    """A task that waits for the event ``go`` with these options."""
    action = await started(worker)
    return action, await worker.wait(action, hears("go", **wanted))  # type: ignore[arg-type]


# Matching -------------------------------------------------------------------------------------------------------------


async def test_d_10_1_the_whole_key_and_the_tenant_are_compared(one: Instance) -> None:
    """D-10.8: the payload comes back unwrapped."""
    worker = await serving(one)
    _, ref = await waiter(one, worker)
    for key in ("Go", "go ", "go:x", "g", "gone"):
        await one.push(key, '{"wrong": true}')
    await one.engine.events.push(OTHER_TENANT, [NewEvent(key="go", payload='{"wrong": true}')])
    await one.push("go", '{"deep": {"list": [1, null, "ü"]}, "n": 1.5}')
    assert await worker.result(ref) == {"CREATE": {"go": [{"deep": {"list": [1, None, "ü"]}, "n": 1.5}]}}


@pytest.mark.parametrize(
    ("when", "payload", "is_met"),
    [
        ("", "{}", True),
        ("true", "{}", True),
        ("false", "{}", False),
        ("input.n == 1", '{"n": 1}', True),
        ("input.n == 1", '{"n": 2}', False),
        ('input.name.startsWith("a") && input.n > 0', '{"name": "ab", "n": 1}', True),
        # D-10.3: what cannot be evaluated is not met, and the wait goes on.
        ("input.n == 1", "{}", False),
        ("input.n > 1", '{"n": "text"}', False),
        ("input.n", '{"n": 1}', False),
        ("no such(", '{"n": 1}', False),
        ("nobody.n == 1", '{"n": 1}', False),
    ],
)
async def test_d_10_2_the_expression_decides(one: Instance, when: str, payload: str, is_met: bool) -> None:
    """D-10.3."""
    worker = await serving(one)
    action, ref = await waiter(one, worker, when=when)
    # Heard with the same event: what it hears tells that the event was looked at.
    control = await worker.wait(action, hears("go"))
    await one.push("go", payload)
    await worker.completed(control)
    assert ({each.ref for each in worker.completions} == {ref, control}) is is_met
    assert len(one.scheduler.durable) == (0 if is_met else 1)


async def test_d_10_3_an_expression_that_failed_may_be_met_by_a_later_event(one: Instance) -> None:
    worker = await serving(one)
    _, ref = await waiter(one, worker, when="input.n == 1")
    await one.push("go", '{"m": 1}')
    await one.push("go", '{"n": 1}')
    assert await worker.result(ref) == {"CREATE": {"go": [{"n": 1}]}}


async def test_d_10_4_a_scope_takes_only_events_of_that_scope(one: Instance) -> None:
    """D-27.13; a wait without scope takes any."""
    worker = await serving(one)
    action, scoped = await waiter(one, worker, scope="a")
    first = await worker.wait(action, hears("go"))
    await one.push("go", '{"n": 1}', scope="b")
    assert await worker.result(first) == {"CREATE": {"go": [{"n": 1}]}}
    second = await worker.wait(action, hears("go"))
    await one.push("go", '{"n": 2}')
    assert await worker.result(second) == {"CREATE": {"go": [{"n": 2}]}}
    await one.push("go", '{"n": 3}', scope="A")
    await one.push("go", '{"n": 4}', scope="a")
    assert await worker.result(scoped) == {"CREATE": {"go": [{"n": 4}]}}


async def test_d_10_5_one_event_wakes_many_waits(one: Instance) -> None:
    """Of one task and of others, on workers and evicted, and starts a run besides."""
    from hatchet.core.definitions import TaskDefinition, WorkflowDefinition

    task = TaskDefinition(readable_id="heard", action="heard:run")
    await one.engine.registration.put(TENANT, WorkflowDefinition(name="heard", tasks=(task,), event_triggers=("go",)))
    triggered = await one.worker("heard", completes=True)
    worker = await serving(one)
    waits = [await waiter(one, worker) for _ in range(5)]
    refs = [ref for _, ref in waits] + [await worker.wait(waits[0][0], hears("go"))]
    evicted, _ = await waiter(one, worker)
    await worker.evict(evicted)
    await one.push("go", '{"n": 1}')
    for ref in refs:
        assert await worker.result(ref) == {"CREATE": {"go": [{"n": 1}]}}
    again = await worker.invocation(evicted.task_id, 2)
    assert await worker.result(await worker.wait(again, hears("go"))) == {"CREATE": {"go": [{"n": 1}]}}
    await until(lambda: len(triggered.starts) == 1, "the triggered run starts")


async def test_d_10_6_earlier_events_do_not_count(one: Instance) -> None:
    worker = await serving(one)
    await one.push("go", '{"n": 1}')
    _, ref = await waiter(one, worker)
    await one.push("go", '{"n": 2}')
    assert await worker.result(ref) == {"CREATE": {"go": [{"n": 2}]}}


async def test_d_10_7_an_event_between_registration_and_acknowledgement_counts(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write of the entry takes its time, and the event is pushed before it, or before its answer."""
    worker = await serving(one)
    before, after = await started(worker), await started(worker)
    asked, goes_on = asyncio.Event(), asyncio.Event()

    async def slowly(queries: Queries, rows: Sequence[NewEntry]) -> set[Place]:
        is_before = rows[0].of.task_id == before.task_id
        written = set() if is_before else await append_entries(queries, rows)
        asked.set()
        await goes_on.wait()
        return await append_entries(queries, rows) if is_before else written

    monkeypatch.setattr(durable_writes, "append_entries", slowly)
    for action in (before, after):
        asked.clear()
        goes_on.clear()
        worker.say(WaitRequest(action.task_id, 1, (hears(action.task_id),)))
        await asyncio.wait_for(asked.wait(), 30)
        await one.push(action.task_id, '{"n": 1}')
        assert not any(isinstance(each, WaitAck) and each.ref.task_id == action.task_id for each in worker.heard)
        goes_on.set()
        ref = EntryRef(action.task_id, 1, 1, 1)
        assert await worker.result(ref) == {"CREATE": {action.task_id: [{"n": 1}]}}
        about = [type(each).__name__ for each in worker.heard if getattr(each, "ref", None) == ref]
        assert about == ["WaitAck", "EntryCompleted"]


# Looking back ---------------------------------------------------------------------------------------------------------


async def test_d_10_9_the_newest_earlier_event_of_the_scope_counts(one: Instance) -> None:
    """D-10.11: right behind the acknowledgement."""
    worker = await serving(one)
    since = one.clock.now()
    for number, scope in ((1, "a"), (2, "a"), (3, "b"), (4, None)):
        await one.push("go", f'{{"n": {number}}}', scope=scope)
    await one.push("stay", '{"n": 5}', scope="a")
    _, ref = await waiter(one, worker, scope="a", since=since)
    assert await worker.result(ref) == {"CREATE": {"go": [{"n": 2}]}}


async def test_d_10_9_the_expression_holds_for_earlier_events_too(one: Instance) -> None:
    """D-10.3: those for which it fails are passed over."""
    worker = await serving(one)
    since = one.clock.now()
    for payload in ('{"n": 1, "who": "x"}', '{"n": 2}', '{"n": "text"}', "{}"):
        await one.push("go", payload, scope="a")
    _, ref = await waiter(one, worker, scope="a", since=since, when='input.n == 1 && input.who == "x"')
    assert await worker.result(ref) == {"CREATE": {"go": [{"n": 1, "who": "x"}]}}


async def test_d_10_9_what_is_older_than_the_window_does_not_count(one: Instance) -> None:
    worker = await serving(one)
    await one.push("go", '{"n": 1}', scope="a")
    await one.pass_time(20, worker.worker)
    since = one.clock.now()
    await one.pass_time(20, worker.worker)
    _, ref = await waiter(one, worker, scope="a", since=since)
    # A second wait that finds something tells that the first one has looked, too.
    _, control = await waiter(one, worker, scope="a", since=since - 30)
    await worker.completed(control)
    assert [each.ref for each in worker.completions] == [control]
    await one.push("go", '{"n": 2}', scope="a")
    assert await worker.result(ref) == {"CREATE": {"go": [{"n": 2}]}}


@pytest.mark.parametrize("wanted", [{"scope": "a"}, {"since": 1.0}, {}])
async def test_d_10_9_only_scope_and_window_together_look_back(one: Instance, wanted: dict[str, object]) -> None:
    """D-10.6, D-10.13."""
    worker = await serving(one)
    await one.push("go", '{"n": 1}', scope="a")
    _, ref = await waiter(one, worker, **wanted)
    await one.push("go", '{"n": 2}', scope="a")
    assert await worker.result(ref) == {"CREATE": {"go": [{"n": 2}]}}


async def test_d_10_9_a_replay_looks_again(one: Instance) -> None:
    """D-8.3, D-10.14: with the window as it was registered, whatever is asked for now."""
    worker = await serving(one, retries=1)
    action = await started(worker)
    since = one.clock.now()
    [first] = (hears("go", scope="a", since=since),)
    ref = await worker.wait(action, first)
    [waiting] = one.scheduler.durable
    # The event is in the rows, and the owner did not hear of it.
    one.scheduler.durable._by_event.clear()
    await one.push("go", '{"n": 1}', scope="a")
    one.scheduler.durable._by_event["go"] = {waiting: None}
    again = await retried(worker, action)
    assert worker.completions == []
    ref = await worker.wait(again, replace(first, since=since + 1000))
    assert await worker.result(ref) == {"CREATE": {"go": [{"n": 1}]}}


async def test_d_10_10_what_was_found_looking_back_wakes_nobody_else(one: Instance) -> None:
    """D-27.13."""
    worker = await serving(one)
    since = one.clock.now()
    await one.push("go", '{"n": 1}', scope="a")
    _, live = await waiter(one, worker, scope="a")
    _, unscoped = await waiter(one, worker)
    _, ref = await waiter(one, worker, scope="a", since=since)
    await worker.completed(ref)
    _, other = await waiter(one, worker, scope="b", since=since)
    await one.push("go", '{"n": 2}', scope="a")
    for each in (live, unscoped):
        assert await worker.result(each) == {"CREATE": {"go": [{"n": 2}]}}
    assert other not in [each.ref for each in worker.completions]


async def test_d_10_12_looking_back_for_a_member_of_a_group(one: Instance) -> None:
    """D-27.12: the other members are discarded."""
    worker = await serving(one)
    action = await started(worker)
    since = one.clock.now()
    await one.push("go", '{"n": 1}', scope="a")
    group = str(uuid.uuid4())
    ref = await worker.wait(action, sleeps("10m", group), hears("go", group, scope="a", since=since))
    assert await worker.result(ref) == {"CREATE": {"go": [{"n": 1}]}}
    await one.pass_time(660, worker.worker)
    assert len(worker.completions) == 1


async def test_d_10_12_looking_back_for_one_of_several_groups(one: Instance) -> None:
    """D-8.5: the wait goes on for the others, and remembers what it has found."""
    worker = await serving(one, retries=1)
    action = await started(worker)
    since = one.clock.now()
    await one.push("go", '{"n": 1}', scope="a")
    conditions = (hears("go", scope="a", since=since), hears("then"))
    await worker.wait(action, *conditions)
    await until(lambda: one.rows("SELECT FROM durable_match"), "the event is found")
    again = await retried(worker, action)
    # Newer, but the condition was met before.
    await one.push("go", '{"n": 2}', scope="a")
    ref = await worker.wait(again, *conditions)
    await one.push("then")
    assert await worker.result(ref) == {"CREATE": {"go": [{"n": 1}], "then": [{}]}}


async def test_d_27_12_of_two_waits_the_second_event_may_come_first(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    since = one.clock.now()
    first = await worker.wait(action, hears("one", scope="a", since=since))
    await one.push("two", '{"n": 2}', scope="a")
    await one.push("one", '{"n": 1}', scope="a")
    assert await worker.result(first) == {"CREATE": {"one": [{"n": 1}]}}
    second = await worker.wait(action, hears("two", scope="a", since=since))
    assert await worker.result(second) == {"CREATE": {"two": [{"n": 2}]}}
