"""The gRPC port: listens, hands calls to :mod:`hatchet.grpc.transport`, and ends in an orderly way."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
import structlog

from hatchet.core.errors import FailedPrecondition
from hatchet.grpc.ports import TokenCheck
from hatchet.grpc.streams import OpenStreams
from hatchet.grpc.transport import Calls

_log = structlog.get_logger(__name__)


READ_FACTOR = 4
"""Messages up to so many times the limit are read, to be refused with a text."""


def server_options(max_message_bytes: int) -> list[tuple[str, int]]:
    """Options of the listening side. No limit on concurrent calls: worker streams count, and stay open for days."""
    return [
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # Clients ping every 10 s, also without calls (C-1.21). The min_recv_ping_… spelling has no effect.
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.http2.max_ping_strikes", 0),
        # Without this a second server would share the port silently and take half of the calls.
        ("grpc.so_reuseport", 0),
        # What is larger ends its call; up to here :class:`Calls` and the handlers say themselves what is too large.
        ("grpc.max_receive_message_length", READ_FACTOR * max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
    ]


class GrpcServer:
    """Serves the contract on one port from :meth:`start` to :meth:`stop`."""

    def __init__(
        self,
        *,
        services: Mapping[str, object],
        tokens: TokenCheck,
        host: str,
        port: int,
        credentials: grpc.ServerCredentials | None,
        max_message_bytes: int,
    ) -> None:
        """``credentials`` None means plaintext, ``port`` 0 any free one; ``services`` is what :class:`Calls` takes."""
        self._streams = OpenStreams()
        self._calls = Calls(services, tokens=tokens, streams=self._streams, max_message_bytes=max_message_bytes)
        self._host = f"[{host}]" if ":" in host else host
        self._port = port
        self._credentials = credentials
        self._max_message_bytes = max_message_bytes
        self._server: grpc.aio.Server | None = None

    async def start(self) -> int:
        """Listen; the port. Raises :class:`FailedPrecondition` that says what to do when the port cannot be had."""
        # The server belongs to the running event loop, therefore it is made here.
        server = grpc.aio.server(options=server_options(self._max_message_bytes))
        server.add_generic_rpc_handlers((self._calls,))
        port = self._bind(server)
        await server.start()
        self._server = server
        _log.info("grpc is listening", address=f"{self._host}:{port}", tls=self._credentials is not None)
        return port

    def _bind(self, server: grpc.aio.Server) -> int:
        address = f"{self._host}:{self._port}"
        try:
            if self._credentials is None:
                return server.add_insecure_port(address)
            return server.add_secure_port(address, self._credentials)
        except RuntimeError as error:
            raise FailedPrecondition(
                f"Cannot listen for gRPC on {address}: port {self._port} is probably in use by another program, "
                "perhaps by a Hatchet server that runs already. Stop that program, or choose another port with "
                "SERVER_GRPC_PORT (or another address of this machine with SERVER_GRPC_BIND_ADDRESS)."
            ) from error

    async def stop(self, grace: float) -> None:
        """End the streams with UNAVAILABLE, so that clients reconnect; other calls have ``grace`` seconds to finish."""
        if self._server is None:
            return
        server, self._server = self._server, None
        await self._streams.close(grace)
        await server.stop(grace)
