"""The session cookie (behaviour-rest R-2.6)."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response


@dataclass(slots=True, frozen=True, kw_only=True)
class SessionCookie:
    """How the cookie is written; without ``domain`` it belongs to the host that was asked."""

    name: str = "hatchet"
    domain: str | None = None
    is_secure: bool = True
    lifetime_seconds: int = 30 * 86400

    def read(self, request: Request) -> str | None:
        """What the browser sent; None when it sent none."""
        return request.cookies.get(self.name) or None

    def write(self, response: Response, value: str) -> None:
        """Let the browser keep it."""
        response.set_cookie(
            self.name,
            value,
            max_age=self.lifetime_seconds,
            path="/",
            domain=self.domain,
            secure=self.is_secure,
            httponly=True,
            samesite="lax",
        )

    def clear(self, response: Response) -> None:
        """Let the browser forget it."""
        response.delete_cookie(
            self.name, path="/", domain=self.domain, secure=self.is_secure, httponly=True, samesite="lax"
        )
