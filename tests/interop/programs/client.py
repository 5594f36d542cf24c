"""The caller: for each line ``[name, arguments]`` on standard input it does what ``name`` says.

The answer is a line of JSON: ``{"value": ...}``, or ``{"error": ...}`` when the client raised. It comes on the stream
that was standard output; what the client itself prints goes to standard error.
"""

import asyncio
import json
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import batched
import durable_again
import durable_children
import durable_evicted
import durable_waits
import flows
import limits
import placed
import spawning
import tasks
import triggered
import waits
from tasks import Member, Number, Text, hatchet

from hatchet_sdk import (
    BulkCancelReplayOpts,
    BulkPushEventWithMetadata,
    DesiredWorkerLabel,
    RateLimitDuration,
    RunFilter,
    ScheduleTriggerWorkflowOptions,
    TriggerWorkflowOptions,
)

ACTIONS: dict[str, Callable[..., Any]] = {}

FIELDS = (
    "exc",
    "exc_type",
    "task_run_external_id",
    "existing_run_external_id",
    "successful_workflow_run_external_ids",
    "collisions",
)
"""What errors of the client carry besides their text."""

DURABLE = (durable_waits, durable_children, durable_evicted, durable_again)
MODULES = (tasks, flows, waits, spawning, limits, placed, triggered, batched, *DURABLE)

LOOP = asyncio.new_event_loop()
"""The one loop of all asynchronous calls: what the client keeps open between calls belongs to the loop of the first."""


def find(name: str) -> Any:
    """The task or workflow that one of the modules calls ``name``."""
    return next(getattr(module, name) for module in MODULES if hasattr(module, name))


def wait_for(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run_coroutine_threadsafe(coroutine, LOOP).result()


def action(function: Callable[..., Any]) -> Callable[..., Any]:
    ACTIONS[function.__name__] = function
    return function


def plain(value: Any) -> Any:
    """``value`` as JSON can say it; models and dataclasses as the fields that they have."""
    if isinstance(value, BaseException):
        return described(value)
    if hasattr(value, "model_dump"):
        return {"type": type(value).__name__, **value.model_dump(mode="json")}
    if hasattr(value, "__dataclass_fields__"):
        return {"type": type(value).__name__, **vars(value)}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return value


def described(error: BaseException) -> dict[str, Any]:
    """The error, and those that it is made of."""
    members = [described(member) for member in getattr(error, "exceptions", [])]
    fields = {name: getattr(error, name) for name in FIELDS if hasattr(error, name)}
    return {"type": type(error).__name__, "text": str(error), "members": members, **plain(fields)}


def inputs(values: list[int]) -> list[Number]:
    return [Number(n=n) for n in values]


@action
def run(name: str, values: dict[str, Any], options: dict[str, Any]) -> Any:
    task = find(name)
    return task.run(shaped(name, values), **options)


@action
def aio_run(name: str, values: dict[str, Any], options: dict[str, Any]) -> Any:
    task = find(name)
    return wait_for(task.aio_run(shaped(name, values), **options))


@action
def aio_gather(name: str, numbers: list[int]) -> Any:
    """As many callers at once as there are numbers, each waiting for its own result."""
    task = find(name)

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*(task.aio_run(each) for each in inputs(numbers)))

    return wait_for(all_of_them())


@action
def run_no_wait(name: str, values: dict[str, Any], options: dict[str, Any] | None = None) -> str:
    return find(name).run_no_wait(shaped(name, values), **(options or {})).workflow_run_id


@action
def aio_run_labelled(name: str, value: str) -> Any:
    """The run wants a worker whose label ``affinity`` has this value."""
    label = DesiredWorkerLabel(key="affinity", value=value, required=True)
    return wait_for(find(name).aio_run(desired_worker_labels=[label]))


@action
def no_wait_then_result(name: str, values: dict[str, Any]) -> Any:
    ref = find(name).run_no_wait(shaped(name, values))
    return {"run_id": ref.workflow_run_id, "result": plain(ref.result())}


@action
def aio_no_wait_then_result(name: str, values: dict[str, Any]) -> Any:
    async def both() -> Any:
        ref = await find(name).aio_run_no_wait(shaped(name, values))
        return {"run_id": ref.workflow_run_id, "result": plain(await ref.aio_result())}

    return wait_for(both())


@action
def run_many_texts(name: str, texts: list[str]) -> Any:
    task = find(name)
    return task.run_many([task.create_bulk_run_item(input=Text(text=text)) for text in texts])


@action
def run_many(name: str, numbers: list[int], options: dict[str, Any]) -> Any:
    task = find(name)
    return task.run_many([task.create_bulk_run_item(input=each) for each in inputs(numbers)], **options)


