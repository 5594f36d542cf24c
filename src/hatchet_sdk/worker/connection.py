"""The worker's side of the connection: registration, the stream of assignments, heartbeats. Connection thread only.

Whatever breaks, the worker comes back: it opens the stream again under the same worker id (C-2.17), on a fresh channel
unless the engine closed the stream in good order, after 100 ms, then at growing distances up to 5 s, for as long as it
lives. Only when the engine no longer knows the worker id it registers anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import grpc
from grpc import StatusCode

from hatchet_contracts.dispatcher_pb2 import (
    AssignedAction,
    HeartbeatRequest,
    WorkerListenRequest,
    WorkerRegisterRequest,
)
from hatchet_sdk.wire.calls import Calls
from hatchet_sdk.wire.channel import open_channel
from hatchet_sdk.wire.errors import EngineError

if TYPE_CHECKING:
    from hatchet_sdk.config import ClientConfig

logger = logging.getLogger("hatchet.worker")

HEARTBEAT_SECONDS = 4.0
FIRST_WAIT_SECONDS = 0.1
MAX_WAIT_SECONDS = 5.0
# A stream that lived this long was sound, and the next break starts with a short wait again.
SOUND_AFTER_SECONDS = 5.0
# How long after the opening of a stream the engine may not have seen it yet when a heartbeat arrives (C-2.22).
OPENING_SECONDS = 2.0
OPENING_WAIT_SECONDS = 0.1
OLD_CHANNEL_SECONDS = 5.0
GOODBYE_SECONDS = 5.0


class WorkerConnection:
    """One worker record at the engine, from `register` to `close`.

    Args:
        registration: makes the Register request; called again if the engine lost the record.
        on_action: takes every message of the stream.
        on_connected: called when the stream works, the first time (True) and after every break (False).
        on_lost: called when the connection broke.
    """

    def __init__(
        self,
        *,
        config: ClientConfig,
        registration: Callable[[], WorkerRegisterRequest],
        on_action: Callable[[AssignedAction], None],
        on_connected: Callable[[bool], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._config = config
        self._registration = registration
        self._on_action = on_action
        self._on_connected = on_connected
        self._on_lost = on_lost
        self.calls = Calls(open_channel(config), config)
        self.worker_id = ""
        self.connected = False
        self._was_connected = False
        self._complained = False
        self._gone = False
        self._closing = False
        self._closed = False
        self._stream: grpc.aio.UnaryStreamCall[WorkerListenRequest, AssignedAction] | None = None
        self._opened = 0.0
        self._stream_number = 0
        self._beat_now = asyncio.Event()
        self._last_beat = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []
        self._old_channels: set[asyncio.Task[None]] = set()

    async def register(self) -> None:
        """Creates the worker record (C-2.5).

        Raises:
            EngineError: the engine refused, or could not be reached.
        """
        answer = await self.calls.register(self._registration())
        self.worker_id = answer.worker_id
        self._gone = False

    def listen(self) -> None:
        """Opens the stream, and keeps it and the heartbeat going until `close`."""
        self._tasks = [asyncio.create_task(self._keep_listening()), asyncio.create_task(self._keep_beating())]

    def channel_failed(self, calls: Calls) -> None:
        """Puts a fresh channel in the place of one that answered UNAVAILABLE; calls under way on the old one get a
        few seconds to end. Does nothing if that was done already."""
        if calls is not self.calls or self._closed:
            return
        self.calls = Calls(open_channel(self._config), self._config)
        closing = asyncio.create_task(calls.channel.close(OLD_CHANNEL_SECONDS))
        self._old_channels.add(closing)
        closing.add_done_callback(self._old_channels.discard)

    async def unsubscribe(self) -> None:
        """Tells the engine to give this worker nothing more, and reads what it had already sent (C-2.36).

        The engine ends the stream, which is not opened again; heartbeats go on.
        """
        self._closing = True
        with contextlib.suppress(EngineError, TimeoutError):
            await asyncio.wait_for(self.calls.unsubscribe(self.worker_id), GOODBYE_SECONDS)
        if self._tasks:
            await asyncio.wait(self._tasks[:1], timeout=1.0)

    async def close(self) -> None:
        """Ends stream, heartbeats and channel. Never raises."""
        self._closing = self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.calls.channel.close(None)
        for closing in list(self._old_channels):
            closing.cancel()

    # --- the stream ----------------------------------------------------------------------------------------------

    async def _keep_listening(self) -> None:
        wait = FIRST_WAIT_SECONDS
        while True:
            calls = self.calls
            error = await self._listen_once(calls)
            if self._closing:
                return
            if time.monotonic() - self._opened > SOUND_AFTER_SECONDS:
                wait = FIRST_WAIT_SECONDS
            self.connected = False
            if error is not None:
                self._lost(error)
                self.channel_failed(calls)
            if self._gone or (error is not None and error.code() is StatusCode.NOT_FOUND):
                await self._register_again()
            await asyncio.sleep(wait * random.uniform(0.75, 1.0))
            wait = min(wait * 2, MAX_WAIT_SECONDS)

    async def _listen_once(self, calls: Calls) -> grpc.aio.AioRpcError | None:
        """Reads one stream to its end; None if the engine closed it in good order, as it may at any time (C-1.22)."""
        stream = self._stream = calls.listen_v2(self.worker_id)
        self._opened = time.monotonic()
        self._stream_number += 1
        # The first heartbeat follows the stream at once (C-2.20); its answer shows that the way is open even when no
        # assignment comes.
        self._beat_now.set()
        try:
            async for action in stream:
                if not self.connected:
                    self._arrived()
                try:
                    self._on_action(action)
                except Exception:
                    logger.exception("an assignment of %s could not be taken", action.action_id)
        except grpc.aio.AioRpcError as error:
            return error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling() > 0:
                raise
            # `_interrupt` ended the call, not this task.
            return _no_answer()
        finally:
            self._stream = None
            if not stream.done():
                stream.cancel()
        return None

    def _interrupt(self, stream_number: int) -> None:
        if self._stream is not None and self._stream_number == stream_number:
            self._stream.cancel()

    def _arrived(self) -> None:
        self.connected = True
        first, self._was_connected = not self._was_connected, True
        if self._complained:
            logger.info("reconnected to the engine at %s", self._config.host_port)
            self._complained = False
        self._on_connected(first)

    def _lost(self, error: grpc.aio.AioRpcError) -> None:
        if not self._complained:
            self._complained = True
            logger.warning(
                "lost the connection to the engine at %s; retrying (%s: %s)",
                self._config.host_port,
                error.code().name,
                error.details(),
            )
            self._on_lost()

    async def _register_again(self) -> None:
        old = self.worker_id
        try:
            await self.register()
        except EngineError as error:
            logger.debug("could not register again: %s", error)
        else:
            logger.info("the engine no longer knew the worker %s; registered again as %s", old, self.worker_id)

    # --- the heartbeat -------------------------------------------------------------------------------------------

    async def _keep_beating(self) -> None:
        while True:
            # From start to start: a slow answer must not stretch the distance, 5 s make a worker unassignable (C-2.24).
            rest = self._last_beat + HEARTBEAT_SECONDS - time.monotonic()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._beat_now.wait(), max(rest, 0.001))
            self._beat_now.clear()
            self._last_beat = time.monotonic()
            if self.worker_id and not await self._beat():
                return

    async def _beat(self) -> bool:
        """One heartbeat; False if the engine has no heartbeats (C-2.23)."""
        number = self._stream_number
        request = HeartbeatRequest(worker_id=self.worker_id)
        request.heartbeat_at.GetCurrentTime()
        try:
            await self.calls.heartbeat(request)
        except EngineError as error:
            if error.code() is StatusCode.UNIMPLEMENTED:
                return False
            await self._beat_failed(error, number)
            return True
        if self._stream is not None and self._stream_number == number and not self.connected:
            self._arrived()
        return True

    async def _beat_failed(self, error: EngineError, stream_number: int) -> None:
        if error.code() is StatusCode.FAILED_PRECONDITION and time.monotonic() - self._opened < OPENING_SECONDS:
            # The heartbeat overtook the opening of the stream; ask again before breaking a stream that may be sound.
            await asyncio.sleep(OPENING_WAIT_SECONDS)
            self._beat_now.set()
            return
        if error.code() is StatusCode.NOT_FOUND:
            self._gone = True
        # It travels on the stream's channel: if it does not arrive, the stream is not to be trusted (C-2.22).
        self._interrupt(stream_number)


def _no_answer() -> grpc.aio.AioRpcError:
    nothing = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(StatusCode.UNAVAILABLE, nothing, nothing, "no answer to a heartbeat", None)
