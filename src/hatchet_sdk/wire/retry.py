"""Which calls are tried again, how often and how far apart (behaviour-core C-1.11)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import grpc

from hatchet_sdk.wire.errors import is_too_large

if TYPE_CHECKING:
    from tenacity import RetryCallState
    from tenacity.wait import wait_base

    from hatchet_sdk.config import ClientConfig

T = TypeVar("T")

USER_ERRORS = frozenset(
    {
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.FAILED_PRECONDITION,
    }
)
"""Answers that stay the same however often one asks."""


@dataclass(slots=True, frozen=True)
class RetryPolicy:
    """How one kind of call is repeated.

    ``attempts`` counts the first one too; ``final`` are the statuses that are not repeated. Waits are seconds.
    """

    attempts: int
    final: frozenset[grpc.StatusCode] = USER_ERRORS
    first_wait: float | None = None
    longest_wait: float = 60.0

    def repeats(self, error: BaseException) -> bool:
        """Whether ``error`` may go away by itself."""
        if not isinstance(error, grpc.aio.AioRpcError) or error.code() in self.final:
            return False
        return not (error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and is_too_large(error.details() or ""))


ONCE = RetryPolicy(attempts=1)
VERSION = RetryPolicy(attempts=3)
REPORTS = RetryPolicy(attempts=20, first_wait=0.5, longest_wait=10.0)


def ordinary(config: ClientConfig) -> RetryPolicy:
    """Calls without a rule of their own: as often as ``config.tenacity.max_attempts`` says."""
    return RetryPolicy(attempts=max(1, config.tenacity.max_attempts))


def details(config: ClientConfig) -> RetryPolicy:
    """GetRunDetails: a run may be a moment from being visible (C-1.11, C-4.6)."""
    return RetryPolicy(attempts=max(1, config.tenacity.max_attempts), final=USER_ERRORS - {grpc.StatusCode.NOT_FOUND})


async def again(
    first_error: grpc.aio.AioRpcError, call: Callable[[], Awaitable[T]], policy: RetryPolicy, config: ClientConfig
) -> T:
    """Repeat ``call``, whose first attempt ended with ``first_error``.

    The slow path: only here is tenacity imported. Raises the last ``AioRpcError`` when the attempts are used up, or at
    once when the policy calls it final.
    """
    if policy.attempts <= 1 or not policy.repeats(first_error):
        raise first_error

    from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

    pending: list[grpc.aio.AioRpcError] = [first_error]

    async def attempt() -> T:
        # The attempt that has been made counts as number one, so that hooks and waits see the true number.
        if pending:
            raise pending.pop()
        return await call()

    retrying = AsyncRetrying(
        stop=stop_after_attempt(policy.attempts),
        wait=_wait(policy, config),
        retry=retry_if_exception(policy.repeats),
        before_sleep=_hook(config),
        reraise=True,
    )
    return await retrying(attempt)


def _wait(policy: RetryPolicy, config: ClientConfig) -> wait_base:
    if policy.first_wait is None:
        return config.tenacity.wait()
    from tenacity import wait_exponential_jitter

    return wait_exponential_jitter(initial=policy.first_wait, max=policy.longest_wait, jitter=policy.first_wait)


def _hook(config: ClientConfig) -> Callable[[RetryCallState], None]:
    return config.tenacity.before_sleep
