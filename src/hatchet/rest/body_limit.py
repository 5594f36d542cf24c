"""Bodies of requests have a greatest size, whatever their headers say."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hatchet.rest.errors import api_errors

MOST_BYTES = 4_194_304
"""As much as a gRPC message has by default."""


class BodyLimit:
    """ASGI middleware: answers 413 instead of reading more than ``most_bytes``."""

    def __init__(self, app: ASGIApp, most_bytes: int = MOST_BYTES) -> None:
        self._app = app
        self._most = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > self._most:
            await self._refuse(scope, receive, send)
            return
        counted = _Counted(receive, send, self._most)
        try:
            await self._app(scope, counted.receive, counted.send)
        except Exception:
            # Whatever the application makes of the end of a body that was cut off here.
            if not counted.is_too_large:
                raise
        if counted.is_too_large and not counted.has_answered:
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        text = f"the body is larger than {self._most} bytes; send less in one request."
        await api_errors(413, {"description": text})(scope, receive, send)


class _Counted:
    """The channels of one request, that let no more of a body through than is allowed."""

    def __init__(self, receive: Receive, send: Send, most: int) -> None:
        self._receive = receive
        self._send = send
        self._left = most
        self.is_too_large = False
        self.has_answered = False

    async def receive(self) -> Message:
        if self.is_too_large:
            return {"type": "http.disconnect"}
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self.is_too_large = True
            return {"type": "http.disconnect"}
        return message

    async def send(self, message: Message) -> None:
        if self.is_too_large and not self.has_answered:
            return
        self.has_answered = True
        await self._send(message)