@action
def aio_run_many(name: str, numbers: list[int], options: dict[str, Any]) -> Any:
    task = find(name)
    items = [task.create_bulk_run_item(input=each) for each in inputs(numbers)]
    return wait_for(task.aio_run_many(items, **options))


@action
def result_of(name: str, run_id: str) -> Any:
    return find(name).get_result(run_id)


@action
def aio_result_of(name: str, run_id: str) -> Any:
    return wait_for(find(name).aio_get_result(run_id))


@action
def outputs_of(run_id: str) -> Any:
    """The outputs of a workflow's run by task, asked for in the blocking way."""
    return hatchet.runs.get_run_ref(run_id).result()


@action
def aio_outputs_of(run_id: str) -> Any:
    return wait_for(hatchet.runs.get_run_ref(run_id).aio_result())


@action
def push(key: str, payload: dict[str, Any], options: dict[str, Any] | None = None) -> Any:
    return hatchet.event.push(key, payload, **(options or {})).event_id


@action
def stream(name: str, values: dict[str, Any]) -> Any:
    """Trigger a run and listen to it: its id, and the chunks in the order in which they came."""

    async def listen() -> Any:
        ref = await find(name).aio_run_no_wait(shaped(name, values))
        return ref.workflow_run_id, [chunk async for chunk in hatchet.runs.subscribe_to_stream(ref.workflow_run_id)]

    return list(wait_for(listen()))


@action
def stream_of(run_id: str) -> Any:
    """Listen to a run that exists, or does not."""

    async def listen() -> list[str]:
        return [chunk async for chunk in hatchet.runs.subscribe_to_stream(run_id)]

    return wait_for(listen())


@action
def replay(run_id: str) -> None:
    hatchet.runs.replay(run_id)


@action
def reset(task_id: str, node_id: int, branch_id: int) -> Any:
    """A new branch of the durable task's log, from the node on."""
    return hatchet.runs.reset_durable_task(task_id, node_id, branch_id)


@action
def bulk(kind: str, metadata: dict[str, str]) -> None:
    """Cancel or replay all runs of the last five minutes with this metadata."""
    since = datetime.now(UTC) - timedelta(minutes=5)
    opts = BulkCancelReplayOpts(filters=RunFilter(since=since, additional_metadata=metadata))
    {"cancel": hatchet.runs.bulk_cancel, "replay": hatchet.runs.bulk_replay}[kind](opts)


@action
def run_many_no_wait(name: str, numbers: list[int], metadata: dict[str, str]) -> Any:
    task = find(name)
    options = TriggerWorkflowOptions(additional_metadata=metadata)
    items = [task.create_bulk_run_item(input=each, options=options) for each in inputs(numbers)]
    return [ref.workflow_run_id for ref in task.run_many_no_wait(items)]


@action
def cancel(run_id: str) -> None:
    hatchet.runs.cancel(run_id)


@action
def run_members(name: str, members: list[dict[str, Any]], metadata: list[dict[str, Any]] | None = None) -> Any:
    """One request for a run of each member; their ids."""
    task = find(name)
    options = metadata or [{} for _ in members]
    items = [
        task.create_bulk_run_item(input=Member(**values), **each) for values, each in zip(members, options, strict=True)
    ]
    return [ref.workflow_run_id for ref in task.run_many(items, wait_for_result=False)]


@action
def aio_gather_members(name: str, members: list[dict[str, Any]]) -> Any:
    """As many callers at once as there are members."""
    task = find(name)

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*(task.aio_run(Member(**each)) for each in members))

    return wait_for(all_of_them())


@action
def aio_heavy(name: str, count: int, size: int) -> Any:
    """Callers at once, each with an input of ``size`` bytes."""
    return aio_gather_members(name, [{"group": "heavy", "name": str(n).ljust(size, "x")} for n in range(count)])


@action
def put_rate_limit(key: str, limit: int, duration: str) -> None:
    hatchet.rate_limits.put(key, limit, RateLimitDuration(duration))


@action
def rate_limits(search: str) -> Any:
    """Value and limit of the keys that have ``search`` in them."""
    rows = wait_for(hatchet.rate_limits.aio_list(search=search)).rows or []
    return {row.key: [row.value, row.limit_value] for row in rows}


@action
def push_many(events: list[dict[str, Any]]) -> Any:
    return [each.event_id for each in hatchet.event.bulk_push([BulkPushEventWithMetadata(**each) for each in events])]


@action
def create_filter(name: str, expression: str, scope: str, payload: dict[str, Any]) -> str:
    return hatchet.filters.create(
        workflow_id=find(name).id, expression=expression, scope=scope, payload=payload
    ).metadata.id


@action
def filters(name: str) -> Any:
    """Scope, expression and payload of the workflow's filters, by their ids."""
    rows = hatchet.filters.list(workflow_ids=[find(name).id]).rows or []
    return {row.metadata.id: [row.scope, row.expression, row.payload, row.is_declarative] for row in rows}


