"""The graph of a workflow's tasks (behaviour-core C-3.9, C-5.7, C-6.13, C-6.45, C-15.9)."""

from __future__ import annotations

from hypothesis import given
from run_model import ON_FAILURE, a_version, event, output, task
from run_strategies import versions

from hatchet.core.definitions import StoredVersion

DIAMOND = a_version(
    task("bottom", "left", "right"),
    task("left", "top"),
    task("right", "top"),
    task("top"),
    task("alone"),
    on_failure=True,
).graph
BOTTOM, LEFT, RIGHT, TOP, ALONE, LAST = range(6)


def test_tasks_are_numbered_as_they_are_listed_with_the_on_failure_task_last() -> None:
    assert DIAMOND.index_of == {"bottom": 0, "left": 1, "right": 2, "top": 3, "alone": 4, ON_FAILURE: 5}
    assert (DIAMOND.size, DIAMOND.on_failure) == (6, LAST)
    assert a_version(task("a")).graph.on_failure is None


def test_c_6_13_roots_are_the_tasks_without_parents_but_not_the_on_failure_task() -> None:
    assert DIAMOND.roots == (TOP, ALONE)


def test_parents_and_children_mirror_each_other() -> None:
    assert DIAMOND.parents == ((LEFT, RIGHT), (TOP,), (TOP,), (), (), ())
    assert DIAMOND.children == ((), (BOTTOM,), (BOTTOM,), (LEFT, RIGHT), (), ())


def test_a_parent_named_twice_counts_once() -> None:
    graph = a_version(task("a"), task("b", "a", "a")).graph
    assert (graph.parents[1], graph.children[0]) == ((0,), (1,))


def test_c_5_7_ancestors_are_all_tasks_above() -> None:
    assert DIAMOND.ancestors(BOTTOM) == (LEFT, RIGHT, TOP)
    assert DIAMOND.ancestors(LEFT) == (TOP,)
    assert DIAMOND.ancestors(TOP) == ()
    assert DIAMOND.ancestors(LEFT) is DIAMOND.ancestors(LEFT)


def test_c_6_46_for_the_on_failure_task_all_others_are_above() -> None:
    assert DIAMOND.ancestors(LAST) == (BOTTOM, LEFT, RIGHT, TOP, ALONE)


def test_c_15_9_descendants_are_all_tasks_below() -> None:
    assert DIAMOND.with_descendants([TOP]) == {TOP, LEFT, RIGHT, BOTTOM}
    assert DIAMOND.with_descendants([LEFT, ALONE]) == {LEFT, BOTTOM, ALONE}
    assert DIAMOND.with_descendants([LAST]) == {LAST}
    assert DIAMOND.with_descendants([]) == set()


def test_c_8_15_the_outputs_that_expressions_look_at() -> None:
    graph = a_version(
        task("a"),
        task("b"),
        task("c", "a", "b", skip_if=[output("b", "true")], wait_for=[event("e")]),
    ).graph
    assert graph.judged == {1}


def test_the_rank_of_a_task_is_the_longest_way_from_a_root() -> None:
    assert DIAMOND.rank == (2, 1, 1, 0, 0, 6)


@given(versions())
def test_the_relations_of_a_graph_agree_with_each_other(version: StoredVersion) -> None:
    graph = version.graph
    for index in range(graph.size):
        above = graph.ancestors(index)
        assert all(graph.rank[index] > graph.rank[other] for other in above)
        if index == graph.on_failure:
            assert graph.children[index] == graph.parents[index] == ()
            continue
        assert set(graph.parents[index]) <= set(above)
        assert index not in above
        assert all(index in graph.children[parent] for parent in graph.parents[index])
        assert {other for other in range(graph.size) if index in graph.with_descendants([other])} == {*above, index}
        assert (index in graph.roots) == (above == ())
