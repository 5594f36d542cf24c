"""Workflows of the interop tests that events, crons and schedules start."""

import json
import time
from typing import Any

from pydantic import BaseModel
from tasks import MARKS, Text, hatchet

from hatchet_sdk import Context, DefaultFilter


class Pushed(BaseModel):
    """The payload of the events; ``tag`` says to which push it belongs."""

    tag: str = ""
    should_skip: bool = False


def add_line(name: str, **values: Any) -> None:
    """A line of JSON for the test."""
    with (MARKS / name).open("a") as lines:
        lines.write(json.dumps(values) + "\n")


@hatchet.task(name="on-pattern", input_validator=Pushed, on_events=["pattern:*"])
async def on_pattern(input: Pushed, ctx: Context) -> dict[str, str]:
    add_line(
        f"event-{input.tag}",
        by_event=ctx.was_triggered_by_event,
        metadata=ctx.additional_metadata,
        priority=ctx.priority,
    )
    return {"tag": input.tag}


filtered = hatchet.workflow(
    name="filtered",
    input_validator=Pushed,
    on_events=["filtered:go"],
    default_filters=[
        DefaultFilter(
            expression="input.should_skip == false && payload.kind == 'declared'",
            scope="declared",
            payload={"kind": "declared", "deep": {"list": [1, "zwei", None]}},
        ),
        DefaultFilter(expression="input.should_skip == true", scope="declared", payload={"kind": "skipping"}),
    ],
)


@filtered.task(name="above")
async def above(input: Pushed, ctx: Context) -> dict[str, Any]:
    return {"filter": ctx.filter_payload}


@filtered.task(name="under", parents=[above])
async def under(input: Pushed, ctx: Context) -> dict[str, str]:
    add_line(
        f"event-{input.tag}",
        filter=ctx.filter_payload,
        filter_above=ctx.task_output(above)["filter"],
        by_event=ctx.was_triggered_by_event,
        metadata=ctx.additional_metadata,
    )
    return {"tag": input.tag}


async def tick(input: Text, ctx: Context) -> dict[str, Any]:
    """One line for each run in ``ticks-<text>``."""
    add_line(f"ticks-{input.text}", at=time.time(), metadata=ctx.additional_metadata, priority=ctx.priority)
    return {"text": input.text, "metadata": ctx.additional_metadata, "priority": ctx.priority}


ticks = hatchet.task(name="ticks", input_validator=Text)(tick)
yearly = hatchet.task(
    name="yearly",
    input_validator=Text,
    on_crons=["0 0 1 1 *", "30 12 29 2 *"],
    cron_input=Text(text="declared"),
    default_priority=2,
)(tick)


on_schedule = hatchet.task(name="on-schedule", input_validator=Text)(tick)


TRIGGERED = [on_pattern, filtered, ticks, yearly, on_schedule]
"""What the worker of the tests runs."""
