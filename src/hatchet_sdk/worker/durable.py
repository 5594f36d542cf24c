"""The durable tasks of a worker: gives each invocation its log, in the way that the engine understands (D-1.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hatchet_sdk.context.durable import DurableContext
from hatchet_sdk.worker.attempt import AttemptKey, key_of
from hatchet_sdk.worker.durable_invocation import Invocation
from hatchet_sdk.worker.durable_legacy import LegacyInvocation, LegacyWaits
from hatchet_sdk.worker.durable_stream import DurableStream, Link
from hatchet_sdk.worker.eviction import EvictionManager

if TYPE_CHECKING:
    import asyncio

    from hatchet_contracts.dispatcher_pb2 import AssignedAction
    from hatchet_sdk.config import ClientConfig
    from hatchet_sdk.worker.attempt import Handler


class Durables:
    """Connection thread only.

    Args:
        slots: the worker's durable slots.
        engine_version: what the engine calls itself.
        main_loop: where async tasks run.
        has_stream: whether the engine has the durable stream.
        on_evicted: told of an attempt that the engine took off this worker.
    """

    def __init__(
        self,
        *,
        config: ClientConfig,
        link: Link,
        slots: int,
        engine_version: str,
        main_loop: asyncio.AbstractEventLoop,
        has_stream: bool,
        on_evicted: Callable[[AttemptKey], None],
    ) -> None:
        self._config = config
        self._engine_version = engine_version
        self._main_loop = main_loop
        self._on_evicted = on_evicted
        self._stream = DurableStream(link) if has_stream else None
        self._legacy = LegacyWaits(link)
        self._evictions: EvictionManager[Invocation] = EvictionManager(self._invocations, slots)

    def begin(self, action: AssignedAction, handler: Handler, context: DurableContext) -> Invocation | LegacyInvocation:
        """The invocation of an assignment, bound to its context."""
        key = key_of(action)
        log: Invocation | LegacyInvocation
        if self._stream is None:
            log = LegacyInvocation(key[0], self._legacy, self._engine_version)
        else:
            log = Invocation(
                key=key,
                policy=handler.task.eviction_policy,
                stream=self._stream,
                config=self._config,
                main_loop=self._main_loop,
                on_evicted=self._on_evicted,
            )
            self._stream.add(log)
            self._evictions.start()
        context.bind(log, self._config)
        return log

    def reconnected(self) -> None:
        """The worker's connection is back after a break."""
        if self._stream is not None:
            self._stream.reconnected()

    def stopping(self) -> None:
        """The worker stops: whatever waits is evicted from now on."""
        self._evictions.stopping()

    async def close(self) -> None:
        """Ends everything."""
        await self._evictions.close()
        if self._stream is not None:
            await self._stream.close()
        await self._legacy.close()

    def _invocations(self) -> list[Invocation]:
        return [] if self._stream is None else list(self._stream.invocations)
