"""What a worker's labels score for the wishes of a task (behaviour-core C-11.17 to C-11.21, C-11.24)."""

from __future__ import annotations

import operator
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from queue_model import a_wish

from hatchet.core.affinity import score
from hatchet.core.labels import Comparator, DesiredLabel, merged

MET, MISSED = 100, 0
ORDERINGS = (
    Comparator.GREATER_THAN,
    Comparator.GREATER_THAN_OR_EQUAL,
    Comparator.LESS_THAN,
    Comparator.LESS_THAN_OR_EQUAL,
)


def test_without_wishes_every_worker_scores_nothing() -> None:
    assert score((), {}) == score((), {"a": 1}) == 0


def test_c_11_18_the_score_is_the_sum_of_the_weights_of_what_is_met() -> None:
    wanted = (a_wish("a", 1, weight=3), a_wish("b", "x", weight=50), a_wish("c", "y", required=True, weight=7))
    assert score(wanted, {"a": 1, "b": "x", "c": "y", "d": 1}) == 60
    assert score(wanted, {"a": 1, "b": "z", "c": "y"}) == 10


def test_c_11_18_a_required_label_that_is_missed_excludes_whatever_else_is_met() -> None:
    wanted = (a_wish("a", 1, weight=1000), a_wish("b", "x", required=True), a_wish("c", 1, weight=1000))
    assert score(wanted, {"a": 1, "b": "y", "c": 1}) is None
    assert score(wanted, {"a": 1, "c": 1}) is None
    assert score(wanted, {"b": "x"}) == 100


def test_c_11_19_a_wish_that_is_missed_counts_nothing() -> None:
    assert score((a_wish("a", 1),), {"a": 2}) == 0
    assert score((a_wish("a", 1),), {}) == 0


@pytest.mark.parametrize("weight", [-7, 0, 1, 2**31 - 1])
def test_c_11_18_a_weight_may_be_any_number(weight: int) -> None:
    assert score((a_wish("a", 1, weight=weight),), {"a": 1}) == weight
    assert score((a_wish("a", 1, weight=weight, required=True),), {"a": 1}) == weight


def test_c_11_20_the_defaults_are_equal_weight_100_and_not_required() -> None:
    wanted = (DesiredLabel(key="a", value="x"),)
    assert score(wanted, {"a": "x"}) == 100
    assert score(wanted, {"a": "y"}) == 0


@pytest.mark.parametrize(
    ("value", "have", "equal"),
    [("x", "x", True), ("x", "X", False), ("", "", True), (0, 0, True), (-1, 1, False), ("é", "é", True)],
)
def test_c_11_21_equal_and_not_equal_are_opposites_for_values_of_one_kind(
    value: str | int, have: str | int, equal: bool
) -> None:
    assert score((a_wish("a", value),), {"a": have}) == (MET if equal else MISSED)
    assert score((a_wish("a", value, Comparator.NOT_EQUAL),), {"a": have}) == (MISSED if equal else MET)


@pytest.mark.parametrize(
    ("comparator", "compare"),
    list(zip(ORDERINGS, (operator.gt, operator.ge, operator.lt, operator.le), strict=True)),
    ids=lambda value: getattr(value, "name", ""),
)
@given(have=st.integers(-3, 3), wanted=st.integers(-3, 3))
def test_c_11_21_orderings_compare_the_workers_number_with_the_wanted_one(
    comparator: Comparator, compare: Callable[[int, int], bool], have: int, wanted: int
) -> None:
    assert score((a_wish("a", wanted, comparator),), {"a": have}) == (MET if compare(have, wanted) else MISSED)


@pytest.mark.parametrize("comparator", ORDERINGS)
@pytest.mark.parametrize("have", ["a", "b", "c"])
def test_c_11_21_orderings_do_not_work_for_texts(comparator: Comparator, have: str) -> None:
    assert score((a_wish("a", "b", comparator),), {"a": have}) == MISSED


@pytest.mark.parametrize("comparator", list(Comparator))
@pytest.mark.parametrize(("value", "have"), [(1, "1"), ("1", 1), (0, ""), ("", 0)])
def test_c_11_21_a_value_of_the_other_kind_does_not_satisfy(
    comparator: Comparator, value: str | int, have: str | int
) -> None:
    assert score((a_wish("a", value, comparator),), {"a": have}) == MISSED
    assert score((a_wish("a", value, comparator, required=True),), {"a": have}) is None


@pytest.mark.parametrize("comparator", list(Comparator))
@pytest.mark.parametrize("value", [0, ""])
def test_c_11_21_a_missing_label_does_not_satisfy(comparator: Comparator, value: str | int) -> None:
    assert score((a_wish("a", value, comparator),), {"b": value}) == MISSED
    assert score((a_wish("a", value, comparator, required=True),), {"b": value}) is None


def test_c_11_24_the_runs_wish_replaces_the_tasks_of_the_same_key_and_others_are_added() -> None:
    declared = (a_wish("a", "declared", required=True), a_wish("b", 1, weight=5))
    wanted = merged(declared, (a_wish("a", "run", weight=30), a_wish("z", 3, weight=7)))
    assert score(wanted, {"a": "declared", "b": 1, "z": 3}) == 12
    assert score(wanted, {"a": "run", "b": 1}) == 35
    assert score(merged(declared, ()), {"a": "run", "b": 1}) is None
