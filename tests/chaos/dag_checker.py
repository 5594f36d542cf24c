"""The history checker for runs of workflows: clients, tasks, pushers and rows tell one story (design section 10).

What has to become of each task follows from the workflow and from the number of its run; of tasks that wait for events
it follows from when those came.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from typing import Any

from dag_rows import DagRows, DagRun, DagTask, read_dag_rows, still_open
from harness import Chaos

END_SECONDS = 120.0
"""Clients have heard of the ends that they wait for; what is left are runs of which no client knows."""
SLACK_SECONDS = 0.05
"""How far the clocks of two instances may be apart: each follows the database's."""
HEARD_SECONDS = 0.5
"""An event that was acknowledged so long before a sleep ended has come before it, however busy the machine is."""
DONE, SKIPPED, CANCELLED, FAILED = {"COMPLETED"}, {"SKIPPED"}, {"CANCELLED"}, {"FAILED"}


def wanted(flow: str, n: int) -> dict[str, set[str]]:
    """How each task of run number ``n`` may end."""
    if flow == "chain":
        return dict.fromkeys(("first", "second", "third"), DONE)
    if flow == "diamond":
        return dict.fromkeys(("top", "left", "right", "bottom"), DONE)
    if flow == "listening":
        others = dict.fromkeys(("start", "napped", "heard", "either", "gathered"), DONE)
        return {**others, "timed": DONE | SKIPPED}
    if flow == "spawning":
        return dict.fromkeys(("parent", "after_parent"), DONE)
    if flow == "failing":
        others = {"good": DONE, "after_good": DONE, "after_doomed": CANCELLED, "sorry-on-failure": DONE}
        return {**others, "doomed": FAILED, "twice_doomed": FAILED}
    assert flow == "choosing"
    is_odd, is_stopped = n % 2 == 1, n % 5 == 0
    return {
        "choice": DONE,
        "even": SKIPPED if is_odd else DONE,
        "odd": DONE if is_odd else SKIPPED,
        "joined": DONE,
        "quiet": SKIPPED,
        "echo": SKIPPED,
        "stopped": CANCELLED if is_stopped else DONE,
        "after_stopped": CANCELLED if is_stopped else DONE,
        "nothing-on-failure": SKIPPED,
    }


def check_dags(chaos: Chaos, dsn: str, *, database_died: bool = False, event_delay: float = 0.0) -> DagRows:
    """Compare the stories; returns the rows when they agree.

    Every run is over, also one whose acknowledgement got lost, and ended as its workflow says; each accepted result
    belongs to exactly one execution that really took place; what a task saw of its parents are their results; clients
    heard what the rows say; no acknowledged event was missed; children exist once for each key.

    ``event_delay``: how many seconds later than others an event may reach its waits, because it came in at another
    instance; it still counts from its own time.
    """
    _await_ends(chaos, dsn)
    # Events are pushed on and on: those that are known by now must be in the rows that are read then.
    acknowledged = [line for pusher in chaos.pushers for line in pusher.acknowledged.read()]
    rows = read_dag_rows(dsn)
    executions = _executions(chaos, rows)
    for run in rows.runs.values():
        _check_run(run)
    for task in rows.tasks.values():
        _check_attempts(task, database_died=database_died)
        _check_order(task)
        _check_effects(task, executions)
    _check_heard(chaos, rows)
    _check_events(acknowledged, rows, event_delay)
    _check_children(chaos, rows)
    return rows


def _await_ends(chaos: Chaos, dsn: str) -> None:
    """Wait until nothing is open; a failure says what is."""
    try:
        chaos.wait(lambda: not still_open(dsn), "every run and every task has an end", seconds=END_SECONDS)
    except AssertionError as error:
        raise AssertionError(f"{error}: {still_open(dsn)[:20]}") from None


def _check_run(run: DagRun) -> None:
    expected = wanted(run.flow, run.n)
    assert set(run.tasks) == set(expected), f"run {run.row['id']} of {run.flow} has the tasks {sorted(run.tasks)}"
    for name, task in run.tasks.items():
        assert task.outcome in expected[name], f"{task} ended {task.outcome}, not {expected[name]}"
    outcomes = {task.outcome for task in run.tasks.values()}
    status = "FAILED" if "FAILED" in outcomes else "CANCELLED" if "CANCELLED" in outcomes else "COMPLETED"
    assert run.row["status"] == status, f"run {run.row['id']} ended {run.row['status']}, its tasks say {status}"
    last = max(task.end["finished_at"] for task in run.tasks.values())
    assert abs(run.row["finished_at"] - last) < 0.001, f"run {run.row['id']} ended {run.row['finished_at']}, not {last}"


