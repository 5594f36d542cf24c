"""Workflows as they are declared: tasks, parents, conditions, and the message that registers them."""

# the first argument of a task is called `input`

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from fakes.fake_engine import make_token
from hatchet_contracts.v1 import workflows_pb2
from hatchet_contracts.v1.shared import condition_pb2
from hatchet_sdk import (
    ClientConfig,
    ConcurrencyExpression,
    ConcurrencyLimitStrategy,
    Condition,
    Context,
    EmptyModel,
    Hatchet,
    OrGroup,
    ParentCondition,
    Priority,
    RateLimit,
    SleepCondition,
    StickyStrategy,
    TaskDefaults,
    UserEventCondition,
    or_,
)
from hatchet_sdk.declare.conditions import build_conditions_proto, flatten_conditions
from hatchet_sdk.declare.options import StepType
from hatchet_sdk.declare.task import Task
from hatchet_sdk.declare.workflow import Workflow

QUEUE, CANCEL, SKIP = condition_pb2.QUEUE, condition_pb2.CANCEL, condition_pb2.SKIP


def fn(input: EmptyModel, ctx: Context) -> dict[str, int]:
    return {"a": 1}


@pytest.fixture
def hatchet() -> Hatchet:
    return Hatchet(config=ClientConfig(token=make_token(), namespace="Ns"))


@pytest.fixture
def flow(hatchet: Hatchet) -> Workflow[EmptyModel]:
    return hatchet.workflow(name="Flow")


def add(flow: Workflow[Any], name: str, *parents: Task[Any, Any], **options: Any) -> Task[Any, Any]:
    return flow.task(name=name, parents=list(parents), **options)(fn)


def wire(flow: Workflow[Any]) -> dict[str, workflows_pb2.CreateTaskOpts]:
    return {task.readable_id: task for task in flow.to_proto().tasks}


# --- tasks ----------------------------------------------------------------------------------------------------------


def test_a_workflow_registers_its_tasks_with_their_parents(flow: Workflow[EmptyModel]) -> None:
    first = add(flow, "First")
    left, right = add(flow, "left", first), add(flow, "right", first)
    add(flow, "last", left, right, first, left)
    message = flow.to_proto()
    assert message.name == "ns_Flow"
    assert [(task.readable_id, list(task.parents)) for task in message.tasks] == [
        ("first", []),
        ("left", ["first"]),
        ("right", ["first"]),
        ("last", ["left", "right", "first"]),
    ]
    assert [task.action for task in message.tasks][:2] == ["ns_flow:first", "ns_flow:left"]
    assert not message.HasField("on_failure_task")
    assert not any(task.HasField("conditions") for task in message.tasks)


def test_c_3_3_a_task_is_known_by_its_name_in_lower_case(flow: Workflow[EmptyModel]) -> None:
    task = add(flow, "Send-Mail")
    assert (task.name, task.readable_id, task.type) == ("send-mail", "send-mail", StepType.DEFAULT)
    named = flow.task()(fn)
    assert (named.name, named.fn, named.workflow) == ("fn", fn, flow)


def test_the_limits_of_a_task_reach_the_registration(flow: Workflow[EmptyModel]) -> None:
    add(
        flow,
        "a",
        schedule_timeout=timedelta(minutes=7),
        execution_timeout="90s",
        retries=2,
        rate_limits=[RateLimit(static_key="k", units=3)],
        backoff_factor=1.5,
        backoff_max_seconds=30,
        concurrency=[
            ConcurrencyExpression(
                expression="input.x", max_runs=1, limit_strategy=ConcurrencyLimitStrategy.CANCEL_NEWEST
            )
        ],
        slot_cost=3,
    )
    task = wire(flow)["a"]
    assert (task.schedule_timeout, task.timeout, task.retries) == ("7m", "90s", 2)
    assert (task.rate_limits[0].units, task.backoff_factor, task.backoff_max_seconds) == (3, 1.5, 30)
    assert (task.concurrency[0].expression, dict(task.slot_requests)) == ("input.x", {"default": 3})


