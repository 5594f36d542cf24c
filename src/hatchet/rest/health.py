"""Whether this instance works: the answer, and the small application on the health port (behaviour-rest R-8.7)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from hatchet.core.clock import Clock

Check = Callable[[], Awaitable[object]]
"""Raises when the part of the server that it looks at is broken."""

CACHE_SECONDS = 1.0
TIMEOUT_SECONDS = 3.0

log = structlog.stdlib.get_logger("hatchet.health")


class Health:
    """Live: every check passes. Ready: live, started, and not about to stop.

    Probes within a second share one round of checks, so that frequent probes cost the database nothing.
    """

    def __init__(self, checks: Sequence[Check], *, clock: Clock, cache_seconds: float = CACHE_SECONDS) -> None:
        self._checks = checks
        self._clock = clock
        self._cache_seconds = cache_seconds
        self._serving = False
        self._live = False
        self._known_until = float("-inf")
        self._lock = asyncio.Lock()

    def begin_serving(self) -> None:
        """Everything is started: from now on the instance may be ready."""
        self._serving = True

    def begin_shutdown(self) -> None:
        """The instance takes no new clients: not ready from now on."""
        self._serving = False

    async def is_live(self) -> bool:
        """Whether every check passed, at most ``cache_seconds`` ago."""
        async with self._lock:
            if self._clock.now() >= self._known_until:
                self._live = await self._look()
                self._known_until = self._clock.now() + self._cache_seconds
            return self._live

    async def is_ready(self) -> bool:
        """Whether clients should be sent here."""
        return self._serving and await self.is_live() and self._serving

    async def _look(self) -> bool:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await asyncio.gather(*(check() for check in self._checks))
        except Exception as error:  # whatever breaks a check makes the instance unhealthy
            if self._live:
                log.warning("a health check failed", error=str(error) or type(error).__name__)
            return False
        return True


def build_health_app(health: Health, *, version: str) -> Starlette:
    """``/live``, ``/ready`` and ``/version``; no authentication."""

    async def live(_request: Request) -> Response:
        return _answer(await health.is_live())

    async def ready(_request: Request) -> Response:
        return _answer(await health.is_ready())

    async def tell_version(_request: Request) -> Response:
        return JSONResponse({"version": version})

    return Starlette(routes=[Route("/live", live), Route("/ready", ready), Route("/version", tell_version)])


def _answer(good: bool) -> Response:
    return PlainTextResponse("ok" if good else "unavailable", status_code=200 if good else 503)
