"""Rate limits in messages (behaviour-core C-10.1, C-10.4)."""

from __future__ import annotations

from hatchet.core.errors import InvalidArgument
from hatchet.core.rules import Window
from hatchet.grpc.fields import to_seconds
from hatchet_contracts import workflows_pb2 as pb

_WINDOWS = {pb.RateLimitDuration.Value(window.value): window for window in Window}


def window_of(duration: int) -> Window:
    """The window of a duration. Raises InvalidArgument for a number that stands for none."""
    window = _WINDOWS.get(duration)
    if window is None:
        names = ", ".join(f"{number} ({one.value})" for number, one in sorted(_WINDOWS.items()))
        raise InvalidArgument(f"duration {duration} is unknown: use one of {names}")
    return window


def paused_until(request: pb.PauseRateLimitRequest) -> float:
    """Until when a key is to be paused, in seconds since 1970. Raises InvalidArgument when that is no time."""
    if not request.HasField("paused_until"):
        raise InvalidArgument("paused_until is required: the time until which the key yields nothing")
    until = to_seconds(request.paused_until)
    if until is None:
        raise InvalidArgument("paused_until must be a time between the years 1970 and 9999")
    return until
