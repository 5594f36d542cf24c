"""Write ``docs/transitions.md`` from the code that decides; with ``--check`` only tell whether it is up to date.

No table is kept by hand: every cell asks :func:`hatchet.core.transitions.decide`, ``replayed`` or a small run of
:class:`hatchet.core.run_state.RunState` and writes down the answer. Only that time takes BACKOFF to QUEUED stands here.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from hatchet.core.conditions import Action, Condition, Kind
from hatchet.core.definitions import StoredVersion, TaskDefinition, WorkflowDefinition, stored_version
from hatchet.core.run_state import RunState
from hatchet.core.run_tasks import Decision as RunDecision
from hatchet.core.run_tasks import Verdict
from hatchet.core.statuses import Outcome, RunStatus
from hatchet.core.transitions import Counters, Event, EventKind, Policy, State, decide, replayed, status_of

PAGE = Path(__file__).resolve().parent.parent / "docs" / "transitions.md"

NOW = 1_000_000.0
NONE_LEFT = Policy(retries=0, backoff_factor=None, backoff_max_seconds=None, execution_timeout="60s")
POLICIES = (NONE_LEFT, replace(NONE_LEFT, retries=1), replace(NONE_LEFT, max_internal_retries=0))
"""Without retries, with one of the user's, and without any of the engine's."""
FIRST = Counters(attempt=0, app_retries=0, internal_retries=0)

HEAD = """\
# Transitions

This page is written by `make docs` from `core/transitions.py` and `core/run_state.py`. Do not edit it.

