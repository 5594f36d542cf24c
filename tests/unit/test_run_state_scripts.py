"""Whole runs by a script: what each worker says after how long, and which event comes when.

The same script gives the same ends after a replay of everything, and in a version that lists its tasks otherwise.
No two things of a script happen at one time, so that nothing is left to the order in which they are noticed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st
from run_model import ON_FAILURE, Run, a_version
from run_strategies import KEYS, versions

from hatchet.core.definitions import StoredVersion
from hatchet.core.statuses import Outcome

FOREVER = 10_000.0


@dataclass(frozen=True)
class Script:
    """Times in seconds from the moment when the run, or its replay, was asked for."""

    ends: dict[str, tuple[float, Outcome, str]]
    """Name to how long it runs, how it ends and with which output."""
    pushes: tuple[tuple[float, str], ...]


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    """Ends lie near thirds of seconds, each task's at a distance of its own; events at sevenths."""
    outcomes = st.sampled_from((Outcome.COMPLETED, Outcome.COMPLETED, Outcome.FAILED, Outcome.CANCELLED))
    outputs = st.sampled_from(("{}", '{"n": 0}', '{"n": 2}'))
    ends = {
        name: (draw(st.integers(1, 60)) / 3 + 2**number / 100_000, draw(outcomes), draw(outputs))
        for number, name in enumerate([*(f"t{number}" for number in range(10)), ON_FAILURE])
    }
    moments = st.tuples(st.integers(1, 600).map(lambda number: number / 7), st.sampled_from(KEYS))
    # Every key again and again at the end, so that no task waits for ever.
    last = [(500 + (turn * 300 + number) / 7, key) for turn in range(12) for number, key in enumerate(KEYS)]
    return Script(ends, tuple(sorted([*draw(st.lists(moments, max_size=8)), *last])))


def play(run: Run, script: Script) -> None:
    """Let the script happen from now on."""
    begin = run.now
    pushes = list(script.pushes)
    ends_at: dict[int, float] = {}
    while not run.state.is_over:
        for index in sorted(run.ready):
            ends_at[index] = run.now + script.ends[run.name(index)][0]
            run.start(index)
        push_at = begin + pushes[0][0] if pushes else begin + FOREVER
        end_at, index = min(((ends_at[index], index) for index in run.running), default=(begin + FOREVER, -1))
        ring_at = min((wait.wakes_at for wait in run.waits.values() if wait.wakes_at), default=begin + FOREVER)
        until = min(push_at, end_at, ring_at)
        assert until < begin + FOREVER, "the run waits for what never happens"
        run.pass_time(until - run.now)
        if until == end_at:
            _, outcome, output = script.ends[run.name(index)]
            run.finish(index, outcome, output)
        elif until == push_at:
            run.push(pushes.pop(0)[1])


def without_waiting_roots(version: StoredVersion) -> StoredVersion:
    """Roots are queued at once by a replay and do not wait a second time (C-15.14)."""
    graph = version.graph
    tasks = [
        replace(task.definition, conditions=() if task.index in graph.roots else task.definition.conditions)
        for task in version.tasks
        if task.index != graph.on_failure
    ]
    return a_version(*tasks, on_failure=graph.on_failure is not None)


@settings(deadline=None)
@given(versions(), scripts())
def test_c_15_17_a_replay_of_everything_ends_like_the_first_pass(version: StoredVersion, script: Script) -> None:
    run = Run(version=without_waiting_roots(version))
    play(run, script)
    first = run.outcomes(), run.status(), {key[0]: one.verdict for key, one in run.decisions.items()}
    run.pass_time(100)
    everything = set(range(len(run.state.tasks)))
    assert run.replay(everything).keys() == everything
    play(run, script)
    assert (run.outcomes(), run.status()) == first[:2]
    again = {index: one.verdict for (index, attempt), one in run.decisions.items() if attempt == 1}
    assert again.items() <= first[2].items()
    assert all(task.attempt == 1 for task in run.state.tasks)


@settings(deadline=None)
@given(versions(), scripts(), st.integers())
def test_the_order_in_which_tasks_are_listed_makes_no_difference(
    version: StoredVersion, script: Script, seed: int
) -> None:
    has_on_failure = version.graph.on_failure is not None
    tasks = [task.definition for task in version.tasks][: -1 if has_on_failure else None]
    random.Random(seed).shuffle(tasks)
    one, other = Run(version=version), Run(*tasks, on_failure=has_on_failure)
    play(one, script)
    play(other, script)
    assert one.outcomes() == other.outcomes()
    assert one.status() is other.status()
    mine, others = (
        {run.name(index): (decision.verdict, decision.at) for (index, _), decision in run.decisions.items()}
        for run in (one, other)
    )
    assert mine == others
