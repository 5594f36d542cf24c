"""Registrations of workflows as messages: DAGs, conditions, flow control, triggers, and the old form (C-3, C-8)."""

from __future__ import annotations

import re
from typing import Any

import grpc
import pytest
from engine_fixture import TENANT, World
from grpc_world import a_world

from hatchet.core.conditions import Action, Condition, Kind
from hatchet.core.definitions import Idempotency, IdempotencyMethod, WorkflowDefinition
from hatchet.core.errors import InvalidArgument, Unimplemented
from hatchet.core.ids import time_of
from hatchet.core.messages import Caller
from hatchet.core.rules import BatchRule, ConcurrencyRule, DefaultFilter, RateLimitRule, Sticky, Strategy, Window
from hatchet.core.validation import validate
from hatchet.grpc.legacy_registration import newer_request
from hatchet.grpc.registration_messages import workflow_definition
from hatchet.grpc.workflows import WorkflowService
from hatchet_contracts import workflows_pb2 as pb
from hatchet_contracts.v1 import workflows_pb2 as v1
from hatchet_contracts.v1.shared import condition_pb2 as conditions

OLD_PUT = "/WorkflowService/PutWorkflow"


def a_base(key: str, action: conditions.Action, group: str = "", expression: str = "") -> conditions.BaseMatchCondition:
    return conditions.BaseMatchCondition(readable_data_key=key, action=action, or_group_id=group, expression=expression)


def a_request(*tasks: v1.CreateTaskOpts, **options: object) -> v1.CreateWorkflowVersionRequest:
    return v1.CreateWorkflowVersionRequest(**{"name": "Flow", "tasks": tasks, **options})


def a_task(name: str, *parents: str, **options: object) -> v1.CreateTaskOpts:
    return v1.CreateTaskOpts(readable_id=name, action=f"flow:{name}", parents=parents, **options)


def test_c_8_1_conditions_are_read_with_their_groups() -> None:
    waits = conditions.TaskConditions(
        parent_override_conditions=[
            conditions.ParentOverrideMatchCondition(
                base=a_base("2026-parent", conditions.SKIP, "g", "output.n > 1"), parent_readable_id="a"
            )
        ],
        sleep_conditions=[
            conditions.SleepMatchCondition(base=a_base("sleep:5s", conditions.QUEUE, "h"), sleep_for="5s"),
            conditions.SleepMatchCondition(base=a_base("sleep:9s", conditions.QUEUE), sleep_for="9s"),
        ],
        user_event_conditions=[
            conditions.UserEventMatchCondition(
                base=a_base("e", conditions.QUEUE, "h"), user_event_key="e", event_scope="s"
            )
        ],
    )
    definition = workflow_definition(a_request(a_task("a"), a_task("b", "a", conditions=waits)))
    assert definition.tasks[1].conditions == (
        Condition(
            kind=Kind.PARENT, action=Action.SKIP, or_group=0, data_key="a", expression="output.n > 1", parent="a"
        ),
        Condition(kind=Kind.SLEEP, action=Action.QUEUE, or_group=1, data_key="sleep:5s", sleep_for="5s"),
        Condition(kind=Kind.SLEEP, action=Action.QUEUE, or_group=2, data_key="sleep:9s", sleep_for="9s"),
        Condition(kind=Kind.EVENT, action=Action.QUEUE, or_group=1, data_key="e", event_key="e", event_scope="s"),
    )


def test_c_3_19_create_is_no_action_of_a_task() -> None:
    sleep = conditions.SleepMatchCondition(base=a_base("sleep:5s", conditions.CREATE), sleep_for="5s")
    request = a_request(a_task("a", conditions=conditions.TaskConditions(sleep_conditions=[sleep])))
    with pytest.raises(InvalidArgument, match="use QUEUE, CANCEL or SKIP"):
        workflow_definition(request)


