"""The durable log rule by rule (behaviour-durable D-6 to D-8, D-12 to D-15, D-17, D-22)."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from hatchet.core.durable_log import (
    BURST_SECONDS,
    MOST_COMPUTATIONS,
    PATIENCE_SECONDS,
    ROOT,
    SPACE_SECONDS,
    STALLED_SECONDS,
    TURN_SECONDS,
    UNDER_WAY_SECONDS,
    Branch,
    Child,
    DurableLog,
    Entry,
    EntryKind,
    Found,
    Key,
    Mismatch,
    New,
    Release,
    Restore,
    Result,
    branched,
    resume_point,
)
from hatchet.core.durable_waits import WaitCondition, WaitKind, to_text

NOW = 1000.0


def sleeping(text: str = "5s", group: str = "g") -> list[WaitCondition]:
    return [WaitCondition(kind=WaitKind.SLEEP, or_group=group, data_key=f"sleep:{text}", sleep_for=text)]


class Story:
    """What invocations of one task do, and the rows that they leave."""

    def __init__(self, *, in_order: bool = True) -> None:
        self.rows: dict[Key, Entry] = {}
        self.released: dict[Key, list[Release | None]] = {}
        self.branches: list[Branch] = []
        self.in_order = in_order
        self.invocation = 0
        self.now = NOW
        self.again()

    def again(self, *, walked: int = 0, is_same: bool = False) -> DurableLog:
        """The next invocation, or the same one in another engine."""
        self.invocation += not is_same
        self.log = DurableLog(
            self.invocation,
            [replace(row, release=one) for row in self.rows.values() for one in self.released.get(row.key, [None])],
            self.branches,
            walked=walked,
            hands_over_in_order=self.in_order,
        )
        return self.log

    def branch(self, branch: int, node: int) -> DurableLog:
        new = branched(self.branches, self.rows.values(), branch, node)
        assert new is not None
        self.branches.append(new)
        return self.again()

    def sleep(self, text: str = "5s") -> Key:
        step = self.log.wait(sleeping(text))
        return self._took(step, EntryKind.WAIT_FOR, to_text(sleeping(text)))

    def memo(self, key: str = "k") -> Key:
        return self._took(self.log.memo(key.encode()), EntryKind.MEMO, "")

    def spawn(self, *children: Child) -> list[Key]:
        steps = self.log.spawn(children)
        assert not isinstance(steps, Mismatch), steps
        pairs = zip(steps, children, strict=True)
        return [self._took(step, EntryKind.RUN, child.workflow, child.name) for step, child in pairs]

    def end(self, key: Key, at: float = NOW, payload: str = "{}") -> None:
        result = Result(at, payload)
        self.rows[key].result = self.rows[key].result or result
        self.log.satisfied(*key, result)

    def hand_over(self, *, after: float = 0.0) -> list[tuple[Key, int]]:
        """(key, order) of what the worker gets now, one turn after the other."""
        found = self.turn(after=after)
        while (at := self.log.next_turn()) is not None:
            assert at > self.now, "it would look again and again"
            found += self.turn(after=at - self.now)
        return found

    def turn(self, *, after: float = 0.0) -> list[tuple[Key, int]]:
        """(key, order) of what the worker gets at this moment."""
        self.now += after
        found = self.log.releases(self.now)
        for entry, release in found:
            if entry.release is None:
                self.released.setdefault(entry.key, []).append(release)
            self.log.sent(entry, release)
        return [(entry.key, release.order) for entry, release in found]

    def list_(self, *keys: Key) -> list[Key]:
        return [entry.key for entry in self.log.listed(keys, self.now)]

    def _took(self, step: Found | New | Mismatch, kind: EntryKind, subject: str, name: str | None = None) -> Key:
        assert not isinstance(step, Mismatch), step
        if isinstance(step, New):
            if (step.branch, step.node) not in self.rows:
                entry = Entry(kind, step.branch, step.node, step.digest, self.invocation, self.now)
                entry.subject, entry.child_name = subject, name
                self.rows[entry.key] = entry
            self.log.took(replace(self.rows[step.branch, step.node]))
            return step.branch, step.node
        self.log.took(step.entry)
        return step.entry.key


@pytest.fixture
def story() -> Story:
    return Story()


def child(text: str, index: int | None = None, key: str | None = None) -> Child:
    return Child("w", text, key, index)


# Nodes and branches ---------------------------------------------------------------------------------------------------


def test_d_6_2_nodes_are_counted_in_the_order_of_the_requests(story: Story) -> None:
    assert story.sleep() == (ROOT, 1)
    assert story.memo() == (1, 2)
    assert story.spawn(child("a", 0), child("b", 1)) == [(1, 3), (1, 4)]
    assert story.sleep() == (1, 5)


def test_d_6_3_children_get_consecutive_nodes(story: Story) -> None:
    assert story.spawn(*(child(str(n), n) for n in range(100))) == [(1, n) for n in range(1, 101)]


def test_d_6_4_a_known_child_takes_no_node_but_its_own(story: Story) -> None:
    first = story.spawn(child("a", 0, "a"), child("b", 1, "b"), child("a", 2, "a"))
    assert first == [(1, 1), (1, 2), (1, 1)]
    assert story.spawn(child("x", 3, "b")) == [(1, 2)]
    assert story.sleep() == (1, 3)
    story.again()
    assert story.spawn(child("a", 0, "a"), child("b", 1, "b"), child("a", 2, "a")) == first
    assert story.log.walked == 2
    assert story.spawn(child("x", 3, "b")) == [(1, 2)]
    assert story.log.walked == 2
    assert story.sleep() == (1, 3)


def test_d_6_5_the_highest_node_never_moves_backwards(story: Story) -> None:
    for _ in range(3):
        story.memo()
    story.again()
    story.memo()
    assert (story.log.walked, story.log.tip, story.log.is_replaying) == (1, 3, True)


def test_d_6_8_a_node_is_looked_up_from_the_active_branch_to_the_root(story: Story) -> None:
    for _ in range(5):
        story.memo()
    story.branch(1, 4)
    for _ in range(5):
        story.memo()
    assert [entry.key for entry in story.log.on_path()] == [(1, 1), (1, 2), (1, 3), (2, 4), (2, 5)]
    story.branch(1, 2)
    assert [entry.key for entry in story.log.on_path()] == [(1, 1)]
    for _ in range(3):
        story.memo()
    assert [entry.key for entry in story.log.on_path()] == [(1, 1), (3, 2), (3, 3)]
    story.branch(2, 5)
    assert [entry.key for entry in story.log.on_path()] == [(1, 1), (1, 2), (1, 3), (2, 4)]


def test_d_6_8_of_equal_first_nodes_the_newest_branch_wins(story: Story) -> None:
    story.memo()
    story.memo()
    story.branch(1, 2)
    story.memo()
    story.memo()
    story.branch(2, 2)
    story.memo()
    assert story.memo() == (3, 2)


def test_d_6_8_a_branch_below_its_parent_hides_it(story: Story) -> None:
    for _ in range(4):
        story.memo()
    story.branch(1, 4)
    for _ in range(4):
        story.memo()
    story.branch(2, 2)
    story.memo()
    assert [story.memo() for _ in range(3)] == [(3, 2), (3, 3), (3, 4)]


def test_d_6_10_a_branch_of_a_branch(story: Story) -> None:
    story.sleep()
    story.sleep()
    assert branched([], story.rows.values(), 1, 2) == Branch(2, 1, 2)
    story.branch(1, 2)
    story.sleep()
    story.sleep()
    assert branched(story.branches, story.rows.values(), 2, 2) == Branch(3, 2, 2)


def test_d_22_5_a_branch_begins_at_an_entry(story: Story) -> None:
    story.sleep()
    for branch, node in ((1, 2), (1, 0), (1, -1), (2, 1)):
        assert branched([], story.rows.values(), branch, node) is None


# Entries --------------------------------------------------------------------------------------------------------------


def test_d_7_3_the_first_result_stays(story: Story) -> None:
    key = story.sleep()
    assert story.log.satisfied(*key, Result(NOW, "first"))
    assert not story.log.satisfied(*key, Result(NOW, "second"))
    assert not story.log.satisfied(1, 99, Result(NOW))
    entry = story.log.get(*key)
    assert entry is not None
    assert entry.result == Result(NOW, "first")


def test_d_7_6_orders_are_counted_without_gaps_and_a_batch_by_time_and_node(story: Story) -> None:
    keys = [story.sleep(), story.sleep(), story.sleep(), story.memo()]
    for key, at in zip(keys, (30.0, 20.0, 20.0, 1.0), strict=True):
        story.end(key, at)
    assert story.hand_over() == [((1, 2), 1), ((1, 3), 2), ((1, 1), 3)]
    assert story.hand_over() == []


def test_d_8_2_a_replay_answers_from_the_log(story: Story) -> None:
    key = story.sleep()
    story.end(key, payload='{"CREATE":{}}')
    assert story.hand_over() == [(key, 1)]
    log = story.again()
    step = log.wait(sleeping(group="another"))
    assert isinstance(step, Found)
    assert step.entry.result == Result(NOW, '{"CREATE":{}}')
    assert story.hand_over() == []
    assert story.sleep() == key
    assert story.hand_over() == [(key, 1)]


def test_d_8_3_a_replay_keeps_what_waits(story: Story) -> None:
    key = story.sleep()
    story.again()
    assert story.sleep() == key
    assert [entry.key for entry in story.log.waiting()] == [key]
    assert story.hand_over() == []


def test_d_8_4_another_wait_changes_nothing(story: Story) -> None:
    story.sleep("5s")
    story.again()
    assert isinstance(story.log.wait(sleeping("6s")), Mismatch)
    assert (story.log.walked, len(story.log)) == (0, 1)


def test_d_12_5_a_memo_that_has_a_value_is_found_with_it(story: Story) -> None:
    key = story.memo()
    story.end(key, payload='{"v":1}')
    assert story.hand_over() == []
    step = story.again().memo(b"k")
    assert isinstance(step, Found)
    assert step.entry.result == Result(NOW, '{"v":1}')


def test_d_12_6_a_memo_without_a_value_is_found_without(story: Story) -> None:
    story.memo()
    step = story.again().memo(b"k")
    assert isinstance(step, Found)
    assert step.entry.result is None


def test_d_12_7_the_first_value_of_a_memo_stays(story: Story) -> None:
    key = story.memo()
    assert story.log.satisfied(*key, Result(NOW, "1"))
    assert not story.log.satisfied(*key, Result(NOW, "2"))


def test_d_12_8_memos_have_no_order(story: Story) -> None:
    key = story.memo()
    story.end(key)
    assert story.list_(key) == []
    assert story.hand_over() == []


# Children -------------------------------------------------------------------------------------------------------------


def test_d_13_4_a_child_is_found_by_key_or_else_by_index() -> None:
    assert child("a", 3, "k").name == "key:k"
    assert child("a", 3).name == "index:3"
    assert child("a", 0).name == "index:0"
    assert child("a").name is None
    assert child("a", 1, "").name == "index:1"


def test_d_13_5_children_are_found_along_the_active_path(story: Story) -> None:
    story.spawn(child("a", 0), child("b", 1))
    story.branch(1, 2)
    assert story.spawn(child("a", 0), child("other", 1)) == [(1, 1), (2, 2)]
    story.branch(1, 2)
    assert story.spawn(child("a", 0), child("third", 1)) == [(1, 1), (3, 2)]
    story.branch(2, 2)
    assert story.spawn(child("a", 0), child("fourth", 1)) == [(1, 1), (4, 2)]


def test_d_13_6_the_input_of_a_keyed_child_is_not_compared(story: Story) -> None:
    [key] = story.spawn(child("a", 0, "k"))
    assert story.spawn(child("other", 1, "k")) == [key]
    story.again()
    assert story.spawn(child("third", 0, "k")) == [key]


def test_d_13_7_one_key_in_one_request_is_one_child(story: Story) -> None:
    assert story.spawn(child("1", 0, "a"), child("2", 1, "b"), child("3", 2, "a")) == [(1, 1), (1, 2), (1, 1)]
    assert len(story.rows) == 2


def test_d_13_8_children_from_the_branch_point_on_are_new(story: Story) -> None:
    story.spawn(child("a", 0, "a"))
    story.spawn(child("b", 1, "b"))
    story.branch(1, 2)
    assert story.spawn(child("a", 0, "a"), child("b", 1, "b")) == [(1, 1), (2, 2)]


def test_d_14_4_another_input_at_an_index_is_a_mismatch(story: Story) -> None:
    story.spawn(child("a", 0), child("b", 1))
    story.again()
    found = story.log.spawn([child("a", 0), child("c", 1)])
    assert isinstance(found, Mismatch)
    assert (found.branch, found.node) == (1, 2)
    assert story.log.walked == 0
    assert isinstance(story.log.spawn([child("b", 0)]), Mismatch)


def test_d_14_4_one_index_with_two_inputs_in_one_request_is_a_mismatch(story: Story) -> None:
    assert isinstance(story.log.spawn([child("a", 0), child("b", 0)]), Mismatch)


def test_d_14_5_index_and_key_are_not_compared(story: Story) -> None:
    keys = story.spawn(child("a"), child("b", 0), child("c", 1, "k"))
    story.again()
    assert story.spawn(child("a"), child("b", 7), child("c", 1, "l")) == keys
    assert story.sleep() == (1, 4)


def test_d_14_1_a_child_in_the_place_of_another_is_a_mismatch(story: Story) -> None:
    story.spawn(child("a"))
    story.again()
    found = story.log.spawn([child("b")])
    assert isinstance(found, Mismatch)
    assert found.expected != found.received


# Comparison -----------------------------------------------------------------------------------------------------------


def test_d_14_1_the_kind_is_compared(story: Story) -> None:
    story.memo()
    story.again()
    assert isinstance(story.log.wait(sleeping()), Mismatch)
    assert isinstance(story.log.spawn([child("a", 0)]), Mismatch)
    assert isinstance(story.log.memo(b"k"), Found)


def test_d_14_6_the_key_of_a_memo_is_compared(story: Story) -> None:
    story.memo("k")
    story.again()
    found = story.log.memo(b"l")
    assert isinstance(found, Mismatch)
    assert found.expected != found.received


def test_d_14_8_a_mismatch_says_where_and_what(story: Story) -> None:
    story.sleep("5s")
    story.again()
    found = story.log.memo(b"k")
    assert isinstance(found, Mismatch)
    first, *others = found.message("the-task").splitlines()
    assert re.match("non-determinism error", first)
    assert "the-task" in first
    assert "1:1" in first
    assert [("sleep(5s)" in line, "memo" in line) for line in others] == [(True, False), (False, True)]


def test_d_14_11_fewer_and_more_operations_are_no_error(story: Story) -> None:
    story.memo()
    story.memo()
    story.again()
    story.memo()
    story.again()
    assert [story.memo() for _ in range(3)] == [(1, 1), (1, 2), (1, 3)]


def test_d_14_12_after_a_mismatch_the_same_node_is_compared(story: Story) -> None:
    story.sleep("5s")
    story.again()
    assert isinstance(story.log.memo(b"k"), Mismatch)
    assert story.sleep("5s") == (1, 1)


# Order ----------------------------------------------------------------------------------------------------------------


def test_d_15_3_a_completion_waits_for_its_predecessor(story: Story) -> None:
    one, two = story.sleep(), story.sleep()
    story.end(two, 1.0)
    assert story.hand_over() == [(two, 1)]
    story.end(one, 2.0)
    assert story.hand_over() == [(one, 2)]
    story.again()
    story.sleep()
    assert story.hand_over() == []
    story.sleep()
    assert story.hand_over() == [(two, 1), (one, 2)]


def test_d_15_3_orders_off_the_path_are_not_waited_for(story: Story) -> None:
    """Nodes 1 and 2 run together, 2 ends first, then branch at 2: 1 is handed over before anything new."""
    one, two = story.sleep(), story.sleep()
    story.end(two, 1.0)
    story.hand_over()
    three = story.sleep()
    story.end(one, 2.0)
    assert story.hand_over() == [(one, 2)]
    story.end(three, 3.0)
    story.hand_over()
    story.branch(1, 2)
    assert story.sleep() == one
    assert story.hand_over() == [(one, 3)], "what lay beyond the branch point is not waited for"
    new = story.sleep()
    assert new == (2, 2)
    story.end(new, 4.0)
    assert story.hand_over() == [(new, 4)]
    story.again()
    story.sleep()
    assert story.hand_over() == [(one, 3)]
    story.sleep()
    assert story.hand_over() == [(new, 4)]


def test_d_22_7_the_counter_goes_on_from_the_highest_inherited_order(story: Story) -> None:
    one, two = story.sleep(), story.sleep()
    for key, at in ((two, 1.0), (one, 2.0)):
        story.end(key, at)
    assert story.hand_over() == [(two, 1), (one, 2)]
    story.sleep()
    story.branch(1, 3)
    story.sleep()
    story.sleep()
    new = story.sleep()
    assert story.hand_over() == [(two, 1), (one, 2)]
    story.end(new, 4.0)
    assert story.hand_over() == [(new, 3)]


def test_d_22_7_what_was_handed_over_elsewhere_is_handed_over_anew(story: Story) -> None:
    slow, two = story.sleep(), story.sleep()
    story.end(two, 1.0)
    assert story.hand_over() == [(two, 1)]
    story.sleep()
    story.branch(1, 2)
    story.sleep()
    story.sleep()
    story.end(slow, 2.0)
    assert story.hand_over() == [(slow, 1)]
    story.branch(1, 3)
    for _ in range(2):
        story.sleep()
    assert story.hand_over() == [(two, 1), (slow, 2)]
    new = story.sleep()
    story.end(new, 3.0)
    assert story.hand_over() == [(new, 3)]
    story.again()
    for _ in range(3):
        story.sleep()
    assert story.hand_over() == [(two, 1), (slow, 2), (new, 3)]


def test_d_15_16_a_child_that_was_awaited_beyond_the_branch_point_is_awaited_anew(story: Story) -> None:
    """Otherwise it would stand at the head of the worker's queue, and block what has to end first."""
    [late] = story.spawn(child("a", 0))
    wait = story.sleep()
    story.end(late, 1.0)
    story.end(wait, 2.0)
    assert story.hand_over() == [(wait, 1)]
    story.list_(late)
    assert story.hand_over() == [(late, 2)]
    story.branch(1, 2)
    story.spawn(child("a", 0))
    wait = story.sleep()
    assert story.hand_over() == []
    story.end(wait, 3.0)
    assert story.hand_over() == [(wait, 3)]
    story.list_(late)
    assert story.hand_over() == [(late, 4)]


