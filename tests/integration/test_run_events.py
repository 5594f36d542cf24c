"""Events of runs: order, hold-back, what is kept, bounds; two instances on one database (behaviour-core C-7.32 ff.)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
import pytest_asyncio
from engine_worker import until

from hatchet.core.clock import HeldClock
from hatchet.core.errors import NotFound, ResourceExhausted, Unavailable
from hatchet.core.run_events import RunEvent, RunEventKind
from hatchet.core.statuses import RunStatus
from hatchet.engine import event_queue, run_events, run_events_relay, run_journal, run_streams
from hatchet.engine.bus import Bus
from hatchet.engine.event_queue import EventQueue
from hatchet.engine.run_events import RunEvents
from hatchet.engine.run_stream import Windows
from hatchet.store.pool import Database

TENANT = "707d0855-80ab-4e1f-a156-f1c4546cbf52"
OTHER_TENANT = "11111111-1111-4111-8111-111111111111"
RUN = "01980000-0000-7000-8000-000000000001"
TASK, TASK_2 = "01980000-0000-7000-8000-00000000000a", "01980000-0000-7000-8000-00000000000b"
RETRIES = 3
QUICK = Windows(hold_back=0.05, gap=0.2, kept=5.0, unknown=0.5, settle=0.05)
DEADLINE = 20.0

STARTED, COMPLETED, FAILED, CANCELLED, STREAM = (
    RunEventKind.STARTED,
    RunEventKind.COMPLETED,
    RunEventKind.FAILED,
    RunEventKind.CANCELLED,
    RunEventKind.STREAM,
)


class Rows:
    """What the rows say, shared by the instances of a test."""

    def __init__(self) -> None:
        self.runs: dict[str, str] = {TASK: RUN, TASK_2: RUN}
        self.states: dict[str, RunStatus] = {RUN: RunStatus.RUNNING}
        self.metadata: dict[str, dict[str, Any]] = {}
        self.questions = 0
        self.before_state: Callable[[], Awaitable[None]] | None = None
        """Happens after a subscriber was registered and before it learns the state."""

    async def run_of(self, tenant_id: str, task_id: str) -> str | None:
        self.questions += 1
        await asyncio.sleep(0)
        return self.runs.get(task_id) if tenant_id == TENANT else None

    async def state_of(self, tenant_id: str, run_id: str) -> RunStatus | None:
        if self.before_state is not None:
            await self.before_state()
        await asyncio.sleep(0)
        return self.states.get(run_id) if tenant_id == TENANT else None

    async def metadata_of(self, tenant_id: str, run_ids: Sequence[str]) -> dict[str, str]:
        await asyncio.sleep(0)
        return {run_id: json.dumps(self.metadata[run_id]) for run_id in run_ids if run_id in self.metadata}


class Events:
    """One instance's run events, driven by short names."""

    def __init__(self, rows: Rows, bus: Bus, windows: Windows = QUICK) -> None:
        self.rows = rows
        self.bus = bus
        self.clock = HeldClock()
        self.service = RunEvents(rows, bus, self.clock, windows=windows)

    def start(self, task_id: str = TASK, attempt: int = 0, run_id: str = RUN) -> None:
        self.service.started(TENANT, run_id, task_id, attempt, RETRIES, self.clock.now())

    def end(
        self, task_id: str = TASK, kind: RunEventKind = COMPLETED, payload: str = "{}", attempt: int = 0, run: str = RUN
    ) -> None:
        self.service.attempt_ended(TENANT, run, task_id, attempt, RETRIES, kind, payload, self.clock.now())

    def end_run(self, status: RunStatus = RunStatus.COMPLETED, run_id: str = RUN) -> None:
        self.rows.states[run_id] = status
        self.service.run_ended(TENANT, run_id, status, self.clock.now())

    async def chunk(self, index: int | None, text: str | None = None, task_id: str = TASK) -> None:
        payload = f"c{index}" if text is None else text
        await self.service.chunk(TENANT, task_id, None, index, payload, self.clock.now())

    def of_run(self, run_id: str = RUN) -> Subscriber:
        return Subscriber(self.service.subscribe_run(TENANT, run_id))

    def with_metadata(self, key: str, value: str) -> Subscriber:
        return Subscriber(self.service.subscribe_metadata(TENANT, key, value))

    async def is_followed(self, run_id: str = RUN) -> None:
        """Wait until somebody follows the run here, having looked at its state."""

        def followed() -> bool:
            return any(stream.run_id == run_id for stream in self.service._followed)

        await until(followed, "somebody follows the run")


