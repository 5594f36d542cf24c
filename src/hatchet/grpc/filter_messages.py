"""Which runs a bulk request means: ids or a filter (behaviour-core C-15.1 to C-15.4)."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from hatchet.core.errors import InvalidArgument
from hatchet.core.messages import RunFilter
from hatchet.core.run_filter import BOTH_GIVEN, listed_statuses, metadata_pairs
from hatchet.grpc.fields import required_uuid
from hatchet_contracts.v1.workflows_pb2 import CancelTasksRequest, ReplayTasksRequest, TasksFilter

_FIRST_INSTANT = -62_135_596_800
_LAST_INSTANT = 253_402_300_799
"""The years 1 to 9999, as the wire format has them: clients send the year 1 for "ever" (R-10.14)."""


def wanted_runs(request: CancelTasksRequest | ReplayTasksRequest) -> list[str] | RunFilter:
    """The ids, none when neither is given, or the filter. Raises :class:`InvalidArgument` that names the field."""
    if not request.HasField("filter"):
        return [required_uuid(external_id, "external_ids") for external_id in request.external_ids]
    if request.external_ids:
        raise InvalidArgument(BOTH_GIVEN)
    return _run_filter(request.filter)


def _run_filter(message: TasksFilter) -> RunFilter:
    if not message.HasField("since"):
        raise InvalidArgument("filter.since is required: send the time from which on runs are meant")
    return RunFilter(
        since=_instant(message.since, "filter.since"),
        until=_instant(message.until, "filter.until") if message.HasField("until") else None,
        statuses=listed_statuses(message.statuses, "filter.statuses"),
        workflow_ids=tuple(required_uuid(text, "filter.workflow_ids") for text in message.workflow_ids),
        additional_metadata=metadata_pairs(message.additional_metadata, "filter.additional_metadata"),
    )


def _instant(timestamp: Timestamp, field: str) -> float:
    """Seconds since 1970. Raises :class:`InvalidArgument` for what is no time of the wire format."""
    if not _FIRST_INSTANT <= timestamp.seconds <= _LAST_INSTANT:
        raise InvalidArgument(f"{field}: {timestamp.seconds} s is outside the years 1 to 9999")
    return timestamp.seconds + timestamp.nanos / 1e9
