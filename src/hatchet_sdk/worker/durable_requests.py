"""The requests of durable steps on their way, and the entries of the log that they lead to. Connection thread only."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from hatchet_contracts.v1 import dispatcher_pb2 as pb
from hatchet_sdk.context.durable_log import Completion
from hatchet_sdk.exceptions import DurableOperationError

if TYPE_CHECKING:
    from hatchet_sdk.worker.durable_invocation import Invocation

ANSWERS = {
    "memo": "memo_ack",
    "trigger_runs": "trigger_runs_ack",
    "wait_for": "wait_for_ack",
    "evict_invocation": "eviction_ack",
}
"""D-3.18."""

EntryKey = tuple[int, int]


@dataclass(slots=True, eq=False)
class Entry:
    """An entry of the log that has a result or will have one."""

    key: EntryKey
    done: asyncio.Future[Completion]


@dataclass(slots=True, eq=False)
class Request:
    """A request on its way, and its answer.

    ``on_stream`` says that it left, ``is_lost`` that it left and nobody knows what became of it.
    """

    message: pb.DurableTaskRequest
    seconds: float
    answer: asyncio.Future[pb.DurableTaskResponse]
    on_stream: bool = False
    is_lost: bool = False
    _timer: asyncio.TimerHandle | None = field(default=None, repr=False)

    def leaves(self, loop: asyncio.AbstractEventLoop) -> None:
        """It is being written: from now on nobody knows whether the engine has it."""
        self.on_stream = True
        self._timer = loop.call_later(self.seconds, self._expired)

    def arrives(self) -> None:
        """Its answer is here, be it that the code gets it later."""
        self.on_stream = False
        if self._timer is not None:
            self._timer.cancel()

    def resolve(self, answer: pb.DurableTaskResponse | Exception) -> bool:
        """Its answer, or why there is none; False when it had one."""
        self.arrives()
        if self.answer.done():
            return False
        if isinstance(answer, Exception):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)
        return True

    def is_answered_by(self, answer: pb.DurableTaskResponse) -> bool:
        """Whether that is the answer to such a request, and not the late one to a request that was given up."""
        asked = self.message.WhichOneof("message") or ""
        return ANSWERS[asked] == (answer.WhichOneof("message") or "")

    def lose(self, reason: str) -> None:
        """Its answer will not come."""
        self.is_lost = True
        self.resolve(DurableOperationError(reason))

    def _expired(self) -> None:
        self.lose(f"the engine did not answer a step of this task within {self.seconds:g} s")


class Sender(Protocol):
    """The stream, as far as an invocation needs it."""

    confirms_memos: bool

    @property
    def is_open(self) -> bool: ...

    def put(self, request: Request) -> None:
        """Queue a request that has an answer."""

    def send(self, message: pb.DurableTaskRequest) -> None:
        """Queue a message that has none."""

    def waits(self, invocation: Invocation, entries: Sequence[Entry]) -> None:
        """Tell the engine soon that these entries are awaited."""

    def forget(self, invocation: Invocation) -> None: ...
