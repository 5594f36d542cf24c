"""``python -m benchmarks``: choose scenarios, run them, print the result and the table, keep the result."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import calibrate, goals, machine, startup
from benchmarks.bench import Options, running
from benchmarks.compare import others
from benchmarks.counters import Counters
from benchmarks.figures import rounded
from benchmarks.saturation import Plan
from benchmarks.scenarios import ON_ENGINE
from benchmarks.server import Postgres, scratch_directory

WITHOUT_ENGINE = {"calibrate": calibrate.calibrate, "startup": startup.start_up, "import": startup.import_time}
NAMES = (*WITHOUT_ENGINE, *ON_ENGINE)
RESULTS = Path(__file__).resolve().parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _arguments(arguments)
    result = asyncio.run(_run(chosen))
    text = json.dumps(rounded(result), indent=2)
    print(text)
    print(f"\n{goals.table(result)}\n")
    if not chosen.no_save:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{time.strftime('%Y-%m-%d', time.gmtime())}-{result['commit']}.json"
        path.write_text(text + "\n", encoding="utf-8")
        print(f"kept as benchmarks/results/{path.name}")
    return 1 if chosen.check and goals.missed(result) else 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default="", help=f"scenarios, separated by commas: {', '.join(NAMES)}")
    parser.add_argument("--seconds", type=float, help="of the sustained run (default 60); half of it for the others")
    parser.add_argument("--waiting", type=int, help="tasks that wait in the other queue (default 500000)")
    parser.add_argument("--limited", type=int, help="tasks that wait for places of concurrency rules (default 100000)")
    parser.add_argument("--sleepers", type=int, help="durable tasks that sleep at once (default 100000)")
    parser.add_argument("--slots", type=int, default=500, help="slots of the worker")
    parser.add_argument("--quick", action="store_true", help="10 s, 20,000 waiting: to see that it runs")
    parser.add_argument("--compare", action="store_true", help="procrastinate and pgqueuer too, on the same server")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a goal was missed")
    parser.add_argument("--no-save", action="store_true", help="do not keep the result in benchmarks/results")
    chosen = parser.parse_args(arguments)
    chosen.names = [name for name in chosen.only.split(",") if name] or list(NAMES)
    unknown = sorted(set(chosen.names) - set(NAMES))
    if unknown:
        parser.error(f"unknown scenario {', '.join(unknown)}: choose from {', '.join(NAMES)}")
    if chosen.compare and "throughput" not in chosen.names:
        parser.error("--compare needs the scenario throughput: its ratios are to it")
    return chosen


def _options(chosen: argparse.Namespace) -> Options:
    seconds = chosen.seconds or (10.0 if chosen.quick else 60.0)
    waiting = chosen.waiting or (20_000 if chosen.quick else 500_000)
    limited = chosen.limited or (5000 if chosen.quick else 100_000)
    sleepers = chosen.sleepers or (2000 if chosen.quick else 100_000)
    short = max(seconds / 2, 5.0)
    return Options(
        seconds=seconds,
        short_seconds=short,
        waiting=waiting,
        limited=limited,
        sleepers=sleepers,
        slots=chosen.slots,
    )


async def _run(chosen: argparse.Namespace) -> dict[str, Any]:
    options = _options(chosen)
    result: dict[str, Any] = {"commit": machine.commit(), "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    async with scratch_directory() as scratch:
        for name, alone in WITHOUT_ENGINE.items():
            if name in chosen.names:
                _tell(name)
                _merge(result, await alone(options, scratch / name))
        wanted = [name for name in ON_ENGINE if name in chosen.names]
        if wanted:
            await _on_engine(wanted, options, scratch, result, compare=chosen.compare)
        else:
            result["machine"] = machine.describe()
    return result


async def _on_engine(
    wanted: Sequence[str], options: Options, scratch: Path, result: dict[str, Any], *, compare: bool
) -> None:
    load = machine.describe()["load_before"]
    async with running(options, scratch) as bench:
        result["machine"] = {**machine.describe(await bench.counters.server_version()), "load_before": load}
        result["settings"] = {"seconds": options.seconds, "slots": options.slots, "input_bytes": 300, "fsync": True}
        for name in wanted:
            _tell(name)
            _merge(result, await ON_ENGINE[name](bench))
            if name == "throughput" and compare:
                # Right after ours, so that both see the same machine; the engine is idle meanwhile.
                _merge(result, await _compared(bench.options, bench.postgres, result))


async def _compared(options: Options, postgres: Postgres, result: dict[str, Any]) -> dict[str, Any]:
    ours = result["throughput"]["tasks_per_second"]
    compare: dict[str, Any] = {}
    for other in others.OTHERS:
        _tell(other.name)
        name = f"compare_{other.name}"
        dsn = await postgres.create_database(name)
        plan = Plan(seconds=options.short_seconds)
        async with Counters(postgres.dsn("postgres"), name) as counters:
            compare[other.name] = await others.measure(
                other, dsn=dsn, name=name, counters=counters, postgres_pid=postgres.pid, plan=plan
            )
        compare[f"ratio_{other.name}"] = ours / max(compare[other.name]["tasks_per_second"], 1e-9)
    return {"compare": compare}


def _merge(result: dict[str, Any], part: dict[str, Any]) -> None:
    """Scenarios may add to the same key: memory is measured in several."""
    for key, value in part.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key].update(value)
        else:
            result[key] = value


def _tell(name: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {name}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
