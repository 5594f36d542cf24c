"""The REST API of the engine: one connection pool for a client, on the connection thread like everything that waits.

Only reads are repeated after a failure of the server (R-26.1, R-26.2): nobody knows whether a failed write was done.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx2

from hatchet_sdk.config import HTTPMethod
from hatchet_sdk.wire.loop_thread import ConnectionThread, connection_thread
from hatchet_sdk.wire.rest_errors import (
    ApiException,
    NotFoundException,
    RestConnectionError,
    RestProtocolError,
    RestTimeoutError,
    RestTLSError,
    RestTransportError,
    ServiceException,
    TooManyRequestsException,
    data_of,
)

if TYPE_CHECKING:
    from hatchet_sdk.config import ClientConfig, TenacityConfig

TIMEOUT_SECONDS = 60.0
CONNECT_SECONDS = 10.0

Query = Mapping[str, Any]
Parameter = str | int | float | bool | None


class Rest:
    """Calls of the REST API with the token of a configuration. Its coroutines run on the connection thread."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._owner: ConnectionThread | None = None
        self._http: httpx2.AsyncClient | None = None

    async def call(self, method: HTTPMethod, path: str, *, query: Query | None = None, body: Any = None) -> Any:
        """One call; the body of the answer as objects, None without one.

        Args:
            path: with its segments quoted, from `/api/v1`.
            query: None is left out, a list is repeated (R-1.5), an enum stands for its value.
            body: sent as JSON.

        Raises:
            ApiException: the server refused or failed; RestTransportError: no answer came.
        """
        tenacity = self._config.tenacity
        if method is not HTTPMethod.GET and not tenacity.retry_429 and not tenacity.retry_transport_errors:
            return await self._once(method, path, query, body)

        from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

        retrying = AsyncRetrying(
            stop=stop_after_attempt(max(1, tenacity.max_attempts)),
            wait=tenacity.wait(),
            retry=retry_if_exception(_repeats(method, tenacity)),
            before_sleep=tenacity.before_sleep,
            reraise=True,
        )
        return await retrying(self._once, method, path, query, body)

    async def _once(self, method: HTTPMethod, path: str, query: Query | None, body: Any) -> Any:
        try:
            answer = await self._client().request(method.value, path, params=_parameters(query or {}), json=body)
        except httpx2.HTTPError as error:
            raise self._transport_error(error, method) from None
        text = answer.text
        if not answer.is_success:
            raise ApiException.from_response(http_resp=answer, body=text, data=data_of(text))
        if not text:
            return None
        data = data_of(text)
        if data is None:
            # A web page of a proxy, or of a dashboard that took the place of the API.
            reason = f"{self._config.server_url} did not answer with JSON; check HATCHET_CLIENT_SERVER_URL"
            raise RestProtocolError(answer.status_code, reason, body=text, http_method=method)
        return data

    def _client(self) -> httpx2.AsyncClient:
        thread = connection_thread()
        if self._http is None or self._owner is not thread:
            http = httpx2.AsyncClient(
                base_url=self._config.server_url.rstrip("/"),
                headers={"Authorization": f"Bearer {self._config.token}"},
                timeout=httpx2.Timeout(TIMEOUT_SECONDS, connect=CONNECT_SECONDS),
            )
            self._http, self._owner = http, thread
            thread.close_at_exit(self, http.aclose)
        return self._http

    def _transport_error(self, error: httpx2.HTTPError, method: HTTPMethod) -> RestTransportError:
        url = self._config.server_url
        if isinstance(error, httpx2.TimeoutException):
            return RestTimeoutError(reason=f"the REST API at {url} did not answer in time", http_method=method)
        if isinstance(error, httpx2.ConnectError) and _is_tls(error):
            return RestTLSError(reason=f"no trust in the REST API at {url}: {error}", http_method=method)
        if isinstance(error, httpx2.NetworkError):
            reason = f"cannot reach the REST API at {url}: {error}. Is it running? Check HATCHET_CLIENT_SERVER_URL."
            return RestConnectionError(reason=reason, http_method=method)
        return RestProtocolError(reason=f"the REST API at {url}: {error}", http_method=method)


def segment(name: str) -> str:
    """A name or id as one segment of a path."""
    return quote(name, safe="")


def _parameters(query: Query) -> list[tuple[str, Parameter]]:
    return [
        (name, str(item.value if isinstance(item, Enum) else item))
        for name, value in query.items()
        for item in (value if isinstance(value, list | tuple) else [value])
        if item is not None
    ]


def _repeats(method: HTTPMethod, tenacity: TenacityConfig) -> Callable[[BaseException], bool]:
    reads = method is HTTPMethod.GET

    def repeats(error: BaseException) -> bool:
        if isinstance(error, RestProtocolError):
            return False
        if isinstance(error, RestTransportError):
            return tenacity.retry_transport_errors and method in tenacity.retry_transport_methods
        if isinstance(error, TooManyRequestsException):
            return tenacity.retry_429
        if isinstance(error, NotFoundException):
            return reads and tenacity.retry_not_found
        return reads and isinstance(error, ServiceException)

    return repeats


def _is_tls(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
