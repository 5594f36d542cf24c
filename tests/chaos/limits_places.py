"""What concurrency rules promise: never more of a key than it has places, no place lost, the right ones cancelled.

What counts and what takes part is written down in ``limits_checker.py``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import accumulate

from limits_rows import OUTRUN, SLACK_SECONDS, LimitedTask, LimitsRows, Line, Span

QUEUEING = {"single": (("k", 1),), "three": (("k", 3),), "both": (("k", 2), ("b", 3)), "refused": (("k", 2),)}
"""Workflow to its rules: the part of the input that is the key, and how many of a key."""
LINE_MOST = 2
FILLED = ("single", "three")
"""Of these workflows more runs are open than their keys have places."""
HEARD_SECONDS = 3.0
"""So late an owner may hear that an attempt at another instance's worker has ended: messages, or its next look."""
OUTRUN_SECONDS = 10.0
"""So soon a rule's cancel is in the rows, when the owner lives."""


def check_places(rows: LimitsRows, executions: dict[str, list[Line]], *, database_died: bool) -> None:
    for flow, rules in QUEUEING.items():
        for name, most in rules:
            check_most(f"{flow}.{name} in the rows", most, _counting(rows.of(flow), name))
            if not database_died:
                check_most(f"{flow}.{name} in effect", most, _taking_part(rows, flow, name, executions))
    check_most("line in the rows", LINE_MOST, _runs_counting(rows))


def check_all_places_free(rows: LimitsRows, calm: float) -> None:
    """Design section 10, leaked limit slot: in calm times with enough to do every key has all its places in use."""
    spans = {flow: _counting(rows.of(flow), "k") for flow in FILLED}
    for flow, by_key in {**spans, "line": _runs_counting(rows)}.items():
        most = LINE_MOST if flow == "line" else QUEUEING[flow][0][1]
        for key, of_key in by_key.items():
            reached = _most_at_once([(start, end) for start, end in of_key if start >= calm])
            assert reached == most, f"{flow}: of key {key} no more than {reached} came at once, the limit is {most}"


def _runs_counting(rows: LimitsRows) -> dict[str, list[Span]]:
    """Key to the times in which runs of ``line`` count: from their first assignment to their end."""
    starts: dict[tuple[str, str], float] = {}
    for task in rows.of("line"):
        for one in task.given:
            run = task.job["k"], task.row["run"]
            starts[run] = min(starts.get(run, float("inf")), one.assigned_at or 0.0)
    spans: dict[str, list[Span]] = defaultdict(list)
    for (key, run), start in starts.items():
        spans[key].append((start, rows.run_ends[run]["at"]))
    return spans


def _counting(tasks: Iterable[LimitedTask], name: str) -> dict[str, list[Span]]:
    spans: dict[str, list[Span]] = defaultdict(list)
    for task in tasks:
        spans[task.job[name]].extend((one.assigned_at or 0.0, one.finished_at) for one in task.given)
    return spans


def _taking_part(rows: LimitsRows, flow: str, name: str, executions: dict[str, list[Line]]) -> dict[str, list[Span]]:
    spans: dict[str, list[Span]] = defaultdict(list)
    for execution, lines in executions.items():
        task = rows.tasks[lines[0]["task"]]
        if task.flow != flow:
            continue
        attempt = task.attempts[lines[0]["attempt"]]
        start, end = lines[0]["at"], lines[1]["at"] if len(lines) == 2 else float("inf")
        until = end if execution == attempt.execution else min(end, attempt.finished_at)
        if until > start:
            spans[task.job[name]].append((start, until))
    return spans


def check_most(what: str, most: int, spans: dict[str, list[Span]]) -> None:
    """At no instant more than ``most`` spans of a key."""
    for key, of_key in spans.items():
        reached = _most_at_once(of_key)
        assert reached <= most, f"{what}: {reached} of key {key} at once, the limit is {most}"


def _most_at_once(spans: list[Span]) -> int:
    """How many spans there are at the same instant; each is shortened by what clocks may differ."""
    edges = [
        edge for start, end in spans if end - start > SLACK_SECONDS for edge in ((start, 1), (end - SLACK_SECONDS, -1))
    ]
    return max(accumulate(step for _, step in sorted(edges)), default=0)


def check_order(rows: LimitsRows, known_seconds: float) -> None:
    """C-9.19: with one place, first attempts begin in the order of their creation.

    ``known_seconds``: so long an older run may be unknown to the owner, because another instance accepted it.
    """
    by_key: dict[str, list[LimitedTask]] = defaultdict(list)
    for task in rows.of("single"):
        if 0 in task.attempts and task.attempts[0].assigned_at is not None:
            by_key[task.job["k"]].append(task)
    for key, tasks in by_key.items():
        newest: LimitedTask | None = None
        for task in sorted(tasks, key=lambda task: (task.attempts[0].assigned_at, task.id)):
            if newest is None or task.id > newest.id:
                newest = task
                continue
            known = (newest.attempts[0].assigned_at or 0.0) - task.row["inserted_at"]
            assert known < known_seconds, f"key {key}: {newest} began before {task}, accepted {known:.1f} s earlier"


def check_outrun(rows: LimitsRows, kills: Sequence[float]) -> None:
    """C-9.8, C-9.11: whoever is cancelled makes room for a newer one, soon after that was given to a worker."""
    by_key: dict[str, list[LimitedTask]] = defaultdict(list)
    for task in rows.of("outrun"):
        by_key[task.job["k"]].append(task)
    for tasks in by_key.values():
        for task in tasks:
            end = task.end
            newer = [one for one in tasks if one.id > task.id and one.row["inserted_at"] <= end["at"] + SLACK_SECONDS]
            if end["outcome"] == OUTRUN:
                assert not end["error"], f"{task}: {end}"
                assert newer, f"{task} was cancelled and there was no newer one"
            for attempt in task.given:
                for at in [one.assigned_at or 0.0 for other in newer for one in other.given]:
                    # The owner died before it wrote what it had decided: its successor decides the same.
                    is_excused = any(at - SLACK_SECONDS <= kill <= at + OUTRUN_SECONDS for kill in kills)
                    late = attempt.finished_at - at
                    is_late = (attempt.assigned_at or 0.0) <= at and late > OUTRUN_SECONDS
                    assert is_excused or not is_late, f"{task} still counted {late:.1f} s after a newer one had begun"


def check_refused(rows: LimitsRows) -> None:
    """C-9.9: who is cancelled never ran, and found the group full of others."""
    [(name, most)] = QUEUEING["refused"]
    by_key: dict[str, list[LimitedTask]] = defaultdict(list)
    for task in rows.of("refused"):
        by_key[task.job[name]].append(task)
    for tasks in by_key.values():
        for task in tasks:
            if task.end["outcome"] != OUTRUN:
                continue
            assert not task.given, f"{task} was cancelled as surplus and had run"
            at = task.end["at"]
            others = [
                one
                for one in tasks
                if one is not task
                and one.end["outcome"] != OUTRUN
                and one.row["inserted_at"] <= at + SLACK_SECONDS
                and one.end["at"] >= task.row["inserted_at"] - HEARD_SECONDS
            ]
            assert len(others) >= most, f"{task} was cancelled, and there were only {len(others)} others"
