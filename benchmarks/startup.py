"""How long the first minute of a person takes: server start, cold and warm, and the import of the SDK."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.bench import Options
from benchmarks.server import clean_environment, free_ports

IMPORTS = 7
_IMPORT = "import time; t = time.perf_counter(); import hatchet_sdk; {use}print(time.perf_counter() - t)"
_FIRST_USE = "hatchet_sdk.Hatchet, hatchet_sdk.Context; "


async def start_up(_: Options, scratch: Path) -> dict[str, Any]:
    """``hatchet server start`` on an empty home, and once more on what that left, each to the return of the command."""
    return {"start_up": await asyncio.to_thread(_started_twice, scratch / "home")}


async def import_time(_: Options, scratch: Path) -> dict[str, Any]:
    """Milliseconds of ``import hatchet_sdk`` in a fresh interpreter, median; and of it with ``Hatchet`` in use."""
    bare = await asyncio.to_thread(_imported, "")
    used = await asyncio.to_thread(_imported, _FIRST_USE)
    return {"import_ms": bare, "import_and_first_use_ms": used}


def _started_twice(home: Path) -> dict[str, float]:
    home.mkdir(parents=True, exist_ok=True)
    env = {**clean_environment(), "HATCHET_HOME": str(home)}
    ports = free_ports(2)
    start = ["server", "start", "--dashboard-port", str(ports[0]), "--grpc-port", str(ports[1])]
    times = {}
    try:
        for name in ("cold_seconds", "warm_seconds"):
            times[name] = _timed(start, env)
            times[name.replace("seconds", "stop_seconds")] = _timed(["server", "stop"], env)
    finally:
        subprocess.run(_hatchet(["server", "stop"]), env=env, check=False, capture_output=True)
    return times


def _timed(arguments: list[str], env: dict[str, str]) -> float:
    began = time.monotonic()
    ran = subprocess.run(_hatchet(arguments), env=env, check=False, capture_output=True, text=True)
    if ran.returncode != 0:
        raise RuntimeError(f"hatchet {' '.join(arguments)} failed:\n{ran.stdout}{ran.stderr}")
    return time.monotonic() - began


def _hatchet(arguments: list[str]) -> list[str]:
    return [str(Path(sys.executable).parent / "hatchet"), *arguments]


def _imported(use: str) -> float:
    command = [sys.executable, "-c", _IMPORT.format(use=use)]
    times = [
        float(subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ)).stdout)
        for _ in range(IMPORTS)
    ]
    return statistics.median(times) * 1000
