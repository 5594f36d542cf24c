"""Questions that only a tenant's owner can answer, from its memory; another instance asks it over the bus.

Answers travel in compressed pieces, because a notification holds under 8,000 bytes. Any of them can get lost: then the
question is not answered, and whoever asked says so.
"""

from __future__ import annotations

import asyncio
import base64
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from hatchet.core.clock import Ids
from hatchet.core.errors import Unavailable
from hatchet.engine.bus import Bus
from hatchet.engine.component import Background
from hatchet.engine.memory import Owners
from hatchet.engine.schedule import TenantScheduler

ASKED, ANSWERED = "owner-asked", "owner-answered"
ANSWER_SECONDS = 5.0
PIECE = 7000
"""Characters of an answer in one message, which has some 200 beside them."""

Answer = Callable[[TenantScheduler], Awaitable[Any]]
"""Answers with what JSON can hold."""


class _Asked:
    """A question that is under way, with the pieces of its answer that have come."""

    def __init__(self) -> None:
        self.pieces: dict[int, str] = {}
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def take(self, number: int, total: int, piece: str) -> None:
        self.pieces[number] = piece
        if len(self.pieces) == total and not self.answer.done():
            text = "".join(self.pieces[index] for index in range(total))
            self.answer.set_result(orjson.loads(zlib.decompress(base64.b64decode(text))))


class OwnerQuestions:
    """Asks owners, and answers for those that are here."""

    def __init__(self, owners: Owners, bus: Bus, ids: Ids) -> None:
        self._owners = owners
        self._bus = bus
        self._ids = ids
        self._answers: dict[str, Answer] = {}
        self._under_way: dict[str, _Asked] = {}
        self._background = Background("an answer to another instance")
        bus.on(ASKED, self._heard)
        bus.on(ANSWERED, self._answered)

    def answers(self, kind: str, answer: Answer) -> None:
        """Answer questions of this kind so."""
        self._answers[kind] = answer

    async def ask(self, tenant_id: str, kind: str) -> Any:
        """The answer of the tenant's owner. Raises Unavailable when there is none, or it is silent."""
        owner = self._owner(tenant_id)
        if owner is not None:
            return await self._answers[kind](owner)
        if not self._bus.has_peers:
            raise Unavailable("the tenant has no scheduler at the moment, ask again")
        question = self._ids.new()
        asked = self._under_way[question] = _Asked()
        try:
            self._bus.publish(ASKED, tenant=tenant_id, question=question, what=kind)
            return await asyncio.wait_for(asked.answer, ANSWER_SECONDS)
        except TimeoutError:
            raise Unavailable("the scheduler of the tenant does not answer, ask again") from None
        finally:
            del self._under_way[question]

    def _owner(self, tenant_id: str) -> TenantScheduler | None:
        """The owner here, once it knows everything."""
        owner = self._owners.get(tenant_id)
        return owner if isinstance(owner, TenantScheduler) and not owner.is_loading else None

    def _heard(self, message: Mapping[str, Any]) -> None:
        owner = self._owner(str(message["tenant"]))
        answer = self._answers.get(str(message["what"]))
        if owner is not None and answer is not None:
            self._background.spawn(self._answer(owner, answer, str(message["question"])))

    async def _answer(self, owner: TenantScheduler, answer: Answer, question: str) -> None:
        text = base64.b64encode(zlib.compress(orjson.dumps(await answer(owner)))).decode()
        pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
        for number, piece in enumerate(pieces):
            self._bus.publish(ANSWERED, question=question, number=number, total=len(pieces), piece=piece)

    def _answered(self, message: Mapping[str, Any]) -> None:
        asked = self._under_way.get(str(message["question"]))
        if asked is not None:
            asked.take(int(message["number"]), int(message["total"]), str(message["piece"]))
