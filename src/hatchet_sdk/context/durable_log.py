"""What a `DurableContext` needs of the worker: the steps of one invocation, kept in the log of its task run.

All coroutines run on the connection thread. They raise `NonDeterminismError` when the log has something else at this
place, `DurableOperationError` when the engine refuses or an answer got lost, and `asyncio.CancelledError` when the
invocation was cancelled or taken off this worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from hatchet_contracts.v1.shared.condition_pb2 import DurableEventListenerConditions
    from hatchet_contracts.v1.shared.trigger_pb2 import TriggerWorkflowRequest
    from hatchet_sdk.config import ClientConfig


@dataclass(slots=True, frozen=True)
class DurableSpawnResult:
    """A child run, and its place in the log."""

    node_id: int
    branch_id: int
    workflow_name: str
    workflow_run_external_id: str


@dataclass(slots=True, frozen=True)
class Completion:
    """How a step ended: its result as JSON text, or the error text of a child run (D-3.13)."""

    payload: bytes
    error: str | None = None


@dataclass(slots=True, frozen=True)
class Memo:
    """The place of a memo, and its value as JSON text once there is one (D-12)."""

    branch_id: int
    node_id: int
    value: bytes | None


class DurableLog(Protocol):
    """The steps of one invocation."""

    @property
    def logs_children(self) -> bool:
        """Whether child runs go by way of the log; with an engine before v0.80.0 they do not (D-1.3)."""

    def serves(self, config: ClientConfig) -> bool:
        """Whether runs of this client belong to the tenant of the log."""

    async def wait(self, conditions: DurableEventListenerConditions, *, signal_key: str, label: str | None) -> Any:
        """The result of a wait, as D-11.1 shapes it."""

    async def memo(self, key: bytes) -> Memo:
        """Find or open a memo (D-12.3)."""

    async def complete_memo(self, memo: Memo, key: bytes, value: bytes) -> None:
        """Record the value of a memo; returns when the engine has it."""

    async def spawn(self, requests: Sequence[TriggerWorkflowRequest]) -> list[DurableSpawnResult]:
        """Start child runs, or find them in the log; in the order of the requests (D-13)."""

    def knows_child(self, run_id: str) -> bool:
        """Whether `spawn` of this invocation returned this run."""

    async def children_ended(self, run_ids: Sequence[str], *, stop_at_failure: bool) -> list[Completion | None]:
        """The ends of child runs, in order. With `stop_at_failure` it returns at the first failure; children that
        have not ended are None then."""
