"""Durable execution as the front doors see it."""

from __future__ import annotations

from collections.abc import Sequence

from hatchet.core.durable_messages import LogLine, SendResponse
from hatchet.core.durable_waits import WaitCondition
from hatchet.engine.durable_records import DurableRecords
from hatchet.engine.durable_session import DurableSession
from hatchet.engine.durable_streams import DurableStreams


class Durable:
    """The streams of workers, and the logs of tasks."""

    def __init__(self, streams: DurableStreams, records: DurableRecords) -> None:
        self._streams = streams
        self._records = records

    async def open(self, tenant_id: str, worker_id: str, send: SendResponse) -> DurableSession:
        """:meth:`DurableStreams.open`."""
        return await self._streams.open(tenant_id, worker_id, send)

    async def entries(self, tenant_id: str, task_id: str, offset: int, limit: int) -> list[LogLine]:
        """:meth:`DurableRecords.entries`."""
        return await self._records.entries(tenant_id, task_id, offset, limit)

    async def branch(self, tenant_id: str, task_id: str, node: int, branch: int) -> int:
        """:meth:`DurableRecords.branch`."""
        return await self._records.branch(tenant_id, task_id, node, branch)

    async def register_signal(
        self, tenant_id: str, task_id: str, signal_key: str, conditions: Sequence[WaitCondition]
    ) -> None:
        """:meth:`DurableRecords.register_signal`."""
        await self._records.register_signal(tenant_id, task_id, signal_key, conditions)

    async def signals(self, tenant_id: str, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str, str]]:
        """:meth:`DurableRecords.signals`."""
        return await self._records.signals(tenant_id, pairs)
