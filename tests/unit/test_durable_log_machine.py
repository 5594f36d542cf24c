"""Random durable programs with crashes, evictions and duplicates, against runs without (behaviour-durable D-29)."""

from __future__ import annotations

import os
import random

import pytest
from durable_program import KEYS, Program, programs, random_program
from durable_world import World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

RUNS = int(os.environ.get("HATCHET_TEST_RANDOM_RUNS", "24"))
EXAMPLES, WALKS = 4 * RUNS, 6 * RUNS
"""How many programs of each kind; more by hand."""
modest = settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def happens(world: World, chance: random.Random, *, breaks: float) -> None:
    """One thing, be it that something breaks."""
    if chance.random() < breaks:
        what = chance.choice(("worker", "engine", "cut", "evict", "evict late", "duplicate"))
        if what == "worker":
            world.crash_of_worker()
        elif what == "engine":
            world.crash_of_engine()
        elif what == "cut":
            world.cut()
        elif what == "evict":
            world.evict()
        elif what == "evict late":
            world.evict_late(chance.choice((1.0, 20.0)))
        else:
            world.duplicate(chance)
        return
    draw = chance.random()
    if draw < 0.4:
        world.up_one()
    elif draw < 0.8:
        world.down_one()
    elif draw < 0.85 and (due := world.sleeps_due()):
        world.fire(chance.choice(due))
    elif draw < 0.9 and (running := world.children_running()):
        world.finish(chance.choice(running))
    elif draw < 0.93:
        world.push(chance.choice(KEYS))
    else:
        world.pass_time(chance.choice((0.1, 1.0, 3.0, 6.0, 70.0)))


def walk(program: Program, seed: int, *, in_order: bool, races: bool, branches: int = 0) -> World:
    chance = random.Random(seed)
    world = World(program, in_order=in_order, wakes=random.Random(seed))
    breaks = chance.choice((0.0, 0.01, 0.03, 0.1))
    for _ in range(1 + branches):
        for _ in range(chance.choice((50, 200, 600))):
            if world.is_done:
                break
            happens(world, chance, breaks=breaks)
        world.drain()
        world.check(races=races)
        world.branch(chance)
    return world


@modest
@given(program=programs(races=False), seed=st.integers(0, 2**32))
def test_d_29_9_any_order_of_crashes_ends_with_the_same_result(program: Program, seed: int) -> None:
    walk(program, seed, in_order=True, races=False)


@modest
@given(program=programs(), seed=st.integers(0, 2**32))
def test_d_7_7_races_take_the_turn_that_the_log_says(program: Program, seed: int) -> None:
    walk(program, seed, in_order=True, races=True)


@modest
@given(program=programs(races=False), seed=st.integers(0, 2**32))
def test_d_15_16_workers_that_do_not_block_end_with_the_same_result(program: Program, seed: int) -> None:
    walk(program, seed, in_order=False, races=False)


@pytest.mark.parametrize("seed", range(WALKS))
def test_d_15_17_concurrent_branches_are_replayed_as_they_went(seed: int) -> None:
    races = seed % 2 == 1
    program = random_program(random.Random(seed), races=races, size=1 + seed % 3)
    walk(program, seed, in_order=seed % 4 < 3, races=races)


@pytest.mark.parametrize("seed", range(WALKS // 4))
def test_d_22_6_branches_run_from_their_node_on(seed: int) -> None:
    races = seed % 2 == 1
    program = random_program(random.Random(seed), races=races, size=1)
    walk(program, seed, in_order=seed % 4 < 3, races=races, branches=3)
