"""Refused and failed calls of the REST API. Light to import: nothing here needs an HTTP library."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hatchet_sdk.config import HTTPMethod


class OpenApiException(Exception):
    """Whatever goes wrong with a call of the REST API."""


class ApiException(OpenApiException):
    """The server answered with an error; its words are in the text.

    Attributes: ``status`` (HTTP status), ``reason`` (its name), ``body`` (the answer's text), ``data`` (the answer as
    objects, None if it is no JSON), ``headers``.
    """

    def __init__(
        self,
        status: int | None = None,
        reason: str | None = None,
        http_resp: Any = None,
        *,
        body: str | None = None,
        data: Any | None = None,
    ) -> None:
        self.status = status if http_resp is None else http_resp.status_code
        self.reason = reason if http_resp is None else http_resp.reason_phrase
        self.body = body
        self.data = data
        self.headers: Any = None if http_resp is None else http_resp.headers
        super().__init__(self.status, self.reason)

    def __str__(self) -> str:
        words = _words(self.data) or self.body or ""
        head = " ".join(str(part) for part in (self.status, self.reason) if part)
        return f"{words} ({head})" if words and head else words or head

    @classmethod
    def from_response(cls, *, http_resp: Any, body: str | None, data: Any | None) -> ApiException:
        """The exception for an answer, by its status."""
        status = http_resp.status_code
        kind = BY_STATUS.get(status, ServiceException if status >= 500 else ApiException)
        return kind(http_resp=http_resp, body=body, data=data)


class BadRequestException(ApiException):
    """400: the request makes no sense to the server."""


class UnauthorizedException(ApiException):
    """401: the token is missing, expired, revoked or of another server; check HATCHET_CLIENT_TOKEN."""


class ForbiddenException(ApiException):
    """403: the token may not do that, or nobody may."""


class NotFoundException(ApiException):
    """404: there is no such thing, or it belongs to another tenant."""


class ConflictException(ApiException):
    """409: it contradicts the present state."""


class UnprocessableEntityException(ApiException):
    """422: the request has the right form and cannot be followed."""


class TooManyRequestsException(ApiException):
    """429: slower, please."""


class ServiceException(ApiException):
    """5xx: the server failed."""


BY_STATUS: dict[int, type[ApiException]] = {
    400: BadRequestException,
    401: UnauthorizedException,
    403: ForbiddenException,
    404: NotFoundException,
    409: ConflictException,
    422: UnprocessableEntityException,
    429: TooManyRequestsException,
}


class RestTransportError(ApiException):
    """No answer came. ``http_method`` says what was asked for."""

    def __init__(
        self,
        status: int | None = None,
        reason: str | None = None,
        http_resp: Any = None,
        *,
        body: str | None = None,
        data: Any | None = None,
        http_method: HTTPMethod | None = None,
    ) -> None:
        super().__init__(status, reason, http_resp, body=body, data=data)
        self.http_method = http_method


class RestConnectionError(RestTransportError):
    """The server cannot be reached."""


class RestTimeoutError(RestTransportError):
    """The server did not answer in time."""


class RestTLSError(RestTransportError):
    """The server's certificate is not trusted, or it speaks no TLS."""


class RestProtocolError(RestTransportError):
    """What came back is no HTTP, or not what the API promises."""


def data_of(text: str) -> Any | None:
    """The body of an answer as objects; None for none and for what is no JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _words(data: Any) -> str:
    """What the server says in its two shapes of errors (R-1.8, R-1.9)."""
    if not isinstance(data, dict):
        return ""
    errors = data.get("errors")
    if isinstance(errors, list):
        said = [_description(error) for error in errors if isinstance(error, dict)]
        return "; ".join(words for words in said if words)
    return str(data.get("description") or data.get("message") or "")


def _description(error: dict[str, Any]) -> str:
    words, field = str(error.get("description") or ""), error.get("field")
    return f"{field}: {words}" if field else words
