"""What was asked for, checked and in seconds and bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hatchet.core.durations import parse_duration
from hatchet.core.errors import InvalidArgument, Unimplemented

DEFAULT_SLOTS = 100
SCENARIO = "events"
LEVELS = ("debug", "info", "warn", "warning", "error")
RATE_LIMIT_UNITS = ("second", "minute", "hour", "day", "week", "month", "year")

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(b|kb|mb)?", re.IGNORECASE)
_BYTES = {"": 1, "b": 1, "kb": 1024, "mb": 1024 * 1024}


@dataclass(slots=True, frozen=True)
class Later:
    """Flags of the contract for what this version does not serve yet, as they were given."""

    dag_steps: int = 1
    rate_limit_keys: int = 0
    rate_limit: int = 0
    rate_limit_unit: str = "second"
    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(slots=True, frozen=True)
class Plan:
    """One load test. Times in seconds, sizes in bytes.

    ``rate`` 0 means as fast as the server takes them; ``threshold`` 0 means none.
    """

    rate: int = 10
    seconds: float = 10.0
    wait: float = 10.0
    slots: int = DEFAULT_SLOTS
    payload_bytes: int = 0
    fanout: int = 1
    delay: float = 0.0
    failure_rate: float = 0.0
    worker_delay: float = 0.0
    external_worker: bool = False
    emit_workers: int = 0
    registration_timeout: float = 60.0
    threshold: float = 0.1
    sample_rate: float = 1.0
    plot_directory: str = ""
    level: str = "info"


def from_flags(
    *,
    events: int,
    duration: str,
    wait: str,
    slots: int,
    payload_size: str,
    fanout: int,
    delay: str,
    failure_rate: float,
    concurrency: int,
    worker_delay: str,
    external_worker: bool,
    emit_workers: int,
    registration_timeout: str,
    threshold: str,
    sample_rate: float,
    plot_directory: str,
    level: str,
    later: Later,
) -> Plan:
    """Raises :class:`InvalidArgument` that names the flag, :class:`Unimplemented` for what a later version serves."""
    _refuse_later(later)
    if concurrency and external_worker:
        raise InvalidArgument(
            "--concurrency limits the worker that the load test starts, so it has no effect with --externalWorker: "
            "give the other worker fewer slots instead."
        )
    if level.lower() not in LEVELS:
        raise InvalidArgument(f"--level {level!r}: write one of debug, info, warn and error.")
    offered = slots or DEFAULT_SLOTS
    return Plan(
        rate=events,
        seconds=_duration("--duration", duration),
        wait=_duration("--wait", wait),
        slots=min(offered, concurrency) if concurrency else offered,
        payload_bytes=parse_size(payload_size),
        fanout=fanout,
        delay=_duration("--delay", delay),
        failure_rate=failure_rate,
        worker_delay=_duration("--workerDelay", worker_delay),
        external_worker=external_worker,
        emit_workers=emit_workers,
        registration_timeout=_duration("--registrationTimeout", registration_timeout),
        threshold=_duration("--averageDurationThreshold", threshold),
        sample_rate=sample_rate,
        plot_directory=plot_directory,
        level=level.lower(),
    )


def parse_size(text: str) -> int:
    """Bytes of a size such as ``0kb``, ``1.5mb``, ``300b`` or ``300``. Raises :class:`InvalidArgument` otherwise."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise InvalidArgument(f"--payloadSize {text!r}: write a number with b, kb or mb, such as 10kb.")
    return int(float(found[1]) * _BYTES[(found[2] or "").lower()])


def _duration(flag: str, text: str) -> float:
    try:
        return parse_duration(text)
    except InvalidArgument as error:
        raise InvalidArgument(f"{flag}: {error.message}") from None


def _refuse_later(later: Later) -> None:
    if later.dag_steps > 1:
        raise Unimplemented(
            f"--dagSteps {later.dag_steps}: this version runs workflows of one task. Leave the flag out; "
            "--eventFanout triggers several workflows for each event."
        )
    if later.rate_limit_unit not in RATE_LIMIT_UNITS:
        raise InvalidArgument(
            f"--rlDurationUnit {later.rate_limit_unit!r}: write one of {', '.join(RATE_LIMIT_UNITS)}."
        )
    if later.rate_limit_keys or later.rate_limit:
        raise Unimplemented("--rlKeys and --rlLimit: this version has no rate limits. Leave both flags out.")
    unknown = sorted({*later.select, *later.exclude} - {SCENARIO})
    if unknown:
        raise InvalidArgument(f"--select and --exclude know the scenario {SCENARIO!r} only, not {', '.join(unknown)}.")
    if later.exclude:
        raise InvalidArgument(f"--exclude {SCENARIO}: nothing is left to run, it is the only scenario of this version.")