def test_d_22_8_what_waits_off_the_path_is_not_waited_for(story: Story) -> None:
    story.sleep()
    story.sleep()
    story.branch(1, 2)
    assert [entry.key for entry in story.log.waiting()] == [(1, 1)]


def test_d_15_5_what_is_listed_again_is_sent_again_in_order(story: Story) -> None:
    one, two = story.sleep(), story.sleep()
    story.end(two, 1.0)
    story.end(one, 2.0)
    assert story.list_(one, two) == []
    story.hand_over()
    assert story.list_(one, two, (7, 7)) == [two, one]


def test_d_15_6_an_engine_goes_on_behind_what_was_received(story: Story) -> None:
    keys = [story.sleep() for _ in range(3)]
    for key, at in zip(keys, (1.0, 2.0, 3.0), strict=True):
        story.end(key, at)
    story.hand_over()
    story.again(walked=3, is_same=True)
    story.log.received(2)
    assert story.hand_over() == [(keys[2], 3)]


def test_d_15_6_a_new_stream_gets_what_the_old_one_lost_in_order(story: Story) -> None:
    keys = [story.sleep() for _ in range(3)]
    for key, at in zip(keys, (1.0, 2.0, 3.0), strict=True):
        story.end(key, at)
    story.hand_over()
    story.log.reconnected()
    story.log.received(1)
    assert story.list_(keys[2]) == []
    assert story.hand_over() == [(keys[1], 2), (keys[2], 3)]
    story.log.reconnected()
    assert [key for key, _ in story.hand_over()] == keys


