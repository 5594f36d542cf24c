"""``hatchet-engine``: the server in the foreground, configured by the environment alone.

SIGTERM and SIGINT end it gracefully; a second one ends it at once. What keeps it from starting is said in one paragraph
on standard error, exit code 1.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import uvloop

from hatchet import __version__
from hatchet.cli.env_files import load_environment
from hatchet.cli.home import private_directory
from hatchet.cli.output import fail
from hatchet.cli.runtime import Presence, Runtime
from hatchet.core.errors import HatchetError
from hatchet.logs import configure
from hatchet.settings import Settings, read_settings

if TYPE_CHECKING:
    from hatchet.server import Server

log = structlog.stdlib.get_logger("hatchet.engine")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until a signal comes. Exits with 1 when the server cannot start."""
    options = _options(arguments)
    if options.version:
        print(__version__)
        return
    try:
        if options.config:
            load_environment(Path(options.config))
        settings = read_settings()
        configure(format_name=settings.logger_format, level_name=settings.logger_level)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, graceful=not options.no_graceful_shutdown))
    except HatchetError as error:
        fail(error.message)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="hatchet-engine", description="Run the Hatchet server in the foreground.")
    parser.add_argument("--config", default="", help="a file of NAME=value lines, or a directory of *.env files")
    parser.add_argument("--no-graceful-shutdown", action="store_true", help="end at once when asked to stop")
    parser.add_argument("--version", action="store_true", help="print the version and end")
    return parser.parse_args(arguments)


async def _serve(settings: Settings, *, graceful: bool) -> None:
    from hatchet.server import Server

    presence = Presence(private_directory(settings.data_dir))
    presence.claim()
    server = Server(settings)
    stop = _stop_on_signals()
    try:
        if await _started(server, stop):
            presence.announce(_runtime(server))
            _tame_garbage_collector()
            log.info("ready", grpc=server.grpc_address, url=server.server_url, health_port=server.health_port)
            await stop.wait()
        log.info("stopping", graceful=graceful)
    finally:
        await (server.stop() if graceful else server.stop(grace=0))
        presence.leave()
    log.info("stopped")


async def _started(server: Server, stop: asyncio.Event) -> bool:
    """Start the server; False when a signal came before it was ready."""
    starting = asyncio.create_task(server.start(), name="start")
    stopping = asyncio.create_task(stop.wait(), name="stop-signal")
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if starting.done():
        starting.result()
        return not stop.is_set()
    starting.cancel()
    with suppress(asyncio.CancelledError):
        await starting
    return False


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()

    def asked() -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)
    return stop


def _tame_garbage_collector() -> None:
    """Hundreds of thousands of waiting tasks are live objects: walking them often would cost more than the work."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _runtime(server: Server) -> Runtime:
    return Runtime(
        pid=os.getpid(),
        dsn=server.dsn,
        grpc_address=server.grpc_address,
        server_url=server.server_url,
        health_port=server.health_port,
        tenant_id=server.default_tenant_id,
    )


if __name__ == "__main__":
    main()
