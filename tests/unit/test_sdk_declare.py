"""Declarations: what a decorated function becomes, on the wire and for callers."""

# ruff: noqa: A006  # the first argument of a task is called `input`

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, TypedDict
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fakes.fake_engine import make_token
from hatchet_contracts.v1 import workflows_pb2
from hatchet_sdk import (
    ClientConfig,
    ConcurrencyExpression,
    ConcurrencyLimitStrategy,
    Context,
    DefaultFilter,
    DesiredWorkerLabel,
    EmptyModel,
    Hatchet,
    IllegalTaskOutputError,
    Priority,
    RateLimit,
    RateLimitDuration,
    Standalone,
    StatusBasedIdempotencyConfig,
    StickyStrategy,
    TriggerWorkflowOptions,
    TTLBasedIdempotencyConfig,
    WorkerLabelComparator,
)
from hatchet_sdk.declare.durations import timedelta_to_expr
from hatchet_sdk.run.trigger import chunks, prepare


class Point(BaseModel):
    x: int
    when: date = date(2026, 11, 24)


@dataclass
class Pair:
    left: int
    right: str


@pytest.fixture
def hatchet() -> Hatchet:
    return Hatchet(config=ClientConfig(token=make_token()))


def _declare(hatchet: Hatchet, fn: Callable[..., Any], **options: Any) -> Standalone[Any, Any]:
    return hatchet.task(**options)(fn)  # type: ignore[no-any-return, call-overload]


def _plain(input: EmptyModel, ctx: Context) -> dict[str, int]:
    return {"a": 1}


# --- registration (C-3) ---------------------------------------------------------------------------------------------


def test_c_3_3_names_keep_their_case_and_ids_are_lower_case() -> None:
    hatchet = Hatchet(config=ClientConfig(token=make_token(), namespace="Dev"))
    message = _declare(hatchet, _plain, name="Send-Mail").to_proto()
    assert (message.name, message.tasks[0].readable_id) == ("dev_Send-Mail", "send-mail")
    assert message.tasks[0].action == "dev_send-mail:send-mail"


def test_c_3_12_defaults_of_the_documented_signature(hatchet: Hatchet) -> None:
    task = _declare(hatchet, _plain)
    message = task.to_proto()
    (wire,) = message.tasks
    assert (task.name, wire.timeout, wire.schedule_timeout, wire.retries) == ("_plain", "1m", "5m", 0)
    assert (dict(wire.slot_requests), wire.is_durable, message.default_priority) == ({"default": 1}, False, 1)
    assert not wire.HasField("backoff_factor")
    assert not wire.HasField("backoff_max_seconds")
    assert not message.HasField("sticky")
    assert not message.HasField("cron_input")
    assert not message.HasField("idempotency")


