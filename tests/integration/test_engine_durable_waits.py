"""Waits of durable tasks and their sleeps (behaviour-durable D-8, D-9, D-11)."""

from __future__ import annotations

import uuid

import pytest
from durable_worker import DurableWorker, hears, retried, serving, sleeps, started
from engine_fixture import Instance, World
from engine_worker import until

from hatchet.core.durable_messages import Refused, WaitAck, WaitRequest
from hatchet.core.durable_waits import WaitCondition
from hatchet.core.messages import Action, ReportKind
from hatchet.core.statuses import RunStatus
from hatchet.engine import leases

MINUTES = 60.0


def group() -> str:
    return str(uuid.uuid4())


async def deadline_free(one: Instance, worker: DurableWorker, minutes: float) -> None:
    """That many minutes pass."""
    await one.pass_time(minutes * MINUTES, worker.worker)


async def waited(one: Instance) -> int:
    """How many waits are in the rows."""
    return len(await one.rows("SELECT FROM durable_entry WHERE kind = 'WAIT_FOR'"))


async def results(one: Instance) -> int:
    """How many entries have a result."""
    return len(await one.rows("SELECT FROM durable_result"))


# Registration and replay ----------------------------------------------------------------------------------------------


async def test_d_8_2_a_replay_answers_from_the_log_and_starts_nothing(one: Instance) -> None:
    worker = await serving(one, retries=1)
    action = await started(worker)
    ref = await worker.wait(action, sleeps("10m"))
    await deadline_free(one, worker, 11)
    first = await worker.completed(ref)
    again = await retried(worker, action)
    del worker.heard[:]
    ref = await worker.wait(again, sleeps("10m"))
    assert (ref.branch, ref.node, ref.invocation) == (1, 1, 2)
    second = await worker.completed(ref)
    assert (second.payload, second.order) == (first.payload, first.order)
    assert worker.heard == [WaitAck(ref), second]
    assert len(one.scheduler.durable) == 0
    assert await waited(one) == 1


async def test_d_8_3_a_wait_that_goes_on_keeps_its_deadline_and_its_subscription(one: Instance) -> None:
    """D-9.3: a retry restarts no sleep."""
    worker = await serving(one, retries=1)
    action = await started(worker)
    await worker.wait(action, sleeps("10m"))
    await worker.wait(action, hears("go"))
    await deadline_free(one, worker, 8)
    again = await retried(worker, action)
    slept, heard = await worker.wait(again, sleeps("10m")), await worker.wait(again, hears("go"))
    assert len(one.scheduler.durable) == await waited(one) == 2
    await one.push("go", '{"n": 1}')
    assert await worker.result(heard) == {"CREATE": {"go": [{"n": 1}]}}
    assert [each.ref.node for each in worker.completions] == [2]
    await deadline_free(one, worker, 2.5)
    await worker.completed(slept)
    assert len([each for each in worker.completions if each.ref == heard]) == 1


async def test_d_8_4_another_wait_at_the_same_place_is_refused_and_changes_nothing(one: Instance) -> None:
    """D-14.7, D-14.12: what is asked next is compared with the same node."""
    worker = await serving(one, retries=1)
    action = await started(worker)
    await worker.wait(action, hears("go"))
    again = await retried(worker, action)
    for other in (hears("stay"), hears("go", when="true"), hears("go", name="else"), sleeps("1s")):
        refused = await worker.ask(WaitRequest(action.task_id, 2, (other,)), Refused)
        assert refused.is_non_determinism
        assert (refused.ref.branch, refused.ref.node, refused.ref.invocation) == (1, 1, 2)
    assert await waited(one) == len(one.scheduler.durable) == 1
    assert await worker.wait(again, hears("go")) == (refused.ref)


async def test_d_8_5_groups_are_and_ed_and_their_members_are_alternatives(one: Instance) -> None:
    """D-11.2, D-11.3, D-11.6: the payload has the winner of each group."""
    worker = await serving(one)
    action = await started(worker)
    first, second = group(), group()
    ref = await worker.wait(action, hears("a", first), sleeps("10m", first), hears("b", second), sleeps("20m", second))
    await one.push("b", '{"n": 2}')
    await deadline_free(one, worker, 5)
    assert worker.completions == []
    await deadline_free(one, worker, 6)
    assert await worker.result(ref) == {"CREATE": {"sleep:10m": [{"sleep_duration": "10m"}], "b": [{"n": 2}]}}
    both = await worker.wait(action, hears("a"), hears("b"))
    await one.push("a", '{"n": 3}')
    await one.push("b", '{"n": 4}')
    assert await worker.result(both) == {"CREATE": {"a": [{"n": 3}], "b": [{"n": 4}]}}


