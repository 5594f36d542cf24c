"""`hatchet.rate_limits`: the limits that tasks with static keys share (behaviour-core C-10, behaviour-rest R-17)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hatchet_sdk.config import HTTPMethod
from hatchet_sdk.declare.limits import LARGEST, RateLimitDuration
from hatchet_sdk.features.rate_limit_models import RateLimitList, RateLimitOrderByDirection, RateLimitOrderByField
from hatchet_sdk.features.rest_feature import RestFeature
from hatchet_sdk.features.rest_models import utc

if TYPE_CHECKING:
    from hatchet_contracts.workflows_pb2 import PutRateLimitRequest
    from hatchet_sdk.run.call import Call


class RateLimitsClient(RestFeature):
    """Rate limits. `put` and `pause` raise `EngineError` when the engine refuses or cannot be reached, `list` raises
    `ApiException`."""

    def put(self, key: str, limit: int, duration: RateLimitDuration = RateLimitDuration.SECOND) -> None:
        """Create or change a rate limit: `limit` units in each window of one `duration`, for all tasks of the tenant.

        A raised limit takes effect with the next window, a lowered one at once (C-10.2).

        Raises:
            ValueError: the key is empty, or the limit is below 0 or above 2,147,483,647.
        """
        self._client.connection.run(self._put(_request(key, limit, duration)))

    async def aio_put(self, key: str, limit: int, duration: RateLimitDuration = RateLimitDuration.SECOND) -> None:
        """Like `put`, for async code."""
        await self._client.connection.call(self._put(_request(key, limit, duration)))

    async def _put(self, request: PutRateLimitRequest) -> None:
        await self._client.connection.calls().put_rate_limit(request)

    def pause(self, key: str, until: datetime) -> datetime:
        """Let no task use the rate limit until then; a pause is never made shorter (C-10.4).

        Args:
            key: the key; of a dynamic one, what its expression gives.
            until: without a time zone it means local time.

        Returns:
            The time in effect, in UTC.
        """
        return self._client.connection.run(self._pause(key, utc(until, "until")))

    async def aio_pause(self, key: str, until: datetime) -> datetime:
        """Like `pause`, for async code."""
        return await self._client.connection.call(self._pause(key, utc(until, "until")))

    async def _pause(self, key: str, until: datetime) -> datetime:
        calls = self._client.connection.calls()
        return datetime.fromtimestamp(await calls.pause_rate_limit(key, until.timestamp()), UTC)

    def list(
        self,
        offset: int | None = None,
        limit: int | None = None,
        search: str | None = None,
        order_by_field: RateLimitOrderByField | None = None,
        order_by_direction: RateLimitOrderByDirection | None = None,
    ) -> RateLimitList:
        """Rate limits and what is left of them, of keys that contain `search`; 50 unless `limit` says more."""
        return self._list(offset, limit, search, order_by_field, order_by_direction).block()

    async def aio_list(
        self,
        offset: int | None = None,
        limit: int | None = None,
        search: str | None = None,
        order_by_field: RateLimitOrderByField | None = None,
        order_by_direction: RateLimitOrderByDirection | None = None,
    ) -> RateLimitList:
        """Like `list`, for async code."""
        return await self._list(offset, limit, search, order_by_field, order_by_direction).wait()

    def _list(
        self,
        offset: int | None,
        limit: int | None,
        search: str | None,
        field: RateLimitOrderByField | None,
        direction: RateLimitOrderByDirection | None,
    ) -> Call[Any, RateLimitList]:
        query = {
            "offset": offset,
            "limit": limit,
            "search": search,
            "orderByField": field,
            "orderByDirection": direction,
        }
        return self._ask(HTTPMethod.GET, self._path("rate-limits"), RateLimitList.model_validate, query=query)


def _request(key: str, limit: int, duration: RateLimitDuration) -> PutRateLimitRequest:
    # grpc's messages are imported with the first use, not with the client.
    from hatchet_contracts.workflows_pb2 import PutRateLimitRequest

    if not key:
        raise ValueError("the key of a rate limit is empty")
    if not 0 <= limit <= LARGEST:
        raise ValueError(f"the limit of '{key}' must be from 0 to {LARGEST}, got {limit}")
    return PutRateLimitRequest(key=key, limit=limit, duration=RateLimitDuration(duration).value)
