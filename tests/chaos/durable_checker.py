"""The history checker for durable runs (design section 10, behaviour-durable D-29).

Four stories must agree: the plan of each run, which says what it has to see; the rows; what clients heard; and the
lines that the tasks wrote of each step in each invocation.

A value of a step is **binding** when a later step of the same invocation gave something, or when it is in the output.
A memo whose worker died at once may be computed again (D-12.6), and then nothing has followed from the first value.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from typing import Any

from dag_rows import still_open
from durable_rows import DurableRows, DurableTask, read_durable_rows
from harness import Chaos, Load
from programs.durable_plan import FLOWS, Step, children, entries, event, flat, plan, results

from support.engine_process import EngineProcess

END_SECONDS = 150.0
LOST = "DurableOperationError: the connection to the engine broke during a step of this task"
"""How an attempt may fail when connections break: nobody can know whether the step is recorded (D-2.9)."""
REFUSED = "DurableOperationError: the database does not answer"
"""How it may fail when the database is away (D-4.8)."""
ROUNDING_SECONDS = 0.001

Line = dict[str, Any]


def check_durable(
    chaos: Chaos, dsn: str, *, steps_may_be_lost: bool = True, database_died: bool = False
) -> DurableRows:
    """Compare the stories; returns the rows when they agree.

    ``steps_may_be_lost``: connections broke. ``database_died``: assignments of its last moment may have no rows.
    """
    try:
        chaos.wait(lambda: not still_open(dsn), "every run and every task has an end", seconds=END_SECONDS)
    except AssertionError as error:
        raise AssertionError(f"{error}: {still_open(dsn)[:20]}") from None
    rows = read_durable_rows(dsn)
    assert not rows.loose, f"rows without what they belong to: {rows.loose[:5]}"
    lines: dict[str, list[Line]] = defaultdict(list)
    for line in chaos.effects.read():
        lines[line["task"]].append(line)
    assert not set(lines) - set(rows.tasks), "tasks without rows ran"
    children_of = rows.children()
    for task in rows.tasks.values():
        _check_attempts(task, steps_may_be_lost=steps_may_be_lost, database_died=database_died)
        _check_log(task)
        _check_releases(task)
        _check_children(task, children_of[task.id])
        _check_invocations(task, lines[task.id])
    for task in rows.of(*FLOWS):
        _check_run(task, rows, lines[task.id])
    _check_heard(chaos.durable_clients, rows)
    return rows


def check_health(engine: EngineProcess) -> None:
    """The doctor finds nothing."""
    command = [sys.executable, "-P", "-m", "hatchet.cli.admin", "doctor"]
    ran = subprocess.run(command, env=engine.environment, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"


def _check_attempts(task: DurableTask, *, steps_may_be_lost: bool, database_died: bool) -> None:
    """Attempts follow each other, each ends once; evictions are counted, and are undone once each."""
    attempts = [row["attempt"] for row in task.results]
    assert attempts == list(range(len(attempts))), f"{task}: results of attempts {attempts}"
    assert [row["is_end"] for row in task.results] == [False] * (len(attempts) - 1) + [True], f"{task}: not one end"
    fails = task.input["n"] < 0
    assert task.end["outcome"] == ("FAILED" if fails else "COMPLETED"), f"{task}: {dict(task.end)}"
    assert set(task.assigned) <= set(attempts), f"{task}: attempts {set(task.assigned)} were given to a worker"
    missing = set(attempts) - set(task.assigned)
    assert not missing or database_died, f"{task}: attempts {missing} ended and were never given to a worker"
    evictions = 0
    for row in task.results:
        attempt = row["attempt"]
        assigned = task.assigned.get(attempt)
        assert assigned is None or assigned["evictions"] == evictions, f"{task}: attempt {attempt} miscounts evictions"
        assert row["is_evicted"] is None or row["is_evicted"] == (row["outcome"] == "EVICTED"), f"{task}: {dict(row)}"
        if row["outcome"] == "EVICTED":
            evictions += 1
            assert attempt + 1 in task.restored, f"{task}: attempt {attempt + 1} ran without having been restored"
        if row["outcome"] == "FAILED" and not fails:
            # Non-determinism above all is none of the reasons.
            may_be = (LOST,) * steps_may_be_lost + (REFUSED,) * database_died
            assert any(text in row["error"] for text in may_be), f"{task}: attempt {attempt} failed: {row['error']}"
        assert row["evictions"] == evictions, f"{task}: attempt {attempt} counts {row['evictions']} evictions"
    evicted = {row["attempt"] + 1 for row in task.results if row["outcome"] == "EVICTED"}
    assert set(task.restored) == evicted, f"{task}: {set(task.restored)} were restored, {evicted} evicted"


def _check_log(task: DurableTask) -> None:
    """D-29.2: nodes without a gap, written by one invocation after the other; something came of each."""
    assert {entry["branch"] for entry in task.entries} <= {1}, f"{task}: nobody asked for a branch"
    nodes = [entry["node"] for entry in task.entries]
    assert nodes == list(range(1, len(nodes) + 1)), f"{task}: nodes {nodes}"
    invocations = [entry["invocation"] for entry in task.entries]
    assert invocations == sorted(invocations), f"{task}: entries of invocations {invocations}"
    assert not invocations or invocations[-1] <= len(task.results), f"{task}: an invocation that never was wrote"
    for entry in task.entries:
        assert entry["is_satisfied"] or entry["kind"] == "RUN", f"{task}: nothing came of {dict(entry)}"


def _check_releases(task: DurableTask) -> None:
    """D-7.6: one place in the satisfied order for everything that was handed over, without a gap."""
    orders = [row["satisfied_order"] for row in task.releases]
    assert orders == list(range(1, len(orders) + 1)), f"{task}: orders {orders}"
    released = Counter(row["node"] for row in task.releases)
    assert set(released.values()) <= {1}, f"{task}: released again: {released}"
    kinds = {entry["node"]: entry["kind"] for entry in task.entries}
    assert {kinds[node] for node in released} <= {"WAIT_FOR", "RUN"}, f"{task}: a memo has an order"
    waits = {entry["node"] for entry in task.of_kind("WAIT_FOR")}
    assert waits <= set(released), f"{task}: waits {waits - set(released)} were never handed over"
    for row in task.releases:
        assert row["node"] <= row["tip"] <= len(task.entries), f"{task}: {dict(row)}"
    tips = [row["tip"] for row in task.releases]
    assert tips == sorted(tips), f"{task}: the log went backwards: {tips}"


def _check_children(task: DurableTask, spawned: list[DurableTask]) -> None:
    """D-29.4: one child run for each entry, and no more; what is recorded is how the child ended."""
    recorded = {entry["run"]: entry for entry in task.of_kind("RUN")}
    assert len(recorded) == len(task.of_kind("RUN")), f"{task}: two entries of one run"
    assert set(recorded) == {child.id for child in spawned}, f"{task}: {len(spawned)} children, {len(recorded)} entries"
    for child in spawned:
        entry = recorded[child.id]
        if not entry["is_satisfied"]:
            continue
        failed = child.end["outcome"] == "FAILED"
        assert entry["is_failure"] == failed, f"{task}: {dict(entry)} of a child that ended {child.end['outcome']}"
        assert failed or json.loads(entry["payload"]) == child.output, f"{task}: {dict(entry)} against {child.output}"


def _check_invocations(task: DurableTask, lines: list[Line]) -> None:
    """D-5.2, D-5.7: invocations are counted by attempts, retries are what is left without evictions."""
    for line in lines:
        if line["invocation"] is None:
            continue
        attempt = line["invocation"] - 1
        assert attempt < len(task.results), f"{task}: invocation {line['invocation']} never was"
        before = task.results[attempt - 1]["evictions"] if attempt else 0
        assert line["retry"] == attempt - before, f"{task}: {line} with {before} evictions"


def _check_run(task: DurableTask, rows: DurableRows, lines: list[Line]) -> None:
    """D-29.9: the output is the one of a run that nothing happened to; D-12.1: every invocation saw the same."""
    n, label = task.input["n"], task.input["label"]
    steps = list(flat(plan(n)))
    saw = task.output["saw"]
    assert (task.output["n"], task.output["label"]) == (n, label)
    assert set(saw) == {step.path for step in steps}, f"{task}: {sorted(saw)}"
    counted = Counter(entry["kind"] for entry in task.entries)
    assert counted == entries(plan(n)), f"{task}: entries {counted}, steps {entries(plan(n))}"
    _check_bound(task, lines, saw)
    waits = {entry["label"]: entry for entry in task.of_kind("WAIT_FOR")}
    memos = [json.loads(entry["payload"]) for entry in task.of_kind("MEMO")]
    runs = {entry["run"] for entry in task.of_kind("RUN")}
    seen: set[str] = set()
    for step in steps:
        value = saw[step.path]
        if step.kind == "memo":
            made = [line["value"] for line in lines if (line["kind"], line["path"]) == ("computed", step.path)]
            assert value in made, f"{task}: {step} gave {value}, which nobody computed"
            assert value in memos, f"{task}: {step} gave {value}, which is not stored"
        elif children(step):
            seen |= _check_spawned(task, step, value, rows)
        else:
            _check_wait(task, step, value, waits[step.path])
    failing = sum(step.kind == "failing" for step in steps)
    assert seen <= runs, f"{task}: saw children of nobody: {seen - runs}"
    assert len(runs - seen) == failing, f"{task}: {len(runs - seen)} children were never seen, {failing} fail"


def _check_bound(task: DurableTask, lines: list[Line], saw: dict[str, Any]) -> None:
    """Every binding value is the one in the output."""
    gave = [line for line in lines if line["kind"] in ("saw", "ends")]
    last = {(line["invocation"], line["worker"]): number for number, line in enumerate(gave)}
    for number, line in enumerate(gave):
        if line["kind"] == "saw" and number < last[line["invocation"], line["worker"]]:
            assert line["value"] == saw[line["path"]], f"{task}: {line}, and in the end {saw[line['path']]}"


def _check_wait(task: DurableTask, step: Step, value: Any, entry: Any) -> None:
    key = event(step, task.input["label"], task.input["n"], task.id)
    assert value in results(step, key), f"{task}: {step} gave {value}"
    stored = json.loads(entry["payload"])
    if "CREATE" not in (value if isinstance(value, dict) else {}):
        [[datum]] = stored["CREATE"].values()
        stored = int(datum["sleep_duration"].removesuffix("ms")) if step.kind == "sleep" else datum
    assert stored == value, f"{task}: {step} gave {value}, stored is {stored}"
    if step.kind in ("sleep", "nap", "both"):
        lasted = entry["satisfied_at"] - entry["created_at"]
        assert lasted > step.amount / 1000 - ROUNDING_SECONDS, f"{task}: {step} lasted {lasted:.3f} s"


def _check_spawned(task: DurableTask, step: Step, value: Any, rows: DurableRows) -> set[str]:
    """The runs of the children that the step saw: those that the plan says, each with the output of its run."""
    wanted = [child.n for child in children(step)]
    if step.kind == "failing":
        assert f"part {wanted[0]} fails" in value["failed"], f"{task}: {step} gave {value}"
        return set()
    values = value if step.kind == "bulk" else [value]
    found = [rows.tasks[one["run"]] for one in values]
    assert [child.input["n"] for child in found] == wanted, f"{task}: {step} gave {value}"
    for child, one in zip(found, values, strict=True):
        assert step.kind == "orphan" or child.output == one, f"{task}: {step} gave {one}, the run {child.output}"
    return {child.id for child in found}


def _check_heard(clients: list[Any], rows: DurableRows) -> None:
    """Every acknowledged run is there, and its client heard what is stored."""
    for client in clients:
        assert isinstance(client, Load)
        acknowledged = {line["run"]: line["n"] for line in client.acknowledged_runs()}
        assert not set(acknowledged) - set(rows.tasks), "acknowledged runs are gone"
        heard = {line["run"]: line for line in client.results.read()}
        assert set(heard) == set(acknowledged), f"{client.name} heard of {len(heard)} of {len(acknowledged)} runs"
        for run, line in heard.items():
            task = rows.tasks[run]
            assert task.input["n"] == acknowledged[run]
            assert not line["error"], f"{task}: {line}"
            assert json.loads(line["output"]) == task.output, f"{task}: its client heard {line['output']}"