A task is a chain of attempts. Each attempt has one state, and exactly one event ends it. Then the task has ended, or a
further attempt is open. A run has no state of its own: everything about it follows from its tasks.
"""


# One attempt ------------------------------------------------------------------------------------------------------


def attempts() -> list[str]:
    """The table of states and events."""
    kinds = [kind.value.lower().replace("_", " ") for kind in EventKind]
    rows = []
    for state in State:
        moves = [_ready(state), _restored(state), _assigned(state)]
        events = [_answer(state, kind) for kind in EventKind]
        rows.append([f"**{state.value}**", status_of(state).value, *moves, *events, _replayed(state)])
    return [
        "## One attempt",
        "",
        "Rows are states; the second column is what people see. Columns are what can happen:",
        "",
        "- *ready*: the parents and conditions say that it runs, or its retry delay is over.",
        "- *restored*: what an evicted task waits for is over, or somebody wants it to go on.",
        "- *assigned*: the scheduler gave it to a worker with a free slot.",
        "- *replayed*: a person wants it again.",
        "- The others are events. A cell says what follows; in brackets, what the result's row calls it.",
        "- A dot: nothing happens. The event is late, of an old attempt, or cannot come here.",
        "",
        *_table(["state", "shown as", "ready", "restored", "assigned", *kinds, "replayed"], rows),
        "",
        "- *retry*: the next attempt is open; it waits in BACKOFF when there is a delay, else it is QUEUED.",
        "- *end*: the task has ended with that status.",
        f"- The engine has {NONE_LEFT.max_internal_retries} retries of its own for a task, after a lost worker or a"
        " failed hand-over. They do not use up the task's, and have their own delays.",
        f"- *→ {State.EVICTED.value}*: the next attempt is open, and waits for its restore; no retry is used up.",
        "- A worker can forbid the retry of a failure; then it is the end whatever is left.",
        "- A replay of an evicted task restores it.",
        "- A replay opens the next attempt with all retries again. Whether it waits for parents: see below.",
    ]


def _ready(state: State) -> str:
    """PENDING is left when a run says QUEUE; BACKOFF by its clock. Both lead to the one state that can be assigned."""
    if state is State.PENDING:
        verdict = _child(Outcome.COMPLETED).verdict
        return f"→ {State.QUEUED.value}" if verdict is Verdict.QUEUE else verdict.value
    return f"→ {State.QUEUED.value}" if state is State.BACKOFF else "·"


def _restored(state: State) -> str:
    return f"→ {State.QUEUED.value}" if state is State.EVICTED else "·"


def _assigned(state: State) -> str:
    return f"→ {State.RUNNING.value}" if _can_miss_its_start(state) else "·"


def _can_miss_its_start(state: State) -> bool:
    """Whoever can wait too long for a worker is one who waits for a worker."""
    return decide(state, Event(EventKind.SCHEDULE_TIMED_OUT, NOW), NONE_LEFT, FIRST) is not None


def _answer(state: State, kind: EventKind) -> str:
    decisions = [decide(state, Event(kind, NOW), policy, FIRST) for policy in POLICIES]
    if all(decision is None for decision in decisions):
        return "·"
    known = [decision for decision in decisions if decision is not None]
    (outcome,) = {decision.outcome for decision in known}
    can_retry = any(decision.retry_at is not None for decision in known)
    if outcome is Outcome.EVICTED:
        return f"→ {State.EVICTED.value}"
    told = "" if outcome.value == outcome.status.value else f" ({outcome.value})"
    return f"{'retry, or ' if can_retry else ''}end: {outcome.status.value}{told}"


def _replayed(state: State) -> str:
    counters = replayed(state, Counters(attempt=3, app_retries=2, internal_retries=1, evictions=2))
    if counters is None:
        return "·"
    assert (counters.attempt, counters.app_retries, counters.internal_retries, counters.evictions) == (4, 0, 0, 2)
    run = RunState.fresh(_version(), NOW)
    for index in range(3):
        run.ended(index, 0, Outcome.COMPLETED, NOW, None)
    opened = run.replayed(range(3), NOW)
    states = [State.QUEUED if opened[index] else State.PENDING for index in sorted(opened)]
    return "→ " + " or ".join(dict.fromkeys(state.value for state in states))


# What parents and conditions decide -------------------------------------------------------------------------------

ENDS = (Outcome.COMPLETED, Outcome.SKIPPED, Outcome.FAILED, Outcome.CANCELLED, None)
WORDS = {
    Verdict.WAIT: "waits",
    Verdict.QUEUE: "runs",
    Verdict.SKIP: "is skipped",
    Verdict.CANCEL: "is cancelled",
}


def _condition(action: Action, kind: Kind, group: int = 0) -> Condition:
    return Condition(
        kind=kind,
        action=action,
        or_group=group,
        data_key="key",
        sleep_for="10s" if kind is Kind.SLEEP else None,
        event_key="key" if kind is Kind.EVENT else None,
        parent="a" if kind is Kind.PARENT else None,
        expression="output.yes" if kind is Kind.PARENT else "",
    )


def _version(*conditions: Condition, on_failure: bool = False) -> StoredVersion:
    parents = [TaskDefinition(readable_id=name, action=f"flow:{name}") for name in "ab"]
    child = TaskDefinition(readable_id="child", action="flow:child", parents=("a", "b"), conditions=conditions)
    last = TaskDefinition(readable_id="last", action="flow:last") if on_failure else None
    tasks = tuple(parents) if on_failure else (*parents, child)
    definition = WorkflowDefinition(name="flow", tasks=tasks, on_failure=last)
    ids = {task.readable_id: task.readable_id for task in definition.all_tasks}
    return stored_version(definition, ids, version_id="v", tenant_id="t", workflow_id="w", order=1)


def _decide(
    version: StoredVersion,
    parents: Iterable[Outcome | None],
    *,
    output: str = "{}",
    matched: Sequence[int] = (),
    after: float = 0.0,
) -> RunDecision:
    """What is said about the last task ``after`` seconds from the end of its parents."""
    state = RunState.fresh(version, NOW)
    for index, outcome in enumerate(parents):
        if outcome is not None:
            state.ended(index, 0, outcome, NOW, output)
    child = len(version.tasks) - 1
    for number in matched:
        state.matched(child, 0, number, NOW)
    return state.decide(child, NOW + after)


def _child(*parents: Outcome | None) -> RunDecision:
    ends = parents if len(parents) == 2 else parents * 2
    return _decide(_version(), ends)


def parents() -> list[str]:
    """What the ends of two parents say about a task without conditions, and about an on-failure task."""
    on_failure = _version(on_failure=True)
    rows = []
    for pair in itertools.combinations_with_replacement(ENDS, 2):
        child, last = _child(*pair), _decide(on_failure, pair)
        rows.append([_named(pair[0]), _named(pair[1]), WORDS[child.verdict], WORDS[last.verdict]])
    return [
        "## What the ends of other tasks decide",
        "",
        "*Running* stands for every task that has not ended, also one that will be tried again. A timeout counts as"
        " failed, a schedule timeout as cancelled.",
        "",
        *_table(["one", "other", "a task below both", "the on-failure task beside them"], rows),
        "",
        "A replay asks again for tasks below a replayed one. A task whose parents stay as they are runs at once.",
    ]


def _named(outcome: Outcome | None) -> str:
    return "running" if outcome is None else outcome.value.lower()


CASES: tuple[tuple[str, tuple[Condition, ...]], ...] = (
    ("wait for a sleep", (_condition(Action.QUEUE, Kind.SLEEP),)),
    ("wait for an event", (_condition(Action.QUEUE, Kind.EVENT),)),
    ("wait for an output", (_condition(Action.QUEUE, Kind.PARENT),)),
    ("wait for a sleep or an event", (_condition(Action.QUEUE, Kind.SLEEP), _condition(Action.QUEUE, Kind.EVENT))),
    ("wait for a sleep and an event", (_condition(Action.QUEUE, Kind.SLEEP), _condition(Action.QUEUE, Kind.EVENT, 1))),
    ("wait for an output or an event", (_condition(Action.QUEUE, Kind.PARENT), _condition(Action.QUEUE, Kind.EVENT))),
    ("skip if an output", (_condition(Action.SKIP, Kind.PARENT),)),
    ("cancel if an output", (_condition(Action.CANCEL, Kind.PARENT),)),
    ("wait for a sleep, skip if an event", (_condition(Action.QUEUE, Kind.SLEEP), _condition(Action.SKIP, Kind.EVENT))),
    ("wait for an event, skip if a sleep", (_condition(Action.QUEUE, Kind.EVENT), _condition(Action.SKIP, Kind.SLEEP))),
    (
        "wait for an event, cancel if a sleep",
        (_condition(Action.QUEUE, Kind.EVENT), _condition(Action.CANCEL, Kind.SLEEP)),
    ),
    (
        "all three actions, one event",
        tuple(_condition(action, Kind.EVENT) for action in (Action.QUEUE, Action.CANCEL, Action.SKIP)),
    ),
)


def conditions() -> list[str]:
    """What a task with conditions does in some moments of its life."""
    return [
        "## What conditions decide",
        "",
        "A task with two parents, `a` and `b`. Outputs are those of `a`; *true* and *false* are what the expression"
        " says of it. Sleeps last 10 s from the end of the last parent. What is decided stays so.",
        "",
        *_table(
            [
                "conditions",
                "a completed (true), b running",
                "both completed (true)",
                "both completed (false)",
                "then the event comes",
                "instead 10 s pass",
                "a completed (false), b failed",
                "both skipped",
            ],
            [[name, *_moments(conditions)] for name, conditions in CASES],
        ),
        "",
        "- Conditions of one action are groups: every group needs one member that is met.",
        "- At each moment skip is asked first, then cancel, then whether it runs. What holds first decides for good.",
        "- A task runs only after every parent has ended. What cancels or skips it need not wait for that.",
        "- A task with a skip condition over an output is not skipped because its parents were.",
        "- A task that no time and no event can decide any more is cancelled with a text that says so.",
    ]


def _moments(conditions: tuple[Condition, ...]) -> list[str]:
    version = _version(*conditions)
    both = (Outcome.COMPLETED, Outcome.COMPLETED)
    events = [number for number, condition in enumerate(conditions) if condition.kind is Kind.EVENT]
    yes, no = '{"yes": true}', '{"yes": false}'
    decisions = [
        _decide(version, (Outcome.COMPLETED, None), output=yes),
        _decide(version, both, output=yes),
        _decide(version, both, output=no),
        _decide(version, both, output=no, matched=events),
        _decide(version, both, output=no, after=10),
        _decide(version, (Outcome.COMPLETED, Outcome.FAILED), output=no),
        _decide(version, (Outcome.SKIPPED, Outcome.SKIPPED)),
    ]
    return [WORDS[decision.verdict] for decision in decisions]


# The run ----------------------------------------------------------------------------------------------------------


def run_status() -> list[str]:
    """The status of a run by the ends of its tasks."""
    version = _version()
    rows = []
    for ends in itertools.combinations_with_replacement(ENDS, 3):
        state = RunState.fresh(version, NOW)
        for index, outcome in enumerate(ends):
            if outcome is not None:
                state.ended(index, 0, outcome, NOW, None)
        rows.append((frozenset(_named(outcome) for outcome in ends), state.status()))
    waiting = RunState.fresh(version, NOW)
    started = RunState.fresh(version, NOW)
    started.assigned(0)
    lines = [
        ["no task was with a worker or has ended yet", waiting.status().value],
        ["one was or has, and one has not ended", started.status().value],
        *_status_rules(rows),
    ]
    return [
        "## The status of a run",
        "",
        "The first line that applies:",
        "",
        *_table(["tasks", "run"], lines),
        "",
        "The on-failure task counts like any other. A skipped task counts as completed.",
    ]


def _status_rules(rows: Sequence[tuple[frozenset[str], RunStatus]]) -> list[list[str]]:
    """The shortest rules "one has ended as …" that give what was seen, tried from the gravest end to the mildest."""
    left = [(ends, status) for ends, status in rows if "running" not in ends]
    rules = []
    for outcome in (Outcome.FAILED, Outcome.CANCELLED):
        word = _named(outcome)
        (status,) = {status for ends, status in left if word in ends}
        rules.append([f"all have ended, one as {word}", status.value])
        left = [(ends, status) for ends, status in left if word not in ends]
    (status,) = {status for _, status in left}
    (unended,) = {status for ends, status in rows if "running" in ends and len(ends) > 1}
    assert unended is RunStatus.RUNNING
    return [*rules, ["all have completed or were skipped", status.value]]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def page() -> str:
    """The whole page."""
    sections = (attempts(), parents(), conditions(), run_status())
    return "\n".join([HEAD, *("\n".join((*section, "")) for section in sections)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when the page is not up to date")
    fresh = page()
    if not parser.parse_args().check:
        PAGE.write_text(fresh)
    elif not PAGE.exists() or PAGE.read_text() != fresh:
        sys.exit("docs/transitions.md is not what the code decides; run `make docs` and commit the result")


if __name__ == "__main__":
    main()
