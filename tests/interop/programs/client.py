"""The official client's other half: for each line ``[name, arguments]`` on standard input it does what ``name`` says.

The answer is a line of JSON: ``{"value": ...}``, or ``{"error": ...}`` when the client raised. It comes on the stream
that was standard output; what the client itself prints goes to standard error.
"""

import asyncio
import json
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import tasks
from tasks import Number, Text, hatchet

ACTIONS: dict[str, Callable[..., Any]] = {}

LOOP = asyncio.new_event_loop()
"""The one loop of all asynchronous calls: what the client keeps open between calls belongs to the loop of the first."""


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
    return value


def described(error: BaseException) -> dict[str, Any]:
    """The error, and those that it is made of."""
    members = [described(member) for member in getattr(error, "exceptions", [])]
    fields = {
        name: str(getattr(error, name)) for name in ("exc", "exc_type", "task_run_external_id") if hasattr(error, name)
    }
    return {"type": type(error).__name__, "text": str(error), "members": members, **fields}


def inputs(values: list[int]) -> list[Number]:
    return [Number(n=n) for n in values]


@action
def run(name: str, values: dict[str, Any], options: dict[str, Any]) -> Any:
    task = getattr(tasks, name)
    return task.run(shaped(name, values), **options)


@action
def aio_run(name: str, values: dict[str, Any], options: dict[str, Any]) -> Any:
    task = getattr(tasks, name)
    return wait_for(task.aio_run(shaped(name, values), **options))


@action
def aio_gather(name: str, numbers: list[int]) -> Any:
    """As many callers at once as there are numbers, each waiting for its own result."""
    task = getattr(tasks, name)

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*(task.aio_run(each) for each in inputs(numbers)))

    return wait_for(all_of_them())


@action
def run_no_wait(name: str, values: dict[str, Any]) -> str:
    return getattr(tasks, name).run_no_wait(shaped(name, values)).workflow_run_id


@action
def no_wait_then_result(name: str, values: dict[str, Any]) -> Any:
    ref = getattr(tasks, name).run_no_wait(shaped(name, values))
    return {"run_id": ref.workflow_run_id, "result": plain(ref.result())}


@action
def aio_no_wait_then_result(name: str, values: dict[str, Any]) -> Any:
    async def both() -> Any:
        ref = await getattr(tasks, name).aio_run_no_wait(shaped(name, values))
        return {"run_id": ref.workflow_run_id, "result": plain(await ref.aio_result())}

    return wait_for(both())


@action
def run_many(name: str, numbers: list[int], options: dict[str, Any]) -> Any:
    task = getattr(tasks, name)
    return task.run_many([task.create_bulk_run_item(input=each) for each in inputs(numbers)], **options)


@action
def aio_run_many(name: str, numbers: list[int], options: dict[str, Any]) -> Any:
    task = getattr(tasks, name)
    items = [task.create_bulk_run_item(input=each) for each in inputs(numbers)]
    return wait_for(task.aio_run_many(items, **options))


@action
def result_of(name: str, run_id: str) -> Any:
    return getattr(tasks, name).get_result(run_id)


@action
def aio_result_of(name: str, run_id: str) -> Any:
    return wait_for(getattr(tasks, name).aio_get_result(run_id))


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
    hatchet.worker("registers-only").register_workflow(getattr(tasks, name))


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