def test_what_the_server_may_lack_is_still_in_the_message(hatchet: Hatchet) -> None:
    flow = hatchet.workflow(
        name="f",
        description="d",
        on_events=["user:new"],
        on_crons=["0 0 * * *"],
        sticky=StickyStrategy.SOFT,
        concurrency=4,
        default_priority=Priority.HIGH,
        version="2",
    )
    add(flow, "a")
    message = flow.to_proto()
    assert (list(message.event_triggers), list(message.cron_triggers)) == (["ns_user:new"], ["0 0 * * *"])
    assert (message.HasField("sticky"), message.default_priority) == (True, 3)
    assert (message.concurrency_arr[0].max_runs, message.version, message.description) == (4, "2", "d")


def test_defaults_of_the_workflow_are_for_tasks_that_do_not_say_otherwise(hatchet: Hatchet) -> None:
    defaults = TaskDefaults(
        execution_timeout="3s",
        schedule_timeout=timedelta(hours=1),
        retries=4,
        backoff_factor=2.0,
        backoff_max_seconds=9,
        priority=3,
    )
    flow = hatchet.workflow(name="f", task_defaults=defaults)
    add(flow, "plain")
    add(flow, "own", execution_timeout="5s", retries=1, backoff_factor=3.0)
    flow.on_failure_task()(fn)
    flow.on_success_task()(fn)
    tasks, message = wire(flow), flow.to_proto()
    plain, own = tasks["plain"], tasks["own"]
    assert (plain.timeout, plain.schedule_timeout, plain.retries) == ("3s", "1h", 4)
    assert (plain.backoff_factor, plain.backoff_max_seconds, message.default_priority) == (2.0, 9, 3)
    assert (own.timeout, own.schedule_timeout, own.retries, own.backoff_factor) == ("5s", "1h", 1, 3.0)
    for special in (message.on_failure_task, tasks["fn-on-success"]):
        assert (special.timeout, special.retries, special.HasField("backoff_factor")) == ("1m", 0, False)
    with pytest.raises(ValidationError, match="priority"):
        TaskDefaults(priority=4)


def test_inputs_of_all_tasks_are_of_the_declared_type(hatchet: Hatchet) -> None:
    class In(BaseModel):
        n: int

    flow = hatchet.workflow(name="f", input_validator=In)

    @flow.task()
    async def double(input: In, ctx: Context) -> In:
        return In(n=2 * input.n)

    assert double.parse_input({"n": 3}) == In(n=3)
    assert double.parse_output('{"n": 3}') == In(n=3)
    assert double.is_async_function
    assert b'"n"' in flow.to_proto().input_json_schema


# --- special tasks (C-3.5, C-3.7) -----------------------------------------------------------------------------------


def test_c_3_5_names_of_special_tasks(flow: Workflow[EmptyModel]) -> None:
    add(flow, "a")

    @flow.on_failure_task()
    def Clean(input: EmptyModel, ctx: Context) -> None: ...

    done = flow.on_success_task(name="Done", retries=2)(fn)
    message = flow.to_proto()
    assert (Clean.name, Clean.type, done.name) == ("clean-on-failure", StepType.ON_FAILURE, "done-on-success")
    assert message.on_failure_task.readable_id == "clean-on-failure"
    assert message.on_failure_task.action == "ns_flow:clean-on-failure"
    assert list(message.on_failure_task.parents) == []
    assert [task.readable_id for task in message.tasks] == ["a", "done-on-success"]
    assert message.tasks[1].retries == 2
    assert [task.name for task in flow.tasks] == ["a", "clean-on-failure", "done-on-success"]


def test_c_6_48_the_on_success_task_is_below_all_leaves_at_registration(flow: Workflow[EmptyModel]) -> None:
    first = add(flow, "first")
    flow.on_success_task()(fn)
    assert list(wire(flow)["fn-on-success"].parents) == ["first"]
    add(flow, "left", first)
    add(flow, "right", first)
    assert list(wire(flow)["fn-on-success"].parents) == ["left", "right"]
    assert list(wire(flow)["fn-on-success"].parents) == ["left", "right"]


@pytest.mark.parametrize("kind", ["on_failure", "on_success"])
def test_a_workflow_has_one_special_task_of_a_kind(flow: Workflow[EmptyModel], kind: str) -> None:
    declare: Callable[..., Any] = getattr(flow, f"{kind}_task")
    special = declare(name="a")(fn)
    with pytest.raises(ValueError, match=rf"has an {kind.replace('_', '-')} task already: 'a-"):
        declare(name="b")(fn)
    with pytest.raises(ValueError, match=r"cannot be a parent of task 'c': it is the on-"):
        add(flow, "c", special)


