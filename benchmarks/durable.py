"""Durable tasks: many that sleep at once, what a step costs, how soon an invocation is where the last one was."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.bench import WORKER_READY_SECONDS, Bench
from benchmarks.peer import Peer
from benchmarks.usage import Parties, per_task_us, resident_mb

STEPS = 300
RECORDED = 1000
QUIET_SECONDS = 10.0
SETTLE_SECONDS = 8.0
"""Each evicted task is looked at once, some seconds after its eviction."""
SLOW_SECONDS = 3600.0


async def durable(bench: Bench) -> dict[str, Any]:
    """Steps and a resumption on a quiet engine, then the sleepers."""
    async with _peer(bench, "steps", STEPS) as peer:
        step = await peer.expect("done", SLOW_SECONDS)
    async with _peer(bench, "resume", RECORDED) as peer:
        resumed = await peer.expect("resumed", SLOW_SECONDS)
        recorded = peer.latest("recorded")
    return {
        "durable": {
            "memo_ms": step["memo_ms"],
            "sleep_1ms_ms": step["sleep_ms"],
            "recorded_steps": RECORDED,
            "record_seconds": recorded["seconds"],
            "resume_seconds": resumed["seconds"],
            **await _sleepers(bench),
        }
    }


async def _sleepers(bench: Bench) -> dict[str, Any]:
    count = bench.options.sleepers
    due = max(count // 10, 1)
    parties = Parties({"engine": bench.engine.pid, "postgres": bench.postgres.pid})
    before_mb, before = resident_mb(bench.engine.pid), parties.cpu()
    async with _peer(bench, "sleepers", count, due) as peer:
        await peer.expect("ready", WORKER_READY_SECONDS)
        await peer.tell("go")
        asleep = await peer.expect("asleep", SLOW_SECONDS)
        cost = per_task_us(before, parties.cpu(), count)
        sleeping_mb = resident_mb(bench.engine.pid)
        woken = await peer.expect("woken", SLOW_SECONDS)
        restored = peer.latest("restored")
        await asyncio.sleep(SETTLE_SECONDS)
        first, began = await bench.counters.read(), time.monotonic()
        await asyncio.sleep(QUIET_SECONDS)
        quiet = (await bench.counters.read()).since(first)
        per_second = quiet.statements / (time.monotonic() - began)
        await peer.tell("end")
    return {
        "sleepers": count,
        "put_to_sleep_per_second": asleep["per_second"],
        "put_to_sleep_us": cost,
        "engine_mb_before": before_mb,
        "engine_mb_asleep": sleeping_mb,
        "statements_per_second_asleep": per_second,
        "due": due,
        "all_asleep_before_due_seconds": asleep["margin"],
        "restored_seconds": restored["seconds"],
        "woken_seconds": woken["seconds"],
    }


@asynccontextmanager
async def _peer(bench: Bench, mode: str, *arguments: int) -> AsyncIterator[Peer]:
    texts = (mode, *map(str, arguments))
    async with Peer.module("durable worker", "benchmarks.durable_tasks", *texts, env=bench.engine.env) as peer:
        yield peer
    if peer.errors:
        print(f"the durable worker said:\n{peer.errors}", file=sys.stderr)