def test_c_3_1_every_option_reaches_the_registration(hatchet: Hatchet) -> None:
    message = _declare(
        hatchet,
        _plain,
        description="what",
        version="7",
        input_validator=Point,
        on_events=["user:create"],
        on_crons=["0 * * * *"],
        cron_input=Point(x=3),
        sticky=StickyStrategy.HARD,
        default_priority=Priority.HIGH,
        concurrency=[
            ConcurrencyExpression(
                expression="input.x", max_runs=2, limit_strategy=ConcurrencyLimitStrategy.CANCEL_NEWEST, name="n"
            ),
            ConcurrencyExpression(
                expression="input.y",
                max_runs="input.limit",
                limit_strategy=ConcurrencyLimitStrategy.GROUP_ROUND_ROBIN,
                name="shared",
                is_tenant_scoped=True,
            ),
        ],
        schedule_timeout=timedelta(hours=2),
        execution_timeout="90s",
        retries=3,
        rate_limits=[
            RateLimit(static_key="s", units=2),
            RateLimit(dynamic_key="input.k", units="input.u", limit=10, duration=RateLimitDuration.HOUR),
        ],
        desired_worker_labels={
            "gpu": DesiredWorkerLabel(value=2, comparator=WorkerLabelComparator.LESS_THAN, weight=5)
        },
        backoff_factor=2.0,
        backoff_max_seconds=60,
        default_filters=[DefaultFilter(expression="true", scope="s", payload={"a": 1})],
        slot_cost=4,
        idempotency=TTLBasedIdempotencyConfig(key_expression="input.x", ttl=timedelta(seconds=1.5)),
    ).to_proto()
    (task,) = message.tasks
    assert (message.description, message.version) == ("what", "7")
    assert (list(message.event_triggers), list(message.cron_triggers)) == (["user:create"], ["0 * * * *"])
    assert json.loads(message.cron_input) == {"x": 3, "when": "2026-11-24"}
    assert (message.sticky, message.default_priority) == (workflows_pb2.StickyStrategy.HARD, 3)
    assert json.loads(message.input_json_schema)["properties"].keys() == {"x", "when"}
    first, second = message.concurrency_arr
    assert (first.max_runs, first.name, first.limit_strategy) == (2, "n", workflows_pb2.CANCEL_NEWEST)
    assert (second.max_runs_expression, second.is_tenant_scoped) == ("input.limit", True)
    assert second.name == "shared"
    assert (task.timeout, task.schedule_timeout, task.retries) == ("90s", "2h", 3)
    static, dynamic = task.rate_limits
    assert (static.key, static.units, static.HasField("key_expr")) == ("s", 2, False)
    assert (dynamic.key_expr, dynamic.units_expr, dynamic.limit_values_expr) == ("input.k", "input.u", "10")
    assert dynamic.duration == workflows_pb2.RateLimitDuration.HOUR
    label = task.worker_labels["gpu"]
    assert (label.int_value, label.comparator, label.weight) == (2, WorkerLabelComparator.LESS_THAN, 5)
    assert (task.backoff_factor, task.backoff_max_seconds) == (2.0, 60)
    assert dict(task.slot_requests) == {"default": 4}
    assert json.loads(message.default_filters[0].payload) == {"a": 1}
    assert (message.idempotency.expression, message.idempotency.ttl_ms) == ("input.x", 1500)
    assert message.idempotency.method == workflows_pb2.IdempotencyMethod.TTL


def test_c_4_37_status_based_idempotency_has_a_fallback(hatchet: Hatchet) -> None:
    config = StatusBasedIdempotencyConfig(key_expression="input.x", fallback_ttl=timedelta(minutes=1))
    message = _declare(hatchet, _plain, idempotency=config).to_proto().idempotency
    assert (message.ttl_ms, message.method) == (60_000, workflows_pb2.IdempotencyMethod.STATUS)


def test_a_number_as_concurrency_is_one_key_in_round_robin(hatchet: Hatchet) -> None:
    (entry,) = _declare(hatchet, _plain, concurrency=5).to_proto().concurrency_arr
    assert (entry.expression, entry.max_runs, entry.limit_strategy) == (
        "'constant'",
        5,
        workflows_pb2.GROUP_ROUND_ROBIN,
    )


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(seconds=60), "1m"),
        (timedelta(seconds=90), "90s"),
        (timedelta(hours=3), "3h"),
        (timedelta(milliseconds=1500), "1500ms"),
        (timedelta(0), "0s"),
        ("1h30m", "1h30m"),
    ],
)
def test_c_3_11_durations(duration: timedelta | str, text: str) -> None:
    assert timedelta_to_expr(duration) == text


