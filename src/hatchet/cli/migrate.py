"""``hatchet-migrate``: bring the database to the schema of this version, to an older one, or back down.

The server migrates by itself when it starts; this program is for deployments that want it as a step of its own, and for
going back to an older server (``--down``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated

import typer

from hatchet import __version__
from hatchet.cli.output import fail
from hatchet.core.errors import HatchetError, InvalidArgument
from hatchet.postgres import EmbeddedPostgres
from hatchet.settings import Settings
from hatchet.store.migrations import applied, known_migrations, migrate, migrate_down

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """The program. Exits with 0, with 1 when it could not migrate, with 2 for a wrong option."""
    app(args=None if arguments is None else list(arguments), prog_name="hatchet-migrate")


@app.command()
def run(
    down: Annotated[str, typer.Option(help="Undo every migration after this one (name or number; 0 undoes all).")] = "",
    up_to: Annotated[str, typer.Option(help="Apply migrations up to and including this one (name or number).")] = "",
    up_to_penultimate: Annotated[
        bool, typer.Option("--up-to-penultimate", help="Apply all migrations but the newest.")
    ] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version of this program.")] = False,
) -> None:
    """Migrate the database of DATABASE_URL or DATABASE_POSTGRES_*, else the embedded one in HATCHET_DATA_DIR."""
    if version:
        print(__version__)
        return
    try:
        asyncio.run(_migrate(down=down, up_to=_target(down, up_to, up_to_penultimate)))
    except HatchetError as error:
        fail(error.message)


def _target(down: str, up_to: str, penultimate: bool) -> str | None:
    """The last migration to apply, ``None`` for the newest. Raises InvalidArgument for options that contradict."""
    if sum(map(bool, (down, up_to, penultimate))) > 1:
        raise InvalidArgument("--down, --up-to and --up-to-penultimate exclude each other; give one of them.")
    if not penultimate:
        return up_to or None
    return ["0", *(step.name for step in known_migrations())][-2]


async def _migrate(*, down: str, up_to: str | None) -> None:
    async with _database(Settings.from_environment()) as dsn:
        if down:
            names, done = await migrate_down(dsn, down), "undone"
        else:
            names, done = await migrate(dsn, up_to=up_to), "applied"
        for name in names:
            print(f"{done} {name}")
        have = await applied(dsn)
        print(f"The database is at {have[-1]}." if have else "The database is empty.")


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[str]:
    dsn = settings.database_dsn()
    if dsn is not None:
        yield dsn
        return
    async with EmbeddedPostgres(settings.embedded_dir, programs=settings.postgres_programs) as embedded:
        yield embedded.dsn()
