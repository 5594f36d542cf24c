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

Clocks of instances may differ by ``SLACK_SECONDS``.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence

from dag_rows import still_open
from harness import Chaos
from limits_places import check_all_places_free, check_order, check_outrun, check_places, check_refused
from limits_rates import check_batches, check_windows
from limits_rows import OUTRUN, SLACK_SECONDS, LimitedTask, LimitsRows, Line, Span, read_limits_rows
from limits_triggers import check_crons, check_events, check_plans

END_SECONDS = 120.0
KNOWN_SECONDS = 8.0
"""What one instance accepted is known to the owner by then, also when messages got lost or either was killed."""
CANCELLING = ("outrun", "refused")
ENDED_WAITING = (OUTRUN, "CANCELLED", "SCHEDULING_TIMED_OUT")
"""Outcomes of attempts that no worker may have got."""


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
    executions = _executions(chaos, rows, database_died=database_died)
    for task in rows.tasks.values():
        _check_attempts(task, database_died=database_died)
        _check_end(task)
        _check_effects(task, executions)
    _check_acknowledged(acknowledged, rows)
    _check_heard(chaos, rows)
    check_places(rows, executions, database_died=database_died)
    check_order(rows, 0.0 if database_died else KNOWN_SECONDS)
    check_all_places_free(rows, calm)
    check_outrun(rows, [start for start, _ in kills])
    check_refused(rows)
    check_windows(rows)
    check_batches(rows)
    check_events(rows)
    check_crons(rows, kills if database_died else ())
    check_plans(rows)
    return rows


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
    elif task.flow == "scarce":
        assert outcome in ("COMPLETED", "SCHEDULING_TIMED_OUT"), f"{task} ended {outcome}: {task.end['error']}"
    elif task.flow == "line" and n % 25 == 7:
        assert outcome in ("FAILED", "CANCELLED"), f"{task} ended {outcome}"
    elif n % 25 == 7 and task.flow not in ("gathered", "pushed", "planned"):
        assert outcome == "FAILED", f"{task} ended {outcome}"
    else:
        assert outcome == "COMPLETED", f"{task} ended {outcome}: {task.end['error']}"


def _check_effects(task: LimitedTask, executions: dict[str, list[Line]]) -> None:
    """Each accepted result belongs to one execution of that task that took place as a whole."""
    for one in task.attempts.values():
        execution = one.execution
        if execution is None:
            continue
        lines = executions.get(execution, [])
        assert len(lines) == 2, f"{task}: the result of attempt {one.number} is of an execution that never was"
        assert lines[0]["task"] == task.id, f"{task}: has the result of {lines[0]}"
        assert lines[1]["at"] <= one.finished_at + SLACK_SECONDS, f"{task}: {one} had a result before its end"


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
