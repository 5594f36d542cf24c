"""The history checker for runs under limits and with triggers (design section 10).

Three stories must agree: the rows, what clients heard, and the lines that tasks wrote, each on the disk before the work
went on. What may overlap, and what may not:

* An attempt **counts** from its assignment to its result, both in the rows. At no instant more attempts of a key count
  than the rule admits.
* An execution **takes part** from its first line to its last one when its result is that of its attempt. Any other one
  takes part until its attempt ended, if that comes first: the engine ended the attempt, because its worker was lost or
  a rule cancelled it, and the process may be dead or may not know yet; or a connection was cut and the same worker got
  the attempt twice. At no instant more executions of a key take part than the rule admits.
* When the database was killed, assignments of its last moment are gone (they do not wait for the disk): such an
  execution belongs to no attempt, and the second statement cannot be made. The first one holds.

Clocks: instances follow the database's clock and differ by less than ``SLACK_SECONDS``; tasks take longer than that.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

from dag_rows import still_open
from harness import Chaos
from limits_rows import Attempt, LimitedTask, LimitsRows, read_limits_rows

END_SECONDS = 120.0
SLACK_SECONDS = 0.05
WINDOW_SECONDS = 0.99 - SLACK_SECONDS
"""A window of a second counts as over 10 ms early (behaviour-core C-10.13)."""
KNOWN_SECONDS = 8.0
"""What one instance accepted is known to the owner by then, also when messages got lost or either was killed."""
QUEUEING = {"single": (("k", 1),), "three": (("k", 3),), "both": (("k", 2), ("b", 3)), "refused": (("k", 2),)}
"""Workflow to its rules: the part of the input that is the key, and how many of a key."""
LINE_MOST, BATCH_MOST, BATCH_SIZE = 2, 2, 5
STATIC_LIMIT, DYNAMIC_LIMIT = 25, 4
FILLED = ("single", "three")
"""Of these workflows more runs are open than their keys have places."""
CANCELLING = ("outrun", "refused")
HEARD_SECONDS = 0.7
"""So late an owner may hear that an attempt at another instance's worker has ended: messages, or its next look."""
OUTRUN_SECONDS = 1.0
"""So soon a rule's cancel is in the rows, when the owner lives."""
OUTRUN = "OUTRUN"
"""The outcome of what a rule has cancelled."""
ENDED_WAITING = (OUTRUN, "CANCELLED")
"""Outcomes of attempts that no worker may have got."""
FILTERS: dict[str, Callable[[int, str], bool]] = {
    "even": lambda n, scope: scope == "left" and n % 2 == 0,
    "third": lambda n, scope: scope == "left" and n % 3 == 0,
    "right": lambda n, scope: scope == "right",
}
EXECUTION = re.compile(r"execution ([0-9a-f]{32}) fails")

Span = tuple[float, float]
Line = dict[str, Any]


def check_limits(
    chaos: Chaos, dsn: str, kills: Sequence[Span], calm: float, *, database_died: bool = False
) -> LimitsRows:
    """Compare the stories; returns the rows when they agree.

    ``calm``: from then on nothing was killed, and every key was asked for more than it has: what was lost before would
    show as a place that nobody gets.
    ``kills``: from when to when an engine that was killed was not ready; ``database_died``: its database died with it,
    and there was no other engine.
    """
    try:
        chaos.wait(lambda: not still_open(dsn), "every run and every task has an end", seconds=END_SECONDS)
    except AssertionError as error:
        raise AssertionError(f"{error}: {still_open(dsn)[:20]}") from None
    acknowledged = [line for client in chaos.limits_clients for line in client.acknowledged.read()]
    rows = read_limits_rows(dsn)
    import sys

    sys.path.insert(0, "/tmp/work")
    import soak_dump

    soak_dump.dump(chaos, rows)  # DEBUG
    executions = _executions(chaos, rows, database_died=database_died)
    for task in rows.tasks.values():
        _check_attempts(task, database_died=database_died)
        _check_end(task)
        _check_effects(task, executions)
    _check_acknowledged(acknowledged, rows)
    _check_heard(chaos, rows)
    _check_places(rows, executions, database_died=database_died)
    _check_order(rows, 0.0 if database_died else KNOWN_SECONDS)
    _check_all_places_free(rows, calm)
    _check_outrun(rows, [start for start, _ in kills])
    _check_refused(rows)
    _check_windows(rows)
    _check_batches(rows)
    _check_events(rows)
    _check_crons(rows, kills if database_died else ())
    _check_plans(rows)
    return rows


