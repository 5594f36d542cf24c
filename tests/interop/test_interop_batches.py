"""Batch tasks: which runs come together, and what each of them gets."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from official_session import Session

pytestmark = pytest.mark.interop


def gathered(session: Session, task: str, *groups: str) -> list[dict[str, Any]]:
    """Run a member of each group at once; what they returned, each its own."""
    members = [{"group": group, "name": f"{group}-{n}"} for n, group in enumerate(groups)]
    results: list[dict[str, Any]] = session.client.ask("aio_gather_members", task, members)
    assert [(each["group"], each["name"]) for each in results] == [(each["group"], each["name"]) for each in members]
    for batch, count in Counter(each["batch"] for each in results).items():
        assert {each["size"] for each in results if each["batch"] == batch} == {count}
    return results


def batches(results: list[dict[str, Any]]) -> dict[str, list[int]]:
    """Sizes of the batches of each group."""
    sizes: dict[str, dict[str, int]] = {}
    for each in results:
        sizes.setdefault(each["group"], {})[each["batch"]] = each["size"]
    return {group: sorted(each.values()) for group, each in sizes.items()}


def test_c_16_17_a_batch_of_one(session: Session) -> None:
    assert batches(gathered(session, "alone", *"aaa")) == {"a": [1, 1, 1]}


def test_c_16_10_a_full_batch_does_not_wait(session: Session) -> None:
    """Its interval is longer than a test waits."""
    assert batches(gathered(session, "trio", *"aaa")) == {"a": [3]}
    assert batches(gathered(session, "trio", *"aaaaaa")) == {"a": [3, 3]}


def test_c_16_11_a_batch_has_one_key(session: Session) -> None:
    assert batches(gathered(session, "pairs", "t1", "t2", "t1", "t2")) == {"t1": [2], "t2": [2]}


def test_c_16_8_the_interval_ends_the_wait(session: Session) -> None:
    assert batches(gathered(session, "wide", "t1", "t1", "t2", "t1")) == {"t1": [3], "t2": [1]}


def test_c_16_9_inputs_of_four_megabytes_are_a_batch(session: Session) -> None:
    results = session.client.ask("aio_heavy", "heavy", 100, 100_000)
    sizes = batches(results)["heavy"]
    assert len(sizes) == 3
    assert sum(sizes) == 100
    assert max(sizes) <= 40


def test_c_16_35_each_caller_gets_its_own(session: Session) -> None:
    results = session.client.ask("aio_gather", "halves", list(range(20)))
    assert [each["half"] for each in results] == [n / 2 for n in range(20)]


def test_c_16_36_one_output_for_all(session: Session) -> None:
    assert session.client.ask("aio_gather", "total", list(range(10))) == [{"total": 45}] * 10


def test_c_16_29_a_batch_that_cancels_itself(session: Session) -> None:
    results = session.client.ask("aio_gather", "cancels_batch", list(range(10)))
    assert results == [{}] * 10


def test_c_16_28_a_batch_that_raises_fails_each_of_its_runs(session: Session) -> None:
    results = session.client.ask("aio_run_many", "fails_batch", [1, 2], {"return_exceptions": True})
    failures = [(member["exc_type"], member["exc"]) for each in results for member in each["members"]]
    assert failures == [("ValueError", "the whole batch")] * 2