def test_c_3_5_and_c_3_7_the_on_failure_task_and_idempotency_are_read() -> None:
    request = a_request(
        a_task("a"),
        on_failure_task=a_task("a-on-failure"),
        idempotency=v1.IdempotencyConfig(expression="input.id", ttl_ms=5000, method=v1.IdempotencyMethod.STATUS),
    )
    definition = workflow_definition(request)
    assert definition.on_failure is not None
    assert definition.on_failure.readable_id == "a-on-failure"
    assert definition.idempotency == Idempotency(expression="input.id", ttl_ms=5000, method=IdempotencyMethod.STATUS)


async def test_c_3_30_a_client_that_starts_again_makes_no_new_version(world: World) -> None:
    """Its or-groups have new ids, and some name their parent conditions anew."""
    one = await world.engine()

    async def version(group: str, name: str) -> str:
        waits = conditions.TaskConditions(
            parent_override_conditions=[
                conditions.ParentOverrideMatchCondition(
                    base=a_base(name, conditions.SKIP, group, "output.n > 1"), parent_readable_id="a"
                )
            ],
            sleep_conditions=[
                conditions.SleepMatchCondition(base=a_base("sleep:5s", conditions.SKIP, group), sleep_for="5s")
            ],
        )
        definition = workflow_definition(a_request(a_task("a"), a_task("b", "a", conditions=waits)))
        return (await one.engine.registration.put(TENANT, definition)).id

    assert await version("g1", "first") == await version("g2", "second")


@pytest.mark.parametrize(
    ("tasks", "text"),
    [
        ((a_task("a", "b"), a_task("b", "a")), "has a cycle"),
        ((a_task("a", "a"),), "has a cycle"),
        ((a_task("a", "x"),), "dag parent not found: parent step 'x' not found for step 'a'"),
        ((a_task("a"), a_task("a")), "readable ids must be unique, repeated: a"),
        (
            (
                a_task(
                    "a",
                    conditions=conditions.TaskConditions(
                        user_event_conditions=[
                            conditions.UserEventMatchCondition(
                                base=a_base("e", conditions.QUEUE, "", "inptu.a == 1"), user_event_key="e"
                            )
                        ]
                    ),
                ),
            ),
            r"expression 'inptu.a == 1' does not compile at 1:1: undeclared reference to 'inptu'",
        ),
    ],
)
async def test_bad_graphs_and_expressions_are_refused(
    world: World, tasks: tuple[v1.CreateTaskOpts, ...], text: str
) -> None:
    one = await world.engine()
    with pytest.raises(InvalidArgument, match=re.escape(text)):
        await one.engine.registration.put(TENANT, workflow_definition(a_request(*tasks)))


def read(**options: object) -> WorkflowDefinition:
    """The definition of a workflow with one task and these options."""
    return workflow_definition(a_request(a_task("a"), **options))


def test_c_3_17_rules_are_read_with_their_defaults() -> None:
    full = v1.Concurrency(
        expression="input.a",
        max_runs=5,
        limit_strategy=v1.GROUP_ROUND_ROBIN,
        name="n",
        is_tenant_scoped=True,
        max_runs_expression="input.n",
    )
    assert read(concurrency_arr=[v1.Concurrency(expression="input.b"), full]).concurrency == (
        ConcurrencyRule(expression="input.b", max_runs=1, strategy=Strategy.CANCEL_IN_PROGRESS),
        ConcurrencyRule(
            expression="input.a",
            max_runs=5,
            strategy=Strategy.GROUP_ROUND_ROBIN,
            name="n",
            is_tenant_scoped=True,
            max_runs_expression="input.n",
        ),
    )
    [rule] = read(concurrency_arr=[v1.Concurrency(expression="a", max_runs=0, max_runs_expression="")]).concurrency
    assert (rule.max_runs, rule.max_runs_expression) == (0, None)


def test_c_3_17_the_single_rule_comes_first_and_equal_ones_count_once() -> None:
    one, two = v1.Concurrency(expression="input.a"), v1.Concurrency(expression="input.b", max_runs=2)
    assert [rule.expression for rule in read(concurrency=one, concurrency_arr=[two]).concurrency] == [
        "input.a",
        "input.b",
    ]
    assert [rule.expression for rule in read(concurrency=two, concurrency_arr=[one, two]).concurrency] == [
        "input.b",
        "input.a",
    ]
    task = a_task("a", concurrency=[two, one])
    [definition] = workflow_definition(a_request(task)).tasks
    assert [rule.expression for rule in definition.concurrency] == ["input.b", "input.a"]


