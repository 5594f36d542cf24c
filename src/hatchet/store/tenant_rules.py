"""Concurrency rules that all workflows of a tenant share by name (behaviour-core C-3.38)."""

from __future__ import annotations

from hatchet.core.rules import ConcurrencyRule, Strategy
from hatchet.store.pool import Queries


async def tenant_rules(queries: Queries, tenant_id: str) -> dict[str, ConcurrencyRule]:
    """The tenant's shared rules by name."""
    return {
        row["name"]: ConcurrencyRule(
            expression=row["expression"],
            max_runs=row["max_runs"],
            strategy=Strategy(row["strategy"]),
            name=row["name"],
            is_tenant_scoped=True,
            max_runs_expression=row["max_runs_expression"],
        )
        for row in await queries.fetch("tenant_rule_list", tenant_id)
    }
