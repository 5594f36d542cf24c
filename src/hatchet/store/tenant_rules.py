"""Concurrency rules that all workflows of a tenant share by name (behaviour-core C-3.38)."""

from __future__ import annotations

from collections.abc import Iterable

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


async def put_tenant_rules(queries: Queries, tenant_id: str, rules: Iterable[ConcurrencyRule], *, now: float) -> None:
    """Make these the tenant's rules of their names, each name once; the others stay.

    In the order of their names, so that concurrent calls wait for each other instead of blocking each other.
    """
    ordered = sorted(rules, key=lambda rule: rule.name)
    await queries.execute(
        "tenant_rule_put",
        tenant_id,
        [rule.name for rule in ordered],
        [rule.expression for rule in ordered],
        [rule.strategy.value for rule in ordered],
        [rule.max_runs for rule in ordered],
        [rule.max_runs_expression for rule in ordered],
        now,
    )