@pytest.mark.parametrize("strategy", list(Strategy))
def test_c_9_7_every_strategy_has_its_number(strategy: Strategy) -> None:
    number = v1.ConcurrencyLimitStrategy.Value(strategy.value)
    [rule] = read(concurrency_arr=[v1.Concurrency(expression="'x'", limit_strategy=number)]).concurrency
    assert rule.strategy is strategy


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (v1.DROP_NEWEST, "limit_strategy DROP_NEWEST is not supported, use CANCEL_NEWEST"),
        (v1.QUEUE_NEWEST, "limit_strategy QUEUE_NEWEST is not supported, use CANCEL_QUEUED_EXCEPT_NEWEST"),
        (99, "limit_strategy 99 is not supported, use GROUP_ROUND_ROBIN or CANCEL_IN_PROGRESS or"),
    ],
)
def test_c_3_17_strategies_that_are_not_supported(number: int, text: str) -> None:
    rule = v1.Concurrency(expression="'x'", limit_strategy=number)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match=re.escape(f"concurrency[1]: {text}")):
        read(concurrency=v1.Concurrency(expression="'y'"), concurrency_arr=[rule])
    with pytest.raises(InvalidArgument, match=re.escape(f"tasks[0].concurrency[0]: {text}")):
        workflow_definition(a_request(a_task("a", concurrency=[rule])))


def test_c_10_6_rate_limits_are_read() -> None:
    limits = [
        v1.CreateTaskRateLimit(key="api"),
        v1.CreateTaskRateLimit(key="api", units=0, duration=v1.RateLimitDuration.SECOND),
        v1.CreateTaskRateLimit(
            key="label",
            key_expr="input.user",
            units_expr="input.units",
            limit_values_expr="-1",
            duration=v1.RateLimitDuration.YEAR,
        ),
    ]
    definition = workflow_definition(
        a_request(a_task("a", rate_limits=limits), on_failure_task=a_task("f", rate_limits=limits[:1]))
    )
    assert definition.tasks[0].rate_limits == (
        RateLimitRule(key="api", units=1),
        RateLimitRule(key="api", units=0, window=Window.SECOND),
        RateLimitRule(
            key="label",
            key_expression="input.user",
            units_expression="input.units",
            limit_expression="-1",
            window=Window.YEAR,
        ),
    )
    assert [rule.is_dynamic for rule in definition.tasks[0].rate_limits] == [False, False, True]
    assert definition.on_failure is not None
    assert definition.on_failure.rate_limits == (RateLimitRule(key="api"),)


def test_c_3_22_a_batch_has_defaults_for_all_but_its_size() -> None:
    full = v1.TaskBatchConfig(
        batch_max_size=5,
        batch_max_interval_ms=0,
        batch_group_key="input.k",
        batch_group_max_runs=0,
        broadcast_output=True,
    )
    plain = v1.TaskBatchConfig(batch_max_size=3, batch_group_key="")
    tasks = workflow_definition(a_request(a_task("a", batch=plain), a_task("b", batch=full), a_task("c"))).tasks
    assert [task.batch for task in tasks] == [
        BatchRule(max_size=3, interval_ms=1000, key_expression="'default'", max_runs=100),
        BatchRule(max_size=5, interval_ms=0, key_expression="input.k", max_runs=0, broadcast_output=True),
        None,
    ]


def test_c_3_41_sticky_is_soft_only_when_it_is_there() -> None:
    assert read().sticky is None
    assert read(sticky=v1.SOFT).sticky is Sticky.SOFT
    assert read(sticky=v1.HARD).sticky is Sticky.HARD


