"""Random workflows driven at random, as an engine would, and compared with the oracle at every step.

The clock never shows one time twice between two things that happen outside, so that no order of arrival is left open.
"""

from __future__ import annotations

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from run_model import Assigned, Ending, Match, Opened, Run, rebuilt
from run_oracle import End, Oracle, status_of
from run_strategies import KEYS, SLEEPS, versions

from hatchet.core.conditions import Kind
from hatchet.core.definitions import StoredVersion
from hatchet.core.run_state import RunState
from hatchet.core.run_tasks import TaskFacts, Verdict
from hatchet.core.statuses import Outcome

TICK = 1 / 1024
OUTPUTS = (None, "{}", '{"n": 0}', '{"n": 2}', '{"n": "text"}')
ENDS = (*[Outcome.COMPLETED] * 4, Outcome.FAILED, Outcome.TIMED_OUT, Outcome.CANCELLED)

outputs = st.sampled_from(OUTPUTS[:-1])


class RunMachine(RuleBasedStateMachine):
    """One run; the rules are what workers, clocks, people and event sources do."""

    run: Run

    def __init__(self) -> None:
        super().__init__()
        self.ends: dict[tuple[int, int], Outcome] = {}
        """(Number, attempt) to the end that was seen first."""
        self.has_replays = False
        self.is_order_lost = False
        """A replay opened a task while another was queued by a decision, which no row remembers: a restart decides it
        again, after the replay."""
        self.is_anybody_seen = False
        self.cancels = 0

    @initialize(version=versions())
    def trigger(self, version: StoredVersion) -> None:
        self.run = Run(version=version)

    def tick(self) -> None:
        self.run.pass_time(TICK)

    @precondition(lambda self: self.run.ready)
    @rule(data=st.data())
    def a_task_starts(self, data: st.DataObject) -> None:
        self.tick()
        index = data.draw(st.sampled_from(sorted(self.run.ready)))
        self.run.start(index)

    @precondition(lambda self: self.run.running)
    @rule(data=st.data(), outcome=st.sampled_from(ENDS), output=outputs)
    def a_task_ends(self, data: st.DataObject, outcome: Outcome, output: str | None) -> None:
        self.tick()
        self.run.finish(data.draw(st.sampled_from(sorted(self.run.running))), outcome, output)

    @precondition(lambda self: self.run.ready | self.run.running)
    @rule(output=outputs)
    def all_that_may_run_completes(self, output: str | None) -> None:
        for index in sorted(self.run.ready | self.run.running):
            self.tick()
            self.run.finish(index, Outcome.COMPLETED, output)

    @precondition(lambda self: self.run.running)
    @rule(data=st.data())
    def a_task_is_tried_again(self, data: st.DataObject) -> None:
        self.tick()
        self.run.retry(data.draw(st.sampled_from(sorted(self.run.running))))

    @rule(key=st.sampled_from(KEYS))
    def an_event_is_pushed(self, key: str) -> None:
        self.tick()
        self.run.push(key)

    @precondition(lambda self: self.run.waits)
    @rule(seconds=st.sampled_from((1, 3, 40)), late=st.booleans())
    def time_passes(self, seconds: int, late: bool) -> None:
        self.run.pass_time(seconds, late=late)

    @precondition(lambda self: self.cancels < 2 and not self.run.state.is_over)
    @rule(data=st.data())
    def a_task_is_cancelled(self, data: st.DataObject) -> None:
        self.tick()
        self.cancels += 1
        opened = [index for index, task in enumerate(self.run.state.tasks) if task.outcome is None]
        self.run.finish(data.draw(st.sampled_from(opened)), Outcome.CANCELLED)

    @precondition(lambda self: any(task.outcome for task in self.run.state.tasks))
    @rule(data=st.data(), are_started=st.booleans())
    def tasks_are_replayed(self, data: st.DataObject, are_started: bool) -> None:
        """C-15.10: all that have ended of those asked for, or none while a task does not exist."""
        self.tick()
        for index in sorted(self.run.ready) if are_started else ():
            self.run.start(index)
        state, size = self.run.state, len(self.run.state.tasks)
        asked = data.draw(st.sets(st.integers(0, size - 1), min_size=1))
        ended = {index for index in asked if state.tasks[index].outcome is not None}
        attempts = [task.attempt for task in state.tasks]
        all_exist = all(state.exists(index) for index in range(size))
        opened = self.run.replay(asked)
        assert opened.keys() == (ended if all_exist else set())
        self.has_replays |= bool(opened)
        self.is_order_lost |= bool(opened) and any(self.is_in_no_row(index) for index in self.run.ready - opened.keys())
        # C-15.12: those have a further attempt, all others are what they were.
        assert [task.attempt for task in state.tasks] == [
            attempt + (index in opened) for index, attempt in enumerate(attempts)
        ]

    @invariant()
    def the_run_has_ended_or_something_can_still_happen(self) -> None:
        """C-6.19: a run is never stuck."""
        if self.run.state.is_over or self.run.ready or self.run.running:
            return
        assert self.run.waits
        for index, wait in self.run.waits.items():
            met = self.run.state.tasks[index].matches
            listens = any(
                condition.kind is Kind.EVENT and number not in met
                for number, condition in enumerate(self.run.version.tasks[index].definition.conditions)
            )
            assert listens or (wait.wakes_at is not None and wait.wakes_at > self.run.now)

    @invariant()
    def an_ended_attempt_stays_as_it_ended(self) -> None:
        """C-6.5: only a replay opens a task again, with another attempt."""
        for index, task in enumerate(self.run.state.tasks):
            if task.outcome is not None:
                assert self.ends.setdefault((index, task.attempt), task.outcome) is task.outcome
            else:
                assert (index, task.attempt) not in self.ends

    @invariant()
    def asking_again_changes_nothing(self) -> None:
        state = self.run.state
        before = [(task.attempt, task.is_decided, task.outcome, task.ended_at) for task in state.tasks]
        again = state.advance(state.undecided(), self.run.now)
        assert {change.index: change.decision for change in again} == self.run.waits
        assert before == [(task.attempt, task.is_decided, task.outcome, task.ended_at) for task in state.tasks]

    @invariant()
    def the_status_follows_from_the_tasks(self) -> None:
        """C-6.7, C-6.10."""
        facts = self.run.facts
        self.is_anybody_seen |= any(isinstance(fact, Assigned | Ending) for fact in facts)
        outcomes = [task.outcome for task in self.run.state.tasks]
        assert self.run.status() is status_of(outcomes, self.is_anybody_seen)
        assert self.run.state.is_over == (None not in outcomes)
        assert self.run.state.open == outcomes.count(None)

    def is_in_no_row(self, index: int) -> bool:
        return (index, self.run.state.tasks[index].attempt) in self.run.decisions

    @invariant()
    def a_run_built_again_from_its_rows_is_the_same(self) -> None:
        if self.is_order_lost:
            return
        facts = list(self.run.facts)
        random.Random(len(facts)).shuffle(facts)
        self.compare(rebuilt(self.run.version, self.run.created_at, facts))

    @invariant()
    def a_run_built_again_from_what_came_from_outside_decides_the_same(self) -> None:
        """C-8.38: decisions follow from what workers, people and events did; their rows only remember them."""
        if self.has_replays:
            return
        outside = [fact for fact in self.run.facts if not (isinstance(fact, Ending) and fact.is_decision)]
        self.compare(rebuilt(self.run.version, self.run.created_at, outside))

    def compare(self, other: RunState) -> None:
        mine = self.run.state
        waiting = other.undecided()
        random.Random(len(waiting)).shuffle(waiting)
        changes = {change.index: change.decision for change in other.advance(waiting, self.run.now)}
        assert {i: one for i, one in changes.items() if one.verdict is Verdict.WAIT} == self.run.waits
        for index, decision in changes.items():
            if decision.verdict is not Verdict.WAIT:
                assert decision == self.run.decisions[index, other.tasks[index].attempt]
        assert other.status() is mine.status()
        assert [essence(task) for task in other.tasks] == [essence(task) for task in mine.tasks]

    @invariant()
    def the_oracle_agrees(self) -> None:
        """C-8.38: each task is decided as the rules say, at the first instant at which they say it."""
        if self.has_replays:
            return
        oracle = self.oracle()
        for index in range(len(self.run.state.tasks)):
            decision = next((d for (i, _), d in self.run.decisions.items() if i == index), None)
            if decision is not None:
                assert oracle.verdicts[index] == (decision.verdict, decision.at)
            elif index not in oracle.done:
                assert oracle.verdicts[index] == (Verdict.WAIT, 0.0)

    def oracle(self) -> Oracle:
        done = {
            fact.index: End(fact.outcome, fact.at, fact.output)
            for fact in self.run.facts
            if isinstance(fact, Ending) and not fact.is_decision
        }
        matches: dict[int, dict[int, float]] = {}
        for fact in self.run.facts:
            if isinstance(fact, Match):
                matches.setdefault(fact.index, {})[fact.condition] = fact.at
        return Oracle(self.run.version, self.run.created_at, self.run.now, done, matches).run()

    def teardown(self) -> None:
        """Whatever happened, a run comes to its end when workers work, events come and time passes."""
        if not hasattr(self, "run"):
            return
        for _ in range(4 * len(self.run.state.tasks) + 4):
            for index in sorted(self.run.ready | self.run.running):
                self.tick()
                self.run.finish(index, Outcome.COMPLETED, "{}")
            for key in KEYS:
                self.tick()
                self.run.push(key)
            self.run.pass_time(max(SLEEPS) + 1)
        assert self.run.state.is_over
        assert (self.run.waits, self.run.ready, self.run.running) == ({}, set(), set())
        assert all(map(self.run.state.exists, range(len(self.run.state.tasks))))
        # One decision an attempt, but for those that a retry or a replay opened to run at once.
        opened = {(fact.index, fact.attempt) for fact in self.run.facts if isinstance(fact, Opened) and fact.is_queued}
        assert not opened & self.run.decisions.keys()


def essence(task: TaskFacts) -> tuple[object, ...]:
    """What matters of a task: where it stands and what decided it."""
    return task.attempt, task.opened_at, task.is_decided, task.outcome, task.ended_at, task.output


TestRunMachine = RunMachine.TestCase
TestRunMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
