"""A TCP proxy that cuts every connection after a while, in the middle of whatever is under way."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

CHUNK = 16 * 1024


class FaultProxy:
    """Forwards to ``target_port`` on this machine from ``port``; runs on a thread of its own inside the block.

    A connection lives between ``shortest`` and ``longest`` seconds; then both of its ends are reset and what is in the
    buffers is lost. ``seed`` decides the lifetimes.
    """

    def __init__(self, target_port: int, *, shortest: float, longest: float, seed: int) -> None:
        self.port = 0
        self.cuts = 0
        self._target = target_port
        self._random = random.Random(seed)
        self._lifetime: Callable[[], float] = lambda: self._random.uniform(shortest, longest)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._pipes: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pipes.add(task)
        ends = [writer]
        try:
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self._target)
            ends.append(target_writer)
            async with asyncio.timeout(self._lifetime()):
                await asyncio.gather(_forward(reader, target_writer), _forward(target_reader, writer))
        except TimeoutError:
            self.cuts += 1
        except OSError:
            pass  # one of the ends went away by itself
        finally:
            for end in ends:
                end.transport.abort()
            self._pipes.discard(task)


async def _forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Copy until the source ends; ConnectionError then, so that the other direction ends as well."""
    while data := await source.read(CHUNK):
        sink.write(data)
        await sink.drain()
    raise ConnectionResetError
