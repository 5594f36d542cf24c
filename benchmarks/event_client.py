"""Pushes events in bulk: ``python -m benchmarks.event_client KEY NUMBER SCOPES LANES SECONDS``.

Registers a workflow with the filters first when ``KEY`` is theirs. Requests are made once and sent as they are, so that
what the client costs does not hide the engine.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

import grpc

from benchmarks.credit import say
from benchmarks.events import EVENTS_A_BULK, KEY, event, filters
from hatchet_contracts import events_pb2
from hatchet_contracts.v1 import workflows_pb2

WARM_UP_SECONDS = 2.0


def workflow(scopes: int) -> workflows_pb2.CreateWorkflowVersionRequest:
    """A workflow that nobody runs, with all filters."""
    declared = [
        workflows_pb2.DefaultFilter(scope=one.scope, expression=one.expression, payload=one.payload.encode())
        for one in filters(scopes, 1)
    ]
    task = workflows_pb2.CreateTaskOpts(readable_id="pushed", action="bench-pushed:pushed", timeout="60s")
    return workflows_pb2.CreateWorkflowVersionRequest(
        name="bench-pushed", event_triggers=["bench:push*"], tasks=[task], default_filters=declared
    )


def bulk(key: str, number: int, scopes: int) -> bytes:
    """The events of one request."""
    return events_pb2.BulkPushEventRequest(
        events=[
            events_pb2.PushEventRequest(
                key=key,
                payload=event(number + which % 4, scopes).payload,
                additional_metadata=json.dumps({"source": "benchmark"}),
                scope=f"scope-{which % scopes}",
            )
            for which in range(EVENTS_A_BULK)
        ]
    ).SerializeToString()


async def main(key: str, number: int, scopes: int, lanes: int, seconds: float) -> None:
    metadata = (("authorization", f"bearer {os.environ['HATCHET_CLIENT_TOKEN']}"),)
    async with grpc.aio.insecure_channel(os.environ["HATCHET_CLIENT_HOST_PORT"]) as channel:
        if key == KEY:
            put = channel.unary_unary("/v1.AdminService/PutWorkflow")
            await put(workflow(scopes).SerializeToString(), metadata=metadata)
        push = channel.unary_unary("/EventsService/BulkPush")
        request = bulk(key, number, scopes)
        pushed = 0

        async def lane(until: float) -> None:
            nonlocal pushed
            while time.monotonic() < until:
                await push(request, metadata=metadata)
                pushed += EVENTS_A_BULK

        async def all_lanes(for_seconds: float) -> float:
            nonlocal pushed
            pushed, began = 0, time.monotonic()
            await asyncio.gather(*(lane(began + for_seconds) for _ in range(lanes)))
            return time.monotonic() - began

        await all_lanes(WARM_UP_SECONDS)
        say("begin")
        took = await all_lanes(seconds)
        say("done", events=pushed, seconds=took)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])))
