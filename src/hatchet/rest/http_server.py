"""An ASGI application on a port of its own, inside our event loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from hatchet.core.errors import FailedPrecondition

GRACE_SECONDS = 5
"""How long answers that are under way may take after ``stop``."""


class _Quiet(uvicorn.Server):
    """uvicorn without signal handlers (they belong to the program) that tells when it serves."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.serving.set()


class HttpServer:
    """Serves ``app`` on ``host:port`` from :meth:`start` to :meth:`stop`; ``port`` 0 means any free one.

    ``variable`` is the setting that the port comes from, for the error text.
    """

    def __init__(self, app: ASGIApp, *, host: str, port: int, variable: str) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._variable = variable
        self._server: _Quiet | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Listen; the port. Raises FailedPrecondition that says what to do when the port cannot be had."""
        listening = self._listen()
        port: int = listening.getsockname()[1]
        config = uvicorn.Config(
            self._app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        self._server = _Quiet(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[listening]), name=f"http-{port}")
        serving = asyncio.create_task(self._server.serving.wait(), name=f"http-{port}-start")
        await asyncio.wait({self._task, serving}, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            serving.cancel()
            listening.close()
            self._task.result()
        return port

    async def stop(self) -> None:
        """Close the port, let answers that are under way end, and return. Nothing happens when it does not run."""
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task
            self._server = self._task = None

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            return socket.create_server((self._host, self._port), family=family, backlog=2048)
        except OSError as error:
            raise FailedPrecondition(self._explained(error)) from error

    def _explained(self, error: OSError) -> str:
        if error.errno == errno.EADDRINUSE:
            return (
                f"port {self._port} on {self._host} is in use by another program, perhaps another Hatchet server. "
                f"Stop that program, or choose another port with {self._variable}."
            )
        if error.errno == errno.EACCES:
            return f"this user may not listen on port {self._port}. Choose a port above 1023 with {self._variable}."
        return f"cannot listen on port {self._port} of {self._host} ({self._variable}): {error.strerror or error}."
