"""CancelTasks and ReplayTasks over a real channel, on stand-ins for the engine (behaviour-core C-15.1 to C-15.4)."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_world import RUN, TASK, World, a_world

from hatchet.core.errors import InvalidArgument
from hatchet.core.messages import RunFilter
from hatchet.core.statuses import RunStatus
from hatchet_contracts.v1 import workflows_pb2 as v1

INVALID = grpc.StatusCode.INVALID_ARGUMENT
SINCE = Timestamp(seconds=1_700_000_000, nanos=250_000_000)
CALLS = [
    ("cancel", "CancelTasks", v1.CancelTasksRequest, v1.CancelTasksResponse),
    ("replay", "ReplayTasks", v1.ReplayTasksRequest, v1.ReplayTasksResponse),
]
EACH = pytest.mark.parametrize(("does", "method", "request_type", "response_type"), CALLS, ids=[c[0] for c in CALLS])


def ids_in(answer: Any) -> list[str]:
    [(_, ids)] = answer.ListFields() or [(None, [])]
    return list(ids)


def path(method: str) -> str:
    return f"/v1.AdminService/{method}"


@EACH
async def test_c_15_1_by_ids_in_any_spelling(does: str, method: str, request_type: Any, response_type: Any) -> None:
    async with a_world() as world:
        request = request_type(external_ids=[RUN, TASK.upper()])
        assert ids_in(await world.call(path(method), request, response_type)) == [RUN, TASK]
        assert world.engine.asked == [(does, [RUN, TASK])]


@EACH
async def test_c_15_3_by_a_filter_with_everything(
    does: str, method: str, request_type: Any, response_type: Any
) -> None:
    message = v1.TasksFilter(
        since=SINCE,
        until=Timestamp(seconds=1_700_000_100),
        statuses=["FAILED", "QUEUED"],
        workflow_ids=[TASK.upper()],
        additional_metadata=["a:b:c", ":x", "n:1"],
    )
    async with a_world() as world:
        answer = await world.call(path(method), request_type(filter=message), response_type)
        assert ids_in(answer) == [RUN]
        [(done, wanted)] = world.engine.asked
    assert done == does
    assert wanted == RunFilter(
        since=1_700_000_000.25,
        until=1_700_000_100.0,
        statuses=frozenset({RunStatus.FAILED, RunStatus.QUEUED}),
        workflow_ids=(TASK,),
        additional_metadata=(("a", "b:c"), ("", "x"), ("n", "1")),
    )


async def asked_filter(world: World, **fields: Any) -> RunFilter:
    request = v1.CancelTasksRequest(filter=v1.TasksFilter(**{"since": SINCE, **fields}))
    await world.call(path("CancelTasks"), request, v1.CancelTasksResponse)
    wanted = world.engine.asked.pop()[1]
    assert isinstance(wanted, RunFilter)
    return wanted


async def test_c_15_4_without_statuses_all_are_meant() -> None:
    async with a_world() as world:
        assert await asked_filter(world) == RunFilter(since=1_700_000_000.25)


async def test_r_9_7_of_one_key_the_last_pair_counts() -> None:
    async with a_world() as world:
        wanted = await asked_filter(world, additional_metadata=["k:1", "other:2", "k:3"])
    assert wanted.additional_metadata == (("k", "3"), ("other", "2"))


async def test_r_10_14_the_year_1_means_ever() -> None:
    async with a_world() as world:
        first = Timestamp(seconds=-62_135_596_800)
        assert (await asked_filter(world, since=first)).since == -62_135_596_800
        # The epoch is a time like any other, not an absent one.
        assert (await asked_filter(world, since=Timestamp())).since == 0


@EACH
async def test_c_15_2_both_are_refused_and_none_is_nothing(
    does: str, method: str, request_type: Any, response_type: Any
) -> None:
    async with a_world() as world:
        both = request_type(external_ids=[RUN], filter=v1.TasksFilter(since=SINCE))
        assert await world.refused(path(method), both) == (
            INVALID,
            "cannot provide both external ids and filter",
        )
        assert world.engine.asked == []
        assert ids_in(await world.call(path(method), request_type(), response_type)) == []
        assert world.engine.asked == [(does, [])]


@EACH
@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"external_ids": [RUN, "x"]}, "external_ids 'x'"),
        ({"filter": v1.TasksFilter()}, "filter.since is required"),
        ({"filter": v1.TasksFilter(since=Timestamp(seconds=1 << 40))}, "filter.since"),
        ({"filter": v1.TasksFilter(since=SINCE, until=Timestamp(seconds=-(1 << 40)))}, "filter.until"),
        ({"filter": v1.TasksFilter(since=SINCE, statuses=["FAILED", "failed"])}, "filter.statuses: 'failed'"),
        ({"filter": v1.TasksFilter(since=SINCE, statuses=["EVICTED"])}, "filter.statuses: 'EVICTED'"),
        ({"filter": v1.TasksFilter(since=SINCE, workflow_ids=["Flow"])}, "filter.workflow_ids 'Flow'"),
        ({"filter": v1.TasksFilter(since=SINCE, additional_metadata=["k"])}, "filter.additional_metadata: 'k'"),
        ({"filter": v1.TasksFilter(since=SINCE, additional_metadata=["k:\x00"])}, "filter.additional_metadata: 'k'"),
    ],
)
async def test_c_15_2_bad_fields_are_named(
    does: str, method: str, request_type: Any, response_type: Any, fields: dict[str, Any], named: str
) -> None:
    async with a_world() as world:
        code, details = await world.refused(path(method), request_type(**fields))
        assert (code, named in details) == (INVALID, True), details
        assert world.engine.asked == []


@EACH
async def test_c_15_6_what_the_engine_refuses_reaches_the_caller(
    does: str, method: str, request_type: Any, response_type: Any
) -> None:
    async with a_world() as world:
        world.engine.failures[does] = InvalidArgument("at most 1 ids")
        assert await world.refused(path(method), request_type(external_ids=[RUN])) == (INVALID, "at most 1 ids")
