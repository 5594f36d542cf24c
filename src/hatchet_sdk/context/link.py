"""How a context reaches the engine: through the worker's connection, whatever channel that uses at the moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hatchet_sdk.wire.calls import Calls


class WorkerLink(Protocol):
    """The part of the worker's connection that contexts need. Both may change when the worker reconnects."""

    @property
    def worker_id(self) -> str: ...

    @property
    def calls(self) -> Calls: ...