def test_d_15_12_an_invocation_gets_only_what_it_asked_for(story: Story) -> None:
    key = story.sleep()
    story.again()
    story.end(key)
    assert story.hand_over() == []
    story.sleep()
    assert story.hand_over() == [(key, 1)]


def test_d_15_16_a_child_is_handed_over_once_it_is_awaited(story: Story) -> None:
    [key] = story.spawn(child("a", 0))
    wait = story.sleep()
    story.end(key, 1.0)
    assert story.hand_over() == []
    story.end(wait, 2.0)
    assert story.hand_over() == [(wait, 1)]
    story.list_(key)
    assert story.hand_over() == [(key, 2)]
    story.again()
    story.spawn(child("a", 0))
    story.sleep()
    assert story.hand_over() == [(wait, 1), (key, 2)], "it was awaited in an earlier invocation"


def test_d_15_16_other_workers_get_a_child_at_once() -> None:
    story = Story(in_order=False)
    [key] = story.spawn(child("a", 0))
    story.end(key)
    assert story.hand_over() == [(key, 1)]


# The horizon ----------------------------------------------------------------------------------------------------------


def two_branches(story: Story) -> tuple[Key, Key]:
    """Node 1 ended when the walk had come to 2; a second invocation has asked for it."""
    one, two = story.sleep(), story.sleep()
    story.end(one)
    assert story.hand_over() == [(one, 1)]
    story.again()
    story.sleep()
    return one, two