# Attempts, ends, effects --------------------------------------------------------------------------------------------


def _executions(chaos: Chaos, rows: LimitsRows, *, database_died: bool) -> dict[str, list[Line]]:
    """Execution id to its lines: one or two, of a task that exists."""
    found: dict[str, list[Line]] = defaultdict(list)
    for line in chaos.effects.read():
        found[line["execution"]].append(line)
    workers: dict[tuple[str, int], set[int]] = defaultdict(set)
    for execution, lines in found.items():
        assert [line["kind"] for line in lines] in (["start"], ["start", "end"]), f"execution {execution}: {lines}"
        task, attempt = rows.tasks.get(lines[0]["task"]), lines[0]["attempt"]
        assert task is not None, f"execution {execution} of a task that does not exist: {lines}"
        if task.flow != "gathered":
            workers[task.id, attempt].add(lines[0]["worker"])
            was_given = attempt in task.attempts and task.attempts[attempt].assigned_at is not None
            assert was_given or database_died, f"{task}: attempt {attempt} ran and was never assigned"
    twice = [one for one, ran in workers.items() if len(ran) > 1]
    assert database_died or not twice, f"attempts that ran at several workers: {twice[:5]}"
    return found


def _check_attempts(task: LimitedTask, *, database_died: bool) -> None:
    """Attempts follow each other without a gap, exactly one result is the end, each begins after the one before."""
    assert list(task.attempts) == list(range(len(task.attempts))), f"{task}: attempts {list(task.attempts)}"
    ends = [one.result is not None and one.result["is_end"] for one in task.attempts.values()]
    assert ends == [False] * (len(ends) - 1) + [True], f"{task}: not exactly one end: {ends}"
    before = 0.0
    for one in task.attempts.values():
        assert one.result is not None, f"{task}: attempt {one.number} has no result"
        if one.assigned_at is None:
            assert database_died or one.outcome in ENDED_WAITING, f"{task}: attempt {one.number} ended unassigned"
            continue
        assert before - SLACK_SECONDS <= one.assigned_at <= one.finished_at + SLACK_SECONDS, f"{task}: {one}"
        before = one.finished_at


def _check_end(task: LimitedTask) -> None:
    outcome, n = task.end["outcome"], task.job.get("n", 0)
    failures = sum(one.outcome == "FAILED" for one in task.attempts.values())
    assert task.end["app_retries"] == failures - (outcome == "FAILED"), f"{task}: {failures} failures, {task.end}"
    if task.flow in CANCELLING:
        assert outcome in ("COMPLETED", OUTRUN, "FAILED"), f"{task} ended {outcome}: {task.end['error']}"
    elif task.flow == "line" and n % 25 == 7:
        assert outcome in ("FAILED", "CANCELLED"), f"{task} ended {outcome}"
    elif n % 25 == 7 and task.flow not in ("gathered", "pushed", "planned"):
        assert outcome == "FAILED", f"{task} ended {outcome}"
    else:
        assert outcome == "COMPLETED", f"{task} ended {outcome}: {task.end['error']}"


def _check_effects(task: LimitedTask, executions: dict[str, list[Line]]) -> None:
    """Each accepted result belongs to one execution of that task that took place as a whole."""
    for one in task.attempts.values():
        execution = _execution_of(one)
        if execution is None:
            continue
        lines = executions.get(execution, [])
        assert len(lines) == 2, f"{task}: the result of attempt {one.number} is of an execution that never was"
        assert lines[0]["task"] == task.id, f"{task}: has the result of {lines[0]}"
        assert lines[1]["at"] <= one.finished_at + SLACK_SECONDS, f"{task}: {one} had a result before its end"


