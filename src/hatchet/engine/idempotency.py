"""Idempotency keys of runs (behaviour-core C-4.32 to C-4.43): what a run claims, and which claims are over."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from hatchet.core.definitions import Idempotency, IdempotencyMethod
from hatchet.core.errors import InvalidArgument
from hatchet.core.expressions import ExpressionFailed, Use, evaluate
from hatchet.core.json_texts import json_value
from hatchet.engine.run_facts import RunFacts
from hatchet.store.pool import Queries
from hatchet.store.run_ends import task_ends
from hatchet.store.triggers import Claim, NewWork, key_holders

RESERVED_PREFIX = "hatchet_internal_"
LONGEST_KEY = 500
"""Characters of a key that is kept as it is."""


def claim_of(idempotency: Idempotency, input_text: str, metadata: str, now: float) -> Claim:
    """The key that a run claims. Raises InvalidArgument when the expression yields none (C-4.33)."""
    variables = {"input": json_value(input_text or "{}"), "additional_metadata": json_value(metadata or "{}")}
    try:
        key = str(evaluate(idempotency.expression, Use.IDEMPOTENCY, variables))
    except ExpressionFailed as error:
        raise InvalidArgument(
            f"idempotency expression '{idempotency.expression}' failed on this input: {error.reason}"
        ) from None
    if key.startswith(RESERVED_PREFIX):
        raise InvalidArgument(f"idempotency key '{key[:80]}' must not begin with {RESERVED_PREFIX}")
    if "\x00" in key:
        raise InvalidArgument("the idempotency key contains the null character, remove it from the input")
    if len(key) > LONGEST_KEY:
        # An index entry has an end; equal keys stay equal.
        key = f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
    return Claim(key, idempotency.method is IdempotencyMethod.STATUS, now + idempotency.ttl_ms / 1000.0)


async def released_holders(queries: Queries, run_facts: RunFacts, work: Sequence[NewWork], now: float) -> list[str]:
    """Runs that hold a key which this work wants, only until they end, and have ended (C-4.37 to C-4.39)."""
    if not any(one.claim is not None for one in work):
        return []
    by_tenant: dict[str, list[str]] = {}
    for holder in await key_holders(queries, work, now):
        if holder.is_status:
            by_tenant.setdefault(holder.tenant_id, []).append(holder.run_id)
    released: list[str] = []
    for tenant_id, run_ids in by_tenant.items():
        released.extend(end.task_id for end in await task_ends(queries, tenant_id, run_ids))
        released.extend(await run_facts.are_over(tenant_id, run_ids))
    return released