@pytest.mark.parametrize(
    "make",
    [
        lambda: timedelta_to_expr(timedelta(seconds=-1)),
        lambda: RateLimit(),
        lambda: RateLimit(static_key="a", dynamic_key="b", limit=1),
        lambda: RateLimit(dynamic_key="b", limit=-1),
        lambda: ConcurrencyExpression(
            expression="a",
            max_runs=1,
            limit_strategy=ConcurrencyLimitStrategy.CANCEL_NEWEST,
            is_tenant_scoped=True,
        ),
        lambda: ConcurrencyExpression(
            expression="a", max_runs=0, limit_strategy=ConcurrencyLimitStrategy.CANCEL_NEWEST
        ),
        lambda: ConcurrencyExpression(
            expression="a", max_runs=1, limit_strategy=ConcurrencyLimitStrategy.QUEUE_OLDEST
        ).to_proto(),
    ],
)
def test_limits_out_of_range_are_refused_where_they_are_written(make: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match=r"negative|exactly one|limit of a RateLimit|from 1 to|QUEUE_OLDEST|name=…"):
        make()


# --- functions ------------------------------------------------------------------------------------------------------


def test_functions_must_take_input_and_context(hatchet: Hatchet) -> None:
    with pytest.raises(TypeError, match=r"task 'one' must take two arguments, \(input, ctx\)"):
        _declare(hatchet, lambda input: None, name="one")
    with pytest.raises(TypeError, match="must take two arguments"):
        _declare(hatchet, lambda input, ctx, more: None, name="three")
    with pytest.raises(TypeError, match="a function is expected, got int"):
        _declare(hatchet, 3, name="n")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="retries must be 0 or more"):
        _declare(hatchet, _plain, retries=-1)

    def generator(input: EmptyModel, ctx: Context) -> Any:
        yield 1

    with pytest.raises(TypeError, match="generator function"):
        _declare(hatchet, generator)


def test_sync_and_async_functions_are_told_apart(hatchet: Hatchet) -> None:
    async def later(input: EmptyModel, ctx: Context) -> None:
        """Doc."""

    assert not _declare(hatchet, _plain).is_async_function
    task = _declare(hatchet, later)
    assert task.is_async_function
    assert task.__doc__ == "Doc."


# --- inputs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("validator", "data", "expected"),
    [
        (Point, {"x": 1, "when": "2026-01-02"}, Point(x=1, when=date(2026, 1, 2))),
        (Pair, {"left": 1, "right": "r"}, Pair(1, "r")),
        (dict, {"any": [1]}, {"any": [1]}),
    ],
)
def test_inputs_are_checked_against_the_declared_type(
    hatchet: Hatchet, validator: Any, data: dict[str, Any], expected: Any
) -> None:
    task = _declare(hatchet, _plain, input_validator=validator).tasks[0]
    assert task.parse_input(data) == expected


def test_without_a_validator_every_key_is_kept(hatchet: Hatchet) -> None:
    parsed = _declare(hatchet, _plain).tasks[0].parse_input({"a": 1})
    assert isinstance(parsed, EmptyModel)
    assert parsed.model_extra == {"a": 1}


def test_an_input_that_does_not_fit_is_refused(hatchet: Hatchet) -> None:
    with pytest.raises(ValidationError, match="x"):
        _declare(hatchet, _plain, input_validator=Point).tasks[0].parse_input({"x": "no"})


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    id: UUID
    when: date
    pair: tuple[int, int]


class Aliased(BaseModel):
    user_name: str = Field(alias="userName")


@pytest.mark.parametrize(
    "value",
    [Strict(id=UUID(int=1), when=date(2026, 1, 2), pair=(1, 2)), Aliased(userName="u"), Pair(1, "r"), Point(x=1)],
)
def test_what_is_sent_as_input_is_read_back(hatchet: Hatchet, value: Any) -> None:
    task = _declare(hatchet, _plain, input_validator=type(value))
    assert task.tasks[0].parse_input(json.loads(task.input_text(value))) == value


def test_an_input_that_is_no_object_is_named(hatchet: Hatchet) -> None:
    with pytest.raises(TypeError, match=r"the input of '_plain': expected .* got list"):
        _declare(hatchet, _plain).create_bulk_run_item([1])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the input of '_plain'"):
        _declare(hatchet, _plain).create_bulk_run_item({"a": object()})


