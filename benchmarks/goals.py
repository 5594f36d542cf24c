"""What must be reached, and the table that a person reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Result = Mapping[str, Any]


@dataclass(slots=True, frozen=True)
class Goal:
    """One line of the table; without ``bound`` it only tells. ``at_least`` says which side of the bound is good."""

    path: str
    label: str
    unit: str = ""
    bound: float | None = None
    at_least: bool = False

    def verdict(self, value: float) -> str:
        """``reached``, or by how much it was missed; empty without a bound."""
        if self.bound is None:
            return ""
        if value >= self.bound if self.at_least else value <= self.bound:
            return "reached"
        away = abs(value - self.bound) / self.bound
        return f"missed by {away:.0%}"


GOALS = (
    Goal("throughput.tasks_per_second", "sustained, bulk trigger to committed result", "tasks/s", 1500, True),
    Goal("throughput.lost", "accepted and never finished", "tasks", 0),
    Goal("wait_for_result.tasks_per_second", "64 callers that wait for each result", "tasks/s", 800, True),
    Goal("wait_for_result.result_ms.p50", "  their wait, p50", "ms"),
    Goal("wait_for_result.result_ms.p99", "  their wait, p99", "ms"),
    Goal("compare.ratio_procrastinate", "times procrastinate", "x", 4, True),
    Goal("compare.ratio_pgqueuer", "times pgqueuer", "x"),
    Goal("latency.start_ms.p50", "trigger to start at 100/s, p50", "ms", 5),
    Goal("latency.start_ms.p95", "trigger to start at 100/s, p95", "ms"),
    Goal("latency.start_ms.p99", "trigger to start at 100/s, p99", "ms", 30),
    Goal("latency.result_ms.p50", "trigger to result at 100/s, p50", "ms"),
    Goal("latency.result_ms.p99", "trigger to result at 100/s, p99", "ms"),
    Goal("line.ratio_engine_and_postgres", "three tasks in a line, in single tasks (engine and PostgreSQL)", "x", 3.3),
    Goal("line.runs_per_second", "  such runs", "runs/s"),
    Goal("line.statements_per_run", "  their statements", "a run"),
    Goal("fan_out.seconds_median", "1,000 children spawned and collected by one task", "s", 3),
    Goal("backlog.ratio", "speed with a full other queue, of that without", "x", 0.85, True),
    Goal("limits.ratio_engine_and_postgres", "two concurrency rules, in tasks without (engine and PostgreSQL)", "x", 2),
    Goal("limits.admission_ms.p50", "  a freed place to the key's next assignment, p50", "ms"),
    Goal("limits.admission_ms.p99", "  a freed place to the key's next assignment, p99", "ms", 50),
    Goal("limits.overlaps", "  tasks of a key that had a place at the same time", "tasks", 0),
    Goal("durable.memo_ms.p50", "a memo of a durable task, request to answer, p50", "ms", 10),
    Goal("durable.sleep_1ms_ms.p50", "a durable sleep of 1 ms, request to completion, p50", "ms", 10),
    Goal("durable.resume_seconds", "a new invocation walks 1,000 recorded steps", "s", 1),
    Goal("durable.engine_mb_asleep", "engine memory with all durable tasks asleep", "MB", 500),
    Goal("durable.statements_per_second_asleep", "  statements while they sleep", "statements/s", 5),
    Goal("durable.restored_seconds", "  a tenth of them wakes in one moment: the last is with its worker", "s"),
    Goal("durable.woken_seconds", "  the last of them is done", "s", 10),
    Goal("idle.statements_per_second", "idle with 10 workers", "statements/s", 2),
    Goal("memory_mb.engine_at_rest", "engine memory at rest", "MB", 150),
    Goal("memory_mb.engine_with_backlog", "engine memory with a full other queue", "MB", 400),
    Goal("memory_mb.engine_peak", "engine memory, peak of the sustained run", "MB"),
    Goal("start_up.cold_seconds", "cold `hatchet server start`", "s", 6),
    Goal("start_up.warm_seconds", "warm `hatchet server start`", "s", 3),
    Goal("import_ms", "`import hatchet_sdk`", "ms", 400),
    Goal("cpu_us_per_task.engine", "CPU per task: engine", "us"),
    Goal("cpu_us_per_task.postgres", "CPU per task: PostgreSQL", "us"),
    Goal("cpu_us_per_task.worker", "CPU per task: worker", "us"),
    Goal("cpu_us_per_task.client", "CPU per task: client", "us"),
    Goal("calibration.grpc_echo_server_us", "for comparison, an echoed gRPC call here: server", "us"),
    Goal("calibration.python_loop_seconds", "for comparison, 5 million rounds of a Python loop", "s"),
    Goal("statements_per_task", "statements per task"),
    Goal("commits_per_task", "commits per task"),
    Goal("wal_bytes_per_task", "WAL per task", "bytes"),
)


def find(result: Result, path: str) -> float | None:
    """The number under a dotted path; None when that scenario did not run."""
    value: Any = result
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return float(value) if isinstance(value, (int, float)) else None


def table(result: Result) -> str:
    """All goals whose scenario ran, aligned."""
    rows = [("what", "measured", "goal", "")]
    for goal in GOALS:
        value = find(result, goal.path)
        if value is not None:
            rows.append((goal.label, f"{_number(value)} {goal.unit}".rstrip(), _bound(goal), goal.verdict(value)))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    pad: Callable[[tuple[str, ...]], str] = lambda row: (  # noqa: E731 - one expression
        f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip()
    )
    return "\n".join(pad(row) for row in rows)


def missed(result: Result) -> list[str]:
    """The labels of the goals that were measured and not reached."""
    found = [(goal, find(result, goal.path)) for goal in GOALS]
    return [goal.label for goal, value in found if value is not None and goal.verdict(value).startswith("missed")]


def _bound(goal: Goal) -> str:
    if goal.bound is None:
        return ""
    return f"{'>=' if goal.at_least else '<='} {_number(goal.bound)}"


def _number(value: float) -> str:
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
