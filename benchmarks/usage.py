"""CPU time and memory of the parties of a run: engine, PostgreSQL, worker, client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psutil

MB = 1024 * 1024
SAMPLE_SECONDS = 0.5


def cpu_seconds(pid: int) -> float:
    """User and system time of the process and of its children, those that have ended included.

    A child that ended counts from the moment when its parent has waited for it, so nothing is lost and nothing counts
    twice. Threads count with their process.
    """
    total = 0.0
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def resident_mb(pid: int) -> float:
    """Resident memory of the one process, in MB; 0 when it has ended."""
    try:
        return float(psutil.Process(pid).memory_info().rss) / MB
    except psutil.NoSuchProcess:
        return 0.0


def proportional_mb(pid: int) -> float:
    """Memory of the process and its children in MB, shared pages counted once (PSS where the system tells it)."""
    total = 0.0
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            full = process.memory_full_info()
            total += getattr(full, "pss", full.rss) / MB
    return total


@dataclass(slots=True)
class Parties:
    """Process ids by the names that the result uses."""

    pids: Mapping[str, int]
    peak_mb: dict[str, float] = field(default_factory=dict)

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU that each party has used so far."""
        return {name: cpu_seconds(pid) for name, pid in self.pids.items()}

    def sample_memory(self) -> None:
        """Raise the peaks to what is used now."""
        for name, pid in self.pids.items():
            now = proportional_mb(pid) if name == "postgres" else resident_mb(pid)
            self.peak_mb[name] = max(self.peak_mb.get(name, 0.0), now)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Sample the memory while the block runs."""
        watch = asyncio.create_task(self._watch(), name="memory-watch")
        try:
            yield
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch

    async def _watch(self) -> None:
        while True:
            self.sample_memory()
            await asyncio.sleep(SAMPLE_SECONDS)


def per_task_us(before: Mapping[str, float], after: Mapping[str, float], tasks: int) -> dict[str, float]:
    """Microseconds of CPU for each task, by party."""
    return {name: (after[name] - before[name]) * 1e6 / max(tasks, 1) for name in before}