def test_d_15_17_a_completion_waits_until_the_walk_has_come_as_far(story: Story) -> None:
    one, _ = two_branches(story)
    assert story.hand_over() == []
    story.sleep()
    assert story.hand_over() == [(one, 1)]


def test_d_15_17_what_was_never_handed_over_waits_for_the_whole_walk(story: Story) -> None:
    one = story.sleep()
    story.sleep()
    story.again()
    story.sleep()
    story.end(one)
    assert story.hand_over() == []
    story.sleep()
    assert story.hand_over() == [(one, 1)]


def test_d_15_17_the_hold_ends_when_the_worker_still_lists_it(story: Story) -> None:
    one, _ = two_branches(story)
    assert story.hand_over() == []
    assert story.hand_over(after=1000.0) == [], "nobody has listed it"
    story.list_(one)
    assert story.hand_over(after=PATIENCE_SECONDS - 0.1) == []
    assert story.hand_over(after=0.1) == [(one, 1)]


def test_d_15_17_the_hold_goes_on_while_the_walk_does(story: Story) -> None:
    one = story.sleep()
    for _ in range(3):
        story.sleep()
    story.end(one)
    story.hand_over()
    story.again()
    story.sleep()
    story.list_(one)
    for _ in range(2):
        assert story.hand_over(after=PATIENCE_SECONDS - 0.1) == []
        story.sleep()
    assert story.hand_over() == []
    assert story.hand_over(after=PATIENCE_SECONDS) == [(one, 1)]