async def test_d_8_6_a_wait_for_nothing_ends_with_its_task(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    await worker.wait(action)
    await deadline_free(one, worker, 60)
    assert worker.completions == []
    assert await results(one) == 0
    await one.cancel(action.task_id)
    await one.ended(action.task_id, RunStatus.CANCELLED)
    assert len(one.scheduler.durable) == 0


async def test_d_8_7_an_event_is_not_remembered_for_the_next_wait(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    first = await worker.wait(action, hears("go"))
    await one.push("go", '{"n": 1}')
    await worker.completed(first)
    second = await worker.wait(action, hears("go"))
    await one.push("go", '{"n": 2}')
    assert await worker.result(second) == {"CREATE": {"go": [{"n": 2}]}}


@pytest.mark.parametrize("how", ["evicted", "waiting for its retry", "reassigned"])
async def test_d_8_8_a_wait_goes_on_while_its_task_is_on_no_worker(one: Instance, how: str) -> None:
    worker = await serving(one, retries=1, backoff_factor=120.0, backoff_max_seconds=120)
    action = await started(worker)
    await worker.wait(action, hears("go"))
    await worker.wait(action, hears("never"))
    serves = worker
    if how == "evicted":
        await worker.evict(action)
    elif how == "waiting for its retry":
        await worker.worker.fail(action)
    else:
        await one.lose(worker.worker)
    await one.push("go", '{"n": 1}')
    await until(lambda: results(one), "the wait is over")
    if how == "reassigned":
        serves = await serving(one, retries=1)
    elif how == "waiting for its retry":
        await deadline_free(one, worker, 5)
    again = await serves.invocation(action.task_id, 2)
    ref = await serves.wait(again, hears("go"))
    await serves.wait(again, hears("never"))
    assert await serves.result(ref) == {"CREATE": {"go": [{"n": 1}]}}


@pytest.mark.parametrize("status", [RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED])
async def test_d_8_10_a_replay_takes_open_waits_up_as_they_were(one: Instance, status: RunStatus) -> None:
    """D-8.9, D-9.7, D-21.4: the partial results of groups stay, and so do the deadlines; one that passed is over."""
    worker = await serving(one)
    action = await started(worker)
    await worker.wait(action, hears("a"), hears("b"))
    await worker.wait(action, sleeps("10m"))
    await worker.wait(action, sleeps("20m"))
    await one.push("a", '{"n": 1}')
    await until(lambda: one.rows("SELECT FROM durable_match"), "the event is noted")
    if status is RunStatus.COMPLETED:
        await worker.worker.complete(action)
    elif status is RunStatus.FAILED:
        await worker.worker.fail(action)
    else:
        await one.cancel(action.task_id)
    await one.ended(action.task_id, status)
    await until(lambda: len(one.scheduler.durable) == 0, "nothing waits")
    await deadline_free(one, worker, 11)
    assert await results(one) == 0
    await one.replay(action.task_id)
    again = await worker.invocation(action.task_id, 2)
    refs = [
        await worker.wait(again, hears("a"), hears("b")),
        await worker.wait(again, sleeps("10m")),
        await worker.wait(again, sleeps("20m")),
    ]
    await worker.completed(refs[1])
    await one.push("b", '{"n": 2}')
    assert await worker.result(refs[0]) == {"CREATE": {"a": [{"n": 1}], "b": [{"n": 2}]}}
    await deadline_free(one, worker, 10)
    await worker.completed(refs[2])


# Sleeps ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("600s", 600), ("10m", 600), ("1h30m", 5400), ("1.5h", 5400), ("600000ms", 600), ("0.5m", 30), ("1m0.5s", 60.5)],
)
async def test_d_9_1_durations_that_clients_send(one: Instance, text: str, seconds: float) -> None:
    """D-9.2; D-9.6: the text comes back as it was sent."""
    worker = await serving(one)
    action = await started(worker)
    ref = await worker.wait(action, sleeps(text, name="nap"))
    await one.pass_time(seconds - 5, worker.worker)
    await one.watched()
    assert worker.completions == []
    await one.pass_time(6, worker.worker)
    assert await worker.result(ref) == {"CREATE": {"nap": [{"sleep_duration": text}]}}


@pytest.mark.parametrize(("text", "days"), [("2d", 2), ("1w", 7), ("1y", 365)])
async def test_d_9_1_days_weeks_and_years(one: Instance, text: str, days: int) -> None:
    worker = await serving(one)
    action = await started(worker)
    await worker.wait(action, sleeps(text))
    [waiting] = one.scheduler.durable
    [(at, _, _)] = one.scheduler.durable._due
    assert at - waiting.created_at == pytest.approx(days * 86_400)


@pytest.mark.parametrize("text", ["0s", "0h", "-5s"])
async def test_d_9_5_no_sleep_is_over_at_once(one: Instance, text: str) -> None:
    worker = await serving(one)
    action = await started(worker)
    assert await worker.result(await worker.wait(action, sleeps(text))) == {
        "CREATE": {f"sleep:{text}": [{"sleep_duration": text}]}
    }


async def test_d_9_3_neither_eviction_nor_another_engine_restarts_a_sleep(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is due meanwhile is over when the next engine comes."""
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.5)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.1)
    one = await world.engine()
    worker = await serving(one)
    action, other = await started(worker), await started(worker)
    ref = await worker.wait(action, sleeps("10m"))
    await worker.wait(other, sleeps("20m"))
    await worker.worker.say(action, ReportKind.STARTED)
    # Whatever was on its way to the worker has arrived (D-17.15).
    await one.pass_time(5, worker.worker)
    await worker.evict(other)
    await one.pass_time(585, worker.worker)
    await worker.close()
    await worker.worker.close_stream()
    await one.stop()
    two = await world.engine(skipped=605)
    await worker.worker.open(two)
    await worker.open(two)
    worker.status(ref)
    await worker.completed(ref)
    await deadline_free(two, worker, 8)
    await two.watched()
    assert len(worker.worker.starts) == 2
    await deadline_free(two, worker, 2.5)
    again = await worker.invocation(other.task_id, 2)
    await worker.completed(await worker.wait(again, sleeps("20m")))


async def test_d_9_7_a_replay_of_a_cancelled_sleeper_sleeps_no_longer(one: Instance) -> None:
    """D-27.3."""
    worker = await serving(one)
    action = await started(worker)
    await worker.wait(action, sleeps("10m"))
    await one.cancel(action.task_id)
    await one.ended(action.task_id, RunStatus.CANCELLED)
    await deadline_free(one, worker, 4)
    await one.replay(action.task_id)
    again = await worker.invocation(action.task_id, 2)
    ref = await worker.wait(again, sleeps("10m"))
    await deadline_free(one, worker, 5)
    assert worker.completions == []
    await deadline_free(one, worker, 1.5)
    await worker.completed(ref)


async def test_d_9_8_many_sleeps_end_in_one_moment(one: Instance) -> None:
    """And the single one of another task with them."""
    worker = await serving(one)
    action, other = await started(worker), await started(worker)
    for _ in range(2500):
        worker.say(WaitRequest(action.task_id, 1, (sleeps("10m"),)))
    await until(lambda: len(worker.acks) == 2500, "all are registered")
    single = await worker.wait(other, sleeps("10m"))
    await deadline_free(one, worker, 10.5)
    await worker.completed(single)
    await until(lambda: len(worker.completions) == 2501, "all are over")
    assert [each.order for each in worker.completions if each.ref != single] == list(range(1, 2501))


async def test_d_9_9_a_sleep_that_lost_is_forgotten(one: Instance) -> None:
    worker = await serving(one)
    action = await started(worker)
    names = group()
    ref = await worker.wait(action, sleeps("10m", names), hears("go", names))
    await one.push("go")
    await worker.completed(ref)
    await deadline_free(one, worker, 11)
    assert await results(one) == len(worker.completions) == 1
    assert one.scheduler.durable._due == []


# Results --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        # D-11.4: two of one name are one list.
        ((hears("a", name="x"), hears("b", name="x")), {"x": [{"k": "a"}, {"k": "b"}]}),
        ((hears("a", name="x"), sleeps("0s", name="x")), {"x": [{"k": "a"}, {"sleep_duration": "0s"}]}),
        # D-11.5: names are the client's.
        ((hears("a", name=""),), {"": [{"k": "a"}]}),
        ((hears("a", name="sleep:1s"), hears("b", name="ü.\n")), {"sleep:1s": [{"k": "a"}], "ü.\n": [{"k": "b"}]}),
    ],
)
async def test_d_11_1_the_result_of_a_wait(
    one: Instance, conditions: tuple[WaitCondition, ...], expected: dict[str, object]
) -> None:
    """D-11.2, D-11.4, D-11.5."""
    worker = await serving(one)
    action = await started(worker)
    ref = await worker.wait(action, *conditions)
    for key in ("a", "b"):
        await one.push(key, f'{{"k": "{key}"}}')
    assert await worker.result(ref) == {"CREATE": expected}


async def test_d_11_3_of_an_or_group_only_the_winner_is_told(one: Instance) -> None:
    """D-11.7: its key says what won."""
    worker = await serving(one)
    action = await started(worker)

    async def race(which: Action, *, is_pushed: bool) -> object:
        names = group()
        ref = await worker.wait(which, sleeps("10m", names), hears("an event", names))
        if is_pushed:
            await one.push("an event")
        await deadline_free(one, worker, 11)
        return await worker.result(ref)

    assert await race(action, is_pushed=True) == {"CREATE": {"an event": [{}]}}
    assert await race(action, is_pushed=False) == {"CREATE": {"sleep:10m": [{"sleep_duration": "10m"}]}}


async def test_d_11_9_a_label_is_not_compared(one: Instance) -> None:
    worker = await serving(one, retries=1)
    action = await started(worker)
    await worker.wait(action, hears("go"), label="before")
    again = await retried(worker, action)
    assert (await worker.wait(again, hears("go"), label="after")).node == 1