# --- what is refused (C-3.9, C-3.24, C-3.25) ------------------------------------------------------------------------


def test_c_3_9_a_name_is_taken_whatever_its_case(flow: Workflow[EmptyModel]) -> None:
    add(flow, "Step")
    with pytest.raises(ValueError, match=r"workflow 'Flow' has a task 'step' already.*give one another name"):
        add(flow, "STEP")
    flow.on_success_task(name="x")(fn)
    with pytest.raises(ValueError, match="has a task 'x-on-success' already"):
        add(flow, "x-on-success")
    assert [task.name for task in flow.tasks] == ["step", "x-on-success"]


def test_c_3_24_parents_are_tasks_of_the_same_workflow(hatchet: Hatchet, flow: Workflow[EmptyModel]) -> None:
    stranger = add(hatchet.workflow(name="Other"), "s")
    with pytest.raises(ValueError, match=r"parent 's' of task 'a' belongs to workflow 'Other', not to 'Flow'"):
        add(flow, "a", stranger)
    with pytest.raises(TypeError, match=r"parents of task 'a' must be tasks.*got str"):
        add(flow, "a", "first")  # type: ignore[arg-type]
    for parents in ("first", stranger):
        with pytest.raises(TypeError, match=r"the parents of task 'a' must be a list of tasks, got (str|Task)"):
            flow.task(name="a", parents=parents)(fn)  # type: ignore[arg-type]
    standalone = hatchet.task(name="alone")(fn)
    with pytest.raises(TypeError, match=r"must be tasks, as @workflow.task\(\) returns them, got Standalone"):
        add(flow, "a", standalone)  # type: ignore[arg-type]
    assert flow.tasks == []


def test_c_3_25_a_cycle_is_refused(flow: Workflow[EmptyModel]) -> None:
    first = add(flow, "first")
    second = add(flow, "second", first)
    first.parents.append(second)
    with pytest.raises(ValueError, match=r"workflow 'Flow' has a cycle: (first -> second -> first|second -> first)"):
        flow.to_proto()


def test_c_3_9_a_workflow_needs_a_task(flow: Workflow[EmptyModel]) -> None:
    flow.on_failure_task()(fn)
    with pytest.raises(ValueError, match=r"workflow 'Flow' has no tasks: declare at least one with @workflow.task\(\)"):
        flow.to_proto()


def test_a_task_is_declared_once_and_a_function_as_often_as_one_likes(
    hatchet: Hatchet, flow: Workflow[EmptyModel]
) -> None:
    task = add(flow, "a")
    with pytest.raises(TypeError, match="a function is expected, got Task"):
        flow.task(name="b")(task)  # type: ignore[arg-type]
    other = add(hatchet.workflow(name="Other"), "a")
    assert (other.fn, other.workflow.name, task.workflow.name) == (fn, "Other", "Flow")


@pytest.mark.parametrize("kind", ["task", "on_failure_task", "on_success_task"])
def test_a_task_without_a_name_is_told_to_take_one(flow: Workflow[EmptyModel], kind: str) -> None:
    with pytest.raises(ValueError, match=r"a task of workflow 'Flow' has no name of its own; pass name="):
        getattr(flow, kind)()(partial(fn))


def test_a_standalone_task_joins_a_workflow_with_its_limits(hatchet: Hatchet, flow: Workflow[EmptyModel]) -> None:
    limits = ConcurrencyExpression(
        expression="input.k", max_runs=2, limit_strategy=ConcurrencyLimitStrategy.CANCEL_NEWEST
    )
    alone = hatchet.task(name="Alone", retries=2, execution_timeout="7s", concurrency=limits)(fn)
    flow.add_task(alone)
    (joined,) = flow.tasks
    add(flow, "after", joined)
    task = wire(flow)["alone"]
    assert (task.action, task.retries, task.timeout) == ("ns_flow:alone", 2, "7s")
    assert [(entry.expression, entry.max_runs) for entry in task.concurrency] == [("input.k", 2)]
    assert list(wire(flow)["after"].parents) == ["alone"]
    joined.parents.append(joined)
    assert (alone.tasks[0].workflow.name, alone.tasks[0].parents) == ("Alone", [])
    joined.parents.clear()
    assert alone.to_proto().tasks[0].action == "ns_alone:alone"
    with pytest.raises(ValueError, match="has a task 'alone' already"):
        flow.add_task(alone)


