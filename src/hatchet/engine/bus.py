"""Wake-ups between engine instances over PostgreSQL NOTIFY (design section 7).

Messages are small, coalesced to at most one statement per flush, and only sent while another instance is alive. Every
message can be lost: each receiver also polls. Bulk data never travels here, only the ids to read.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg
import structlog

from hatchet.engine.batcher import Batcher
from hatchet.store.pool import Database

log = structlog.get_logger("hatchet.engine")

CHANNEL = "hatchet_bus"
IDS_PER_MESSAGE = 150
"""A NOTIFY payload holds under 8,000 bytes; an id takes about 40."""

Message = dict[str, Any]
Handler = Callable[[Message], None]


class Bus:
    """Publish and receive small JSON messages. ``kind`` chooses the handlers; the sender does not get its own."""

    def __init__(self, database: Database, instance_id: str) -> None:
        self._database = database
        self._instance_id = instance_id
        self._handlers: dict[str, list[Handler]] = {}
        self._resync: list[Callable[[], None]] = []
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._task: asyncio.Task[None] | None = None
        self._broken = asyncio.Event()
        self._listening = asyncio.Event()
        self._outbox: Batcher[str, None] = Batcher("bus", self._send, maximum=50)
        self.has_peers = False
        """Whether another instance is alive; kept by the lease keeper. Without peers nothing is sent."""

    def on(self, kind: str, handler: Handler) -> None:
        """Call ``handler`` for each message of ``kind`` that another instance sent."""
        self._handlers.setdefault(kind, []).append(handler)

    def on_resync(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` after a gap in listening: messages may have been missed."""
        self._resync.append(callback)

    def publish(self, kind: str, **fields: object) -> None:
        """Send a message to the other instances, if there are any; errors are left to the receivers' polls."""
        if self.has_peers:
            self.announce(kind, **fields)

    def announce(self, kind: str, **fields: object) -> None:
        """Send a message even when no other instance is known yet (a greeting)."""
        text = json.dumps({"kind": kind, "from": self._instance_id, **fields}, separators=(",", ":"))
        with contextlib.suppress(Exception):
            self._outbox.submit(text)

    def publish_ids(self, kind: str, ids: Sequence[object], **fields: object) -> None:
        """Send ``ids`` in as many messages as they need."""
        if not self.has_peers:
            return
        for start in range(0, len(ids), IDS_PER_MESSAGE):
            self.publish(kind, ids=ids[start : start + IDS_PER_MESSAGE], **fields)

    async def start(self) -> None:
        self._task = asyncio.create_task(self._listen_for_ever(), name="bus")
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._listening.wait(), 5)

    async def stop(self) -> None:
        await self._outbox.drain()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _send(self, texts: Sequence[str]) -> list[None]:
        await self._database.execute("bus_notify", CHANNEL, list(texts))
        return [None] * len(texts)

    async def _listen_for_ever(self) -> None:
        first = True
        while True:
            try:
                await self._listen_once(first)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.warning("the bus lost its connection, trying again", error=f"{type(error).__name__}: {error}")
            first = False
            await asyncio.sleep(0.5)

    async def _listen_once(self, first: bool) -> None:
        connection = await asyncpg.connect(self._database.dsn, server_settings={"application_name": "hatchet-bus"})
        try:
            self._broken.clear()
            connection.add_termination_listener(lambda _: self._broken.set())
            await connection.add_listener(CHANNEL, self._received)
            self._listening.set()
            if not first:
                log.info("the bus listens again")
                for callback in self._resync:
                    callback()
            await self._broken.wait()
        finally:
            connection.terminate()

    def _received(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        try:
            message = json.loads(str(payload))
        except ValueError:
            log.warning("the bus received something that is not JSON")
            return
        if message.get("from") == self._instance_id:
            return
        for handler in self._handlers.get(message.get("kind", ""), ()):
            handler(message)
