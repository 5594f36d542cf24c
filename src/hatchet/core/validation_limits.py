"""What concurrency rules, rate limits and batches must be to be registered (behaviour-core C-3.17, C-3.18, C-3.22)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from hatchet.core.definitions import TaskDefinition, WorkflowDefinition
from hatchet.core.event_push import MAX_KEY_BYTES
from hatchet.core.expressions import Use
from hatchet.core.limits import NO_LIMIT
from hatchet.core.rules import BatchRule, ConcurrencyRule, RateLimitRule
from hatchet.core.validation_texts import MAX_INT32, expression_mistakes, number_mistakes, quoted, text_mistakes

MAX_RULE_NAME_BYTES = 255
MAX_BATCH_SIZE = 100_000
MAX_BATCH_INTERVAL_MS = 86_400_000
MAX_BATCH_GROUP_RUNS = 10_000

_NUMBER = re.compile(r"\s*(-?[0-9]{1,18})\s*")


def concurrency_mistakes(rules: Sequence[ConcurrencyRule]) -> Iterator[str]:
    """The mistakes of one list of rules, C-3.17.

    A limit below 1 is none: such a rule admits nothing (C-9.6). Two rules with the same groups are refused, because a
    run would ask for two places in one group.
    """
    seen: dict[object, int] = {}
    for index, rule in enumerate(rules):
        yield from (f"concurrency[{index}]: {mistake}" for mistake in _rule_mistakes(rule))
        groups = rule.name if rule.is_tenant_scoped else (rule.strategy, rule.expression)
        first = seen.setdefault(groups, index)
        if first != index:
            what = "name" if rule.is_tenant_scoped else "expression and strategy"
            yield f"concurrency[{index}] repeats the {what} of concurrency[{first}]: keep one of the two"


def shared_rule_mistakes(definition: WorkflowDefinition) -> Iterator[str]:
    """Mistakes of tenant-scoped rules that no list shows alone (C-3.38)."""
    whole = {rule.name for rule in definition.concurrency if rule.is_tenant_scoped}
    of_tasks = [(task, rule) for task in definition.all_tasks for rule in task.concurrency if rule.is_tenant_scoped]
    for task, rule in of_tasks:
        if rule.name in whole:
            yield (
                f"concurrency: the tenant-scoped rule {quoted(rule.name)} is declared by the workflow and by its task "
                f"{quoted(task.readable_id)}, which would wait for its own run: keep one of the two"
            )
    by_name: dict[str, set[ConcurrencyRule]] = {}
    for rule in (*definition.concurrency, *(rule for _, rule in of_tasks)):
        if rule.is_tenant_scoped:
            by_name.setdefault(rule.name, set()).add(rule)
    for name, different in sorted(by_name.items()):
        if len(different) > 1:
            yield (
                f"concurrency: the tenant-scoped rule {quoted(name)} is declared in {len(different)} ways: "
                "make them equal or give them different names"
            )


def _rule_mistakes(rule: ConcurrencyRule) -> Iterator[str]:
    if rule.expression:
        yield from expression_mistakes("expression", rule.expression, Use.CONCURRENCY)
    else:
        yield "CEL expression is required for concurrency"
    yield from number_mistakes("max_runs", rule.max_runs, -MAX_INT32 - 1, MAX_INT32)
    if rule.max_runs_expression is not None:
        yield from _counting_mistakes("max_runs_expression", rule.max_runs_expression, Use.MAX_RUNS, 1)
    yield from text_mistakes("name", rule.name, MAX_RULE_NAME_BYTES)
    if rule.is_tenant_scoped and not rule.name.strip():
        yield "name is required with is_tenant_scoped: workflows share the rule by its name"


def rate_limit_mistakes(rules: Sequence[RateLimitRule]) -> Iterator[str]:
    """The mistakes of a task's rate limits, C-3.18."""
    for index, rule in enumerate(rules):
        yield from (f"rate_limits[{index}]: {mistake}" for mistake in _rate_limit_mistakes(rule))


def _rate_limit_mistakes(rule: RateLimitRule) -> Iterator[str]:
    if not rule.key:
        yield "key is required: the name of the limit, with an expression a label of your choice"
    yield from text_mistakes("key", rule.key, MAX_KEY_BYTES)
    yield from number_mistakes("units", rule.units, 0, MAX_INT32)
    if rule.key_expression is not None:
        yield from expression_mistakes("key_expr", rule.key_expression, Use.RATE_LIMIT_KEY)
    for label, text, least in (
        ("units_expr", rule.units_expression, 0),
        ("limit_values_expr", rule.limit_expression, NO_LIMIT),
    ):
        if text is not None:
            yield from _counting_mistakes(label, text, Use.RATE_LIMIT_UNITS, least)


def _counting_mistakes(label: str, text: str, use: Use, least: int) -> Iterator[str]:
    # A number that is always refused when a task is created would fail every task.
    number = _NUMBER.fullmatch(text)
    if number is not None and int(number[1]) < least:
        yield f"{label} must be {least} or more, not {number[1]}"
    else:
        yield from expression_mistakes(label, text, use)


def batch_mistakes(task: TaskDefinition, rule: BatchRule) -> Iterator[str]:
    """The mistakes of a batch task, C-3.22. Its slot requests are allowed, and not used (C-16.12)."""
    if task.is_durable:
        yield "batch: a durable task cannot be a batch task, take one of the two away"
    yield from number_mistakes("batch.batch_max_size", rule.max_size, 1, MAX_BATCH_SIZE)
    yield from number_mistakes("batch.batch_max_interval_ms", rule.interval_ms, 1, MAX_BATCH_INTERVAL_MS)
    yield from number_mistakes("batch.batch_group_max_runs", rule.max_runs, 1, MAX_BATCH_GROUP_RUNS)
    yield from expression_mistakes("batch.batch_group_key", rule.key_expression, Use.BATCH_KEY)