def _check_attempts(task: DagTask, *, database_died: bool) -> None:
    """Attempts follow each other without a gap, nothing follows the end, only the user's failures use up retries."""
    attempts = [row["attempt"] for row in task.results]
    assert attempts == list(range(len(attempts))), f"{task}: results of attempts {attempts}"
    ends = [row["is_end"] for row in task.results]
    assert ends == [False] * (len(ends) - 1) + [True], f"{task}: not exactly one end: {ends}"
    assert set(task.assigned) <= set(attempts), f"{task}: attempts {set(task.assigned)} were assigned, {attempts} ended"
    for row in task.results:
        is_decided = row["outcome"] == "SKIPPED" or (row["outcome"] == "CANCELLED" and not row["error"])
        was_assigned = row["attempt"] in task.assigned
        assert not (is_decided and was_assigned), f"{task}: attempt {row['attempt']} ran and was {row['outcome']}"
        assert was_assigned or is_decided or database_died, f"{task}: attempt {row['attempt']} was never assigned"
    # C-2.28: losing a worker uses up none of the user's retries.
    failures = sum(row["outcome"] == "FAILED" for row in task.results)
    retried = failures - (task.outcome == "FAILED")
    assert task.end["app_retries"] == retried, f"{task}: {failures} failures, {task.end['app_retries']} retries"


def _check_order(task: DagTask) -> None:
    """Nothing starts before its parents and its sleep have ended (C-6.14, C-8.8)."""
    earliest = task.since
    if not task.conditions("EVENT", "QUEUE"):
        earliest += max((_seconds(one["sleep_for"]) for _, one in task.conditions("SLEEP", "QUEUE")), default=0.0)
    if task.run.flow == "failing" and task.name.endswith("on-failure"):
        earliest = min(task.run.tasks[name].end["finished_at"] for name in ("doomed", "twice_doomed"))
    for attempt, row in task.assigned.items():
        early = earliest - row["at"]
        assert early <= SLACK_SECONDS, f"{task}: attempt {attempt} was assigned {early:.3f} s too early"


def _executions(chaos: Chaos, rows: DagRows) -> dict[str, dict[str, Any]]:
    """The effects by execution."""
    lines = [line for line in chaos.steps.read() if line["kind"] == "effect"]
    counts = Counter(line["execution"] for line in lines)
    assert all(count == 1 for count in counts.values())
    for line in lines:
        task = rows.tasks.get(line["task"])
        if task is None:
            # A child that is a task of its own: all of them are held against their parents.
            assert line["run"] == line["task"], f"an execution without a task: {line}"
            continue
        assert (line["run"], line["n"]) == (task.run.row["id"], task.run.n), f"{task} was executed as {line}"
        ran = task.outcome not in ("SKIPPED", "CANCELLED")
        assert ran, f"{task} ended {task.outcome} and was executed in attempt {line['attempt']}"
    return {line["execution"]: line for line in lines}


def _check_effects(task: DagTask, executions: dict[str, dict[str, Any]]) -> None:
    """Each accepted result is that of one execution of that attempt, which saw the results of the parents."""
    for row in task.results:
        if row["outcome"] == "COMPLETED":
            execution = json.loads(row["output"])["execution"]
        elif row["outcome"] == "FAILED":
            named = re.search(r"execution (\w+) fails", row["error"])
            assert named is not None, f"{task} failed by itself: {row['error']}"
            execution = named[1]
        else:
            continue
        line = executions.get(execution)
        assert line is not None, f"{task} has the result of an execution that never was"
        assert (line["task"], line["attempt"]) == (task.id, row["attempt"]), f"{task}: the result is that of {line}"
        for name, seen in line["saw"].items():
            other = task.run.tasks[name]
            assert seen == (None if other.outcome == "SKIPPED" else other.output["execution"]), f"{task} saw {seen}"
    if task.name == "sorry-on-failure":
        errors = task.output["errors"]
        possible = (["doomed"], ["twice_doomed"], ["doomed", "twice_doomed"])
        assert errors in possible, f"{task} knows of the errors of {errors}"


