"""``v1.V1Dispatcher``: the stream of durable tasks, and the waits of clients that know none (behaviour-durable)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import structlog

from hatchet.core.durable_messages import Response, SendResponse
from hatchet.core.errors import HatchetError, InvalidArgument, ResourceExhausted, Unavailable
from hatchet.core.ids import parse_uuid
from hatchet.core.messages import Caller
from hatchet.grpc.durable_messages import instead_of_too_large, request_of, response_message
from hatchet.grpc.fields import clean_text, required_uuid
from hatchet.grpc.ports import DurableExecution, DurableSession
from hatchet.grpc.transport import SendMessage
from hatchet.grpc.wait_messages import wait_conditions
from hatchet_contracts.v1 import dispatcher_pb2 as pb

SIGNAL_POLL_SECONDS = 1.0
"""How often waits of clients without stream are looked at (D-26.2)."""

_log = structlog.get_logger(__name__)


class DurableService:
    """Handlers of ``v1.V1Dispatcher`` (D-2, D-3, D-26)."""

    def __init__(
        self, *, durable: DurableExecution, max_message_bytes: int, signal_poll_seconds: float = SIGNAL_POLL_SECONDS
    ) -> None:
        self._durable = durable
        self._max_message_bytes = max_message_bytes
        self._signal_poll_seconds = signal_poll_seconds

    async def durable_task(
        self, caller: Caller, requests: AsyncIterator[pb.DurableTaskRequest], send: SendMessage
    ) -> None:
        """D-2: open until the worker closes its half or the server stops.

        Raises NotFound for an unknown worker, or one of another tenant, and InvalidArgument when the first request is
        not ``register_worker``. Nothing else that a worker sends ends the stream, because all its durable tasks share
        it (D-2.9). A worker that registers again gets a new session, so the last registration counts (D-2.4).
        """
        session: DurableSession | None = None
        try:
            async for message in requests:
                if message.HasField("register_worker"):
                    if session is not None:
                        await session.close()
                        session = None
                    worker_id = required_uuid(message.register_worker.worker_id, "register_worker.worker_id")
                    session = await self._durable.open(caller.tenant_id, worker_id, _responder(send))
                    registered = pb.DurableTaskResponseRegisterWorker(worker_id=worker_id)
                    await send(pb.DurableTaskResponse(register_worker=registered))
                elif session is None:
                    kind = message.WhichOneof("message") or "an empty one"
                    raise InvalidArgument(f"the first request of a stream must be register_worker, not {kind}")
                elif (request := request_of(message, self._max_message_bytes)) is not None:
                    session.handle(request)
        finally:
            if session is not None:
                await session.close()

    async def register_durable_event(
        self, caller: Caller, request: pb.RegisterDurableEventRequest
    ) -> pb.RegisterDurableEventResponse:
        """D-26.1."""
        task_id = required_uuid(request.task_id, "task_id")
        if not request.signal_key:
            raise InvalidArgument("signal_key is empty: name the wait, so that the task finds it again")
        signal_key = clean_text(request.signal_key, "signal_key")
        conditions = wait_conditions(request.conditions, "conditions")
        await self._durable.register_signal(caller.tenant_id, task_id, signal_key, conditions)
        return pb.RegisterDurableEventResponse()

    async def listen_for_durable_event(
        self, caller: Caller, requests: AsyncIterator[pb.ListenForDurableEventRequest], send: SendMessage
    ) -> None:
        """D-26.2: open until the client closes its half, also when it never asks for anything (D-1.7)."""
        signals = _Signals(self._durable, caller.tenant_id, send, self._signal_poll_seconds)
        tasks = (asyncio.create_task(signals.listen(requests)), asyncio.create_task(signals.answer()))
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in ended:
            task.result()


class _Signals:
    """The pairs of (task id, signal key) that one stream asked for and has no answer to."""

    def __init__(self, durable: DurableExecution, tenant_id: str, send: SendMessage, poll_seconds: float) -> None:
        self._durable = durable
        self._tenant_id = tenant_id
        self._send = send
        self._poll_seconds = poll_seconds
        self._asked: set[tuple[str, str]] = set()
        self._news = asyncio.Event()

    async def listen(self, requests: AsyncIterator[pb.ListenForDurableEventRequest]) -> None:
        """Take what the client asks for, until it closes its half.

        A pair that cannot exist is left out: other waits share the stream, and it has no message for errors.
        """
        async for request in requests:
            task_id = parse_uuid(request.task_id)
            if task_id is None or "\x00" in request.signal_key:
                _log.warning("a durable event is asked for that cannot exist", task_id=request.task_id[:100])
                continue
            self._asked.add((task_id, request.signal_key))
            self._news.set()

    async def answer(self) -> None:
        """Look for answers, right after a question and again from time to time, until the stream is gone."""
        with suppress(Unavailable):
            while True:
                await self._news.wait()
                self._news.clear()
                for task_id, signal_key, data in await self._found():
                    await self._tell(task_id, signal_key, data)
                    self._asked.discard((task_id, signal_key))
                if self._asked:
                    await self._pause()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), self._poll_seconds)
        self._news.set()

    async def _found(self) -> list[tuple[str, str, str]]:
        try:
            return await self._durable.signals(self._tenant_id, sorted(self._asked))
        except HatchetError as error:
            _log.warning("waits of durable tasks could not be looked at; it is tried again", error=error.message)
            return []

    async def _tell(self, task_id: str, signal_key: str, data: str) -> None:
        try:
            await self._send(pb.DurableEvent(task_id=task_id, signal_key=signal_key, data=data.encode()))
        except ResourceExhausted as error:
            _log.error("a durable event cannot be sent", task_id=task_id, signal_key=signal_key, error=error.message)


def _responder(send: SendMessage) -> SendResponse:
    async def respond(response: Response) -> None:
        try:
            await send(response_message(response))
        except ResourceExhausted as error:
            kind = type(response).__name__
            _log.warning("a response of a durable task is above the limit", kind=kind, error=error.message)
            await send(response_message(instead_of_too_large(response, error.message)))

    return respond
