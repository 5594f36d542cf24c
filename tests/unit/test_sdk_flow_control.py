"""Concurrency, rate limits, sticky runs, events, crons and batches: from declarations to messages, and wrong use."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, cast

import pytest
from pydantic import BaseModel

from fakes.caller_world import InTask
from fakes.fake_engine import make_token
from hatchet_contracts.v1 import workflows_pb2
from hatchet_sdk import (
    BulkPushEventWithMetadata,
    ClientConfig,
    ConcurrencyExpression,
    ConcurrencyLimitStrategy,
    Context,
    DefaultFilter,
    Hatchet,
    RateLimit,
    RateLimitDuration,
    StickyStrategy,
)
from hatchet_sdk.context.current import current_context
from hatchet_sdk.declare.crons import check_cron
from hatchet_sdk.features.rest_models import time_text
from hatchet_sdk.run.trigger import prepare

ROUND_ROBIN = ConcurrencyLimitStrategy.GROUP_ROUND_ROBIN


class In(BaseModel):
    user: str = "u"


class Out(BaseModel):
    n: int


@pytest.fixture
def hatchet() -> Hatchet:
    return Hatchet(config=ClientConfig(token=make_token(), namespace="ns"))


def plain(input: In, ctx: Context) -> dict[str, Any]:
    return {}


def rule(**values: Any) -> ConcurrencyExpression:
    return ConcurrencyExpression(**{"expression": "input.user", "max_runs": 1, "limit_strategy": ROUND_ROBIN, **values})


# --- concurrency ----------------------------------------------------------------------------------------------------


def test_c_3_40_a_number_is_one_group_for_all_runs(hatchet: Hatchet) -> None:
    flow = hatchet.workflow(name="flow", concurrency=3)
    flow.task(name="t", concurrency=2)(plain)
    message = flow.to_proto()
    for entry, number in ((message.concurrency_arr[0], 3), (message.tasks[0].concurrency[0], 2)):
        assert (entry.expression, entry.max_runs) == ("'constant'", number)
        assert entry.limit_strategy == workflows_pb2.GROUP_ROUND_ROBIN
        assert not entry.HasField("max_runs_expression")


def test_several_rules_keep_their_order_at_both_levels(hatchet: Hatchet) -> None:
    rules = [rule(), rule(expression="input.team", limit_strategy=ConcurrencyLimitStrategy.CANCEL_IN_PROGRESS)]
    flow = hatchet.workflow(name="flow", concurrency=rules)
    flow.task(name="t", concurrency=list(reversed(rules)))(plain)
    message = flow.to_proto()
    assert [entry.expression for entry in message.concurrency_arr] == ["input.user", "input.team"]
    assert [entry.expression for entry in message.tasks[0].concurrency] == ["input.team", "input.user"]


def test_c_9_5_a_text_as_max_runs_is_an_expression() -> None:
    message = rule(max_runs="input.limit").to_proto()
    assert (message.HasField("max_runs"), message.max_runs_expression) == (False, "input.limit")


@pytest.mark.parametrize(
    "strategy",
    [s for s in ConcurrencyLimitStrategy if s.name not in ("QUEUE_OLDEST", "QUEUE_NEWEST")],
)
def test_c_3_17_each_strategy_has_its_number_on_the_wire(strategy: ConcurrencyLimitStrategy) -> None:
    message = rule(limit_strategy=strategy).to_proto()
    assert workflows_pb2.ConcurrencyLimitStrategy.Name(message.limit_strategy) == strategy.value


@pytest.mark.parametrize("strategy", ["QUEUE_OLDEST", "QUEUE_NEWEST"])
def test_c_3_17_a_strategy_that_no_engine_has_is_refused(strategy: str) -> None:
    with pytest.raises(ValueError, match=strategy):
        rule(limit_strategy=strategy).to_proto()


def test_c_3_38_a_shared_rule_carries_its_name() -> None:
    message = rule(name="gpu", is_tenant_scoped=True).to_proto()
    assert (message.name, message.is_tenant_scoped) == ("gpu", True)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"max_runs": 0}, "max_runs must be a number from 1"),
        ({"max_runs": -1}, "max_runs must be a number from 1"),
        ({"max_runs": 2**31}, "max_runs must be a number from 1"),
        ({"max_runs": " "}, "max_runs is an empty text"),
        ({"expression": ""}, "expression is empty"),
        ({"is_tenant_scoped": True}, "give it one with name"),
    ],
)
def test_c_9_6_rules_that_admit_nothing_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rule(**values)


@pytest.mark.parametrize("concurrency", [0, -3, [1], ["input.user"]])
def test_a_wrong_limit_is_reported_where_it_is_declared(hatchet: Hatchet, concurrency: Any) -> None:
    flow = hatchet.workflow(name="flow")
    with pytest.raises((ValueError, TypeError), match=r"max_runs|ConcurrencyExpression"):
        flow.task(name="t", concurrency=concurrency)(plain)
    with pytest.raises((ValueError, TypeError), match=r"max_runs|ConcurrencyExpression"):
        hatchet.workflow(name="other", concurrency=concurrency)


# --- rate limits ----------------------------------------------------------------------------------------------------


def test_c_10_7_a_static_limit_is_a_key_and_units() -> None:
    message = RateLimit(static_key="api").to_proto()
    assert (message.key, message.units) == ("api", 1)
    assert not any(message.HasField(name) for name in ("key_expr", "units_expr", "limit_values_expr"))


def test_c_10_7_a_dynamic_limit_is_made_of_expressions() -> None:
    message = RateLimit(dynamic_key="input.user", units=2, limit=10, duration=RateLimitDuration.DAY).to_proto()
    assert (message.key_expr, message.units, message.limit_values_expr) == ("input.user", 2, "10")
    assert message.duration == workflows_pb2.RateLimitDuration.DAY
    message = RateLimit(dynamic_key="input.user", units="input.cost", limit="input.tier * 10").to_proto()
    assert (message.units_expr, message.limit_values_expr) == ("input.cost", "input.tier * 10")
    assert not message.HasField("units")


def test_c_10_7_without_a_limit_the_key_keeps_the_one_it_has() -> None:
    assert RateLimit(dynamic_key="input.user").to_proto().limit_values_expr == "-1"


def test_c_10_8_a_static_key_with_an_expression_beside_it_becomes_a_literal() -> None:
    message = RateLimit(static_key='the "api"', units="input.cost").to_proto()
    assert (message.key_expr, message.units_expr, message.limit_values_expr) == ('"the \\"api\\""', "input.cost", "-1")
    assert RateLimit(static_key="api", limit=5).to_proto().limit_values_expr == "5"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "exactly one of"),
        ({"static_key": "a", "dynamic_key": "b"}, "exactly one of"),
        ({"static_key": "a", "units": -1}, "units of a RateLimit"),
        ({"static_key": "a", "units": 2**31}, "units of a RateLimit"),
        ({"dynamic_key": "a", "limit": -2}, "limit of a RateLimit"),
        ({"dynamic_key": "a", "limit": 2**40}, "limit of a RateLimit"),
        ({"dynamic_key": "a", "units": ""}, "units of a RateLimit is an empty text"),
    ],
)
def test_c_10_6_limits_that_cannot_be_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RateLimit(**values)


# --- sticky runs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", StickyStrategy)
def test_c_3_41_a_sticky_strategy_is_sent_only_when_it_is_declared(hatchet: Hatchet, strategy: StickyStrategy) -> None:
    task = hatchet.task(name="t", sticky=strategy)(plain)
    message = task.to_proto()
    assert workflows_pb2.StickyStrategy.Name(message.sticky) == strategy.value
    assert message.HasField("sticky")
    assert not hatchet.task(name="u")(plain).to_proto().HasField("sticky")


@pytest.fixture
def inside() -> Iterator[Callable[[InTask], None]]:
    tokens = []
    yield lambda context: tokens.append(current_context.set(cast("Context", context)))
    for token in reversed(tokens):
        current_context.reset(token)


def spawn(hatchet: Hatchet, **options: Any) -> Any:
    task = hatchet.task(name="child", input_validator=In)(plain)
    item = task.create_bulk_run_item(In(), **options)
    return prepare(hatchet.config, item.workflow_name, item.input, item.options)


def test_c_11_15_a_sticky_child_names_the_worker_of_its_parent(
    hatchet: Hatchet, inside: Callable[[InTask], None]
) -> None:
    context = InTask({"ns_child": True})
    inside(context)
    assert spawn(hatchet, sticky=True).desired_worker_id == context.worker_id
    assert not spawn(hatchet).HasField("desired_worker_id")
    assert spawn(hatchet, sticky=True, desired_worker_id="other").desired_worker_id == "other"


@pytest.mark.parametrize(
    ("registered", "words"), [({}, "has not registered"), ({"ns_child": False}, "declares no strategy")]
)
def test_c_11_15_a_sticky_child_that_cannot_stick_is_refused(
    hatchet: Hatchet, inside: Callable[[InTask], None], registered: dict[str, bool], words: str
) -> None:
    inside(InTask(registered))
    with pytest.raises(ValueError, match=f"ns_child.*{words}"):
        spawn(hatchet, sticky=True)


def test_c_16_37_a_child_of_a_batch_has_no_parent(hatchet: Hatchet, inside: Callable[[InTask], None]) -> None:
    inside(InTask(task_run_id=""))
    request = spawn(hatchet)
    fields = {field.name for field, _ in request.ListFields()}
    assert not fields & {"parent_id", "parent_task_run_external_id", "child_index"}


def test_c_4_24_an_event_from_a_batch_names_no_run_as_its_source(
    hatchet: Hatchet, inside: Callable[[InTask], None]
) -> None:
    event = BulkPushEventWithMetadata(key="k", additional_metadata={"a": 1})
    inside(InTask(task_run_id=""))
    assert json.loads(hatchet.event._request(event, None).additional_metadata) == {"a": 1}
    inside(InTask())
    assert len(json.loads(hatchet.event._request(event, None).additional_metadata)) == 3


# --- events, crons --------------------------------------------------------------------------------------------------


def test_c_3_15_and_c_3_27_events_crons_and_filters_reach_the_registration(hatchet: Hatchet) -> None:
    message = hatchet.task(
        name="t",
        input_validator=In,
        on_events=["user:*", "team:new"],
        on_crons=["*/5 * * * *", "0 0 12 * * 1-5", "@daily", "CRON_TZ=Europe/Berlin 0 6 * * MON"],
        cron_input=In(user="cron"),
        default_filters=[DefaultFilter(expression="true", scope="s", payload={"day": date(2026, 11, 25)})],
    )(plain).to_proto()
    assert list(message.event_triggers) == ["ns_user:*", "ns_team:new"]
    assert len(message.cron_triggers) == 4
    assert json.loads(message.cron_input) == {"user": "cron"}
    (found,) = message.default_filters
    assert (found.expression, found.scope, json.loads(found.payload)) == ("true", "s", {"day": "2026-11-25"})


@pytest.mark.parametrize("text", ["", "* * * *", "* * * * * * *", "@noon", "every minute please ok now!", "61 & * * *"])
def test_c_14_7_a_text_that_is_no_cron_expression_is_refused(hatchet: Hatchet, text: str) -> None:
    with pytest.raises(ValueError, match="is not a cron expression"):
        check_cron(text)
    with pytest.raises(ValueError, match="is not a cron expression"):
        hatchet.workflow(name="flow", on_crons=[text])


@pytest.mark.parametrize("values", [{"expression": "", "scope": "s"}, {"expression": "true", "scope": " "}])
def test_c_12_16_a_filter_that_lets_nothing_through_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="lets no event through"):
        DefaultFilter(**values)


def test_a_filter_payload_that_json_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="filter with scope 's'"):
        DefaultFilter(expression="true", scope="s", payload={"x": object()}).to_proto()


def test_c_14_29_a_time_without_zone_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    naive = datetime(2026, 11, 25, 12, 0)
    assert time_text(naive, "t") == time_text(naive.astimezone(), "t")
    aware = datetime(2026, 11, 25, 12, 0, 0, 5, tzinfo=timezone(timedelta(hours=2)))
    assert time_text(aware, "t") == "2026-11-25T10:00:00.000005Z"
    assert time_text(aware.astimezone(UTC), "t") == time_text(aware, "t")
    with pytest.raises(TypeError, match="t must be a datetime, got str"):
        time_text(cast("Any", "tomorrow"), "t")
