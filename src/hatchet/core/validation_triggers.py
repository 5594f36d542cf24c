"""What event triggers, cron triggers and default filters must be to be registered (C-3.15, C-3.16, C-3.27)."""

from __future__ import annotations

from collections.abc import Iterator

from hatchet.core.definitions import WorkflowDefinition
from hatchet.core.event_push import MAX_KEY_BYTES
from hatchet.core.expressions import Use
from hatchet.core.json_texts import check_json, check_json_object
from hatchet.core.rules import DefaultFilter
from hatchet.core.schedules import check_cron
from hatchet.core.validation_texts import caught, expression_mistakes, one_line, quoted, text_mistakes


def trigger_mistakes(definition: WorkflowDefinition) -> Iterator[str]:
    """The mistakes of what starts runs of the workflow by itself."""
    for index, key in enumerate(definition.event_triggers):
        if not key:
            yield f"event_triggers[{index}] must not be empty: name a key of events, such as user:created"
        yield from text_mistakes(f"event_triggers[{index}]", key, MAX_KEY_BYTES)
    for index, cron in enumerate(definition.cron_triggers):
        if reason := check_cron(cron):
            yield f"cron_triggers[{index}] {quoted(cron)}: {one_line(reason)}"
    if definition.cron_input is not None:
        yield from caught(check_json, definition.cron_input, "cron_input")
    for index, one in enumerate(definition.default_filters):
        yield from (f"default_filters[{index}]: {mistake}" for mistake in _filter_mistakes(one))


def _filter_mistakes(one: DefaultFilter) -> Iterator[str]:
    if not one.scope:
        yield "scope is required: the filter looks at events with exactly this scope"
    yield from text_mistakes("scope", one.scope, MAX_KEY_BYTES)
    if one.expression:
        yield from expression_mistakes("expression", one.expression, Use.EVENT_FILTER)
    else:
        yield "expression is required: the filter starts a run when it is true"
    yield from caught(check_json_object, one.payload, "payload")
