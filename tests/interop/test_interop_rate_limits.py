"""Rate limits with a key of their own, and with keys that the inputs give."""

from __future__ import annotations

import time

import pytest
from official_session import Session

from support.program import wait_until

pytestmark = pytest.mark.interop


def completed(session: Session, run_ids: list[str]) -> list[str]:
    return [each for each in run_ids if session.client.ask("details", each)["status"] == "COMPLETED"]


def await_refusal(session: Session, run_id: str) -> None:
    """The task of the run waits for units (C-10.16); the run of a task has the task's id."""
    wait_until(lambda: "REQUEUED_RATE_LIMIT" in session.task_events(run_id), f"{run_id} waits for a rate limit")
    assert session.client.ask("details", run_id)["status"] == "QUEUED"


def test_c_10_20_no_more_start_than_units_are_there(session: Session) -> None:
    """Five units for an hour, two for each run: two runs start, a third one waits."""
    session.client.ask("put_rate_limit", "interop-hour", 5, "HOUR")
    run_ids = session.client.ask("run_members", "by_the_hour", [{"group": "hour", "name": str(n)} for n in range(3)])
    wait_until(lambda: len(completed(session, run_ids)) == 2, "two runs are over")
    # C-10.17: first in, first out.
    assert completed(session, run_ids) == run_ids[:2]
    await_refusal(session, run_ids[2])
    assert session.client.ask("rate_limits", "interop-hour") == {"interop-hour": [1, 5]}
    # C-10.2: a raised limit counts at the next refill, which is an hour away.
    session.client.ask("put_rate_limit", "interop-hour", 50, "HOUR")
    assert session.client.ask("rate_limits", "interop-hour") == {"interop-hour": [1, 50]}
    assert session.client.ask("details", run_ids[2])["status"] == "QUEUED"
    session.client.ask("cancel", run_ids[2])
    assert session.await_end(run_ids[2])["status"] == "CANCELLED"


def test_c_10_13_units_come_back_with_each_window(session: Session) -> None:
    session.client.ask("put_rate_limit", "interop-second", 2, "SECOND")
    members = [{"group": "second", "name": str(n)} for n in range(7)]
    starts = sorted(each["start"] for each in session.client.ask("aio_gather_members", "by_the_second", members))
    # Seven of two a second need four windows; the first and the last one may be short.
    assert starts[-1] - starts[0] >= 2.0 - 0.5
    # However the windows lie, a second overlaps two of them.
    assert all(later - earlier >= 1.0 - 0.5 for earlier, later in zip(starts, starts[4:], strict=False))


def test_c_10_21_each_user_has_units_of_their_own(session: Session) -> None:
    run_ids = session.client.ask("run_members", "by_user", [{"group": user} for user in ("ann", "ann", "bob", "cy")])
    first, again, *others = run_ids
    for run_id in (first, *others):
        session.client.ask("aio_result_of", "by_user", run_id)
    await_refusal(session, again)
    limits = session.client.ask("rate_limits", "user-")
    assert limits == {f"user-{user}": [0, 1] for user in ("ann", "bob", "cy")}
    session.client.ask("cancel", again)
    session.await_end(again)


def test_c_10_7_units_and_limits_are_expressions_too(session: Session) -> None:
    began = time.monotonic()
    weights = [{"group": "heavy", "units": 3, "limit": 4}, {"group": "light", "units": 1, "limit": 4}]
    heavy, light = (session.client.ask("run_members", "by_weight", [each] * 2) for each in weights)
    for run_id in (heavy[0], *light):
        session.client.ask("aio_result_of", "by_weight", run_id)
    await_refusal(session, heavy[1])
    assert session.client.ask("rate_limits", "weight-") == {"weight-heavy": [1, 4], "weight-light": [2, 4]}
    assert time.monotonic() - began < 60, "the window was over, so the test says nothing"
    session.client.ask("cancel", heavy[1])
    session.await_end(heavy[1])
