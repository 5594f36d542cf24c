"""Where the time goes: saturation under a sampling profiler. ``python -m benchmarks.profile [--target engine]``."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from benchmarks.compare import environment
from benchmarks.counters import Counters
from benchmarks.done import RUNS, TASKS, CommittedResults
from benchmarks.figures import rounded
from benchmarks.peer import Peer
from benchmarks.saturation import Plan, saturate
from benchmarks.server import running_engine, running_postgres, scratch_directory
from benchmarks.usage import Parties

SLOTS = 500
WARM_UP_SECONDS = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", choices=("engine", "worker", "client"), default="engine")
    parser.add_argument("--task", choices=("noop", "line"), default="noop", help="what runs: tasks, or three in a line")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=int, default=200, help="samples a second")
    parser.add_argument("--top", type=int, default=40, help="rows of each table")
    parser.add_argument("--keep", type=Path, help="also write the collapsed stacks to this file")
    parser.add_argument("--gil", action="store_true", help="only threads that hold the interpreter lock")
    parser.add_argument("--threads", action="store_true", help="tell the threads apart")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of PostgreSQL to try"
    )
    parser.add_argument(
        "--engine", action="append", default=[], metavar="NAME=VALUE", help="a variable of the engine to try"
    )
    parser.add_argument("--no-profile", action="store_true", help="only the figures and the statements")
    parser.add_argument("--native", action="store_true", help="look into C extensions too")
    asyncio.run(run(parser.parse_args()))


async def run(options: argparse.Namespace) -> None:
    environment.python()
    settings, variables = (dict(pair.split("=", 1) for pair in pairs) for pairs in (options.set, options.engine))
    async with scratch_directory() as scratch, running_postgres(scratch / "postgres", settings) as postgres:
        async with running_engine(postgres.dsn(), scratch / "engine", variables) as engine:
            env = engine.env
            async with (
                Peer.module("worker", "benchmarks.worker", options.task, str(SLOTS), env=env) as worker,
                Peer.module("client", "benchmarks.client", "produce", options.task, env=env) as client,
                CommittedResults(postgres.dsn(), TASKS if options.task == "noop" else RUNS) as finished,
                Counters(postgres.dsn("postgres"), "hatchet") as counters,
            ):
                await worker.expect("ready", 60)
                parties = Parties(
                    {"engine": engine.pid, "postgres": postgres.pid, "worker": worker.pid, "client": client.pid}
                )
                await counters.forget_statements()
                stacks = scratch / "stacks"
                profiling = asyncio.create_task(_profile(parties.pids[options.target], options, stacks))
                if options.no_profile:
                    profiling.cancel()
                plan = Plan(seconds=options.seconds, warm_up_seconds=WARM_UP_SECONDS)
                result = await saturate(
                    producer=client, finished=finished, parties=parties, counters=counters, plan=plan
                )
                await asyncio.wait({profiling})
                print(json.dumps(rounded(result), indent=2))
                _print_statements(await counters.costliest(15))
        if options.no_profile:
            return
        profiling.result()
        text = stacks.read_text(encoding="utf-8")
        if options.keep:
            options.keep.write_text(text, encoding="utf-8")
        print_profile(text.splitlines(), options.top, title=options.target)


async def _profile(pid: int, options: argparse.Namespace, output: Path) -> None:
    await asyncio.sleep(WARM_UP_SECONDS)
    program = str(Path(environment.DIRECTORY) / "bin" / "py-spy")
    command = [
        program,
        "record",
        "--pid",
        str(pid),
        "--duration",
        str(int(options.seconds)),
        "--format",
        "raw",
        "--nonblocking",
    ]
    command += ["--rate", str(options.rate), "--output", str(output)] + [
        f"--{flag}" for flag in ("native", "gil", "threads") if getattr(options, flag)
    ]
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"py-spy failed:\n{errors.decode()}")


def print_profile(lines: Iterable[str], top: int, *, title: str) -> None:
    """The functions with most samples, by themselves and with all that they call, from collapsed stacks."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for line in lines:
        stack, _, number = line.rpartition(" ")
        frames = [_without_line(frame) for frame in stack.split(";")]
        own[frames[-1]] += int(number)
        total.update(dict.fromkeys(frames, int(number)))
    samples = sum(own.values()) or 1
    for name, counted in (("by themselves", own), ("with what they call", total)):
        print(f"\n{title}: {name} ({samples} samples)")
        for frame, count in counted.most_common(top):
            print(f"{count / samples:7.1%}  {frame}")


def _without_line(frame: str) -> str:
    """``name (module.py:12)`` without the number, and without the directories above the last two."""
    name, _, place = frame.partition(" (")
    file = place.rstrip(")").rpartition(":")[0] or place.rstrip(")")
    return f"{name} ({'/'.join(file.split('/')[-2:])})" if place else name


def _print_statements(rows: list[dict[str, object]]) -> None:
    print("\nstatements by time")
    for row in rows:
        print(f"{row['total_ms']:>10} ms {row['calls']:>7} calls {row['rows']:>8} rows  {row['query']}")


if __name__ == "__main__":
    main()