@action
def delete_filter(filter_id: str) -> None:
    hatchet.filters.delete(filter_id)


@action
def create_cron(workflow: str, name: str, expression: str, values: dict[str, Any], options: dict[str, Any]) -> str:
    return hatchet.cron.create(
        workflow_name=workflow, cron_name=name, expression=expression, input=values, **options
    ).metadata.id


@action
def crons(name: str) -> Any:
    """Name, expression, origin and priority of the workflow's crons, by their ids."""
    rows = hatchet.cron.list(workflow_id=find(name).id).rows or []
    return {row.metadata.id: [row.name, row.cron, row.method.value, row.priority] for row in rows}


@action
def delete_cron(cron_id: str) -> None:
    hatchet.cron.delete(cron_id)


@action
def schedule(name: str, values: dict[str, Any], in_seconds: float, options: dict[str, Any]) -> str:
    """Schedule one run over gRPC; its id."""
    run_at = datetime.now(UTC) + timedelta(seconds=in_seconds)
    version = find(name).schedule(run_at, shaped(name, values), options=ScheduleTriggerWorkflowOptions(**options))
    [scheduled] = version.scheduled_workflows
    return scheduled.id


@action
def create_scheduled(workflow: str, values: dict[str, Any], in_seconds: float, metadata: dict[str, Any]) -> str:
    """Schedule one run over REST; its id."""
    trigger_at = datetime.now(UTC) + timedelta(seconds=in_seconds)
    return hatchet.scheduled.create(
        workflow_name=workflow, trigger_at=trigger_at, input=values, additional_metadata=metadata
    ).metadata.id


@action
def scheduled(name: str, metadata: dict[str, str] | None = None) -> Any:
    """The workflow's scheduled runs by their ids: in how many seconds, and the run that each has started."""
    rows = hatchet.scheduled.list(workflow_id=find(name).id, additional_metadata=metadata).rows or []
    now = datetime.now(UTC)
    return {
        row.metadata.id: {
            "in": (row.trigger_at - now).total_seconds(),
            "input": row.input,
            "metadata": row.additional_metadata,
            "priority": row.priority,
            "run_id": row.workflow_run_id,
        }
        for row in rows
    }


@action
def reschedule(scheduled_id: str, in_seconds: float) -> None:
    hatchet.scheduled.update(scheduled_id, datetime.now(UTC) + timedelta(seconds=in_seconds))


@action
def delete_scheduled(scheduled_id: str) -> None:
    hatchet.scheduled.delete(scheduled_id)


@action
def bulk_reschedule(scheduled_ids: list[str], in_seconds: float) -> Any:
    run_at = datetime.now(UTC) + timedelta(seconds=in_seconds)
    answer = hatchet.scheduled.bulk_update([(each, run_at) for each in scheduled_ids])
    return [answer.updated_ids, [each.id for each in answer.errors]]


@action
def bulk_delete_scheduled(scheduled_ids: list[str]) -> Any:
    answer = hatchet.scheduled.bulk_delete(scheduled_ids=scheduled_ids)
    return [answer.deleted_ids, [each.id for each in answer.errors]]


@action
def details(run_id: str) -> Any:
    found = hatchet.runs.get_details(run_id)
    runs = {name: plain(each) for name, each in found.task_runs.items()}
    return {
        "status": found.status.name,
        "done": found.done,
        "input": found.input,
        "metadata": found.additional_metadata,
        "tasks": runs,
    }


@action
def register(name: str) -> None:
    """Make a workflow known without serving it: a worker that never starts."""
    hatchet.worker("registers-only").register_workflow(find(name))


@action
def trigger_unknown() -> Any:
    @hatchet.task(name="nobody-registered-this")
    def unknown(input: Any, ctx: Any) -> dict[str, str]:
        return {}

    return unknown.run()


@action
def engine_version() -> Any:
    return wait_for(hatchet.aio_get_engine_version())


@action
def workers() -> Any:
    return [{"name": each.name, "status": each.status} for each in hatchet.workers.list().rows or []]


def shaped(name: str, values: dict[str, Any]) -> Any:
    """The input as the task's model; the names say which."""
    if "n" in values:
        return Number(**values)
    if "group" in values:
        return Member(**values)
    return Text(**values) if "text" in values else tasks.EmptyModel()


def answer(line: str) -> dict[str, Any]:
    name, arguments = json.loads(line)
    try:
        return {"value": plain(ACTIONS[name](*arguments))}
    except Exception as error:
        return {"error": described(error)}


def main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1, encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    threading.Thread(target=LOOP.run_forever, daemon=True).start()
    for line in sys.stdin:
        answers.write(json.dumps(answer(line), default=str) + "\n")


if __name__ == "__main__":
    main()