class Subscriber:
    """Collects the events of one subscription in a task of its own."""

    def __init__(self, subscription: contextlib.AbstractAsyncContextManager[EventQueue]) -> None:
        self.events: list[RunEvent] = []
        self.is_open = asyncio.Event()
        self._task = asyncio.create_task(self._collect(subscription))

    async def _collect(self, subscription: contextlib.AbstractAsyncContextManager[EventQueue]) -> None:
        async with subscription as queue:
            self.is_open.set()
            async for event in queue:
                self.events.append(event)

    async def opened(self) -> Subscriber:
        await asyncio.wait_for(self.is_open.wait(), DEADLINE)
        return self

    async def ended(self) -> list[RunEvent]:
        """Everything that came, once the subscription is over; raises what ended it."""
        await asyncio.wait_for(asyncio.shield(self._task), DEADLINE)
        return self.events

    async def heard(self, *wanted: str) -> None:
        """Wait until these chunks have come."""
        await until(lambda: chunks(self.events)[-len(wanted) :] == list(wanted), f"{wanted} arrive")

    async def leave(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


def chunks(events: Sequence[RunEvent]) -> list[str]:
    return [event.payload for event in events if event.kind is STREAM]


def kinds(events: Sequence[RunEvent]) -> list[tuple[str, RunEventKind]]:
    return [("run" if event.task_id is None else "task", event.kind) for event in events]


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest_asyncio.fixture
async def one(rows: Rows) -> AsyncIterator[Events]:
    """One instance; its bus is never started, for there is nobody else."""
    events = Events(rows, Bus(None, "alone"))  # type: ignore[arg-type]  # a bus without peers sends nothing
    await events.service.start()
    yield events
    await asyncio.wait_for(events.service.stop(), DEADLINE)


async def test_c7_34_a_run_from_its_start_to_the_hangup(one: Events) -> None:
    subscriber = await one.of_run().opened()
    one.start()
    await one.chunk(0, "hello")
    one.end(payload='{"n":1}')
    one.end_run()
    started, chunk, completed, run = await subscriber.ended()
    assert kinds([started, chunk, completed, run]) == [
        ("task", STARTED),
        ("task", STREAM),
        ("task", COMPLETED),
        ("run", COMPLETED),
    ]
    assert (chunk.payload, chunk.index, chunk.retry_count, chunk.task_retries) == ("hello", 0, 0, RETRIES)
    assert (completed.payload, completed.task_id, completed.retry_count) == ('{"n":1}', TASK, 0)
    assert [event.is_last for event in (started, chunk, completed, run)] == [False, False, False, True]


@pytest.mark.parametrize(
    ("status", "kind"), [(RunStatus.FAILED, FAILED), (RunStatus.CANCELLED, CANCELLED), (RunStatus.COMPLETED, COMPLETED)]
)
async def test_c7_34_the_last_event_tells_how_the_run_ended(one: Events, status: RunStatus, kind: RunEventKind) -> None:
    subscriber = await one.of_run().opened()
    one.end_run(status)
    [event] = await subscriber.ended()
    assert (event.kind, event.task_id, event.is_last) == (kind, None, True)


async def test_c7_38_every_failed_attempt_is_told_and_only_the_run_is_final(one: Events) -> None:
    subscriber = await one.of_run().opened()
    for attempt in (0, 1):
        one.start(attempt=attempt)
        await one.chunk(0, f"attempt {attempt}")
        one.end(kind=FAILED, payload=f"boom {attempt}", attempt=attempt)
    one.end_run(RunStatus.FAILED)
    events = await subscriber.ended()
    assert [(event.kind, event.retry_count, event.payload) for event in events] == [
        (STARTED, 0, ""),
        (STREAM, 0, "attempt 0"),
        (FAILED, 0, "boom 0"),
        (STARTED, 1, ""),
        (STREAM, 1, "attempt 1"),
        (FAILED, 1, "boom 1"),
        (FAILED, None, ""),
    ]


async def test_c7_36_a_run_that_is_over_gives_no_events(one: Events) -> None:
    one.rows.states[RUN] = RunStatus.COMPLETED
    assert await one.of_run().ended() == []
    assert len(one.service.streams) == 0


async def test_c7_36_the_events_of_a_run_that_was_heard_of_are_not_repeated_after_its_end(one: Events) -> None:
    one.start()
    await one.chunk(0)
    one.end()
    one.end_run()
    await until(lambda: len(one.service.streams) == 0, "the window closes")
    assert await one.of_run().ended() == []


async def test_c7_36_an_unknown_run_is_waited_for(one: Events) -> None:
    del one.rows.states[RUN]
    subscriber = one.of_run()
    await until(lambda: len(one.service.streams) == 1, "the subscriber is registered")
    assert not subscriber.is_open.is_set()
    one.rows.states[RUN] = RunStatus.QUEUED
    one.start()
    one.end_run()
    assert kinds(await subscriber.ended()) == [("task", STARTED), ("run", COMPLETED)]


async def test_c7_36_a_run_that_never_appears_is_not_found(one: Events) -> None:
    del one.rows.states[RUN]
    with pytest.raises(NotFound, match=RUN):
        await one.of_run().ended()
    assert len(one.service.streams) == 0
    assert Windows().unknown == 10.0


async def test_c1_12_a_run_of_another_tenant_is_unknown(one: Events) -> None:
    subscriber = Subscriber(one.service.subscribe_run(OTHER_TENANT, RUN))
    one.start()
    one.end_run()
    with pytest.raises(NotFound):
        await subscriber.ended()
    assert subscriber.events == []


async def test_c7_37_a_run_that_ends_while_its_state_is_read_still_gives_its_end(one: Events) -> None:
    async def ends() -> None:
        one.rows.before_state = None
        one.end()
        one.end_run()

    one.rows.before_state = ends
    assert kinds(await one.of_run().ended()) == [("task", COMPLETED), ("run", COMPLETED)]


async def test_c7_37_the_word_of_the_end_may_follow_the_commit(one: Events) -> None:
    one.rows.states[RUN] = RunStatus.COMPLETED
    subscriber = one.of_run()

    def waits() -> bool:
        stream = one.service.streams.get((TENANT, RUN))
        return stream is not None and stream.end_seen is not None

    await until(waits, "the subscriber waits for the word")
    one.end()
    one.end_run()
    assert kinds(await subscriber.ended()) == [("task", COMPLETED), ("run", COMPLETED)]


async def test_c7_45_chunks_that_come_after_the_end_are_ordered_before_it(one: Events) -> None:
    subscriber = await one.of_run().opened()
    one.start()
    await one.chunk(0)
    ended_at = asyncio.get_running_loop().time()
    one.end()
    one.end_run()
    for index in (3, 1, 4, 2):
        await one.chunk(index)
    events = await subscriber.ended()
    assert asyncio.get_running_loop().time() - ended_at >= QUICK.hold_back
    assert chunks(events) == ["c0", "c1", "c2", "c3", "c4"]
    assert kinds(events)[-2:] == [("task", COMPLETED), ("run", COMPLETED)]
    assert Windows().hold_back == 0.25


async def test_c7_45_what_still_waits_for_a_gap_is_flushed_before_the_end(one: Events) -> None:
    subscriber = await one.of_run().opened()
    await one.chunk(2)
    await one.chunk(1)
    one.end()
    one.end_run()
    events = await subscriber.ended()
    assert chunks(events) == ["c1", "c2"]
    assert kinds(events)[-2:] == [("task", COMPLETED), ("run", COMPLETED)]


async def test_c7_45_a_subscriber_within_the_window_is_served_like_one_of_an_active_run(one: Events) -> None:
    one.start()
    await one.chunk(0)
    one.end()
    one.end_run()
    subscriber = one.of_run()
    await one.chunk(1)
    events = await subscriber.ended()
    assert chunks(events) == ["c0", "c1"]
    assert kinds(events) == [("task", STARTED), *[("task", STREAM)] * 2, ("task", COMPLETED), ("run", COMPLETED)]


async def test_c7_43_a_gap_is_skipped_after_the_wait(one: Events) -> None:
    subscriber = await one.of_run().opened()
    await one.chunk(0)
    await one.chunk(2)
    await one.chunk(3)
    await one.chunk(None, "unnumbered")
    await subscriber.heard("c0", "unnumbered", "c2", "c3")
    await one.chunk(4)
    await subscriber.heard("c4")
    await one.chunk(1)
    one.end_run()
    assert "c1" not in chunks(await subscriber.ended())
    assert Windows().gap == 5.0


async def test_c7_44_what_waits_of_an_attempt_goes_before_the_start_of_the_next(one: Events) -> None:
    subscriber = await one.of_run().opened()
    one.start()
    await one.chunk(1)
    one.start(attempt=1)
    await one.chunk(0, "again")
    one.end_run()
    events = await subscriber.ended()
    assert [(event.kind, event.payload) for event in events[:-1]] == [
        (STARTED, ""),
        (STREAM, "c1"),
        (STARTED, ""),
        (STREAM, "again"),
    ]


async def test_c13_11_the_order_is_per_task(one: Events) -> None:
    subscriber = await one.of_run().opened()
    await one.chunk(1, "a1")
    await one.chunk(0, "b0", TASK_2)
    await one.chunk(1, "b1", TASK_2)
    await one.chunk(0, "a0")
    one.end_run()
    assert chunks(await subscriber.ended()) == ["b0", "b1", "a0", "a1"]


async def test_c7_46_a_subscriber_right_after_the_trigger_gets_every_chunk_once_and_in_order(one: Events) -> None:
    text = [f"piece {number} " for number in range(600)]
    shuffled = random.Random(7)
    for repetition in range(5):
        run_id, task_id = f"01980000-0000-7000-8000-0000000001{repetition:02}", TASK[:-1] + str(repetition)
        one.rows.runs[task_id] = run_id
        one.rows.states[run_id] = RunStatus.RUNNING
        one.start(task_id, run_id=run_id)
        calls = [one.chunk(index, piece, task_id) for index, piece in enumerate(text)]
        subscriber: Subscriber | None = None
        # Ten calls at a time, as of a client that does not wait for its calls.
        for start in range(0, len(calls), 10):
            some = calls[start : start + 10]
            shuffled.shuffle(some)
            await asyncio.gather(*some)
            if start == 100:
                subscriber = one.of_run(run_id)
        one.end(task_id, run=run_id)
        one.end_run(run_id=run_id)
        assert subscriber is not None
        assert "".join(chunks(await subscriber.ended())) == "".join(text)


async def test_c7_47_what_is_older_than_the_replay_is_gone(rows: Rows) -> None:
    one = Events(rows, Bus(None, "alone"), Windows(hold_back=0.05, gap=0.2, kept=0.05))  # type: ignore[arg-type]
    one.start()
    await one.chunk(0)

    def is_swept() -> bool:
        one.service.streams.sweep()
        return len(one.service.streams) == 0

    await until(is_swept, "the stream is forgotten")
    assert one.service.streams.kept == 0
    subscriber = await one.of_run().opened()
    # The order goes on where it was, although the stream is a new one.
    await one.chunk(1)
    await subscriber.heard("c1")
    assert subscriber.events[-1].retry_count == 0
    await subscriber.leave()
    await one.service.stop()


async def test_c13_9_a_chunk_of_an_unknown_task_is_not_found(one: Events) -> None:
    unknown = TASK[:-1] + "f"
    with pytest.raises(NotFound, match=unknown):
        await one.chunk(0, task_id=unknown)
    with pytest.raises(NotFound):
        await one.service.chunk(OTHER_TENANT, TASK, None, 0, "x", 0.0)


async def test_the_run_of_a_task_is_asked_for_once(one: Events) -> None:
    await asyncio.gather(*(one.chunk(index) for index in range(50)))
    await one.chunk(50)
    assert one.rows.questions == 1


async def test_c13_12_chunks_after_the_hangup_are_accepted_and_dropped(one: Events) -> None:
    subscriber = await one.of_run().opened()
    one.end_run()
    await subscriber.ended()
    await one.chunk(0)
    assert len(one.service.streams) == 0


async def test_c7_14_a_replayed_run_gives_events_again(one: Events) -> None:
    one.start()
    one.end_run()
    await until(lambda: len(one.service.streams) == 0, "the window closes")
    one.rows.states[RUN] = RunStatus.RUNNING
    one.start(attempt=1)
    subscriber = await one.of_run().opened()
    one.end(attempt=1)
    one.end_run()
    events = await subscriber.ended()
    assert [(event.kind, event.retry_count) for event in events] == [(STARTED, 1), (COMPLETED, 1), (COMPLETED, None)]


async def test_c7_14_a_run_that_was_replayed_at_once_streams_again(one: Events) -> None:
    one.start()
    one.end(kind=FAILED, payload="boom")
    one.end_run(RunStatus.FAILED)
    one.start(attempt=1)
    one.rows.states[RUN] = RunStatus.RUNNING
    await one.chunk(0, "again")
    subscriber = await one.of_run().opened()
    one.end(attempt=1)
    one.end_run()
    events = await subscriber.ended()
    assert [(event.kind, event.payload) for event in events] == [
        (STARTED, ""),
        (STREAM, "again"),
        (COMPLETED, "{}"),
        (COMPLETED, ""),
    ]


async def test_c7_14_chunks_of_a_run_that_was_replayed_later_are_kept_for_the_subscriber(one: Events) -> None:
    one.start()
    one.end_run()
    await until(lambda: len(one.service.streams) == 0, "the window closes")
    one.start(attempt=1)
    one.rows.states[RUN] = RunStatus.RUNNING
    await one.chunk(0, "again")
    subscriber = await one.of_run().opened()
    await subscriber.heard("again")
    assert [(event.kind, event.retry_count) for event in subscriber.events] == [(STARTED, 1), (STREAM, 1)]
    await subscriber.leave()


async def test_c7_48_a_run_that_nobody_follows_is_kept_a_moment_without_chunks_too(rows: Rows) -> None:
    one = Events(rows, Bus(None, "alone"), Windows(hold_back=0.1, kept=0.4))  # type: ignore[arg-type]
    one.start()
    one.end(kind=FAILED, payload="boom")
    one.start(attempt=1)
    first = await one.of_run().opened()
    one.end(attempt=1)
    one.end_run()
    second = one.of_run()
    for subscriber in (first, second):
        assert [(event.kind, event.retry_count) for event in await subscriber.ended()] == [
            (STARTED, 0),
            (FAILED, 0),
            (STARTED, 1),
            (COMPLETED, 1),
            (COMPLETED, None),
        ]
    await one.service.stop()


async def test_c0_7_the_id_of_one_task_gives_its_events_and_the_end_of_the_run(one: Events) -> None:
    subscriber = await one.of_run(TASK_2).opened()
    one.start(TASK)
    one.start(TASK_2)
    await one.chunk(0, "other", TASK)
    await one.chunk(0, "mine", TASK_2)
    one.end(TASK_2)
    one.end_run()
    events = await subscriber.ended()
    assert kinds(events) == [("task", STARTED), ("task", STREAM), ("task", COMPLETED), ("run", COMPLETED)]
    assert chunks(events) == ["mine"]


async def test_c7_39_events_of_every_run_with_the_metadata_until_all_seen_have_ended(one: Events) -> None:
    second, different = RUN[:-1] + "2", RUN[:-1] + "3"
    for run_id, metadata in {RUN: {"k": "v"}, second: {"k": "v", "n": 1}, different: {"k": "w"}}.items():
        one.rows.states[run_id] = RunStatus.RUNNING
        one.rows.metadata[run_id] = metadata
    # One began before the subscriber came (C-7.48), the others after it.
    one.start(run_id=RUN)
    subscriber = await one.with_metadata("k", "v").opened()
    for run_id in (second, different):
        one.start(run_id=run_id)
    await until(lambda: len(subscriber.events) == 2, "both are seen")
    one.end_run(run_id=RUN)
    one.end_run(run_id=different)
    await one.chunk(0)
    await until(lambda: len(subscriber.events) == 3, "the first ends")
    one.end_run(RunStatus.FAILED, run_id=second)
    events = await subscriber.ended()
    assert {event.run_id for event in events} == {RUN, second}
    assert [(event.run_id, event.kind, event.is_last) for event in events if event.task_id is None] == [
        (RUN, COMPLETED, False),
        (second, FAILED, True),
    ]
    await until(lambda: not one.service._by_pair and not one.service._queues, "nothing is left of the subscription")


async def test_c7_39_only_string_values_and_the_own_tenant_count(one: Events) -> None:
    one.rows.metadata[RUN] = {"n": 1, "s": "1"}
    number = await one.with_metadata("n", "1").opened()
    stranger = await Subscriber(one.service.subscribe_metadata(OTHER_TENANT, "s", "1")).opened()
    text = await one.with_metadata("s", "1").opened()
    one.start()
    one.end_run()
    assert kinds(await text.ended()) == [("task", STARTED), ("run", COMPLETED)]
    assert number.events == stranger.events == []
    await number.leave()
    await stranger.leave()


async def test_a_lost_end_is_found_by_the_poll(one: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_events, "QUIET_RECHECKS", 1)
    by_run = await one.of_run().opened()
    one.rows.metadata[RUN] = {"k": "v"}
    by_metadata = await one.with_metadata("k", "v").opened()
    one.start()
    await until(lambda: len(by_metadata.events) == 1, "the run is seen")
    one.rows.states[RUN] = RunStatus.FAILED
    one.service.nudge()
    for subscriber in (by_run, by_metadata):
        assert kinds(await subscriber.ended()) == [("task", STARTED), ("run", FAILED)]
        assert subscriber.events[-1].is_last
        assert subscriber.events[-1].at == one.clock.now()


async def test_a_slow_subscriber_is_dropped_and_the_others_go_on(one: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_queue, "MOST_EVENTS", 20)
    quick = await one.of_run().opened()
    async with one.service.subscribe_run(TENANT, RUN) as slow:
        for index in range(30):
            await one.chunk(index)
            await quick.heard(f"c{index}")
        with pytest.raises(ResourceExhausted, match="too slow"):
            await anext(slow)
    one.end_run()
    assert len(chunks(await quick.ended())) == 30


async def test_a_subscriber_that_waits_for_large_events_is_bounded_too(
    one: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_queue, "MOST_CHARACTERS", 10_000)
    async with one.service.subscribe_run(TENANT, RUN) as slow:
        # One event is always taken, however large.
        await one.chunk(0, "x" * 20_000)
        assert len((await anext(slow)).payload) == 20_000
        await one.chunk(1, "x" * 6_000)
        await one.chunk(2, "x" * 6_000)
        with pytest.raises(ResourceExhausted):
            await anext(slow)


async def test_what_is_kept_is_bounded(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_streams, "MOST_KEPT_CHARACTERS", 100_000)
    monkeypatch.setattr(run_journal, "MOST_CHARACTERS", 50_000)
    one = Events(rows, Bus(None, "alone"), Windows(hold_back=0.05, kept=0.5))  # type: ignore[arg-type]
    followed = await one.of_run().opened()
    for number in range(400):
        run_id = f"01980000-0000-7000-8000-{number:012}"
        one.start(run_id, run_id=run_id)
        one.end(run_id, payload="x" * 1000, run=run_id)
        await one.chunk(number, "y" * 1000)
        assert one.service.streams.kept <= 160_000
    one.end_run()
    assert len(chunks(await followed.ended())) == 400

    def is_empty() -> bool:
        one.service.streams.sweep()
        return len(one.service.streams) == one.service.streams.kept == 0

    await until(is_empty, "everything is forgotten")
    await one.service.stop()


async def test_nothing_is_left_of_runs_that_nobody_follows(rows: Rows) -> None:
    one = Events(rows, Bus(None, "alone"), Windows(hold_back=0.02, kept=0.05))  # type: ignore[arg-type]
    for number in range(200):
        run_id = f"01980000-0000-7000-8000-{number:012}"
        rows.runs[run_id] = run_id
        one.start(run_id, run_id=run_id)
        if number % 2:
            await one.chunk(0, task_id=run_id)
        if number % 3:
            one.end(run_id, run=run_id)
            one.end_run(run_id=run_id)
    assert len(one.service.streams) > 0

    def is_swept() -> bool:
        one.service.streams.sweep()
        return len(one.service.streams) == 0

    await until(is_swept, "all of them are forgotten")
    assert one.service.streams.kept == 0
    await one.service.stop()


async def test_c1_22_stopping_ends_subscriptions_with_unavailable(one: Events) -> None:
    subscriber = await one.of_run().opened()
    await one.service.stop()
    with pytest.raises(Unavailable):
        await subscriber.ended()


# Two instances ---------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def pair(database: Database, rows: Rows) -> AsyncIterator[tuple[Events, Events]]:
    """Two instances that know of each other: the first one's runs are followed at the second."""
    instances = [Events(rows, Bus(database, name)) for name in ("first", "second")]
    for instance in instances:
        instance.bus.has_peers = True
        await instance.bus.start()
        await instance.service.start()
    yield instances[0], instances[1]
    for instance in instances:
        await asyncio.wait_for(instance.service.stop(), DEADLINE)
        await asyncio.wait_for(instance.bus.stop(), DEADLINE)


Pair = tuple[Events, Events]


async def _knows(instance: Events, run_id: str = RUN) -> None:
    await until(lambda: (TENANT, run_id) in instance.service._relay._runs, "the wish arrives")


async def test_events_of_another_instance_arrive(pair: Pair) -> None:
    here, there = pair
    subscriber = await there.of_run().opened()
    await _knows(here)
    here.start()
    for index in range(20):
        await here.chunk(index)
    here.end(payload='{"ä":"€"}')
    here.end_run()
    events = await subscriber.ended()
    assert chunks(events) == [f"c{index}" for index in range(20)]
    assert events[-2].payload == '{"ä":"€"}'
    assert kinds(events)[0] == ("task", STARTED)
    assert (events[1].retry_count, events[1].task_retries, events[1].index) == (0, RETRIES, 0)


async def test_c7_48_what_is_kept_at_another_instance_is_sent_to_a_subscriber_once(pair: Pair) -> None:
    here, there = pair
    here.start()
    for index in (0, 1, 3):
        await here.chunk(index)
    first, second = there.of_run(), here.of_run()
    await first.opened()
    await first.heard("c0", "c1")
    third = await there.of_run().opened()
    await here.chunk(2)
    here.end()
    here.end_run()
    for subscriber in (first, second, third):
        events = await subscriber.ended()
        assert chunks(events) == ["c0", "c1", "c2", "c3"]
        assert kinds(events)[0] == ("task", STARTED)
        assert kinds(events)[-2:] == [("task", COMPLETED), ("run", COMPLETED)]


async def test_a_subscriber_at_another_instance_joins_in_the_middle_without_a_pause(database: Database) -> None:
    rows = Rows()
    here, there = (
        Events(rows, Bus(database, name), Windows(hold_back=0.05, gap=600.0, kept=0.05)) for name in ("first", "second")
    )
    for instance in (here, there):
        instance.bus.has_peers = True
        await instance.bus.start()
    here.start()
    for index in range(5):
        await here.chunk(index)

    def is_forgotten() -> bool:
        here.service.streams.sweep()
        return len(here.service.streams) == 0

    await until(is_forgotten, "the first chunks are gone")
    subscriber = await there.of_run().opened()
    await _knows(here)
    await here.chunk(5)
    await here.chunk(6)
    await subscriber.heard("c5", "c6")
    await subscriber.leave()
    for instance in (here, there):
        await instance.service.stop()
        await instance.bus.stop()


async def test_chunks_of_one_task_through_two_instances_are_one_order(pair: Pair) -> None:
    here, there = pair
    subscriber = await there.of_run().opened()
    await _knows(here)
    for index in range(30):
        await (here if index % 2 else there).chunk(index)
    here.end_run()
    assert chunks(await subscriber.ended()) == [f"c{index}" for index in range(30)]


async def test_large_payloads_travel_in_pieces(pair: Pair) -> None:
    here, there = pair
    subscriber = await there.of_run().opened()
    await _knows(here)
    large = "".join(chr(0x4E00 + number % 5000) for number in range(60_000))
    await here.chunk(0, large)
    here.end(payload=large)
    here.end_run()
    events = await subscriber.ended()
    assert [event.payload for event in events] == [large, large, ""]


async def test_c7_45_a_subscriber_elsewhere_within_the_window_is_served(pair: Pair) -> None:
    here, there = pair
    await here.chunk(0)
    here.end()
    here.end_run()
    assert kinds(await there.of_run().ended()) == [("task", STREAM), ("task", COMPLETED), ("run", COMPLETED)]


async def test_c7_39_metadata_is_looked_for_at_every_instance(pair: Pair) -> None:
    here, there = pair
    second, different = RUN[:-1] + "2", RUN[:-1] + "3"
    for run_id, value in {RUN: "v", second: "v", different: "w"}.items():
        here.rows.states[run_id] = RunStatus.RUNNING
        here.rows.metadata[run_id] = {"k": value}
    here.start()
    subscriber = await there.with_metadata("k", "v").opened()
    await until(lambda: len(subscriber.events) == 1, "what was kept arrives")
    here.start(run_id=second)
    here.start(run_id=different)
    await until(lambda: len(subscriber.events) == 2, "the second run is seen")
    here.end_run()
    here.end_run(run_id=different)
    here.end_run(run_id=second)
    events = await subscriber.ended()
    assert {event.run_id for event in events} == {RUN, second}
    assert [event.is_last for event in events] == [False, False, False, True]


async def test_nothing_is_sent_that_nobody_wants(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = pair
    sent: list[str] = []
    publish = here.bus.publish

    def noting(kind: str, **fields: object) -> None:
        sent.append(kind)
        publish(kind, **fields)

    monkeypatch.setattr(here.bus, "publish", noting)
    here.start()
    await here.chunk(0)
    here.end()
    here.end_run()
    assert sent == []
    different = RUN[:-1] + "2"
    here.rows.states[different] = RunStatus.RUNNING
    subscriber = await there.of_run(different).opened()
    await _knows(here, different)
    assert sent == []
    await subscriber.leave()


async def test_what_is_sent_again_is_told_once(pair: Pair) -> None:
    here, there = pair
    first = await there.of_run().opened()
    await _knows(here)
    await here.chunk(None, "a")
    await first.heard("a")
    # The wish lapses, as after a long time without a word, and a new one comes.
    here.service._relay._runs.clear()
    await here.chunk(None, "b")
    second = await there.of_run().opened()
    await first.heard("a", "b")
    await here.chunk(None, "c")
    here.end_run()
    assert chunks(await first.ended()) == chunks(await second.ended()) == ["a", "b", "c"]


async def test_a_wish_lapses_when_it_is_not_repeated(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = pair
    monkeypatch.setattr(run_events_relay, "WANTED_SECONDS", 0.1)
    subscriber = await there.of_run().opened()
    await _knows(here)
    await subscriber.leave()

    def has_lapsed() -> bool:
        here.service._relay.expire()
        return not here.service._relay._runs

    await until(has_lapsed, "the wish lapses")


async def test_the_end_is_found_when_every_message_of_another_instance_is_lost(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = pair
    monkeypatch.setattr(here.bus, "publish", lambda *_, **__: None)
    subscriber = await there.of_run().opened()
    await there.is_followed()
    here.start()
    here.end()
    here.end_run()
    events = await subscriber.ended()
    assert kinds(events) == [("run", COMPLETED)]
    assert events[-1].is_last


async def test_a_lost_piece_loses_its_event_and_no_other(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = pair
    subscriber = await there.of_run().opened()
    await _knows(here)
    publish = here.bus.publish

    def losing(kind: str, **fields: object) -> None:
        if fields.get("part") != 1:
            publish(kind, **fields)

    monkeypatch.setattr(here.bus, "publish", losing)
    await here.chunk(0)
    await here.chunk(1, "x" * 20_000)
    await here.chunk(2)
    here.end_run()
    assert chunks(await subscriber.ended()) == ["c0", "c2"]
