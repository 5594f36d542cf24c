"""The channel of one client, opened at its first use on the connection thread, and again after a fork."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from hatchet_sdk.wire.loop_thread import ConnectionThread, connection_thread

if TYPE_CHECKING:
    from hatchet_sdk.config import ClientConfig
    from hatchet_sdk.wire.calls import Calls

T = TypeVar("T")


class Connection:
    """Hands out the :class:`Calls` of one configuration."""

    def __init__(self, config: ClientConfig) -> None:
        self.config = config
        self._owner: ConnectionThread | None = None
        self._calls: Calls | None = None

    def calls(self) -> Calls:
        """The calls of the open channel. Only on the connection thread: a channel belongs to its event loop."""
        thread = connection_thread()
        if self._calls is None or self._owner is not thread:
            # grpc and the messages are imported here, not with hatchet_sdk: half of the import time is theirs.
            from hatchet_sdk.wire.calls import Calls
            from hatchet_sdk.wire.channel import open_channel

            channel = open_channel(self.config)
            self._calls, self._owner = Calls(channel, self.config), thread
            thread.close_at_exit(self, lambda: channel.close(None))
        return self._calls

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Block until ``coroutine`` has run on the connection thread."""
        return _thread_for(coroutine).run(coroutine)

    async def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await ``coroutine``, which runs on the connection thread."""
        return await _thread_for(coroutine).call(coroutine)

    async def close(self) -> None:
        """Close the channel (on the connection thread); the next use opens another."""
        calls, self._calls = self._calls, None
        if calls is not None and self._owner is not None:
            self._owner.forget(self)
            await calls.channel.close(None)


def _thread_for(coroutine: Coroutine[Any, Any, Any]) -> ConnectionThread:
    try:
        return connection_thread()
    except RuntimeError:
        coroutine.close()
        raise