def _execution_of(attempt: Attempt) -> str | None:
    assert attempt.result is not None
    if attempt.outcome == "COMPLETED":
        return str(json.loads(attempt.result["output"])["execution"])
    found = EXECUTION.search(attempt.result["error"] or "") if attempt.outcome == "FAILED" else None
    return found[1] if found else None


def _check_acknowledged(acknowledged: list[Line], rows: LimitsRows) -> None:
    runs = {task.row["run"] for task in rows.tasks.values()}
    events = {row["id"] for row in rows.events}
    known = {"run": runs, "event": events, "plan": set(rows.plans)}
    gone = [line for line in acknowledged if line[line["kind"]] not in known[line["kind"]]]
    assert not gone, f"acknowledged and gone: {gone[:5]}"


def _check_heard(chaos: Chaos, rows: LimitsRows) -> None:
    """Clients heard of the end of each of their runs what the rows say, once."""
    by_run: dict[str, list[LimitedTask]] = defaultdict(list)
    for task in rows.tasks.values():
        by_run[task.row["run"]].append(task)
    for client in chaos.limits_clients:
        heard = {line["run"]: line for line in client.results.read()}
        wanted = {line["run"] for line in client.acknowledged.read() if line["kind"] == "run"}
        assert set(heard) == wanted, f"{client.name} did not hear of {list(wanted - set(heard))[:5]}"
        for run, line in heard.items():
            outputs = sorted(one["output"] for one in line["tasks"] if one["output"])
            stored = sorted(one.end["output"].decode() for one in by_run[run] if one.end["outcome"] == "COMPLETED")
            assert [json.loads(one) for one in outputs] == [json.loads(one) for one in stored], f"run {run}: {line}"


# Places -------------------------------------------------------------------------------------------------------------


def _check_places(rows: LimitsRows, executions: dict[str, list[Line]], *, database_died: bool) -> None:
    for flow, rules in QUEUEING.items():
        for name, most in rules:
            _check_most(f"{flow}.{name} in the rows", most, _counting(rows.of(flow), name))
            if not database_died:
                _check_most(f"{flow}.{name} in effect", most, _taking_part(rows, flow, name, executions))
    _check_most("line in the rows", LINE_MOST, _runs_counting(rows))


def _check_all_places_free(rows: LimitsRows, calm: float) -> None:
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
        until = end if execution == _execution_of(attempt) else min(end, attempt.finished_at)
        if until > start:
            spans[task.job[name]].append((start, until))
    return spans


def _check_most(what: str, most: int, spans: dict[str, list[Span]]) -> None:
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


def _check_order(rows: LimitsRows, known_seconds: float) -> None:
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


def _check_outrun(rows: LimitsRows, kills: Sequence[float]) -> None:
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


def _check_refused(rows: LimitsRows) -> None:
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


# Rate limits and batches --------------------------------------------------------------------------------------------


def _check_windows(rows: LimitsRows) -> None:
    """C-10.12, C-10.13: each attempt takes a unit of a window, and no window gives more than it has, to whomever."""
    times: dict[tuple[str, int], list[float]] = defaultdict(list)
    for task in rows.of("static", "dynamic"):
        is_static = task.flow == "static"
        key = ("chaos-static", STATIC_LIMIT) if is_static else (f"dynamic-{task.job['k']}", DYNAMIC_LIMIT)
        times[key].extend(one.assigned_at for one in task.given if one.assigned_at is not None)
    for (key, most), starts in times.items():
        starts.sort()
        bad = _overfull(starts, most)
        assert bad is None, (
            f"{key}: no windows of {most} fit these starts: {[round(at, 3) for at in starts[bad - 2 * most : bad + 2]]}"
        )
        row = rows.limits[key]
        taken = sum(at >= row["refilled_at"] - 0.001 for at in starts)
        assert row["most"] - row["left"] >= taken, (
            f"{key}: {taken} units were taken in the last window, the row says {dict(row)}"
        )


