"""``hatchet server``: a server of one's own on this machine (behaviour-rest R-37.1, R-37.2, R-37.4)."""

from __future__ import annotations

import sys
import time
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

import typer

from hatchet.core.errors import Unimplemented

if TYPE_CHECKING:
    from hatchet.cli.local_server import LocalServer, Running

SETTINGS = {"help_option_names": ["-h", "--help"]}
PROJECT = typer.Option(
    "",
    "--project-name",
    "-p",
    help="Name of the server, its data and ports (default: hatchet-cli).",
    show_default=False,
)

app = typer.Typer(context_settings=SETTINGS, help="Run a server on this machine.", rich_markup_mode=None)


def register(root: typer.Typer) -> None:
    """Add the commands under ``server`` and its other spellings."""
    root.add_typer(app, name="server")
    for alias in ("servers", "srv"):
        root.add_typer(app, name=alias, hidden=True)


@app.callback(invoke_without_command=True)
def _root(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("start")
def start(
    dashboard_port: int = typer.Option(
        0,
        "--dashboard-port",
        "-d",
        help="Port of dashboard and REST API (default: the first free one from 8888).",
        show_default=False,
    ),
    grpc_port: int = typer.Option(
        0,
        "--grpc-port",
        "-g",
        help="Port for workers and clients (default: the first free one from 7077).",
        show_default=False,
    ),
    profile: str = typer.Option("local", "--profile", "-n", help="Name of the profile that is written."),
    project_name: str = PROJECT,
    tag: str = typer.Option("latest", "--tag", "-t", help="Accepted and ignored: there is no image to choose."),
    pull_policy: str = typer.Option("always", "--pull-policy", help="Accepted and ignored: there is no image to pull."),
    disable_auth: bool = typer.Option(False, "--disable-auth", help="Not served in this version."),
) -> None:
    """Start the server in the background, or say where it runs. Returns when it is ready."""
    from hatchet.cli import profiles
    from hatchet.cli.local_server import LocalServer

    profiles.check_name(profile)
    if disable_auth:
        raise Unimplemented(
            "--disable-auth is not served in this version. Nothing is lost without it: the profile that "
            "`hatchet server start` writes gives the SDK its token by itself."
        )
    if tag != "latest" or pull_policy != "always":
        print("Note: --tag and --pull-policy have no effect: the server runs without Docker.", file=sys.stderr)
    began = time.monotonic()
    server = LocalServer(project_name)
    running = server.start(dashboard_port=dashboard_port, grpc_port=grpc_port, meanwhile=_profile_token)
    is_default = _profile_token().refresh(profile, server.data_dir)
    seconds = time.monotonic() - began
    print(f"Hatchet is ready ({seconds:.1f} s)." if running.started_now else "Hatchet is already running.")
    _print_place(server, running)
    print(f"  Profile    {profile}{' (default)' if is_default else ''}")
    print("  Admin      admin@example.com with Admin123!!, unless ADMIN_EMAIL and ADMIN_PASSWORD said otherwise\n")
    _note_other_ports(running, dashboard_port, grpc_port)


def _profile_token() -> ModuleType:
    """Imported while the engine starts on another core: it takes a good part of a second."""
    return import_module("hatchet.cli.profile_token")


@app.command("stop")
def stop(project_name: str = PROJECT) -> None:
    """Stop the server. Its data stays."""
    from hatchet.cli.local_server import LocalServer

    server = LocalServer(project_name)
    if server.stop():
        print(f"Hatchet ({server.project}) stopped. Its data stays in {server.data_dir}.")
    else:
        print(f"Hatchet ({server.project}) is not running.")


@app.command("status")
def status(project_name: str = PROJECT) -> None:
    """Say whether the server runs, and where. Exit code 1 when it does not run or is not ready."""
    from hatchet.cli.local_server import LocalServer

    server = LocalServer(project_name)
    running = server.running()
    if running is None:
        pid = server.pid()
        state = "is not running" if pid is None else f"is starting or stopping (process {pid})"
        print(f"Hatchet ({server.project}) {state}.")
        raise typer.Exit(1)
    health = _health(running)
    print(f"Hatchet ({server.project}) is running (process {running.runtime.pid}): {health}.")
    _print_place(server, running)
    if health != "ready":
        raise typer.Exit(1)


@app.command("logs")
def logs(
    project_name: str = PROJECT,
    lines: int = typer.Option(100, "--lines", "-n", min=0, help="How many lines to begin with."),
    follow: bool = typer.Option(False, "--follow", "-f", help="Go on with new lines until Ctrl-C."),
) -> None:
    """Print the server's log."""
    from hatchet.cli import log_tail
    from hatchet.cli.local_server import LocalServer

    server = LocalServer(project_name)
    if not server.log_file.exists():
        print(f"Hatchet ({server.project}) has no log yet: it was never started.", file=sys.stderr)
        raise typer.Exit(1)
    size = log_tail.length(server.log_file)
    for line in log_tail.last_lines(server.log_file, lines, size=size):
        print(line)
    if follow:
        for line in log_tail.follow(server.log_file, size=size, ended=lambda: not server.is_running()):
            print(line, flush=True)


def _print_place(server: LocalServer, running: Running) -> None:
    url = running.runtime.server_url
    rows = {
        "Dashboard": url if _answers(url) else f"{url}  (this version does not serve it yet)",
        "gRPC": running.runtime.grpc_address,
        "Data": str(server.data_dir),
        "Log": f"{server.log_file}  (hatchet server logs --follow)",
    }
    print()
    for key, value in rows.items():
        print(f"  {key:<11}{value}")


def _answers(url: str) -> bool:
    """Whether somebody listens at the address."""
    import socket
    from urllib.parse import urlsplit

    try:
        socket.create_connection((urlsplit(url).hostname or "", urlsplit(url).port or 80), timeout=1).close()
    except OSError:
        return False
    return True


def _note_other_ports(running: Running, dashboard_port: int, grpc_port: int) -> None:
    asked = {"--dashboard-port": dashboard_port, "--grpc-port": grpc_port}
    serving = {
        "--dashboard-port": running.runtime.server_url.rpartition(":")[2].strip("/"),
        "--grpc-port": running.runtime.grpc_address.rpartition(":")[2],
    }
    ignored = [flag for flag, port in asked.items() if port and str(port) != serving[flag]]
    if ignored:
        print(
            f"Note: {' and '.join(ignored)} had no effect: stop the server first to change its ports.", file=sys.stderr
        )


def _health(running: Running) -> str:
    """What ``/ready`` says (R-8.7), in a word or two."""
    from http.client import HTTPConnection, HTTPException

    if running.runtime.health_port is None:
        return "ready"
    connection = HTTPConnection("127.0.0.1", running.runtime.health_port, timeout=5)
    try:
        connection.request("GET", "/ready")
        code = connection.getresponse().status
    except (OSError, HTTPException):
        return "does not answer"
    finally:
        connection.close()
    return "ready" if code == 200 else "not ready"
