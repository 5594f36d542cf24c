"""The scenarios on a running engine. Each returns its part of the result; units are in the names."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.bench import Bench
from benchmarks.done import RUNS, TASKS, CommittedResults
from benchmarks.durable import durable
from benchmarks.events import events
from benchmarks.limits import limits
from benchmarks.saturation import Plan, saturate
from benchmarks.schedules import schedules
from benchmarks.usage import per_task_us, resident_mb

PACED_RATE = 100.0
LANES = 64
IDLE_WORKERS = 10
SETTLE_SECONDS = 12.0
"""PostgreSQL's idle connections hand in their counts within ten seconds."""
FILL_SECONDS = 1800.0
RESULT_SLACK_SECONDS = 120.0
CHILDREN = 1000
FAN_OUTS = 5

Scenario = Callable[[Bench], Awaitable[dict[str, Any]]]


async def idle(bench: Bench) -> dict[str, Any]:
    """Ten connected workers and nothing to do."""
    async with bench.workers(IDLE_WORKERS):
        await asyncio.sleep(SETTLE_SECONDS)
        before, began = await bench.counters.read(), time.monotonic()
        await asyncio.sleep(bench.options.short_seconds)
        counts, seconds = (await bench.counters.read()).since(before), time.monotonic() - began
        memory = resident_mb(bench.engine.pid)
    return {
        "idle": {
            "workers": IDLE_WORKERS,
            "statements_per_second": counts.statements / seconds,
            "transactions_per_second": (counts.commits + counts.rollbacks) / seconds,
            "wal_bytes_per_second": counts.wal_bytes / seconds,
        },
        "memory_mb": {"engine_at_rest": memory},
    }


async def paced(bench: Bench) -> dict[str, Any]:
    """Single triggers at 100 a second, and the time until each starts and until its result is there."""
    said = await _measured(bench, "paced", str(PACED_RATE), str(bench.options.short_seconds))
    return {"latency": {key: said[key] for key in ("start_ms", "result_ms", "rate", "cpu_us_per_task")}}


async def wait_for_result(bench: Bench) -> dict[str, Any]:
    """64 callers, each of which waits for its result before it calls again."""
    said = await _measured(bench, "wait", str(LANES), str(bench.options.short_seconds))
    shown = ("tasks_per_second", "start_ms", "result_ms", "cpu_us_per_task")
    return {"wait_for_result": {"in_flight": LANES, **{key: said[key] for key in shown}}}


async def throughput(bench: Bench) -> dict[str, Any]:
    """The sustained run: bulk triggers to committed results."""
    run = await _saturated(bench, bench.options.seconds)
    costs = ("cpu_us_per_task", "statements_per_task", "commits_per_task", "wal_bytes_per_task")
    peaks = {f"{party}_peak": value for party, value in run["peak_mb"].items()}
    kept = {key: value for key, value in run.items() if key not in (*costs, "peak_mb")}
    return {"throughput": kept, **{key: run[key] for key in costs}, "memory_mb": peaks}


async def backlog(bench: Bench) -> dict[str, Any]:
    """The same with many tasks waiting in another queue of the tenant, right after one without.

    The other queue belongs to a task that was registered by a worker which has left.
    """
    seconds = bench.options.short_seconds
    without = await _saturated(bench, seconds)
    filled = await _filled(bench)
    memory = resident_mb(bench.engine.pid)
    run = await _saturated(bench, seconds)
    return {
        "backlog": {
            "waiting": filled["tasks"],
            "accepted_per_second": filled["tasks"] / filled["seconds"],
            "tasks_per_second": run["tasks_per_second"],
            "without_tasks_per_second": without["tasks_per_second"],
            "ratio": run["tasks_per_second"] / max(without["tasks_per_second"], 1e-9),
            "cpu_us_per_task": run["cpu_us_per_task"],
            "lost": run["lost"],
        },
        "memory_mb": {"engine_with_backlog": memory, "engine_with_backlog_peak": run["peak_mb"]["engine"]},
    }


async def line(bench: Bench) -> dict[str, Any]:
    """Runs of three tasks in a line, right after tasks that are runs of their own: what a run costs, in tasks."""
    seconds = bench.options.short_seconds
    single = await _saturated(bench, seconds)
    run = await _saturated(bench, seconds, "line", RUNS)
    costs = {key: run["cpu_us_per_task"][key] for key in ("engine", "postgres")}
    alone = sum(single["cpu_us_per_task"][key] for key in ("engine", "postgres"))
    return {
        "line": {
            "runs_per_second": run["tasks_per_second"],
            "cpu_us_per_run": run["cpu_us_per_task"],
            "single_cpu_us_per_task": single["cpu_us_per_task"],
            "ratio_engine_and_postgres": sum(costs.values()) / max(alone, 1e-9),
            "statements_per_run": run["statements_per_task"],
            "lost": run["lost"],
        }
    }


async def fan_out(bench: Bench) -> dict[str, Any]:
    """A task that spawns 1,000 children and waits for all of them, in the same worker."""
    async with bench.worker("fan_out,noop"), bench.client("fan", str(CHILDREN), str(FAN_OUTS)) as client:
        said = await client.expect("done", RESULT_SLACK_SECONDS)
    seconds = said["seconds"]
    return {"fan_out": {"children": CHILDREN, "seconds_median": seconds[len(seconds) // 2], "seconds": seconds}}


async def _filled(bench: Bench) -> dict[str, Any]:
    async with bench.worker("parked", slots=1):
        pass
    async with bench.client("fill", "parked", str(bench.options.waiting)) as client:
        said = await client.expect("done", FILL_SECONDS)
    await asyncio.sleep(SETTLE_SECONDS)
    return said


async def _saturated(
    bench: Bench, seconds: float, task: str = "noop", counted: tuple[str, str, str, str] = TASKS
) -> dict[str, Any]:
    async with (
        bench.worker(task) as worker,
        bench.client("produce", task) as client,
        CommittedResults(bench.postgres.dsn(), counted) as finished,
    ):
        return await saturate(
            producer=client,
            finished=finished,
            parties=bench.parties(worker, client),
            counters=bench.counters,
            plan=Plan(seconds=seconds),
        )


async def _measured(bench: Bench, mode: str, *arguments: str) -> dict[str, Any]:
    """A run that the client measures by itself, with the CPU of all parties beside it."""
    async with bench.worker() as worker, bench.client(mode, *arguments) as client:
        parties = bench.parties(worker, client)
        await client.expect("begin", RESULT_SLACK_SECONDS)
        before = parties.cpu()
        said = await client.expect("done", bench.options.short_seconds + RESULT_SLACK_SECONDS)
        cpu = per_task_us(before, parties.cpu(), said["result_ms"]["count"])
        return {**said, "cpu_us_per_task": {**cpu, "all": sum(cpu.values())}}


ON_ENGINE: dict[str, Scenario] = {
    "idle": idle,
    "paced": paced,
    "wait": wait_for_result,
    "throughput": throughput,
    "line": line,
    "fan_out": fan_out,
    "events": events,
    "schedules": schedules,
    "limits": limits,
    "durable": durable,
    "backlog": backlog,
}
"""In the order in which they run."""