def test_d_15_17_a_result_that_comes_while_the_walk_is_under_way_is_held_too(story: Story) -> None:
    one = story.sleep()
    story.sleep()
    story.again()
    story.sleep()
    story.list_(one)
    assert story.hand_over() == []
    assert story.hand_over(after=100.0) == []
    story.end(one)
    assert story.hand_over() == []
    assert story.hand_over(after=PATIENCE_SECONDS) == [(one, 1)]


def test_d_15_17_code_that_took_its_time_gets_it_again(story: Story) -> None:
    """Code between two operations computed for 20 s: another branch must not overtake it in a replay."""
    one = story.sleep()
    story.now += 20.0
    story.sleep()
    story.end(one)
    story.hand_over()
    story.again()
    story.sleep()
    story.list_(one)
    assert story.hand_over() == []
    assert story.hand_over(after=24.9) == []
    assert story.hand_over(after=0.1) == [(one, 1)]


def test_d_15_10_a_completion_whose_predecessor_is_not_asked_for_stalls(story: Story) -> None:
    one, two = story.sleep(), story.sleep()
    story.end(two, 1.0)
    story.hand_over()
    story.end(one, 2.0)
    story.hand_over()
    story.again()
    story.sleep()
    story.list_(one)
    assert story.hand_over() == []
    assert story.hand_over(after=STALLED_SECONDS) == []
    assert story.log.stalled(story.now) is None
    assert story.hand_over(after=0.1) == []
    stalled = story.log.stalled(story.now)
    assert stalled is not None
    assert stalled.key == one


