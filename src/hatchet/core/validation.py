"""What a definition must be to be registered (behaviour-core C-3.9 to C-3.28).

Every mistake is collected, so that a person mends them all at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from hatchet.core.conditions import Condition, Kind
from hatchet.core.definitions import (
    DEFAULT_PRIORITY,
    MAX_PRIORITY,
    Idempotency,
    TaskDefinition,
    WorkflowDefinition,
    topological,
)
from hatchet.core.durations import parse_duration
from hatchet.core.errors import InvalidArgument
from hatchet.core.expressions import Use
from hatchet.core.json_texts import check_json
from hatchet.core.validation_limits import (
    batch_mistakes,
    concurrency_mistakes,
    rate_limit_mistakes,
    shared_rule_mistakes,
)
from hatchet.core.validation_texts import caught, expression_mistakes, quoted, shown
from hatchet.core.validation_triggers import trigger_mistakes

MAX_BACKOFF_FACTOR = 1000.0
MAX_BACKOFF_SECONDS = 86_400

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_ACTION = re.compile(r"[^:\x00-\x1f\x7f]+(?::[^:\x00-\x1f\x7f]+){1,2}")


def is_name(text: str) -> bool:
    """Whether ``text`` may name a workflow or a task (C-3.9)."""
    return _NAME.fullmatch(text) is not None


def normal_action(action: str) -> str:
    """The stored form of an action id, lower case (C-3.10). Raises :class:`InvalidArgument` for a bad one."""
    if _ACTION.fullmatch(action) is None:
        raise InvalidArgument(_bad_action(action))
    return action.lower()


def validate(definition: WorkflowDefinition) -> None:
    """Check the definition by C-3.9 to C-3.28.

    Raises one :class:`InvalidArgument` in which every mistake is a numbered line (C-3.26).
    """
    mistakes = list(_mistakes(definition))
    if mistakes:
        lines = (f"{number}. {mistake}" for number, mistake in enumerate(mistakes, 1))
        raise InvalidArgument("\n".join(("Validation failed with the following errors:", *lines)))


def _mistakes(definition: WorkflowDefinition) -> Iterator[str]:
    if not is_name(definition.name):
        yield _bad_name("name", definition.name)
    for label in ("description", "version"):
        if "\x00" in getattr(definition, label):
            yield f"{label} must not contain the null character"
    if not definition.tasks:
        yield "tasks: a workflow needs at least one task"
    priority = definition.default_priority
    if priority is not None and not DEFAULT_PRIORITY <= priority <= MAX_PRIORITY:
        yield f"default_priority must be between {DEFAULT_PRIORITY} and {MAX_PRIORITY}, not {priority}"
    if definition.input_json_schema is not None:
        yield from caught(check_json, definition.input_json_schema, "input_json_schema")
    if definition.idempotency is not None:
        yield from (f"idempotency.{mistake}" for mistake in _idempotency_mistakes(definition.idempotency))
    yield from concurrency_mistakes(definition.concurrency)
    yield from shared_rule_mistakes(definition)
    yield from trigger_mistakes(definition)
    for index, task in enumerate(definition.tasks):
        for mistake in _task_mistakes(task):
            yield f"tasks[{index}] ({shown(task.readable_id)}): {mistake}"
    if definition.on_failure is not None:
        yield from (f"on_failure_task: {mistake}" for mistake in _on_failure_mistakes(definition.on_failure))
    yield from _graph_mistakes(definition)


def _idempotency_mistakes(idempotency: Idempotency) -> Iterator[str]:
    if not idempotency.expression:
        yield "expression: a CEL expression is required"
    else:
        yield from expression_mistakes("expression", idempotency.expression, Use.IDEMPOTENCY)
    if idempotency.ttl_ms < 1:
        yield f"ttl_ms must be 1 or more, not {idempotency.ttl_ms}"


def _on_failure_mistakes(task: TaskDefinition) -> Iterator[str]:
    yield from _task_mistakes(task)
    if task.parents:
        yield "parents must be empty: it runs when any task of the run has failed"
    if task.conditions:
        yield "conditions must be empty: it runs when any task of the run has failed"


def _task_mistakes(task: TaskDefinition) -> Iterator[str]:
    if not is_name(task.readable_id):
        yield _bad_name("readable_id", task.readable_id)
    if _ACTION.fullmatch(task.action) is None:
        yield _bad_action(task.action)
    for label in ("execution_timeout", "schedule_timeout"):
        yield from (f"{label}: {mistake}" for mistake in caught(parse_duration, getattr(task, label)))
    if task.retries < 0:
        yield f"retries must be 0 or more, not {task.retries}"
    factor, limit = task.backoff_factor, task.backoff_max_seconds
    if factor is not None and not 1 <= factor <= MAX_BACKOFF_FACTOR:
        yield f"backoff_factor must be between 1 and {MAX_BACKOFF_FACTOR:.0f}, not {factor:g}"
    if limit is not None and not 1 <= limit <= MAX_BACKOFF_SECONDS:
        yield f"backoff_max_seconds must be between 1 and {MAX_BACKOFF_SECONDS}, not {limit}"
    for slot_type, units in task.slot_requests.items():
        if not slot_type or "\x00" in slot_type:
            yield "slot_requests: a slot type must not be empty or contain the null character"
        if units <= 0:
            yield f"slot_requests: {shown(slot_type)} must ask for 1 unit or more, not {units}"
    for wish in task.worker_labels:
        if not wish.key or "\x00" in wish.key or "\x00" in str(wish.value):
            yield "worker_labels: a key must not be empty, and neither key nor value may contain the null character"
    yield from concurrency_mistakes(task.concurrency)
    yield from rate_limit_mistakes(task.rate_limits)
    if task.batch is not None:
        yield from batch_mistakes(task, task.batch)
    for condition in task.conditions:
        for mistake in _condition_mistakes(condition, task):
            yield f"conditions ({condition.kind.value.lower()} {quoted(condition.data_key)}): {mistake}"


def _condition_mistakes(condition: Condition, task: TaskDefinition) -> Iterator[str]:
    texts = (condition.data_key, condition.event_key or "", condition.event_scope or "")
    if any("\x00" in text for text in texts):
        yield "no text may contain the null character"
    if not condition.data_key:
        yield "readable_data_key is required: the task finds the condition's data under it"
    use = Use.PARENT_CONDITION if condition.kind is Kind.PARENT else Use.USER_EVENT_CONDITION
    if condition.expression:
        yield from expression_mistakes("expression", condition.expression, use)
    if condition.kind is Kind.SLEEP:
        yield from (f"sleep_for: {mistake}" for mistake in caught(parse_duration, condition.sleep_for or ""))
    if condition.kind is Kind.EVENT and not condition.event_key:
        yield "user_event_key is required"
    if condition.kind is Kind.PARENT and condition.parent not in task.parents:
        yield f"parent_readable_id {quoted(condition.parent or '')} is not one of the task's parents"


def _graph_mistakes(definition: WorkflowDefinition) -> Iterator[str]:
    names = [task.readable_id for task in definition.all_tasks]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        yield f"tasks: readable ids must be unique, repeated: {shown(', '.join(repeated))}"
    yield from _edge_mistakes(definition.tasks)


def _edge_mistakes(tasks: Sequence[TaskDefinition]) -> Iterator[str]:
    # The on-failure task is nobody's parent (C-6.46): who waits for it keeps it waiting in turn.
    known = {task.readable_id for task in tasks}
    for task in tasks:
        for parent in task.parents:
            if parent not in known:
                edge = f"parent step '{shown(parent)}' not found for step '{shown(task.readable_id)}'"
                yield f"dag parent not found: {edge}"
    ordered = topological(tasks)
    if len(ordered) < len(tasks) and len(known) == len(tasks):
        stuck = sorted(known - {task.readable_id for task in ordered})
        if all(parent in known for task in tasks for parent in task.parents):
            yield f"tasks: the workflow has a cycle through or above: {shown(', '.join(stuck))}"


def _bad_name(label: str, name: str) -> str:
    return f"{label} {quoted(name)} must consist of letters, digits, '.', '-' and '_', at least one"


def _bad_action(action: str) -> str:
    return f"action {quoted(action)} must have 2 or 3 non-empty parts separated by colons, such as workflow:task"