# --- conditions (C-8.1 to C-8.3) ------------------------------------------------------------------------------------


def test_c_8_1_conditions_of_every_kind(flow: Workflow[EmptyModel]) -> None:
    first = add(flow, "First")
    add(
        flow,
        "a",
        first,
        wait_for=[SleepCondition(timedelta(seconds=90))],
        skip_if=[ParentCondition(parent=first, expression="output.n > 1")],
        cancel_if=[UserEventCondition(event_key="user:gone", expression="input.id == 1", scope="s")],
    )
    conditions = wire(flow)["a"].conditions
    (sleep,), (parent,), (event,) = (
        conditions.sleep_conditions,
        conditions.parent_override_conditions,
        conditions.user_event_conditions,
    )
    assert (sleep.sleep_for, sleep.base.readable_data_key, sleep.base.action) == ("90s", "sleep:90s", QUEUE)
    assert (parent.parent_readable_id, parent.base.readable_data_key, parent.base.action) == ("first", "first", SKIP)
    assert parent.base.expression == "output.n > 1"
    assert (event.user_event_key, event.base.readable_data_key) == ("ns_user:gone", "user:gone")
    assert (event.event_scope, event.base.expression, event.base.action) == ("s", "input.id == 1", CANCEL)
    assert not event.HasField("consider_events_since")
    groups = {condition.base.or_group_id for condition in (sleep, parent, event)}
    assert len(groups) == 3
    assert "" not in groups


def test_c_8_2_members_of_a_group_share_its_id(flow: Workflow[EmptyModel]) -> None:
    group = or_(SleepCondition("1m"), UserEventCondition(event_key="e"))
    add(flow, "a", wait_for=[group, SleepCondition("2m"), or_(SleepCondition("3m"), UserEventCondition(event_key="f"))])
    conditions = wire(flow)["a"].conditions
    ids = {c.sleep_for: c.base.or_group_id for c in conditions.sleep_conditions}
    ids |= {c.user_event_key: c.base.or_group_id for c in conditions.user_event_conditions}
    assert ids["1m"] == ids["ns_e"] == group.or_group_id
    assert ids["3m"] == ids["ns_f"]
    assert len(set(ids.values())) == 3


@pytest.mark.parametrize(
    ("duration", "text"),
    [(timedelta(seconds=90), "90s"), (timedelta(minutes=2), "2m"), (timedelta(milliseconds=5), "5ms"), ("1h30m",) * 2],
)
def test_c_8_3_the_key_of_a_sleep_is_its_duration(hatchet: Hatchet, duration: timedelta | str, text: str) -> None:
    message = SleepCondition(duration).to_proto(hatchet.config)
    assert (message.sleep_for, message.base.readable_data_key) == (text, f"sleep:{text}")
    assert SleepCondition(duration, "mine").base.readable_data_key == "mine"


def test_c_3_30_a_restart_makes_the_same_message_but_for_the_ids_of_groups() -> None:
    def register() -> workflows_pb2.CreateWorkflowVersionRequest:
        flow = Hatchet(config=ClientConfig(token=make_token())).workflow(name="f")
        first = add(flow, "first")
        add(
            flow,
            "second",
            first,
            wait_for=[or_(SleepCondition("1m"), UserEventCondition(event_key="e"))],
            skip_if=[ParentCondition(parent=first, expression="output.a == 1")],
        )
        message = flow.to_proto()
        for task in message.tasks:
            for conditions in (
                task.conditions.sleep_conditions,
                task.conditions.user_event_conditions,
                task.conditions.parent_override_conditions,
            ):
                for condition in conditions:
                    condition.base.or_group_id = ""
        return message

    assert register() == register()


def test_one_condition_serves_several_tasks(flow: Workflow[EmptyModel]) -> None:
    pause = SleepCondition("1m")
    add(flow, "a", wait_for=[or_(pause, UserEventCondition(event_key="e"))])
    add(flow, "b", cancel_if=[pause])
    tasks = wire(flow)
    assert tasks["a"].conditions.sleep_conditions[0].base.action == QUEUE
    assert tasks["b"].conditions.sleep_conditions[0].base.action == CANCEL
    assert pause.base.action is None


