"""The application of procrastinate: in a module of its own, because workers find tasks by the module's name."""

from __future__ import annotations

import os

import procrastinate

CONNECTIONS = 20

app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(
        conninfo=os.environ.get("BENCH_DSN", ""), min_size=CONNECTIONS, max_size=CONNECTIONS
    )
)


@app.task(name="noop", queue="bench")
async def noop(data: str) -> None:
    """Does nothing."""
