"""Run events between instances: an instance with subscribers says what it wants, the others forward that and no more.

Wanted is a run, or a pair of metadata as a digest, until :data:`WANTED_SECONDS` after the last word of it. Events
travel over the bus in pieces that fit into a notification. All of it can be lost: only the end of a run is repaired, by
the poll in :class:`~hatchet.engine.run_events.RunEvents`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from hatchet.core.run_events import RunEvent, RunEventKind
from hatchet.engine.bus import Bus, Message
from hatchet.engine.run_stream import Item, RunStream

WANTED = "run-events-wanted"
EVENTS = "run-events"
WANTED_SECONDS = 6.0
PIECE_BYTES = 5_000
"""Base64 makes 6,700 characters of it; a notification holds under 8,000 bytes."""
MOST_PARTIAL = 200

Wanted = Callable[[str, list[str]], None]
"""Takes a tenant id and the runs of it that are wanted anew; no runs when it is metadata that is wanted anew."""
Received = Callable[[str, RunEvent, str, int, int], None]
"""Takes tenant id, event, the sending instance, the number of the event there, and the base of a chunk."""


def pair_digest(key: str, value: str) -> str:
    """A pair of metadata in 32 characters, however long it is."""
    return hashlib.blake2b(json.dumps([key, value]).encode(), digest_size=16).hexdigest()


def metadata_pairs(metadata: str) -> frozenset[str]:
    """The digests of those pairs of a JSON object whose values are strings (C-7.39)."""
    values = json.loads(metadata) if metadata else {}
    return frozenset(pair_digest(key, value) for key, value in values.items() if isinstance(value, str))


class RunEventsRelay:
    """What other instances want of this one, and what this one gets from them."""

    def __init__(self, bus: Bus, *, now: Callable[[], float], wanted: Wanted, received: Received) -> None:
        """``now``: the event loop's clock."""
        self._bus = bus
        self._now = now
        self._wanted = wanted
        self._received = received
        self._runs: dict[tuple[str, str], float] = {}
        self._pairs: dict[str, dict[str, float]] = {}
        self._partial: OrderedDict[tuple[str, int], list[str]] = OrderedDict()
        bus.on(WANTED, self._take_wanted)
        bus.on(EVENTS, self._take_piece)

    def ask(self, tenant_id: str, run_ids: Iterable[str], pairs: Iterable[str]) -> None:
        """Tell the other instances what is wanted here; to be repeated while it is."""
        self._bus.publish_ids(WANTED, list(run_ids), tenant=tenant_id)
        self._bus.publish_ids(WANTED, list(pairs), tenant=tenant_id, are_pairs=True)

    @property
    def tenants(self) -> list[str]:
        """The tenants of which another instance wants runs by their metadata."""
        return list(self._pairs)

    def wants_pairs(self, tenant_id: str) -> bool:
        """Whether another instance wants runs of the tenant by their metadata."""
        return tenant_id in self._pairs

    def may_want(self, tenant_id: str, run_id: str) -> bool:
        """Whether another instance wants this run, or runs of the tenant by their metadata."""
        return (tenant_id, run_id) in self._runs or tenant_id in self._pairs

    def is_wanted(self, stream: RunStream) -> bool:
        """Whether another instance wants the events of this run."""
        if not self._runs and not self._pairs:
            return False
        now = self._now()
        if self._runs.get((stream.tenant_id, stream.run_id), 0.0) > now:
            return True
        pairs = self._pairs.get(stream.tenant_id, {})
        return any(pairs.get(pair, 0.0) > now for pair in stream.pairs or ())

    def forward(self, stream: RunStream, item: Item) -> None:
        """Send an event that has just come in here, if it is wanted; with what is kept, if it is the first one."""
        if not self.is_wanted(stream):
            stream.is_relayed = False
        elif stream.is_relayed:
            self._send(stream, item)
        else:
            self.catch_up(stream)

    def catch_up(self, stream: RunStream) -> None:
        """Send what is kept of a run, unless the others have it; events that follow are forwarded one by one."""
        if not stream.is_relayed and self.is_wanted(stream):
            stream.is_relayed = True
            for item in stream.own_items():
                self._send(stream, item)

    def expire(self) -> None:
        """Forget what nobody has asked for lately."""
        now = self._now()
        self._runs = {key: until for key, until in self._runs.items() if until > now}
        for tenant_id in list(self._pairs):
            left = {pair: until for pair, until in self._pairs[tenant_id].items() if until > now}
            if left:
                self._pairs[tenant_id] = left
            else:
                del self._pairs[tenant_id]

    def _send(self, stream: RunStream, item: Item) -> None:
        data = base64.b64encode(_packed(item)).decode()
        size = PIECE_BYTES // 3 * 4
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        for part, piece in enumerate(pieces):
            self._bus.publish(
                EVENTS, tenant=stream.tenant_id, number=item.number, part=part, parts=len(pieces), data=piece
            )

    def _take_wanted(self, message: Message) -> None:
        tenant_id, ids = str(message["tenant"]), [str(each) for each in message["ids"]]
        until = self._now() + WANTED_SECONDS
        if message.get("are_pairs"):
            known = self._pairs.setdefault(tenant_id, {})
            is_new = not known.keys() >= set(ids)
            known.update((pair, until) for pair in ids)
            if is_new:
                self._wanted(tenant_id, [])
            return
        fresh = [run_id for run_id in ids if (tenant_id, run_id) not in self._runs]
        self._runs.update(((tenant_id, run_id), until) for run_id in ids)
        if fresh:
            self._wanted(tenant_id, fresh)

    def _take_piece(self, message: Message) -> None:
        sender, number, part, parts = message["from"], message["number"], message["part"], message["parts"]
        key = (sender, number)
        pieces = self._partial.setdefault(key, [])
        if part != len(pieces):
            # One before it was lost, or this one is a repetition.
            del self._partial[key]
            return
        pieces.append(message["data"])
        if part + 1 < parts:
            while len(self._partial) > MOST_PARTIAL:
                self._partial.popitem(last=False)
            return
        del self._partial[key]
        event, base = _unpacked("".join(pieces))
        self._received(str(message["tenant"]), event, sender, number, base)


def _packed(item: Item) -> bytes:
    event = item.event
    values = [
        event.run_id,
        event.task_id,
        event.kind.value,
        event.at,
        event.payload,
        event.retry_count,
        event.task_retries,
        event.index,
        item.base,
    ]
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _unpacked(data: str) -> tuple[RunEvent, int]:
    values: list[Any] = json.loads(base64.b64decode(data).decode("utf-8", "surrogatepass"))
    run_id, task_id, kind, at, payload, retry_count, task_retries, index, base = values
    event = RunEvent(run_id, task_id, RunEventKind(kind), at, payload, retry_count, task_retries, index)
    return event, base
