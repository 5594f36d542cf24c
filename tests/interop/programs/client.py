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

import flows
import spawning
import tasks
import waits
from tasks import Number, Text, hatchet

from hatchet_sdk import BulkCancelReplayOpts, DesiredWorkerLabel, RunFilter, TriggerWorkflowOptions

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

LOOP = asyncio.new_event_loop()
"""The one loop of all asynchronous calls: what the client keeps open between calls belongs to the loop of the first."""


def find(name: str) -> Any:
    """The task or workflow that one of the modules calls ``name``."""
    return next(getattr(module, name) for module in (tasks, flows, waits, spawning) if hasattr(module, name))


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