def test_d_15_10_a_wait_that_goes_on_for_long_does_not_stall(story: Story) -> None:
    one = story.sleep()
    story.sleep()
    story.again()
    story.sleep()
    story.list_(one)
    story.hand_over()
    story.now += 1000.0
    story.end(one)
    assert story.hand_over() == []
    assert story.log.stalled(story.now) is None


# Turns ----------------------------------------------------------------------------------------------------------------


def over_together(story: Story, count: int = 2) -> list[Key]:
    """Waits that are over at the same moment."""
    keys = [story.sleep() for _ in range(count)]
    for key in keys:
        story.end(key)
    return keys


def turn_at(story: Story) -> float:
    at = story.log.next_turn()
    assert at is not None
    return at


def test_d_15_17_completions_take_turns(story: Story) -> None:
    one, two = over_together(story)
    assert story.turn() == [(one, 1)]
    assert turn_at(story) == story.now + TURN_SECONDS
    assert story.turn(after=TURN_SECONDS / 2) == []
    assert story.turn(after=turn_at(story) - story.now) == [(two, 2)]
    assert story.log.next_turn() is None


def test_d_15_17_a_request_ends_a_turn(story: Story) -> None:
    one, two = over_together(story)
    assert story.turn() == [(one, 1)]
    story.now += SPACE_SECONDS
    three = story.sleep()
    assert story.turn() == [(two, 2)]
    assert [row.release.tip for row in story.again().on_path() if row.release] == [2, three[1]]


def test_d_15_17_a_request_that_was_on_its_way_before_does_not_end_a_turn(story: Story) -> None:
    one, two = over_together(story)
    assert story.turn() == [(one, 1)]
    begun = story.now
    story.sleep()
    assert story.turn() == []
    assert turn_at(story) == begun + SPACE_SECONDS
    assert story.turn(after=turn_at(story) - story.now) == [(two, 2)]


def test_d_15_17_each_turn_is_waited_for_though_the_one_before_is_long_over(story: Story) -> None:
    [first] = over_together(story, 1)
    assert story.turn() == [(first, 1)]
    story.now += 100.0
    one, two = over_together(story)
    story.now += 100.0
    assert story.turn() == [(one, 2)]
    assert story.turn() == []
    assert story.turn(after=turn_at(story) - story.now) == [(two, 3)]


def test_d_15_17_children_of_one_request_have_one_turn(story: Story) -> None:
    children = story.spawn(child("a", 0), child("b", 1))
    story.now += 1.0
    [other] = story.spawn(child("c", 2))
    story.list_(*children, other)
    story.end(children[0], 1.0)
    story.end(other, 2.0)
    story.end(children[1], 1.5)
    assert story.turn() == [(children[0], 1), (children[1], 2)]
    assert story.hand_over() == [(other, 3)]


def test_d_15_17_a_child_joins_the_turn_of_its_request(story: Story) -> None:
    children = story.spawn(child("a", 0), child("b", 1))
    story.list_(*children)
    story.end(children[0])
    assert story.turn() == [(children[0], 1)]
    story.end(children[1])
    assert story.turn() == [(children[1], 2)]


