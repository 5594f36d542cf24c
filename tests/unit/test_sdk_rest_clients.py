"""Filters, rate limits, expressions, and refusals: what is asked of the engine, and what one gets back."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from fakes.fake_dispatcher import FakeDispatcher
from fakes.fake_rest import FakeRest
from fakes.rest_world import CRON, FILTER, LIMIT, META, NOON, Both, tenant
from fakes.worker_world import config
from hatchet_contracts import workflows_pb2
from hatchet_sdk import (
    ApiException,
    BadRequestException,
    Hatchet,
    NotFoundException,
    RateLimitDuration,
    RateLimitOrderByDirection,
    RateLimitOrderByField,
    RestTransportError,
    V1UpdateFilterRequest,
)
from hatchet_sdk.wire import rest_errors

pytest_plugins = ["fakes.worker_fixtures", "fakes.rest_fixtures"]


# --- filters --------------------------------------------------------------------------------------------------------


def test_r_18_2_to_r_18_4_filters_are_created_changed_listed_and_deleted(
    caller: Hatchet, rest: FakeRest, both: Both
) -> None:
    for _ in range(4):
        rest.answer(FILTER)
    rest.answer({"rows": [FILTER]})
    made = both(caller.filters, "create", workflow_id="w", expression="true", scope="s", payload={"day": NOON})
    assert (made.metadata.id, made.payload, made.is_declarative) == ("m1", {"a": 1}, False)
    both(caller.filters, "get", "m1")
    both(caller.filters, "update", "m1", V1UpdateFilterRequest(expression="false"))
    assert both(caller.filters, "delete", "m1").scope == "s"
    both(caller.filters, "list", limit=5, offset=2, workflow_ids=["w", "x"], scopes=["s"])
    one, all_of_them = (tenant(caller, path, "stable/") for path in ("filters/m1", "filters"))
    assert [(asked.method, asked.path) for asked in rest.requests] == [
        ("POST", all_of_them),
        ("GET", one),
        ("PATCH", one),
        ("DELETE", one),
        ("GET", all_of_them),
    ]
    created, _, changed, _, listed = rest.requests
    assert created.body == {
        "workflowId": "w",
        "expression": "true",
        "scope": "s",
        "payload": {"day": "2026-11-25T12:00:00+01:00"},
    }
    assert changed.body == {"expression": "false"}
    assert listed.query == {"limit": ["5"], "offset": ["2"], "workflowIds": ["w", "x"], "scopes": ["s"]}


@pytest.mark.parametrize(("expression", "scope"), [("", "s"), ("true", "")])
def test_c_12_16_a_filter_needs_expression_and_scope(
    caller: Hatchet, rest: FakeRest, both: Both, expression: str, scope: str
) -> None:
    with pytest.raises(ValueError, match="a filter needs"):
        both(caller.filters, "create", "w", expression, scope)
    assert rest.requests == []


def row(name: str, workflow_id: str) -> dict[str, Any]:
    return {"metadata": {**META, "id": workflow_id}, "name": name, "tenantId": "t"}


def test_r_26_5_a_workflow_finds_its_id_by_its_whole_name(caller: Hatchet, rest: FakeRest, both: Both) -> None:
    flow = caller.workflow(name="flow")
    rest.answer({"rows": [row(f"ns_flow-{n}", f"other-{n}") for n in range(100)]})
    rest.answer({"rows": [row("ns_flows", "no"), row("ns_flow", "yes")]})
    rest.answer(FILTER)
    both(flow, "create_filter", "true", "s", {"a": 1})
    assert [asked.query.get("offset") for asked in rest.requests] == [["0"], ["100"], None]
    assert rest.requests[0].query["name"] == ["ns_flow"]
    assert rest.last.body == {"workflowId": "yes", "expression": "true", "scope": "s", "payload": {"a": 1}}
    # Asked for once.
    assert flow.id == "yes"
    assert len(rest.requests) == 3


def test_the_id_of_a_workflow_that_nobody_registered_is_an_error(caller: Hatchet, rest: FakeRest, both: Both) -> None:
    rest.answer({"rows": [row("ns_flows", "no")]})
    rest.answer({"rows": []})
    with pytest.raises(ValueError, match=r"knows no workflow 'ns_flow'.*start a worker"):
        both(caller.workflow(name="flow"), "create_filter", "true", "s")
    with pytest.raises(ValueError, match="knows no workflow 'ns_flow'"):
        _ = caller.workflow(name="flow").id


# --- rate limits ----------------------------------------------------------------------------------------------------


def test_c_10_1_a_rate_limit_is_put_over_grpc(caller: Hatchet, fake: FakeDispatcher, both: Both) -> None:
    both(caller.rate_limits, "put", "api", 2)
    both(caller.rate_limits, "put", "ns_key", 0, RateLimitDuration.MONTH)
    requests = fake.requests("PutRateLimit")
    assert [(request.key, request.limit) for request in requests] == [("api", 2), ("ns_key", 0)]
    assert [request.duration for request in requests] == [workflows_pb2.SECOND, workflows_pb2.MONTH]


@pytest.mark.parametrize(("key", "limit"), [("", 1), ("api", -1), ("api", 2**31)])
def test_c_10_1_a_rate_limit_that_cannot_be_is_refused(
    caller: Hatchet, fake: FakeDispatcher, both: Both, key: str, limit: int
) -> None:
    with pytest.raises(ValueError, match=r"the key of a rate limit is empty|the limit of 'api' must be from 0"):
        both(caller.rate_limits, "put", key, limit)
    assert fake.requests("PutRateLimit") == []


def test_c_10_4_a_rate_limit_is_paused_over_grpc(caller: Hatchet, fake: FakeDispatcher, both: Both) -> None:
    assert both(caller.rate_limits, "pause", "api", NOON) == NOON
    (request,) = fake.requests("PauseRateLimit")
    assert (request.key, request.paused_until.ToDatetime()) == ("api", datetime(2026, 11, 25, 11))
    with pytest.raises(TypeError, match="until must be a datetime"):
        both(caller.rate_limits, "pause", "api", 60)


def test_r_17_1_rate_limits_are_listed(caller: Hatchet, rest: FakeRest, both: Both) -> None:
    rest.answer({"rows": [LIMIT]})
    found = both(
        caller.rate_limits,
        "list",
        search="a",
        order_by_field=RateLimitOrderByField.LIMITVALUE,
        order_by_direction=RateLimitOrderByDirection.DESC,
    )
    assert rest.last.path == tenant(caller, "rate-limits")
    assert rest.last.query == {"search": ["a"], "orderByField": ["limitValue"], "orderByDirection": ["desc"]}
    (limit,) = found.rows
    assert (limit.key, limit.limit_value, limit.value, limit.window) == ("api", 10, 4, "1 minute")
    assert (limit.last_refill, limit.paused_until) == (datetime(2026, 11, 25, 8, tzinfo=UTC), None)


# --- expressions ----------------------------------------------------------------------------------------------------


def test_r_18_6_an_expression_is_tried_out(caller: Hatchet, rest: FakeRest, both: Both) -> None:
    rest.answer({"status": "SUCCESS", "output": False})
    rest.answer({"status": "ERROR", "error": "no such key: b"})
    good = both(caller.cel, "debug", "input.a == 1", {"a": 2}, {"m": 1}, {"p": 1})
    assert rest.last.path == tenant(caller, "cel/debug", "stable/")
    assert rest.last.body == {
        "expression": "input.a == 1",
        "input": {"a": 2},
        "additionalMetadata": {"m": 1},
        "filterPayload": {"p": 1},
    }
    assert (good.result.status, good.result.output) == ("success", False)
    bad = both(caller.cel, "debug", "input.b", {})
    assert rest.last.body == {"expression": "input.b", "input": {}}
    assert (bad.result.status, bad.result.error) == ("failure", "no such key: b")


# --- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "BadRequestException"),
        (401, "UnauthorizedException"),
        (403, "ForbiddenException"),
        (404, "NotFoundException"),
        (409, "ConflictException"),
        (418, "ApiException"),
        (422, "UnprocessableEntityException"),
        (429, "TooManyRequestsException"),
        (503, "ServiceException"),
    ],
)
def test_r_1_8_a_refusal_is_an_exception_with_the_words_of_the_server(
    caller: Hatchet, rest: FakeRest, both: Both, status: int, kind: str
) -> None:
    rest.answer({"errors": [{"description": "no good", "field": "cronName"}, {"description": "at all"}]}, status)
    with pytest.raises(ApiException, match="cronName: no good; at all") as caught:
        both(caller.cron, "delete", "m1")
    assert type(caught.value) is getattr(rest_errors, kind)
    assert caught.value.status == status
    assert caught.value.data["errors"][1] == {"description": "at all"}
    assert "no good" in (caught.value.body or "")


def test_r_1_9_a_bare_description_is_read_too(caller: Hatchet, rest: FakeRest) -> None:
    rest.answer({"description": "declared in code"}, 403)
    with pytest.raises(ApiException, match="declared in code \\(403 Forbidden\\)"):
        caller.scheduled.delete("m1")
    rest.answer("<html>", 502)
    with pytest.raises(ApiException, match="<html>"):
        caller.scheduled.delete("m1")


def test_r_26_1_reads_are_repeated_after_a_failure_of_the_server(caller: Hatchet, rest: FakeRest, both: Both) -> None:
    for _ in range(4):
        rest.answer({}, 500)
    rest.answer(CRON)
    assert both(caller.cron, "get", "m1").metadata.id == "m1"
    assert len(rest.requests) == 5


def test_r_26_2_writes_are_not_repeated(caller: Hatchet, rest: FakeRest, both: Both) -> None:
    rest.answer({}, 500)
    with pytest.raises(ApiException, match="500"):
        both(caller.cron, "create", "flow", "n", "@daily", {}, {})
    assert len(rest.requests) == 1


def test_what_the_configuration_allows_is_repeated(caller: Hatchet, rest: FakeRest, both: Both) -> None:
    rest.answer({}, 404)
    with pytest.raises(NotFoundException):
        both(caller.cron, "get", "m1")
    caller.config.tenacity.retry_not_found = caller.config.tenacity.retry_429 = True
    rest.answer({}, 404)
    rest.answer({}, 429)
    rest.answer(CRON)
    both(caller.cron, "get", "m1")
    rest.answer({}, 429)
    rest.answer({}, 400)
    with pytest.raises(BadRequestException):
        both(caller.cron, "create", "flow", "n", "@daily", {}, {})
    assert len(rest.requests) == 6


def test_a_server_that_is_away_is_named(fake: FakeDispatcher, both: Both) -> None:
    caller = Hatchet(config=config(fake))
    with pytest.raises(RestTransportError, match=r"cannot reach the REST API at http://127\.0\.0\.1:1") as caught:
        both(caller.cron, "list")
    assert type(caught.value) is rest_errors.RestConnectionError
    assert caught.value.http_method is not None
    assert caught.value.http_method.value == "GET"


def test_a_page_instead_of_the_api_is_named(caller: Hatchet, rest: FakeRest) -> None:
    rest.answer("<html>dashboard</html>")
    with pytest.raises(rest_errors.RestProtocolError, match="HATCHET_CLIENT_SERVER_URL"):
        caller.cron.list()


def test_many_threads_share_one_client(caller: Hatchet, rest: FakeRest) -> None:
    threads = [threading.Thread(target=caller.cron.list) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rest.requests) == 8
