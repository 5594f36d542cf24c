"""``hatchet-admin``: API tokens, the first tenant and user, key sets and the doctor, from the host of the server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from hatchet import __version__
from hatchet.cli.env_files import load_environment
from hatchet.cli.output import fail, print_error
from hatchet.core.durations import parse_duration
from hatchet.core.errors import FailedPrecondition, HatchetError, InvalidArgument, NotFound
from hatchet.engine import keyfile, keys
from hatchet.logs import configure
from hatchet.settings import Settings

PRIVATE_FILE = "private_ec256.key"
PUBLIC_FILE = "public_ec256.key"

Config = Annotated[str, typer.Option("--config", help="A file of NAME=value lines, or a directory of *.env files.")]
KeyDirectory = Annotated[str, typer.Option("--key-dir", help="Where to write them; by default they are printed.")]


def _group(text: str) -> typer.Typer:
    return typer.Typer(
        help=text, no_args_is_help=True, rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False
    )


app = _group("API tokens, the first tenant and user, key sets and the doctor, from the host of the server.")
token_app = _group("API tokens.")
keyset_app = _group("Keys that sign API tokens.")
app.add_typer(token_app, name="token")
app.add_typer(keyset_app, name="keyset")


def main(arguments: Sequence[str] | None = None) -> None:
    """The program. Exits with 0, with 1 when it could not do it, with 2 for a wrong option."""
    # What is logged on the way must not mix with the token on standard output.
    configure(format_name="console", level_name="warn", stream=sys.stderr)
    try:
        app(args=None if arguments is None else list(arguments), prog_name="hatchet-admin")
    except HatchetError as error:
        fail(error.message)


def _print_version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    config: Config = "",
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    _load(config)


@token_app.command("create")
def create_token(
    tenant_id: Annotated[str, typer.Option("--tenant-id", help="By default the default tenant.")] = "",
    name: Annotated[str, typer.Option("--name", help="What the token is shown as.")] = "default",
    expires_in: Annotated[str, typer.Option("--expiresIn", "-e", help="Its lifetime, such as 2160h.")] = "2160h",
    config: Config = "",
) -> None:
    """Print a new API token, and nothing else, on standard output."""
    _load(config)
    print(asyncio.run(_create_token(tenant_id, name, _lifetime(expires_in))))


@app.command("seed")
def run_seed(config: Config = "") -> None:
    """Migrate the database, and create the default tenant and the first user if they are missing."""
    _load(config)
    asyncio.run(_seed())


@app.command("doctor")
def run_doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended; the output says how.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    days: Annotated[float, typer.Option("--days", help="Look at the work of so many days; 0: all.", min=0)] = 0,
    patience: Annotated[float, typer.Option("--patience", help="Seconds for a statement.", min=0.1, max=50)] = 30,
    config: Config = "",
) -> None:
    """Check what must hold between the rows of a live database.

    Without --fix nothing is written. --fix ends attempts whose timeout has passed or whose worker is gone, writes ends
    of runs, makes partitions, lowers watermarks, sets crons anew, and deletes bookkeeping of nothing. Exit code 0:
    healthy, 1: findings are left, 2: it cannot be checked.
    """
    try:
        _load(config)
        code = asyncio.run(_doctor(fix, as_json, days, patience))
    except HatchetError as error:
        print_error(error.message)
        code = 2
    raise typer.Exit(code)


@keyset_app.callback()
def _keyset(context: typer.Context, key_dir: KeyDirectory = "") -> None:
    context.obj = key_dir


@keyset_app.command("create-local-keys")
def create_local_keys(context: typer.Context, key_dir: KeyDirectory = "") -> None:
    """Make a key set that several servers on one database share."""
    made = keys.generate()
    private, public = keys.to_json(made, private=True), keys.to_json(made, private=False)
    directory = key_dir or context.obj
    if not directory:
        print(f"Private key set:\n{private}\nPublic key set:\n{public}", end="")
        return
    _write_keys(Path(directory).expanduser(), private, public)


def _load(config: str) -> None:
    if config:
        load_environment(Path(config))


def _lifetime(text: str) -> float:
    try:
        return parse_duration(text)
    except InvalidArgument:
        raise InvalidArgument(f'--expiresIn "{text}": write a duration such as 2160h or 90m.') from None


async def _create_token(tenant_id: str, name: str, lifetime: float) -> str:
    from hatchet.cli.admin_target import target

    async with target(Settings.from_environment()) as found:
        wanted = tenant_id or found.tenant_id
        try:
            return await found.tokens().issue(wanted, name=name, lifetime_seconds=lifetime)
        except NotFound:
            hint = "Check --tenant-id." if tenant_id else "`hatchet-admin seed` creates the default tenant."
            raise NotFound(f"no tenant has the id {wanted}. {hint}") from None


async def _seed() -> None:
    from hatchet.cli.admin_target import target

    async with target(Settings.from_environment(), prepare=True) as found:
        await found.seed()
    print(f"The default tenant {found.settings.default_tenant_id} and {found.settings.admin_email} exist.")


async def _doctor(fix: bool, as_json: bool, days: float, patience: float) -> int:
    from hatchet.cli import doctor as report
    from hatchet.cli.admin_target import target
    from hatchet.engine.clock import UuidIds
    from hatchet.engine.doctor import Doctor, Scope

    async with target(Settings.from_environment()) as found:
        retries = found.settings.max_internal_retries
        doctor = Doctor(found.database, found.clock, UuidIds(), max_internal_retries=retries)
        outcomes = await doctor.examine(Scope(days=days or None, patience_seconds=patience))
        if fix:
            await doctor.mend(outcomes)
    print(report.as_json(outcomes) if as_json else report.as_text(outcomes, fixes=fix))
    return report.exit_code(outcomes)


def _write_keys(directory: Path, private: str, public: str) -> None:
    files = {directory / PRIVATE_FILE: (private, 0o600), directory / PUBLIC_FILE: (public, 0o644)}
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in files:
            if path.exists():
                raise FailedPrecondition(f"{path} exists already. Remove it, or choose another --key-dir.")
        for path, (text, mode) in files.items():
            keyfile.write_new(path, text)
            path.chmod(mode)
    except OSError as error:
        reason = error.strerror or str(error)
        raise FailedPrecondition(f"cannot write to {directory}: {reason}. Choose another --key-dir.") from error
    print(f"Wrote {directory / PRIVATE_FILE} (secret) and {directory / PUBLIC_FILE}.")
    print("Set this for every server that works on one database:")
    print(f"{keyfile.PRIVATE_VARIABLE}_FILE={directory.absolute() / PRIVATE_FILE}")


if __name__ == "__main__":
    main()
