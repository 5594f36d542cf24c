"""The two shapes of an error body, and which error gets which status (behaviour-rest R-1.8, R-1.10, R-1.11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hatchet.core.errors import Code, HatchetError, InvalidFields, SwitchedOff

STATUS = {
    Code.INVALID_ARGUMENT: 400,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.UNAUTHENTICATED: 403,
    Code.PERMISSION_DENIED: 403,
    Code.FAILED_PRECONDITION: 400,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.INTERNAL: 500,
}
NEUTRAL = "Internal Server Error"

log = structlog.stdlib.get_logger("hatchet.rest")


class Refused(Exception):
    """A refusal of the framework level: routing, look-up of the path's resource, authentication, authorisation."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def framework_error(status: int, message: str) -> JSONResponse:
    """``{"message": ...}``"""
    return JSONResponse({"message": _writable(message)}, status_code=status)


def api_errors(status: int, *errors: dict[str, Any]) -> JSONResponse:
    """``{"errors": [{"description", "field"?, ...}]}``"""
    told = [{name: _writable(value) for name, value in error.items()} for error in errors]
    return JSONResponse({"errors": told}, status_code=status)


def _writable(value: Any) -> Any:
    """Texts may quote what a request said, halves of surrogate pairs included, which no answer can hold."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def install(app: FastAPI) -> None:
    """Give ``app`` these shapes for everything that can be raised in it."""
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HatchetError, _hatchet_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(Exception, _unexpected)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return framework_error(error.status, error.message)


async def _hatchet_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HatchetError)
    if error.code is Code.INTERNAL:
        log.error("internal error", exc_info=error)
        return framework_error(500, NEUTRAL)
    if isinstance(error, InvalidFields):
        return api_errors(400, *({"field": field, "description": text} for field, text in error.faults))
    status = 405 if isinstance(error, SwitchedOff) else STATUS[error.code]
    return api_errors(status, {"description": error.message})


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return api_errors(400, *(_described(one) for one in error.errors()))


async def _http_exception(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer = framework_error(error.status_code, str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("unexpected error", exc_info=error, method=request.method, path=request.url.path)
    return framework_error(500, NEUTRAL)


def _described(one: dict[str, Any]) -> dict[str, Any]:
    where: Sequence[object] = one.get("loc", ())
    name = ".".join(str(part) for part in where[1:]) or str(where[0] if where else "request")
    return {"field": name, "description": f"{name}: {one.get('msg', 'is invalid')}"}
