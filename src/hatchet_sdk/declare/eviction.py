"""When a durable task that waits gives its slot on a worker back (behaviour-durable D-17.2)."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, ConfigDict, field_validator


class EvictionPolicy(BaseModel):
    """What a worker does with a durable task that waits; without a policy (``None``) it keeps the task.

    Attributes:
        ttl: how long one wait may last before the task is taken off its worker; None for as long as it likes.
        allow_capacity_eviction: whether it may also be taken off because the worker's durable slots are used up.
        priority: among several, those with a lower number are taken off first.

    A worker that stops takes all waiting tasks off, whatever their policy. Raises ``pydantic.ValidationError`` (a
    ``ValueError``) for a negative ``ttl``.
    """

    model_config = ConfigDict(frozen=True)

    ttl: timedelta | None
    allow_capacity_eviction: bool = True
    priority: int = 0

    @field_validator("ttl")
    @classmethod
    def _check_ttl(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and value < timedelta():
            raise ValueError(f"ttl cannot be negative, got {value}; None means that a wait may last for ever")
        return value


DEFAULT_EVICTION_POLICY = EvictionPolicy(ttl=timedelta(minutes=15), allow_capacity_eviction=True, priority=0)
