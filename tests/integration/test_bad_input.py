"""Bad input at the doors where a user meets it: it is told by field with a remedy, and nothing else is lost.

Over gRPC with a real engine behind it: registration, trigger, PutRateLimit, ScheduleWorkflow, Push. Crons, scheduled
runs and filters over REST are in test_rest_schedules and test_rest_filters.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc_world
import pytest
import pytest_asyncio
from engine_fixture import Instance
from engine_worker import TENANT, until

from hatchet.core.labels import Comparator, DesiredLabel
from hatchet.core.messages import TriggerItem
from hatchet.core.rules import BatchRule, ConcurrencyRule, RateLimitRule, Strategy, Window
from hatchet.core.statuses import RunStatus
from hatchet_contracts import events_pb2, workflows_pb2
from hatchet_contracts.v1 import workflows_pb2 as v1
from hatchet_contracts.v1.shared.trigger_pb2 import DesiredWorkerLabels, TriggerWorkflowRequest

PUT = "/v1.AdminService/PutWorkflow"
TRIGGER = "/WorkflowService/TriggerWorkflow"
RATE = "/WorkflowService/PutRateLimit"
PUSH = "/EventsService/Push"
TEN_KB = "k" * 10_240
INT32 = 2**31 - 1
ROUND_ROBIN = Strategy.GROUP_ROUND_ROBIN


@pytest_asyncio.fixture
async def door(one: Instance, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[grpc_world.World]:
    monkeypatch.setattr(grpc_world, "TENANT", TENANT)
    async with grpc_world.a_world(one.engine.grpc_services(grpc_world.LIMIT)) as world:
        yield world


def registered(*, task: dict[str, Any] | None = None, **fields: Any) -> v1.CreateWorkflowVersionRequest:
    opts = v1.CreateTaskOpts(**{"readable_id": "flow", "action": "flow:run", **(task or {})})
    return v1.CreateWorkflowVersionRequest(name="flow", tasks=[opts], **fields)


def rule(expression: str = "input.k", **fields: Any) -> v1.Concurrency:
    return v1.Concurrency(expression=expression, **fields)


def limit(**fields: Any) -> v1.CreateTaskRateLimit:
    return v1.CreateTaskRateLimit(**{"key": "api", **fields})


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (registered(concurrency_arr=[rule("input.")]), "concurrency[0]: expression 'input.' does not compile"),
        (registered(concurrency_arr=[rule("7 + 'a'")]), "concurrency[0]: expression"),
        (registered(concurrency_arr=[rule("")]), "CEL expression is required"),
        (registered(concurrency_arr=[rule(max_runs_expression="0")]), "max_runs_expression must be 1 or more, not 0"),
        (registered(concurrency_arr=[rule(max_runs_expression="9" * 20)]), "max_runs_expression"),
        (registered(task={"concurrency": [rule("unknown.k")]}), "expression 'unknown.k' does not compile"),
        (registered(task={"rate_limits": [limit(units=-1)]}), "units must be between 0 and 2147483647, not -1"),
        (registered(task={"rate_limits": [limit(units_expr="-1")]}), "units_expr must be 0 or more"),
        (registered(task={"rate_limits": [limit(limit_values_expr="9" * 20)]}), "limit_values_expr"),
        (registered(task={"rate_limits": [limit(key=TEN_KB)]}), "at most 2000 bytes long"),
        (registered(task={"rate_limits": [limit(key="")]}), "key is required"),
        (registered(task={"slot_requests": {"default": 0}}), "must ask for 1 unit or more"),
        (registered(task={"batch": v1.TaskBatchConfig(batch_max_size=0)}), "batch_max_size must be between 1"),
        (registered(task={"worker_labels": {"gpu": DesiredWorkerLabels()}}), "needs a str_value or an int_value"),
        (registered(cron_triggers=["60 * * * *"]), "cron_triggers[0]"),
        (registered(cron_triggers=["CRON_TZ=Mars/X 0 5 * * *"]), "'Mars/X' is no time zone"),
        (registered(cron_triggers=["0 5 * * *"], cron_input="[1"), "invalid json in field cron_input"),
        (registered(event_triggers=[TEN_KB]), "event_triggers[0]"),
        (registered(default_filters=[v1.DefaultFilter(scope="s", expression="input.")]), "default_filters[0]"),
        (
            registered(default_filters=[v1.DefaultFilter(scope="s", expression="true", payload=b"[1]")]),
            "payload: it must be a JSON obj",
        ),
        (registered(default_priority=4), "priority"),
    ],
)
async def test_c_3_17_c_3_18_and_c_3_26_a_bad_registration_is_told_and_changes_nothing(
    one: Instance, door: grpc_world.World, request_: v1.CreateWorkflowVersionRequest, text: str
) -> None:
    version = await one.define()
    code, details = await door.refused(PUT, request_)
    assert (code, text in details) == (grpc.StatusCode.INVALID_ARGUMENT, True), details
    assert len(details) < 1000
    assert (await one.engine.registration.latest(TENANT, ["flow"]))["flow"].id == version.id
    await door.call(PUT, registered(), v1.CreateWorkflowVersionResponse)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"input": "{"}, "invalid json in field input"),
        ({"additional_metadata": '"text"'}, "additional_metadata"),
        ({"priority": 0}, "priority must be between 1 and 3, got 0"),
        ({"priority": -1}, "priority must be between 1 and 3, got -1"),
        ({"priority": INT32}, f"priority must be between 1 and 3, got {INT32}"),
        ({"desired_worker_labels": {"a": DesiredWorkerLabels()}}, "desired_worker_labels"),
    ],
)
async def test_c_4_8_a_bad_trigger_is_told_and_starts_nothing(
    one: Instance, door: grpc_world.World, fields: dict[str, Any], text: str
) -> None:
    await one.define()
    code, details = await door.refused(TRIGGER, TriggerWorkflowRequest(**{"name": "flow", "input": "{}", **fields}))
    assert (code, text in details) == (grpc.StatusCode.INVALID_ARGUMENT, True), details
    assert await one.rows("SELECT 1 FROM task") == []


@pytest.mark.parametrize("given", ["[1]", "7", "null", '"text"'])
async def test_c_4_3_an_input_that_is_no_object_is_kept_as_given_and_fails_only_expressions(
    one: Instance, door: grpc_world.World, given: str
) -> None:
    await one.define("plain")
    await one.define("ruled", concurrency=(ConcurrencyRule(expression="input.k", strategy=ROUND_ROBIN),))
    worker = await one.worker("plain", "ruled", completes=True)
    for name, status in (("plain", RunStatus.COMPLETED), ("ruled", RunStatus.FAILED)):
        request = TriggerWorkflowRequest(name=name, input=given)
        answer = await door.call(TRIGGER, request, workflows_pb2.TriggerWorkflowResponse)
        details = await one.ended(answer.workflow_run_id, status)
        assert json.loads(details.input) == json.loads(given)
    assert len(worker.starts) == 1


@pytest.mark.parametrize("fields", [{"limit": -1}, {"limit": -INT32 - 1}, {"key": ""}, {"duration": 7}])
async def test_c_10_1_a_bad_limit_leaves_the_one_that_is_there(
    one: Instance, door: grpc_world.World, fields: dict[str, Any]
) -> None:
    await one.define(rate_limits=(RateLimitRule(key="api"),))
    await one.engine.rate_limits.put(TENANT, "api", 1, Window.MINUTE)
    request = workflows_pb2.PutRateLimitRequest(**{"key": "api", "limit": 5, **fields})
    assert (await door.refused(RATE, request))[0] is grpc.StatusCode.INVALID_ARGUMENT
    worker = await one.worker(completes=True)
    await one.run_many(2)
    await until(lambda: len(worker.starts) == 1, "one starts")
    await one.watched()
    assert len(worker.starts) == 1


@pytest.mark.parametrize("most", [0, INT32])
async def test_c_10_2_the_ends_of_the_range_of_a_limit_are_in_it(
    one: Instance, door: grpc_world.World, most: int
) -> None:
    await one.define(rate_limits=(RateLimitRule(key="api", units=INT32),))
    request = workflows_pb2.PutRateLimitRequest(key="api", limit=most)
    await door.call(RATE, request, workflows_pb2.PutRateLimitResponse)
    worker = await one.worker(completes=True)
    run_id = await one.run()
    if most:
        await one.ended(run_id, RunStatus.COMPLETED)
    else:
        await one.watched()
        assert not worker.starts


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"key": ""}, "key"),
        ({"key": TEN_KB}, "key"),
        ({"payload": "{"}, "payload"),
        ({"additional_metadata": "[]"}, "additional_metadata"),
        ({"priority": 9}, "priority"),
    ],
)
async def test_c_12_5_a_bad_event_is_told_and_starts_nothing(
    one: Instance, door: grpc_world.World, fields: dict[str, Any], text: str
) -> None:
    code, details = await door.refused(PUSH, events_pb2.PushEventRequest(**{"key": "a", "payload": "{}", **fields}))
    assert (code, text in details) == (grpc.StatusCode.INVALID_ARGUMENT, True), details
    assert await one.rows("SELECT 1 FROM event") == []


# What only a run shows ----------------------------------------------------------------------------------------------


async def ends(one: Instance, *inputs: dict[str, Any]) -> list[tuple[RunStatus, str]]:
    """Status and error of a run of ``flow`` with each input, all triggered at once."""
    items = [TriggerItem(workflow_name="flow", input=json.dumps(given)) for given in inputs]
    found = []
    for run_id in await one.engine.trigger.trigger(TENANT, items):

        async def find(run_id: str = run_id) -> bool:
            return (await one.details(run_id)).done

        await until(find, "it ends")
        details = await one.details(run_id)
        found.append((details.status, details.tasks[0].error or ""))
    return found


@pytest.mark.parametrize("bad", [{}, {"most": "x"}, {"most": 0}, {"most": -1}, {"most": 1.5e300}])
async def test_c_9_5_a_limit_that_cannot_be_computed_fails_its_own_run(one: Instance, bad: dict[str, Any]) -> None:
    rules = (ConcurrencyRule(expression="'all'", max_runs_expression="input.most", strategy=ROUND_ROBIN),)
    await one.define(concurrency=rules)
    await one.worker(completes=True)
    first, second, third = await ends(one, {"most": 2}, bad, {"most": 2})
    assert (first[0], third[0]) == (RunStatus.COMPLETED, RunStatus.COMPLETED)
    assert (second[0], "input.most" in second[1]) == (RunStatus.FAILED, True), second
    await one.empty()


@pytest.mark.parametrize("user", [None, 7, ["a"], {"a": 1}])
async def test_c_10_11_a_key_of_another_type_fails_its_own_run(one: Instance, user: Any) -> None:
    await one.define(rate_limits=(RateLimitRule(key="u", key_expression="input.user", limit_expression="100"),))
    await one.worker(completes=True)
    good, bad, missing = await ends(one, {"user": "a"}, {"user": user}, {})
    assert good[0] is RunStatus.COMPLETED
    for status, error in (bad, missing):
        assert (status, "input.user" in error) == (RunStatus.FAILED, True), error
    await one.empty()


@pytest.mark.parametrize(
    ("units", "status"), [(2**31, RunStatus.QUEUED), (2**62, RunStatus.QUEUED), (1e300, RunStatus.FAILED)]
)
async def test_c_10_14_overflowing_units_start_nothing_and_block_nobody(
    one: Instance, units: float, status: RunStatus
) -> None:
    expression = RateLimitRule(key="u", key_expression="'u'", limit_expression="5", units_expression="input.n")
    await one.define(rate_limits=(expression,))
    worker = await one.worker(completes=True)
    bad = await one.run(input=json.dumps({"n": units}))
    good = await one.run(input='{"n": 1}')
    await one.ended(good, RunStatus.COMPLETED)
    await one.watched()
    assert [action.task_id for action in worker.starts] == [good]
    assert await one.status(bad) is status


async def test_keys_of_ten_kilobytes_of_a_limit_and_of_a_batch_are_keys_like_others(one: Instance) -> None:
    limited = RateLimitRule(key="u", key_expression="input.k", limit_expression="1", window=Window.MINUTE)
    await one.define("limited", rate_limits=(limited,))
    await one.define("batched", batch=BatchRule(max_size=2, interval_ms=600_000, key_expression="input.k"))
    worker = await one.worker("limited", "batched")
    same, other = json.dumps({"k": TEN_KB}), json.dumps({"k": TEN_KB[:-1] + "x"})
    first, second, third = [await one.run("limited", input=given) for given in (same, same, other)]
    await worker.started(first)
    await worker.started(third)
    await one.watched()
    assert second not in {action.task_id for action in worker.starts}
    runs = [await one.run("batched", input=given) for given in (same, other, same)]
    await until(lambda: len(worker.actions) == 3, "the full batch arrives")
    assert list(json.loads(worker.actions[-1].payload)) == [runs[0], runs[2]]


@pytest.mark.parametrize("comparator", list(Comparator))
async def test_c_11_18_a_required_label_that_no_worker_has_blocks_nobody_and_ends(
    one: Instance, comparator: Comparator
) -> None:
    wish = DesiredLabel(key="nobody has this", value=1, comparator=comparator, required=True)
    await one.define("picky", worker_labels=(wish,))
    await one.define("plain")
    worker = await one.worker("picky", "plain", completes=True)
    picky, plain = await one.run("picky"), await one.run("plain")
    await one.ended(plain, RunStatus.COMPLETED)
    await one.watched()
    assert await one.status(picky) is RunStatus.QUEUED
    await one.pass_time(301, worker)
    await one.ended(picky, RunStatus.CANCELLED)
