"""Expressions that had no value where that means that nothing happens (behaviour-core C-8.35)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from hatchet.store.pool import Queries


class FailureSource(Enum):
    """What the expression was for."""

    FILTER = "FILTER"
    IDEMPOTENCY_KEY = "IDEMPOTENCY_KEY"
    WEBHOOK = "WEBHOOK"


@dataclass(slots=True, frozen=True, kw_only=True)
class EvaluationFailure:
    """One failure; ``failed_at`` in seconds since 1970."""

    tenant_id: str
    id: str
    source: FailureSource
    subject_id: str | None
    """The filter, or the workflow whose idempotency key it was."""
    expression: str
    error: str
    failed_at: float


async def append_failures(queries: Queries, failures: Sequence[EvaluationFailure]) -> None:
    """Write failures; the same one of the same subject once."""
    once: dict[tuple[str, FailureSource, str | None, str], EvaluationFailure] = {}
    for failure in failures:
        once.setdefault((failure.tenant_id, failure.source, failure.subject_id, failure.error), failure)
    rows = list(once.values())
    await queries.execute(
        "evaluation_failure_append",
        [row.tenant_id for row in rows],
        [row.id for row in rows],
        [row.source.value for row in rows],
        [row.subject_id for row in rows],
        [row.expression for row in rows],
        [row.error for row in rows],
        [row.failed_at for row in rows],
    )