def test_d_15_17_turns_come_to_an_end_without_requests(story: Story) -> None:
    """Code that waits for all of them asks for nothing."""
    keys = over_together(story, 100)
    begun = story.now
    assert [key for key, _ in story.hand_over()] == keys
    assert story.now - begun == pytest.approx(BURST_SECONDS)
    assert story.log.next_turn() is None


def test_d_15_17_a_request_begins_a_new_burst(story: Story) -> None:
    over_together(story, 30)
    given = len(story.turn())
    while story.log.next_turn() is not None:
        given += len(story.turn(after=turn_at(story) - story.now))
        if given == 5:
            break
    story.sleep()
    begun = story.now
    assert len(story.hand_over()) == 25
    assert story.now - begun > BURST_SECONDS - SPACE_SECONDS


def test_d_15_17_what_is_handed_over_again_has_its_turn_again(story: Story) -> None:
    """It was never followed by a request, for its invocation was evicted, or its stream broke."""
    one, two = over_together(story)
    assert story.turn() == [(one, 1)]
    story.again()
    for _ in range(2):
        story.sleep()
    assert story.turn() == [(one, 1)]
    assert story.hand_over(after=TURN_SECONDS) == [(two, 2)]


def test_d_15_17_completions_with_nothing_asked_between_are_replayed_apart(story: Story) -> None:
    """What the first one woke may have asked later than the turn was long."""
    one, two = over_together(story)
    assert story.hand_over() == [(one, 1), (two, 2)]
    story.sleep()
    story.again()
    for _ in range(2):
        story.sleep()
    assert story.turn() == [(one, 1)]
    assert story.log.next_replay() == turn_at(story) == story.now + SPACE_SECONDS
    assert story.turn(after=SPACE_SECONDS / 2) == []
    assert story.turn(after=turn_at(story) - story.now) == [(two, 2)]
    assert story.log.next_replay() is None


def test_d_15_17_new_completions_do_not_hold_requests_back(story: Story) -> None:
    over_together(story)
    story.turn()
    assert turn_at(story) > story.now
    assert story.log.next_replay() is None


def test_d_15_17_completions_with_a_request_between_are_replayed_at_once(story: Story) -> None:
    one, two = over_together(story)
    assert story.turn() == [(one, 1)]
    story.sleep()
    assert story.hand_over() == [(two, 2)]
    story.again()
    for _ in range(3):
        story.sleep()
    assert story.turn() == [(one, 1), (two, 2)]
    assert story.log.next_turn() is None


def test_d_15_17_replays_come_to_an_end_without_requests(story: Story) -> None:
    keys = over_together(story, 100)
    story.hand_over()
    story.again()
    for _ in keys:
        story.sleep()
    begun = story.now
    assert [key for key, _ in story.hand_over()] == keys
    assert story.now - begun == pytest.approx(BURST_SECONDS)


def test_d_15_10_what_waits_for_its_turn_does_not_stall(story: Story) -> None:
    """A worker has listed it for long when it is over beside another one."""
    keys = [story.sleep() for _ in range(2)]
    story.list_(*keys)
    story.turn()
    story.now += STALLED_SECONDS + 1.0
    for key in keys:
        story.end(key)
    assert story.turn() == [(keys[0], 1)]
    assert turn_at(story) > story.now
    assert story.log.stalled(story.now) is None


def test_d_15_17_a_completion_whose_patience_is_over_still_takes_its_turn(story: Story) -> None:
    keys = over_together(story, 2)
    story.sleep()
    story.again()
    for _ in range(2):
        story.sleep()
    story.list_(*keys)
    assert story.turn() == []
    assert story.turn(after=PATIENCE_SECONDS) == [(keys[0], 1)]
    assert story.turn(after=turn_at(story) - story.now) == [(keys[1], 2)]


def test_d_17_15_what_waits_for_its_turn_restores_at_once(story: Story) -> None:
    story.sleep("24h")
    over_together(story)
    story.turn()
    assert story.log.after_eviction(story.now) is Restore.NOW
    assert story.again(is_same=True).overdue()


# Eviction and restore -------------------------------------------------------------------------------------------------


def test_d_17_15_a_result_that_was_not_handed_over_restores_at_once(story: Story) -> None:
    key = story.sleep()
    story.sleep()
    story.end(key)
    assert story.log.after_eviction() is Restore.NOW


def test_d_17_15_what_is_held_back_restores_at_once(story: Story) -> None:
    story.sleep("24h")
    one = story.sleep()
    story.sleep()
    story.end(one)
    story.hand_over()
    story.again()
    story.sleep("24h")
    story.sleep()
    assert story.hand_over() == []
    assert story.log.after_eviction(story.now + 100.0) is Restore.NOW


def test_d_17_15_a_completion_that_no_request_followed_restores(story: Story) -> None:
    key = story.sleep()
    story.end(key)
    story.hand_over()
    assert story.log.after_eviction() is Restore.NOW
    assert story.log.overdue()


