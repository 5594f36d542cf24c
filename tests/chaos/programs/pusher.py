"""Pushes events until SIGTERM, one after the other, each until it is acknowledged: ``pusher.py ACKNOWLEDGED``.

``chaos:go`` comes every tenth of a second, ``chaos:rare`` every second. The file gets a line for each acknowledged
event: its key, its id and when the answer came.
"""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

import grpc
from client import say

from hatchet_contracts.events_pb2 import Event, PushEventRequest

PAUSE_SECONDS = 0.1
RARE = 10
CALL_SECONDS = 5.0
OPTIONS = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]


async def main(acknowledged: Path) -> None:
    enough = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, enough.set)
    token = (("authorization", f"bearer {os.environ['HATCHET_CLIENT_TOKEN']}"),)
    address = os.environ["HATCHET_CLIENT_HOST_PORT"]
    with acknowledged.open("w") as events:
        async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
            push = channel.unary_unary(
                "/EventsService/Push",
                request_serializer=PushEventRequest.SerializeToString,
                response_deserializer=Event.FromString,
            )
            number = 0
            while not enough.is_set():
                number += 1
                for key in ("chaos:go", "chaos:rare")[: 2 if number % RARE == 0 else 1]:
                    request = PushEventRequest(key=key, payload=json.dumps({"number": number}))
                    while True:
                        try:
                            event = await push(request, metadata=token, timeout=CALL_SECONDS)
                            break
                        except grpc.aio.AioRpcError as error:
                            print(f"push: {error.code().name}: {error.details()}", flush=True)
                            await asyncio.sleep(PAUSE_SECONDS)
                    say(events, key=key, event=event.event_id, acknowledged=time.time())
                await asyncio.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
