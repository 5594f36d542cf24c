"""Random workflows for the tests of workflow runs."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
from run_model import a_version, event, output, sleep
from run_oracle import EXPRESSIONS

from hatchet.core.conditions import Action, Condition
from hatchet.core.definitions import StoredVersion, TaskDefinition

KEYS = ("e1", "e2")
SLEEPS = (0, 1, 2, 5, 30)


@st.composite
def conditions(draw: st.DrawFn, parents: tuple[str, ...]) -> tuple[Condition, ...]:
    """One to four of all kinds and actions, alone or in groups that mix them."""
    members = st.sampled_from(SLEEPS).map(sleep) | st.sampled_from(KEYS).map(event)
    if parents:
        members |= st.builds(output, st.sampled_from(parents), st.sampled_from(sorted(EXPRESSIONS)))
    groups = st.sampled_from((0, 0, 1))
    drawn = draw(st.lists(st.tuples(members, st.sampled_from(Action), groups), min_size=1, max_size=4))
    return tuple(replace(member, action=action, or_group=group) for member, action, group in drawn)


@st.composite
def versions(draw: st.DrawFn, max_tasks: int = 10) -> StoredVersion:
    """Up to ten tasks in any order of listing, with any parents and conditions, perhaps with an on-failure task."""
    count = draw(st.integers(1, max_tasks))
    tasks = []
    for number in range(count):
        above = [f"t{other}" for other in range(number)]
        parents = tuple(draw(st.lists(st.sampled_from(above), unique=True, max_size=3))) if above else ()
        chosen = draw(conditions(parents)) if draw(st.booleans()) else ()
        name = f"t{number}"
        tasks.append(TaskDefinition(readable_id=name, action=f"flow:{name}", parents=parents, conditions=chosen))
    return a_version(*draw(st.permutations(tasks)), on_failure=draw(st.booleans()))
