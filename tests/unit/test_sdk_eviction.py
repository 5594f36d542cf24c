"""Which waiting durable tasks a worker gives up (behaviour-durable D-17.2 to D-17.5)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest

from hatchet_sdk import EvictionPolicy
from hatchet_sdk.worker.eviction import CAPACITY_WAIT_SECONDS, due

NOW = 1000.0
YIELDS = EvictionPolicy(ttl=None)


@dataclass(eq=False)
class Run:
    name: str
    waited: float | None
    policy: EvictionPolicy | None = YIELDS

    @property
    def waiting_since(self) -> float | None:
        return None if self.waited is None else NOW - self.waited

    @property
    def waits_for(self) -> str:
        return f"the bell of {self.name}"

    async def evict(self, reason: str) -> bool:
        raise AssertionError

    def evicted(self) -> None:
        raise AssertionError


def _ttl(seconds: float, priority: int = 0, capacity: bool = False) -> EvictionPolicy:
    return EvictionPolicy(ttl=timedelta(seconds=seconds), priority=priority, allow_capacity_eviction=capacity)


def _decided(*runs: Run, slots: int = 100) -> list[str]:
    return [f"{one.invocation.name}: {one.reason}" for one in due(runs, NOW, slots)]


def test_d_17_3_only_what_waits_is_a_candidate() -> None:
    assert _decided(Run("busy", None, _ttl(0))) == []


def test_d_17_4_expired_waits_by_priority_and_then_by_the_length_of_the_wait() -> None:
    runs = [
        Run("late", 5, _ttl(5, priority=2)),
        Run("short", 6, _ttl(5)),
        Run("long", 9, _ttl(5)),
        Run("young", 4.9, _ttl(5)),
        Run("never", 10_000, None),
    ]
    assert [one.partition(":")[0] for one in _decided(*runs)] == ["long", "short", "late"]


def test_d_17_7_the_reason_names_what_it_waited_for() -> None:
    assert _decided(Run("a", 5, _ttl(5))) == ["a: wait TTL exceeded: the bell of a"]
    assert _decided(Run("a", 20), slots=1) == ["a: worker at capacity: the bell of a"]


def test_d_17_5_full_slots_evict_one_that_has_waited_for_some_time() -> None:
    runs = [Run("a", 11), Run("b", 30), Run("c", CAPACITY_WAIT_SECONDS)]
    assert _decided(*runs, slots=4) == []
    assert [one.partition(":")[0] for one in _decided(*runs, slots=3)] == ["b"]
    assert [one.partition(":")[0] for one in _decided(*runs, slots=2)] == ["b", "a"]


def test_d_17_5_one_that_has_not_waited_for_long_stays() -> None:
    assert _decided(Run("a", CAPACITY_WAIT_SECONDS - 0.1), slots=1) == []


@pytest.mark.parametrize("policy", [None, EvictionPolicy(ttl=None, allow_capacity_eviction=False)])
def test_d_17_2_one_whose_policy_forbids_it_stays(policy: EvictionPolicy | None) -> None:
    assert _decided(Run("a", 60, policy), slots=1) == []


def test_d_17_5_expired_waits_make_room_first() -> None:
    runs = [Run("expired", 20, _ttl(10)), Run("other", 30)]
    assert [one.partition(":")[0] for one in _decided(*runs, slots=2)] == ["expired"]
