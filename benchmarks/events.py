"""Events that start runs: what it costs to ask filters, and how many events a second an engine takes with them.

``python -m benchmarks.events`` alone measures the decision without a server.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from benchmarks.bench import Bench
from benchmarks.payload import task_input
from benchmarks.peer import Peer
from benchmarks.usage import Parties, per_task_us
from hatchet.core.event_triggers import Filter, TriggeredWorkflow, Triggers, asked, variables_of
from hatchet.core.expressions import Use, evaluate
from hatchet.core.messages import EventRecord

FILTERS = 200
SCOPES = 50
"""Filters with a sensible spread: each scope has four of them, one of which may be true."""
EVENTS = 2000
EVENTS_A_BULK = 1000
LANES = 3
NEVER = 9
"""A number that no filter wants."""
PATIENCE_SECONDS = 120.0
EXPRESSION = "input.number == {number} && payload.name != 'other'"
KEY = "bench:pushed"


def filters(scopes: int, payloads: int) -> list[Filter]:
    """The filters of one workflow: the numbers 0 to 3 in turns within a scope."""
    return [
        Filter(
            f"filter-{number}",
            "workflow",
            f"scope-{number % scopes}",
            EXPRESSION.format(number=number // scopes % 4),
            json.dumps({"name": f"payload {number % payloads}"}),
        )
        for number in range(FILTERS)
    ]


def event(number: int, scopes: int) -> EventRecord:
    return EventRecord(
        tenant_id="tenant",
        id=f"event {number}",
        key=KEY,
        payload=json.dumps({**task_input(), "number": number}),
        additional_metadata='{"source":"benchmark"}',
        scope=f"scope-{number % scopes}",
        priority=None,
        happened_at=0.0,
        inserted_at=0.0,
    )


def decision() -> dict[str, Any]:
    """Microseconds of CPU in which is decided what an event starts, in one thread."""
    cases = {"spread_over_50_scopes": (SCOPES, 1), "all_200_one_payload": (1, 1), "all_200_own_payloads": (1, FILTERS)}
    return {"event_us": {name: _decided_us(*case) for name, case in cases.items()}, "alone_us": _alone_us()}


def _decided_us(scopes: int, payloads: int) -> float:
    triggers = Triggers([TriggeredWorkflow("workflow", "workflow", ("bench:*",))], filters(scopes, payloads))
    events = [event(number, scopes) for number in range(EVENTS // (10 if scopes == 1 else 1))]

    def decide() -> None:
        for one in events:
            found = triggers.candidates(one.key, one.scope)
            assert found is not None, "all of them match"
            asked(found.filtered, variables_of(one))

    return _cpu_us(decide, len(events))


def _alone_us() -> float:
    """One expression asked alone, with data of its own: what 200 of them would cost without being asked together."""
    one = event(1, 1)
    text = EXPRESSION.format(number=1)

    def ask() -> None:
        for _ in range(EVENTS):
            evaluate(text, Use.EVENT_FILTER, {**variables_of(one), "payload": {"name": "payload"}})

    return _cpu_us(ask, EVENTS)


def _cpu_us(run: Callable[[], None], rounds: int) -> float:
    run()
    began = time.thread_time()
    run()
    return (time.thread_time() - began) * 1e6 / rounds


async def events(bench: Bench) -> dict[str, Any]:
    """Bulk pushes to nobody, to 200 filters that are false, and to 200 of which one starts a run of each event."""
    found: dict[str, Any] = {"decision": decision()}
    for name, key, number in (("nobody", "bench:none", 0), ("no_run", KEY, NEVER), ("one_run", KEY, 0)):
        found[name] = await _pushed(bench, key, number)
    return {"events": found}


async def _pushed(bench: Bench, key: str, number: int) -> dict[str, Any]:
    arguments = (key, str(number), str(SCOPES), str(LANES), str(bench.options.short_seconds))
    async with Peer.module("client", "benchmarks.event_client", *arguments, env=bench.engine.env) as client:
        parties = Parties({"engine": bench.engine.pid, "postgres": bench.postgres.pid, "client": client.pid})
        await client.expect("begin", PATIENCE_SECONDS)
        before = parties.cpu()
        said = await client.expect("done", bench.options.short_seconds + PATIENCE_SECONDS)
        cpu = per_task_us(before, parties.cpu(), said["events"])
    return {"events_per_second": said["events"] / said["seconds"], "cpu_us_per_event": cpu}


if __name__ == "__main__":
    print(json.dumps(decision(), indent=2))
