"""How fast this machine is at the moment: without it figures of two days, or of a busy hour, cannot be compared."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from benchmarks.bench import Options
from benchmarks.peer import Peer
from benchmarks.usage import cpu_seconds

ROUNDS = 5_000_000
ECHO_SECONDS = 4.0
PATIENCE_SECONDS = 60.0


async def calibrate(_: Options, scratch: Path) -> dict[str, Any]:
    """CPU of a fixed Python loop, in seconds, and microseconds of one echoed gRPC call at each end.

    A task costs the engine at least one such call (its report) and one message on a stream.
    """
    loop = await asyncio.to_thread(_loop_seconds)
    return {"calibration": {"python_loop_seconds": round(loop, 3), **await _echoed()}}


def _loop_seconds() -> float:
    began, total = time.thread_time(), 0
    for number in range(ROUNDS):
        total += number
    return time.thread_time() - began


async def _echoed() -> dict[str, float]:
    async with Peer.module("echo server", "benchmarks.echo", "serve") as server:
        port = (await server.expect("ready", PATIENCE_SECONDS))["port"]
        async with Peer.module("echo client", "benchmarks.echo", "call", str(port), str(ECHO_SECONDS)) as client:
            await client.expect("begin", PATIENCE_SECONDS)
            before = cpu_seconds(server.pid), cpu_seconds(client.pid)
            calls = (await client.expect("done", PATIENCE_SECONDS))["calls"]
            after = cpu_seconds(server.pid), cpu_seconds(client.pid)
    costs = [(late - early) * 1e6 / max(calls, 1) for early, late in zip(before, after, strict=True)]
    return {
        "grpc_echo_server_us": costs[0],
        "grpc_echo_client_us": costs[1],
        "grpc_echo_per_second": calls / ECHO_SECONDS,
    }