def test_c_8_3_two_conditions_share_a_key_only_for_the_same_data(flow: Workflow[EmptyModel]) -> None:
    first = add(flow, "first")
    # The example of C-8.14, and two expressions about one parent (C-8.19).
    add(
        flow,
        "a",
        first,
        wait_for=[or_(SleepCondition("30s")), or_(SleepCondition(timedelta(seconds=30)), UserEventCondition("p"))],
        skip_if=[or_(ParentCondition(first, "output.x"), ParentCondition(first, "output.y"))],
    )
    with pytest.raises(ValueError, match=r"of task 'b' have the readable_data_key 'e'; give one of them a readable"):
        add(flow, "b", wait_for=[UserEventCondition("e", "input.x")], skip_if=[UserEventCondition("e", "input.y")])
    with pytest.raises(ValueError, match="readable_data_key 'k'"):
        add(flow, "b", wait_for=[SleepCondition("1s", "k"), UserEventCondition("e", readable_data_key="k")])
    add(flow, "b", wait_for=[or_(UserEventCondition("e", "input.x"), UserEventCondition("e", "input.y", "other"))])


def test_c_3_19_a_condition_on_a_parent_needs_that_parent(flow: Workflow[EmptyModel]) -> None:
    first = add(flow, "first")
    with pytest.raises(
        ValueError, match=r"task 'a' has a condition on 'first', which is not one of its parents; add it to parents="
    ):
        add(flow, "a", skip_if=[or_(ParentCondition(first, "true"))])


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda: or_(), ValueError, "at least one condition"),
        (lambda: or_(or_(SleepCondition("1s"))), TypeError, "takes conditions, got OrGroup"),  # type: ignore[arg-type]
        (lambda: SleepCondition(timedelta(seconds=-1)), ValueError, "negative"),
        (lambda: UserEventCondition(event_key=""), ValueError, "needs an event_key"),
        (lambda: ParentCondition(parent="a"), TypeError, "must be a task.*got str"),  # type: ignore[arg-type]
    ],
)
def test_conditions_that_cannot_be_are_refused(make: Callable[[], Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        make()


@pytest.mark.parametrize("name", ["wait_for", "skip_if", "cancel_if"])
def test_lists_of_other_things_are_named(flow: Workflow[EmptyModel], name: str) -> None:
    with pytest.raises(TypeError, match=rf"{name} of task 'a': expected a condition or or_\(…\), got int"):
        add(flow, "a", **{name: [1]})
    for value in (SleepCondition("1s"), or_(SleepCondition("1s")), "1s", 3):
        with pytest.raises(TypeError, match=rf"{name} of task 'a' must be a list of conditions"):
            add(flow, "a", **{name: value})
    assert flow.tasks == []


def test_flat_lists_keep_their_order() -> None:
    one, two, three = (SleepCondition(f"{n}s") for n in (1, 2, 3))
    group = OrGroup([two, three])
    flat = flatten_conditions([one, group])
    assert [c.base.readable_data_key for c in flat] == ["sleep:1s", "sleep:2s", "sleep:3s"]
    assert flat[0] is one
    assert {c.base.or_group_id for c in flat[1:]} == {group.or_group_id}


def test_c_8_26_conditions_of_a_durable_wait(hatchet: Hatchet, flow: Workflow[EmptyModel]) -> None:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    conditions: list[Condition] = [SleepCondition("1s"), UserEventCondition("e", consider_events_since=since)]
    message = build_conditions_proto(conditions, hatchet.config)
    assert [c.sleep_for for c in message.sleep_conditions] == ["1s"]
    (event,) = message.user_event_conditions
    assert (event.user_event_key, event.consider_events_since.ToDatetime(UTC)) == ("ns_e", since)
    with pytest.raises(TypeError, match="for tasks with parents"):
        build_conditions_proto([ParentCondition(add(flow, "a"))], hatchet.config)


# --- workers --------------------------------------------------------------------------------------------------------


def test_a_worker_runs_all_tasks_of_a_workflow(hatchet: Hatchet, flow: Workflow[EmptyModel]) -> None:
    add(flow, "a")
    flow.on_failure_task(name="f")(fn)
    flow.on_success_task(name="s")(fn)
    worker = hatchet.worker("w", workflows=[flow])
    assert set(worker.action_registry) == {"ns_flow:a", "ns_flow:f-on-failure", "ns_flow:s-on-success"}
    assert worker.slot_config == {"default": 100}
