"""What the feature clients over REST have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from hatchet_sdk.run.call import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from hatchet_sdk.client import Client
    from hatchet_sdk.config import HTTPMethod

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


class RestFeature:
    """A feature client. Every method raises `ApiException` when the server refuses, `RestTransportError` (which is
    one) when it cannot be reached."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def _path(self, rest: str, *, stable: bool = False) -> str:
        return f"/api/v1/{'stable/' if stable else ''}tenants/{self._client.config.tenant_id}/{rest}"

    def _ask(
        self,
        method: HTTPMethod,
        path: str,
        finish: Callable[[Any], T],
        *,
        query: dict[str, Any] | None = None,
        body: Any = None,
    ) -> Call[Any, T]:
        return Call(self._client.connection, self._client.rest.call(method, path, query=query, body=body), finish)

    def _work(self, work: Coroutine[Any, Any, T]) -> Call[T, T]:
        """Several requests in a row, on the connection thread."""
        return Call(self._client.connection, work, lambda value: value)


def nothing(_: object) -> None:
    """An answer that says no more than that it worked."""


def json_object(value: Any, what: str) -> dict[str, Any]:
    """A mapping or a model as a JSON object. Raises ``TypeError`` for another type, or a member JSON cannot hold."""
    try:
        plain = to_jsonable_python(value, inf_nan_mode="null")
    except ValueError as error:
        raise TypeError(f"{what} cannot become JSON: {error}") from error
    if not isinstance(plain, dict):
        raise TypeError(f"{what} must be a JSON object, got {type(value).__name__}")
    return plain
