"""grpc.aio under handlers that know no transport.

A handler is an async method of a service object, named like the contract's method in snake case:
``(caller, request) -> response``; for a server stream ``(caller, request, send) -> None``; for a bidirectional one
``(caller, requests, send) -> None``. ``send(message)`` may be called from several coroutines; it raises
ResourceExhausted for a message above the limit (the stream stays usable), and Unavailable once the stream is gone.
After a ``send`` that was cancelled while it waited for a slow client nothing more can be sent: the handler has to end.

All decisions that do not depend on the call are taken in :class:`Calls` when the server starts. Messages are parsed and
written here and not by grpc, because authentication comes before parsing (C-1.10) and bytes that are no message are the
caller's mistake, not an internal error.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError, Message

from hatchet.core.errors import InvalidArgument, ResourceExhausted, Unauthenticated, Unavailable, Unimplemented
from hatchet.grpc.error_details import trailers
from hatchet.grpc.errors import status_of
from hatchet.grpc.methods import Method, contract_methods
from hatchet.grpc.ports import TokenCheck
from hatchet.grpc.streams import OpenStreams

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]
SendMessage = Callable[[Message], Awaitable[None]]
Handler = Callable[..., Coroutine[Any, Any, Any]]

_EOF: object = vars(grpc.aio)["EOF"]
_UNLIMITED = 1 << 62

CHECK_THEIR_SIZE = frozenset({"/v1.V1Dispatcher/DurableTask"})
"""Streams whose handler answers a request that is too large; others end."""


class Calls(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    """Finds the method of a call. Methods of the contract without a handler answer UNIMPLEMENTED."""

    def __init__(
        self, services: Mapping[str, object], *, tokens: TokenCheck, streams: OpenStreams, max_message_bytes: int
    ) -> None:
        """``services``: objects with handlers by full service name; one not in the contract raises ValueError."""
        self._tokens = tokens
        self._streams = streams
        self._max_message_bytes = max_message_bytes
        methods = list(contract_methods())
        if unknown := services.keys() - {method.service for method in methods}:
            raise ValueError(f"services that the contract does not have: {sorted(unknown)}")
        self._calls = {method.path: self._call(method, services.get(method.service)) for method in methods}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        return self._calls.get(handler_call_details.method)

    def _call(self, method: Method, service: object) -> grpc.RpcMethodHandler[Any, Any]:
        handler: Handler | None = getattr(service, method.name, None)
        if not method.server_streaming:
            return grpc.unary_unary_rpc_method_handler(self._unary(method, handler or _unserved(method)))
        call = self._stream(method, handler or _unserved(method))
        if method.client_streaming:
            return grpc.stream_stream_rpc_method_handler(call)
        return grpc.unary_stream_rpc_method_handler(call)

    def _unary(self, method: Method, handler: Handler) -> Callable[[bytes, Context], Coroutine[Any, Any, bytes]]:
        cached, verify = self._tokens.cached, self._tokens.verify
        parse, path, limit = method.request.FromString, method.path, self._max_message_bytes

        async def call(data: bytes, context: Context) -> bytes:
            try:
                token = _token(context)
                caller = cached(token) or await verify(token)
                if len(data) > limit:
                    raise _too_large(len(data), limit)
                try:
                    request = parse(data)
                except DecodeError:
                    raise _unreadable(path) from None
                response = await handler(caller, request)
                return response.SerializeToString()  # type: ignore[no-any-return]
            except Exception as error:
                code, text = status_of(error, path)
                return await context.abort(code, text, trailers(error, path, text))

        return call

    def _stream(self, method: Method, handler: Handler) -> Callable[[Any, Context], Coroutine[Any, Any, None]]:
        cached, verify = self._tokens.cached, self._tokens.verify
        path, streams = method.path, self._streams
        limit = _UNLIMITED if method.path in CHECK_THEIR_SIZE else self._max_message_bytes
        open_request = partial(self._requests if method.client_streaming else _request, limit)

        async def call(data: Any, context: Context) -> None:
            try:
                token = _token(context)
                caller = cached(token) or await verify(token)
                request = open_request(method, data, context)
                # Clients see at once that the stream is open, also when there is nothing to send for a long time.
                await context.send_initial_metadata(())
                await streams.run(handler(caller, request, self._sender(context)))
            except Exception as error:
                await context.abort(*status_of(error, path))

        return call

    @staticmethod
    async def _requests(limit: int, method: Method, _: object, context: Context) -> AsyncIterator[Message]:
        parse = method.request.FromString
        while (data := await context.read()) is not _EOF:
            if len(data) > limit:
                raise _too_large(len(data), limit)
            try:
                yield parse(data)
            except DecodeError:
                raise _unreadable(method.path) from None

    def _sender(self, context: Context) -> SendMessage:
        limit = self._max_message_bytes
        # grpc allows one write at a time on a call.
        turn = asyncio.Lock()

        async def send(message: Message) -> None:
            data = message.SerializeToString()
            if len(data) > limit:
                raise _too_large(len(data), limit)
            async with turn:
                await _written(context, data)

        return send


async def _written(context: Context, data: bytes) -> None:
    try:
        await context.write(data)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # grpc reports a call that is over by CancelledError, although nobody cancelled the writing task.
        raise _gone() from None
    except Exception as error:
        raise _gone() from error


def _gone() -> Unavailable:
    return Unavailable("the stream is gone: the other side closed it or the connection broke")


def _too_large(size: int, limit: int) -> ResourceExhausted:
    return ResourceExhausted(f"a message of {size} bytes is above the limit of {limit}: raise SERVER_GRPC_MAX_MSG_SIZE")


def _request(limit: int, method: Method, data: bytes, _: Context) -> Message:
    if len(data) > limit:
        raise _too_large(len(data), limit)
    try:
        return method.request.FromString(data)
    except DecodeError:
        raise _unreadable(method.path) from None


def _unreadable(path: str) -> InvalidArgument:
    return InvalidArgument(f"the request is no message of {path}: client and server disagree about the protocol")


def _unserved(method: Method) -> Handler:
    async def handler(*_: object) -> None:
        raise Unimplemented(f"{method.path} is not served by this version of the server")

    return handler


def _token(context: Context) -> str:
    """The API token of the call (C-1.9). Raises :class:`Unauthenticated`."""
    metadata: Iterable[tuple[str, str | bytes]] = context.invocation_metadata() or ()
    for key, value in metadata:
        if key == "authorization":
            scheme, _, token = str(value).partition(" ")
            if scheme.lower() == "bearer" and token:
                return token
            break
    raise Unauthenticated