# --- outputs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (Point(x=1), '{"x":1,"when":"2026-11-24"}'),
        (Pair(1, "r"), '{"left":1,"right":"r"}'),
        ({"p": Point(x=1), "n": float("nan")}, '{"p":{"x":1,"when":"2026-11-24"},"n":null}'),
    ],
)
def test_c_5_29_outputs_become_json_objects(hatchet: Hatchet, value: object, text: str) -> None:
    assert _declare(hatchet, _plain).tasks[0].serialize_output(value) == text


@pytest.mark.parametrize("value", ["text", 5, [1], {1, 2}, Point, Pair, {"a": object()}])
def test_other_outputs_name_task_and_type(hatchet: Hatchet, value: object) -> None:
    with pytest.raises(IllegalTaskOutputError, match=f"task '_plain' returned {type(value).__name__}"):
        _declare(hatchet, _plain).tasks[0].serialize_output(value)


class Typed(TypedDict):
    a: int


def test_c_7_15_results_have_the_annotated_type(hatchet: Hatchet) -> None:
    class Local(BaseModel):
        x: int

    def point(input: EmptyModel, ctx: Context) -> Point: ...  # type: ignore[empty-body]
    def local(input: EmptyModel, ctx: Context) -> Local: ...  # type: ignore[empty-body]
    def pair(input: EmptyModel, ctx: Context) -> Pair: ...  # type: ignore[empty-body]
    def typed(input: EmptyModel, ctx: Context) -> Typed: ...  # type: ignore[empty-body]
    def mapping(input: EmptyModel, ctx: Context) -> Mapping[str, Any]: ...  # type: ignore[empty-body]
    def untyped(input, ctx): ...  # type: ignore[no-untyped-def]

    for fn, text, expected in [
        (point, '{"x": 1}', Point(x=1)),
        (local, '{"x": 1}', None),
        (pair, '{"left": 1, "right": "r"}', Pair(1, "r")),
        (typed, '{"a": 1}', {"a": 1}),
        (mapping, '{"a": 1}', {"a": 1}),
        (untyped, '{"a": [1]}', {"a": [1]}),
    ]:
        got = hatchet.task(name=fn.__name__)(fn).tasks[0].parse_output(text)
        assert got == (Local(x=1) if fn is local else expected)


def test_c_7_15_no_output_is_none_where_that_is_declared_and_else_empty(hatchet: Hatchet) -> None:
    def nothing(input: EmptyModel, ctx: Context) -> None: ...
    def maybe(input: EmptyModel, ctx: Context) -> Point | None: ...
    def untyped(input, ctx): ...  # type: ignore[no-untyped-def]

    for fn, expected in [(nothing, None), (maybe, None), (untyped, {}), (_plain, {})]:
        assert _declare(hatchet, fn).tasks[0].parse_output(None) == expected


def test_an_output_that_does_not_fit_the_annotation_is_refused(hatchet: Hatchet) -> None:
    def point(input: EmptyModel, ctx: Context) -> Point: ...  # type: ignore[empty-body]

    with pytest.raises(ValidationError, match="x"):
        _declare(hatchet, point).tasks[0].parse_output('{"y": 1}')


def test_an_annotation_that_cannot_be_found_is_told_once_and_left_out(
    hatchet: Hatchet, caplog: pytest.LogCaptureFixture
) -> None:
    def lost(input: EmptyModel, ctx: Context) -> Missing: ...  # type: ignore[name-defined]  # noqa: F821

    task = _declare(hatchet, lost).tasks[0]
    with caplog.at_level(logging.WARNING, "hatchet_sdk"):
        assert task.parse_output('{"a": 1}') == {"a": 1}
        assert task.parse_output('{"a": 2}') == {"a": 2}
    assert [record.levelname for record in caplog.records] == ["WARNING"]


# --- triggers (C-4) -------------------------------------------------------------------------------------------------


