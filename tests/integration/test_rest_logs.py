"""Logs over HTTP, with a real engine behind the door (behaviour-rest R-12.4, R-23)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest_asyncio
from engine_fixture import Instance
from engine_worker import TENANT
from rest_door import UNKNOWN, RestDoor

from hatchet.core.task_logs import TaskLogLine

LOGS = f"/stable/tenants/{TENANT}/logs"
POINTS = f"/stable/tenants/{TENANT}/log-point-metrics"


class Logger:
    """Writes lines, each a second after the one before: in the two hours after it was made, which have passed then."""

    def __init__(self, one: Instance) -> None:
        self.one = one
        self.at = float(int(one.clock.now()) + 10)
        one.clock.skip(7200)

    async def write(self, task_id: str, message: str, **fields: Any) -> float:
        self.at += 1
        line = TaskLogLine(**{"task_id": task_id, "message": message, "created_at": self.at, **fields})
        await self.one.engine.logs.put(TENANT, line)
        await self.one.engine.logs.drain()
        return self.at


@pytest_asyncio.fixture
async def door(one: Instance) -> AsyncIterator[RestDoor]:
    made = RestDoor(one)
    yield made
    await made.client.aclose()


async def messages(door: RestDoor, url: str, **params: Any) -> list[str]:
    return [row["message"] for row in (await door.get(url, **params))["rows"]]


def text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


async def test_r_23_1_a_line_is_shown_with_its_task(one: Instance, door: RestDoor) -> None:
    await one.define()
    run_id = await one.run()
    await Logger(one).write(run_id, "hello", level="WARN", metadata='{"a":1}', retry_count=2)
    body = await door.get(f"/stable/tasks/{run_id}/logs")
    assert body["pagination"] == {"current_page": 0, "next_page": 0, "num_pages": 0}
    [row] = body["rows"]
    assert row.pop("createdAt")
    name = (await door.get(f"/stable/tasks/{run_id}"))["displayName"]
    assert row == {
        "message": "hello",
        "metadata": {"a": 1},
        "taskExternalId": run_id,
        "taskDisplayName": name,
        "retryCount": 2,
        "attempt": 3,
        "level": "WARN",
    }


async def test_r_23_3_lines_by_time_text_level_and_attempt(one: Instance, door: RestDoor) -> None:
    await one.define()
    run_id = await one.run()
    logger = Logger(one)
    first = await logger.write(run_id, "Alpha 100%", level="DEBUG", retry_count=0)
    await logger.write(run_id, "beta", level="INFO", retry_count=0)
    last = await logger.write(run_id, "gamma alpha", level="ERROR", retry_count=1)
    for url in (f"/stable/tasks/{run_id}/logs", LOGS):
        assert await messages(door, url) == ["Alpha 100%", "beta", "gamma alpha"]
        assert await messages(door, url, order_by_direction="DESC") == ["gamma alpha", "beta", "Alpha 100%"]
        assert await messages(door, url, limit=1, order_by_direction="DESC") == ["gamma alpha"]
        # Both bounds are exclusive.
        assert await messages(door, url, since=text(first), until=text(last)) == ["beta"]
        assert await messages(door, url, search="ALPHA") == ["Alpha 100%", "gamma alpha"]
        assert await messages(door, url, search="0%") == ["Alpha 100%"]
        assert await messages(door, url, search="\0") == []
        assert await messages(door, url, levels=["DEBUG", "ERROR"]) == ["Alpha 100%", "gamma alpha"]
        assert await messages(door, url, attempt=2) == ["gamma alpha"]
        for bad in (
            {"levels": "LOUD"},
            {"order_by_direction": "asc"},
            {"attempt": 0},
            {"limit": 0},
            {"since": "2025-01-01T00:00:00"},
        ):
            await door.refusal("GET", url, 400, **bad)


async def test_r_23_2_fifty_lines_unless_more_are_asked_for(one: Instance, door: RestDoor) -> None:
    await one.define()
    run_id = await one.run()
    logger = Logger(one)
    for number in range(60):
        await logger.write(run_id, str(number), retry_count=0)
    assert await messages(door, f"/stable/tasks/{run_id}/logs") == [str(number) for number in range(50)]
    assert len(await messages(door, LOGS, limit=1_000_000)) == 60


async def test_r_23_4_lines_of_the_tenant_by_task_workflow_and_step(one: Instance, door: RestDoor) -> None:
    flow = await one.define()
    dag = await one.define_dag("dag", a=(), b=())
    single, several = await one.run(), await one.run("dag")
    tasks = await one.task_ids(several)
    logger = Logger(one)
    for task_id, message in ((single, "flow"), (tasks["a"], "a"), (tasks["b"], "b")):
        await logger.write(task_id, message, retry_count=0)
    assert await messages(door, LOGS) == ["flow", "a", "b"]
    assert await messages(door, LOGS, taskExternalIds=[single, tasks["b"]]) == ["flow", "b"]
    assert await messages(door, LOGS, workflow_ids=dag.workflow_id) == ["a", "b"]
    assert await messages(door, LOGS, workflow_ids=[dag.workflow_id, flow.workflow_id]) == ["flow", "a", "b"]
    assert await messages(door, LOGS, step_ids=dag.tasks[1].id) == ["b"]
    assert await messages(door, LOGS, workflow_ids=UNKNOWN) == []
    for name in ("taskExternalIds", "workflow_ids", "step_ids"):
        await door.refusal("GET", LOGS, 400, **{name: "x"})


async def test_r_3_7_others_lines_look_like_those_of_unknown_tasks(one: Instance, door: RestDoor) -> None:
    await one.define()
    run_id = await one.run()
    await Logger(one).write(run_id, "secret")
    assert await door.refusal("GET", f"/stable/tasks/{UNKNOWN}/logs", 404) == "task not found"
    assert await door.refusal("GET", f"/stable/tasks/{run_id}/logs", 404, token="other") == "task not found"
    await door.refusal("GET", LOGS, 403, token="other")


async def test_r_12_4_counts_by_level_over_time(one: Instance, door: RestDoor) -> None:
    await one.define()
    run_id = await one.run()
    logger = Logger(one)
    minute = logger.at // 60 * 60 + 600
    for at, level in ((minute, "INFO"), (minute + 59, "INFO"), (minute + 60, "ERROR"), (minute + 180, "DEBUG")):
        logger.at = at - 1
        await logger.write(run_id, level.lower(), level=level, retry_count=0)
    results = (await door.get(POINTS, since=text(minute), until=text(minute + 180)))["results"]
    assert [(point["INFO"], point["ERROR"], point["DEBUG"], point["WARN"]) for point in results] == [
        (2, 0, 0, 0),
        (0, 1, 0, 0),
        (0, 0, 0, 0),
    ]
    assert datetime.fromisoformat(results[0]["time"]).timestamp() == minute
    day = (await door.get(POINTS))["results"]
    assert len(day) in (48, 49)
    assert sum(point["INFO"] for point in day) == 2
    assert sum(point["INFO"] for point in (await door.get(POINTS, search="error"))["results"]) == 0
    assert sum(point["INFO"] for point in (await door.get(POINTS, since="0001-01-01T00:00:00Z"))["results"]) == 2
    await door.refusal("GET", POINTS, 400, since=text(minute), until=text(minute))
