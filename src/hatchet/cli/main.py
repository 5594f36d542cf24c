"""The ``hatchet`` program: one place where its commands meet and its errors become text.

Commands import what they need when they run: ``hatchet --version`` must not load an engine.
"""

from __future__ import annotations

import sys

import typer

from hatchet import __version__
from hatchet.cli import loadtest, profile_commands, server_commands
from hatchet.cli.output import fail
from hatchet.core.errors import HatchetError

SETTINGS = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="hatchet",
    help="Run a Hatchet server on this machine, and say which server other commands talk to.",
    context_settings=SETTINGS,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", "-v", help="Print the version and end."),
) -> None:
    if version:
        print(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


def main() -> None:
    """Run the program. Errors meant for people go to standard error, exit code 1 (behaviour-rest R-36.1)."""
    for commands in (server_commands, profile_commands, loadtest):
        commands.register(app)
    try:
        app()
    except HatchetError as error:
        fail(error.message)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `hatchet server logs | head`
        sys.stderr.close()
        sys.exit(0)