def _check_heard(chaos: Chaos, rows: DagRows) -> None:
    acknowledged = {line["run"]: line for client in chaos.dag_clients for line in client.acknowledged_runs()}
    heard = {line["run"]: line["tasks"] for client in chaos.dag_clients for line in client.results.read()}
    assert set(heard) == set(acknowledged)
    for run_id, line in acknowledged.items():
        run = rows.runs.get(run_id)
        assert run is not None, f"the acknowledged run {run_id} is gone"
        assert (run.flow, run.n) == (line["flow"], line["n"])
        told = {name: (each["task"], each["error"], each["output"]) for name, each in heard[run_id].items()}
        stored = {name: _as_heard(task) for name, task in run.tasks.items()}
        assert told == stored, f"run {run_id}: the client heard {told}, the rows say {stored}"


def _as_heard(task: DagTask) -> tuple[str, str | None, str | None]:
    """C-7.9."""
    if task.outcome in ("COMPLETED", "SKIPPED"):
        return task.id, None, task.end["output"].decode()
    return task.id, task.end["error"] if task.outcome == "FAILED" else "", None


def _check_events(acknowledged: list[dict[str, Any]], rows: DagRows, delay: float) -> None:
    """A task hears the first event after its parents ended, unless its sleep was over before (C-8.7 to C-8.13)."""
    gone = [line for line in acknowledged if line["event"] not in rows.events.at]
    assert not gone, f"acknowledged events are gone: {gone[:5]}"
    told: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for line in acknowledged:
        told[line["key"]].append((rows.events.at[line["event"]], line["acknowledged"]))
    for task in rows.tasks.values():
        for number, condition in task.conditions("EVENT", "QUEUE"):
            since, key = task.since, condition["event_key"]
            match = task.matches.get(number)
            if match is not None:
                assert match["at"] >= since, f"{task} heard an event from before it listened"
                assert rows.events.at[match["event"]] == match["at"], (
                    f"{task} heard of {match['event']} at another time"
                )
            sleeps = [*task.conditions("SLEEP", "QUEUE"), *task.conditions("SLEEP", "SKIP")]
            over = since + min((_seconds(one["sleep_for"]) for _, one in sleeps), default=float("inf"))
            matched = None if match is None else match["at"]
            sure = min(
                (at for at, answered in told[key] if at >= since and answered < over - HEARD_SECONDS), default=None
            )
            if sure is not None:
                _check_sure(task, sure, matched, delay)
            _check_in_time(task, matched, over, rows.events.first(key, since))


def _check_sure(task: DagTask, sure: float, matched: float | None, delay: float) -> None:
    """``sure``: when the first event came that was acknowledged long before the task's sleep ended."""
    after = sure - task.since
    assert matched is not None, f"{task} did not hear an event that came {after:.3f} s after it began to listen"
    assert matched <= sure + delay, f"{task} missed an event that came {matched - sure:.3f} s before the one it heard"
    assert task.outcome == "COMPLETED", f"{task} ended {task.outcome} although an event had come in time"


def _check_in_time(task: DagTask, matched: float | None, over: float, first: float | None) -> None:
    """``over``: when its sleep ended; ``first``: the first event that was stored after it began to listen."""
    if task.outcome == "SKIPPED":
        assert matched is None or matched >= over, f"{task} heard an event in time and was skipped"
    elif task.conditions("SLEEP", "SKIP"):
        assert (first or over) < over, f"{task} ran although no event came in time"


def _check_children(chaos: Chaos, rows: DagRows) -> None:
    """Each spawning task has one run for each key, the same for all of its attempts (C-4.13, C-4.14)."""
    spawned: dict[str, list[dict[str, str]]] = defaultdict(list)
    for line in chaos.steps.read():
        if line["kind"] == "spawn":
            spawned[line["task"]].append(line["children"])
    parents = {run.tasks["parent"].id for run in rows.runs.values() if run.flow == "spawning"}
    assert set(rows.children) == set(spawned) == parents
    for parent in parents:
        children = dict(rows.children[parent])
        assert len(children) == len(rows.children[parent]) == 2, f"{parent} has the children {rows.children[parent]}"
        assert all(names == children for names in spawned[parent]), f"{parent}: {spawned[parent]}, stored: {children}"
        held = {key: rows.keys.get((parent, f"key:{key}")) for key in children}
        assert held == children, f"{parent} has the children {children}, the keys are held by {held}"
    ran = {line["run"] for line in chaos.steps.read() if line["kind"] == "effect"}
    for parent in parents:
        missing = {child for _, child in rows.children[parent]} - ran
        assert not missing, f"children of {parent} never ran: {missing}"


def _seconds(duration: str) -> float:
    assert duration.endswith("ms")
    return float(duration.removesuffix("ms")) / 1000