def test_d_17_15_beside_open_waits_it_restores_soon(story: Story) -> None:
    keys = story.spawn(child("a", 0), child("b", 1))
    story.list_(*keys)
    story.end(keys[0])
    story.hand_over()
    assert story.log.after_eviction(story.now + 100.0) is Restore.SOON
    assert story.again(is_same=True).overdue()


def test_d_17_15_what_was_followed_by_a_request_does_not_restore(story: Story) -> None:
    key = story.sleep()
    story.end(key)
    story.hand_over()
    story.sleep()
    story.hand_over()
    assert story.log.after_eviction(story.now + UNDER_WAY_SECONDS) is Restore.NO
    assert not story.again(is_same=True).overdue()


def test_d_17_15_a_replayed_completion_does_not_count(story: Story) -> None:
    """Otherwise an invocation that only waits would be evicted and restored for ever."""
    key = story.sleep()
    story.sleep()
    story.end(key)
    story.hand_over()
    assert story.log.after_eviction(story.now + 100.0) is Restore.SOON
    story.again()
    story.sleep()
    story.sleep()
    assert story.hand_over() == [(key, 1)]
    assert story.log.after_eviction(story.now + UNDER_WAY_SECONDS) is Restore.NO
    assert not story.again(is_same=True).overdue()


def test_d_17_15_what_is_on_its_way_restores_soon(story: Story) -> None:
    key = story.sleep()
    story.sleep()
    story.end(key)
    story.hand_over()
    story.again()
    story.sleep()
    story.sleep()
    story.hand_over()
    assert story.log.after_eviction(story.now + 0.1) is Restore.SOON
    assert story.log.after_eviction() is Restore.NO


def test_d_17_15_a_replayed_completion_is_all_that_it_can_have_waited_for(story: Story) -> None:
    key = story.sleep()
    story.end(key)
    story.hand_over()
    story.again()
    story.sleep()
    story.hand_over()
    assert story.log.after_eviction(story.now + 100.0) is Restore.NOW


def test_d_17_15_a_child_that_ended_and_was_not_listed_yet(story: Story) -> None:
    [key] = story.spawn(child("a", 0))
    story.end(key)
    assert story.hand_over() == []
    assert story.log.after_eviction() is Restore.NOW
    assert story.again(is_same=True).overdue()


def test_d_17_15_a_child_that_nobody_waits_for_does_not_restore(story: Story) -> None:
    [key] = story.spawn(child("a", 0))
    story.sleep("24h")
    story.end(key)
    story.hand_over()
    assert story.log.after_eviction(story.now + 900.0) is Restore.NO
    assert not story.again(is_same=True).overdue()


def test_d_17_15_a_memo_that_is_being_computed_restores_some_times(story: Story) -> None:
    """Not for ever: its function may fail every time, beside a branch that waits for long."""
    for _ in range(MOST_COMPUTATIONS):
        story.sleep("24h")
        story.memo()
        story.hand_over()
        assert story.log.after_eviction(story.now + 900.0) is Restore.NOW
        assert story.again(is_same=True).overdue()
        story.again()
    story.sleep("24h")
    story.memo()
    story.hand_over()
    assert story.log.after_eviction(story.now + 900.0) is Restore.NO


def test_d_17_15_a_memo_that_was_computed_and_not_followed_restores_soon(story: Story) -> None:
    story.sleep("24h")
    key = story.memo()
    story.end(key)
    story.hand_over()
    assert story.log.after_eviction(story.now + 900.0) is Restore.SOON


def test_d_29_6_a_result_that_came_after_the_eviction_is_overdue(story: Story) -> None:
    key = story.sleep()
    story.sleep()
    assert not story.again(is_same=True).overdue()
    story.end(key)
    assert story.again(is_same=True).overdue()


# Another engine -------------------------------------------------------------------------------------------------------


def test_d_20_7_an_invocation_goes_on_where_it_was(story: Story) -> None:
    story.sleep()
    story.memo()
    assert resume_point(1, story.rows.values(), []) == 2
    story.again()
    assert resume_point(2, story.rows.values(), []) == 0, "it has asked for nothing"
    assert resume_point(2, story.rows.values(), [0]) is None, "it is somewhere in the replay"
    assert resume_point(2, story.rows.values(), [0, 2]) == 2
    story.sleep()
    story.memo()
    story.sleep()
    assert resume_point(2, story.rows.values(), [0, 2]) == 3


def test_d_20_7_what_was_not_used_is_known_again(story: Story) -> None:
    key = story.sleep()
    story.sleep()
    story.end(key)
    story.hand_over()
    log = story.again(walked=2, is_same=True)
    log.received(1)
    assert log.after_eviction() is Restore.SOON