def test_c_4_28_metadata_is_merged_and_keywords_win(hatchet: Hatchet) -> None:
    task = _declare(hatchet, _plain, default_additional_metadata={"a": 1, "b": 1, "c": 1})
    options = TriggerWorkflowOptions(additional_metadata={"b": 2, "c": 2}, priority=1, child_key="old")
    item = task.create_bulk_run_item(
        options=options, additional_metadata={"c": 3}, priority=Priority.HIGH, child_key="new", sticky=True
    )
    request = prepare(hatchet.config, item.workflow_name, item.input, item.options)
    assert json.loads(request.additional_metadata) == {"a": 1, "b": 2, "c": 3}
    assert (request.priority, request.child_key, request.input) == (3, "new", "{}")
    assert options.additional_metadata == {"b": 2, "c": 2}


def test_c_4_1_what_is_not_given_is_not_sent(hatchet: Hatchet) -> None:
    item = _declare(hatchet, _plain).create_bulk_run_item()
    request = prepare(hatchet.config, item.workflow_name, item.input, item.options)
    assert {field.name for field, _ in request.ListFields()} == {"name", "input"}


def test_the_key_of_a_bulk_item_deduplicates_children(hatchet: Hatchet) -> None:
    item = _declare(hatchet, _plain).create_bulk_run_item(key="k")
    assert (item.key, item.options.child_key) == ("k", "k")


def test_c_4_31_labels_of_a_run(hatchet: Hatchet) -> None:
    labels = [DesiredWorkerLabel(key="a", value="x", required=True), DesiredWorkerLabel(key="b", value=3)]
    item = _declare(hatchet, _plain).create_bulk_run_item(desired_worker_labels=labels)
    request = prepare(hatchet.config, item.workflow_name, item.input, item.options)
    assert (request.desired_worker_labels["a"].str_value, request.desired_worker_labels["a"].required) == ("x", True)
    assert request.desired_worker_labels["b"].int_value == 3
    nameless = _declare(hatchet, _plain).create_bulk_run_item(desired_worker_labels=[DesiredWorkerLabel(value=1)])
    with pytest.raises(ValueError, match="needs a key"):
        prepare(hatchet.config, nameless.workflow_name, nameless.input, nameless.options)


def test_metadata_that_json_cannot_hold_is_named(hatchet: Hatchet) -> None:
    item = _declare(hatchet, _plain).create_bulk_run_item(additional_metadata={"a": object()})
    with pytest.raises(TypeError, match="additional_metadata of a run of '_plain'"):
        prepare(hatchet.config, item.workflow_name, item.input, item.options)


def test_c_1_24_the_namespace_of_the_options_wins() -> None:
    hatchet = Hatchet(config=ClientConfig(token=make_token(), namespace="one"))
    item = _declare(hatchet, _plain, name="T").create_bulk_run_item(options=TriggerWorkflowOptions(namespace="two"))
    assert prepare(hatchet.config, item.workflow_name, item.input, item.options).name == "two_T"


@pytest.mark.parametrize(("count", "limit"), [(0, 100), (1, 1), (5, 10_000), (2500, 10_000_000), (50, 200)])
def test_c_4_5_chunks_keep_order_and_stay_below_both_limits(hatchet: Hatchet, count: int, limit: int) -> None:
    item = _declare(hatchet, _plain).create_bulk_run_item()
    requests = [prepare(hatchet.config, f"task-{i}", item.input, item.options) for i in range(count)]
    parts = list(chunks(requests, limit))
    assert [request for part in parts for request in part] == requests
    assert all(len(part) <= 1000 for part in parts)
    assert all(len(part) == 1 or sum(r.ByteSize() for r in part) <= limit for part in parts)


# --- the cost of an import ------------------------------------------------------------------------------------------


def test_an_import_does_not_load_what_is_not_used() -> None:
    code = (
        "import sys, hatchet_sdk; from hatchet_sdk import Context, Hatchet, EmptyModel, NonRetryableException;"
        "print(sorted(m for m in ('grpc','google.protobuf','yaml','httpx2','tenacity','pydantic_settings')"
        " if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