def test_c_3_27_triggers_and_filters_are_read_each_once() -> None:
    definition = read(
        event_triggers=["user:*", "a", "user:*"],
        cron_triggers=["@daily", "* * * * *", "@daily"],
        cron_input='{"a": 1}',
        default_filters=[
            v1.DefaultFilter(scope="s", expression="true", payload=b'{"b": "\xc3\xbc"}'),
            v1.DefaultFilter(scope="s", expression="true"),
            v1.DefaultFilter(scope="s", expression="true", payload=b""),
        ],
    )
    assert definition.event_triggers == ("user:*", "a")
    assert (definition.cron_triggers, definition.cron_input) == (("@daily", "* * * * *"), '{"a": 1}')
    assert definition.default_filters == (
        DefaultFilter(scope="s", expression="true", payload='{"b": "ü"}'),
        DefaultFilter(scope="s", expression="true"),
    )
    validate(definition)


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (a_request(a_task("a"), sticky=7), "sticky 7 is unknown, use SOFT or HARD"),
        (
            a_request(a_task("a", rate_limits=[v1.CreateTaskRateLimit(key="k", duration=7)])),  # type: ignore[arg-type]
            "tasks[0].rate_limits[0]: duration 7 is unknown, use one of SECOND, MINUTE",
        ),
        (
            a_request(a_task("a"), default_filters=[v1.DefaultFilter(payload=b"\xff")]),
            "invalid json in field default_filters[0].payload: it must be UTF-8 text",
        ),
        (
            a_request(a_task("a"), idempotency=v1.IdempotencyConfig(expression="'x'", ttl_ms=1, method=5)),  # type: ignore[arg-type]
            "idempotency: method 5 is unknown, use TTL or STATUS",
        ),
    ],
)
def test_c_1_11_what_stands_for_nothing_is_an_invalid_argument(
    request_: v1.CreateWorkflowVersionRequest, text: str
) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(text)):
        workflow_definition(request_)


async def test_what_is_registered_is_stored(world: World) -> None:
    one = await world.engine()
    definition = workflow_definition(
        a_request(
            a_task(
                "a", concurrency=[v1.Concurrency(expression="input.a")], rate_limits=[v1.CreateTaskRateLimit(key="k")]
            ),
            a_task("b", batch=v1.TaskBatchConfig(batch_max_size=3)),
            concurrency=v1.Concurrency(expression="'all'", name="all", is_tenant_scoped=True),
            sticky=v1.SOFT,
            event_triggers=["user:*"],
            cron_triggers=["@daily"],
            default_filters=[v1.DefaultFilter(scope="s", expression="true")],
        )
    )
    version = await one.engine.registration.put(TENANT, definition)
    assert (await one.engine.registration.put(TENANT, definition)).id == version.id
    assert [task.definition for task in version.tasks] == list(definition.tasks)
    assert (version.sticky, version.event_triggers) == (Sticky.SOFT, ("user:*",))
    assert await one.engine.registration.tenant_rules(TENANT) == {"all": definition.concurrency[0]}


def an_old_step(name: str, *parents: str, **options: object) -> pb.CreateWorkflowStepOpts:
    return pb.CreateWorkflowStepOpts(readable_id=name, action=f"Flow:{name}", parents=parents, **options)


async def test_c_3_8_old_clients_register_jobs_with_steps(world: World) -> None:
    steps = [an_old_step("a", timeout="10s", retries=2), an_old_step("b", "a", backoff_factor=2.0)]
    opts = pb.CreateWorkflowVersionOpts(
        name="Flow",
        version="v1",
        jobs=[pb.CreateWorkflowJobOpts(name="job", steps=steps)],
        on_failure_job=pb.CreateWorkflowJobOpts(name="failed", steps=[an_old_step("c")]),
        schedule_timeout="1m",
    )
    one = await world.engine()
    nobody: Any = None
    service = WorkflowService(
        registration=one.engine.registration, trigger=one.engine.trigger, scheduled=nobody, rate_limits=nobody
    )
    answer = await service.put_workflow(Caller(TENANT, "token"), pb.PutWorkflowRequest(opts=opts))
    version = (await one.engine.registration.latest(TENANT, ["Flow"]))["Flow"]
    tasks = [task.definition for task in version.tasks]
    assert [(task.readable_id, task.parents, task.retries) for task in tasks] == [
        ("a", (), 2),
        ("b", ("a",), 0),
        ("c", (), 0),
    ]
    assert (tasks[0].execution_timeout, tasks[0].schedule_timeout, tasks[1].backoff_factor) == ("10s", "1m", 2.0)
    assert version.graph.on_failure == 2
    assert (answer.id, answer.workflow_id, answer.version, answer.order) == (version.id, version.workflow_id, "v1", 1)
    assert answer.created_at.seconds == int(time_of(version.id))