def _overfull(starts: list[float], most: int) -> int | None:
    """Whether starts fit into windows that begin at least ``WINDOW_SECONDS`` after each other, ``most`` in each.

    ``earliest[i]``: the earliest moment at which a window can have begun whose first start is number ``i``.
    None when they fit, otherwise the number of the start at which they do not.
    """
    earliest: list[float | None] = [float("-inf")]
    for i in range(1, len(starts) + 1):
        candidates = [
            max(began + WINDOW_SECONDS, starts[i - 1])
            for j in range(max(0, i - most), i)
            if (began := earliest[j]) is not None
        ]
        if not candidates:
            return i
        found = min(candidates)
        earliest.append(found if i == len(starts) or found <= starts[i] else None)
    return None


def _check_batches(rows: LimitsRows) -> None:
    """C-16.7, C-16.11, C-16.12, C-16.14."""
    members: dict[str, list[tuple[LimitedTask, Attempt]]] = defaultdict(list)
    for task in rows.of("gathered"):
        for one in task.given:
            assert one.batch is not None, f"{task}: attempt {one.number} was given out alone"
            members[one.batch].append((task, one))
    spans: dict[str, list[Span]] = defaultdict(list)
    for batch, of_batch in members.items():
        assert len(of_batch) <= BATCH_SIZE, f"batch {batch} has {len(of_batch)} members"
        assert len({task.job["k"] for task, _ in of_batch}) == 1, f"batch {batch} mixes keys"
        assert len({one.worker for _, one in of_batch}) == 1, f"batch {batch} went to several workers"
        starts = {one.assigned_at for _, one in of_batch}
        assert len(starts) == 1, f"batch {batch} was given out at several times"
        spans[of_batch[0][0].job["k"]].append((starts.pop() or 0.0, max(one.finished_at for _, one in of_batch)))
    _check_most("batches", BATCH_MOST, spans)


# Triggers -----------------------------------------------------------------------------------------------------------


def _check_events(rows: LimitsRows) -> None:
    """C-12.19: one run for each filter that is true, of every event that is stored, and no other run."""
    started: Counter[str] = Counter()
    for event in rows.events:
        n = json.loads(event["payload"])["n"]
        wanted = sorted(name for name, is_true in FILTERS.items() if is_true(n, event["scope"] or ""))
        runs = rows.event_runs.get(event["id"], [])
        assert sorted(json.loads(row["payload"])["filter"] for row in runs) == wanted, f"event {dict(event)}: {runs}"
        started.update(row["run"] for row in runs)
        for row in runs:
            output = json.loads(rows.tasks[row["run"]].end["output"])
            assert (output["filter"], output["n"]) == (json.loads(row["payload"])["filter"], n)
    assert started == Counter(task.row["run"] for task in rows.of("pushed")), "runs of events and their records differ"


def _check_crons(rows: LimitsRows, down: Sequence[Span]) -> None:
    """C-14.9: each second fired at most once; none is missing between the first and the last while an engine was up."""
    instants = Counter(_instant(task) for task in rows.of("ticking"))
    twice = [at for at, count in instants.items() if count > 1]
    assert not twice, f"instants that fired more than once: {twice}"
    missing = [
        at
        for at in range(min(instants), max(instants))
        if at not in instants and not any(start - 1 <= at <= end + 1 for start, end in down)
    ]
    assert not missing, f"instants that did not fire: {missing}"


def _instant(task: LimitedTask) -> int:
    text = task.metadata["hatchet__cron_scheduled_at"]
    return int(datetime.fromisoformat(text).astimezone(UTC).timestamp())


def _check_plans(rows: LimitsRows) -> None:
    """C-14.24: each scheduled run started exactly once, not before its time."""
    started = Counter(row["run"] for row in rows.plans.values())
    assert started == Counter(task.row["run"] for task in rows.of("planned")), "scheduled runs and their rows differ"
    for row in rows.plans.values():
        task = rows.tasks[row["run"]]
        assert task.job == json.loads(row["input"]), f"{task} is not the run of {dict(row)}"
        assert task.row["inserted_at"] >= row["at"] - SLACK_SECONDS, f"{task} started before {row['at']}"
