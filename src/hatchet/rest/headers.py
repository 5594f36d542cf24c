"""What every answer carries: security headers (behaviour-rest R-1.12), and CORS for other origins (R-1.13)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from fnmatch import fnmatchcase

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hatchet.rest.errors import framework_error
from hatchet.rest.page import STYLE

METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"

_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

SECURITY = {
    "Strict-Transport-Security": "max-age=31536000",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class SecurityHeaders:
    """ASGI middleware: adds :data:`SECURITY` and CORS headers to every answer, and answers preflights.

    ``origins`` are glob patterns; none means any origin. Put it outside everything, so that errors get the headers too.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str] = ()) -> None:
        self._app = app
        self._origins = tuple(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        allowed = origin if origin is not None and self._allows(origin) else None

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add(MutableHeaders(scope=message), allowed)
            await send(message)

        if scope["method"] == "OPTIONS" and origin is not None and "access-control-request-method" in headers:
            answer = _preflight(headers, allowed)
            await answer(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    def _allows(self, origin: str) -> bool:
        return not self._origins or any(fnmatchcase(origin, pattern) for pattern in self._origins)


def _add(headers: MutableHeaders, allowed_origin: str | None) -> None:
    for name, value in SECURITY.items():
        headers.setdefault(name, value)
    headers.add_vary_header("Origin")
    if allowed_origin is not None:
        headers["Access-Control-Allow-Origin"] = allowed_origin


def _preflight(headers: Headers, allowed_origin: str | None) -> ASGIApp:
    if allowed_origin is None:
        return framework_error(403, "this origin is not allowed")
    answer = framework_error(200, "ok")
    answer.headers["Access-Control-Allow-Methods"] = METHODS
    answer.headers["Access-Control-Allow-Headers"] = headers.get("access-control-request-headers", "")
    answer.headers["Access-Control-Max-Age"] = "600"
    return answer
