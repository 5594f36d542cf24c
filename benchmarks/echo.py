"""What the transport alone costs here: a grpc.aio server that returns what it gets, and a client that calls it.

``python -m benchmarks.echo serve`` or ``call PORT SECONDS``. The message and the metadata have the size of a report.
"""

from __future__ import annotations

import asyncio
import sys
import time

import grpc
import uvloop

from benchmarks.credit import say

LANES = 100
BODY = b"x" * 400
METADATA = (("authorization", "bearer " + "x" * 600),)
CALL_SECONDS = 30


class Echo(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    """Answers every method."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        async def answer(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            return request

        return grpc.unary_unary_rpc_method_handler(answer)


async def serve() -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((Echo(),))
    say("ready", port=server.add_insecure_port("127.0.0.1:0"))
    await server.start()
    await server.wait_for_termination()


async def call(port: str, seconds: float) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        echo = channel.unary_unary("/benchmark/Echo", None, None)
        await echo(BODY, metadata=METADATA, timeout=CALL_SECONDS)
        calls = 0
        say("begin")
        end = time.monotonic() + seconds

        async def lane() -> None:
            nonlocal calls
            while time.monotonic() < end:
                await echo(BODY, metadata=METADATA, timeout=CALL_SECONDS)
                calls += 1

        await asyncio.gather(*(lane() for _ in range(LANES)))
        say("done", calls=calls)


async def main(mode: str, *arguments: str) -> None:
    await (serve() if mode == "serve" else call(arguments[0], float(arguments[1])))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(*sys.argv[1:]))