async def test_c_3_8_what_the_old_form_cannot_have_here_is_refused() -> None:
    job = pb.CreateWorkflowJobOpts(name="job", steps=[an_old_step("a")])
    opts = pb.CreateWorkflowVersionOpts(name="Flow", jobs=[job, job])
    async with a_world() as world:
        code, text = await world.refused(OLD_PUT, pb.PutWorkflowRequest(opts=opts))
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert "more than one job" in text


def old(*steps: pb.CreateWorkflowStepOpts, **options: object) -> pb.CreateWorkflowVersionOpts:
    job = pb.CreateWorkflowJobOpts(name="job", steps=steps or (an_old_step("a"),))
    return pb.CreateWorkflowVersionOpts(**{"name": "Flow", "jobs": [job], **options})  # type: ignore[arg-type]


def test_c_3_8_old_clients_register_flow_control_and_triggers() -> None:
    step = an_old_step(
        "a",
        rate_limits=[
            pb.CreateStepRateLimit(key="api", units=2),
            pb.CreateStepRateLimit(
                key="k", key_expr="input.u", units_expr="1", limit_values_expr="5", duration=pb.RateLimitDuration.HOUR
            ),
        ],
    )
    opts = old(
        step,
        event_triggers=["user:*"],
        cron_triggers=["@daily"],
        cron_input="{}",
        sticky=pb.SOFT,
        concurrency=pb.WorkflowConcurrencyOpts(expression="input.a", max_runs=3, limit_strategy=pb.CANCEL_NEWEST),
    )
    definition = workflow_definition(newer_request(opts))
    validate(definition)
    assert definition.tasks[0].rate_limits == (
        RateLimitRule(key="api", units=2),
        RateLimitRule(
            key="k", key_expression="input.u", units_expression="1", limit_expression="5", window=Window.HOUR
        ),
    )
    rule = ConcurrencyRule(expression="input.a", max_runs=3, strategy=Strategy.CANCEL_NEWEST)
    assert (definition.concurrency, definition.sticky) == ((rule,), Sticky.SOFT)
    assert (definition.event_triggers, definition.cron_triggers) == (("user:*",), ("@daily",))
    assert definition.cron_input == "{}"
    plain = workflow_definition(newer_request(old(concurrency=pb.WorkflowConcurrencyOpts(expression="'x'"))))
    assert plain.concurrency == (ConcurrencyRule(expression="'x'"),)
    assert plain.sticky is None


@pytest.mark.parametrize(
    ("opts", "text"),
    [
        (old(scheduled_triggers=[{"seconds": 5}]), "scheduled triggers"),
        (old(concurrency=pb.WorkflowConcurrencyOpts(action="flow:key")), "concurrency with an action"),
    ],
)
def test_c_3_8_what_the_old_form_cannot_have_names_the_remedy(opts: pb.CreateWorkflowVersionOpts, text: str) -> None:
    with pytest.raises(Unimplemented, match=text) as refused:
        newer_request(opts)
    assert "ScheduleWorkflow" in refused.value.message


@pytest.mark.parametrize(
    ("opts", "text"),
    [
        (old(sticky=7), "sticky 7 is unknown"),
        (
            old(concurrency=pb.WorkflowConcurrencyOpts(expression="'x'", limit_strategy=pb.DROP_NEWEST)),
            "concurrency[0]: limit_strategy DROP_NEWEST is not supported, use CANCEL_NEWEST",
        ),
    ],
)
def test_c_3_8_numbers_of_the_old_form_are_checked(opts: pb.CreateWorkflowVersionOpts, text: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(text)):
        workflow_definition(newer_request(opts))
