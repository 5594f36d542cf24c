"""``hatchet-admin`` as a person runs it: against an external database, a running server, and one at rest (R-7.6)."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from hatchet import __version__
from hatchet.cli.runtime import Presence, Runtime
from hatchet.core.clock import HeldClock
from hatchet.core.errors import Unauthenticated
from hatchet.engine.clock import DatabaseClock, UuidIds
from hatchet.engine.identity import Tokens
from hatchet.engine.keyfile import FILE_NAME, KeySource, load, load_or_create
from hatchet.engine.keys import KeySet, parse_key_set
from hatchet.engine.seed import DEFAULT_TENANT_ID, SeedValues, seed
from hatchet.store.pool import Database

UNKNOWN = "0195f2a0-0000-7000-8000-0000000000ff"


class Machine:
    """A home directory of its own, and the program in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.data_dir = home / "server" / "default"

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HATCHET_", "DATABASE_", "SERVER_", "ADMIN_", "DEFAULT_"))
        }
        return subprocess.run(
            [sys.executable, "-m", "hatchet.cli.admin", *arguments],
            env=clean | {"HATCHET_HOME": str(self.home)} | variables,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=self.home,
        )

    async def admin(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(self.run, *arguments, **variables)

    def keys(self) -> KeySet:
        return load_or_create(self.data_dir / "keys")


@pytest.fixture
def machine() -> Iterator[Machine]:
    # The embedded server runs as another user when we are root, and has to reach its directory.
    home = Path(tempfile.mkdtemp(prefix="hatchet-admin-"))
    home.chmod(0o755)
    yield Machine(home)
    shutil.rmtree(home, ignore_errors=True)


async def prepare(database: Database) -> None:
    await seed(database, SeedValues(), clock=HeldClock(), ids=UuidIds())


def verifier(database: Database, keys: KeySet, url: str = "http://localhost:8080") -> Tokens:
    return Tokens(
        database=database,
        keys=keys,
        server_url=url,
        grpc_broadcast_address="127.0.0.1:7070",
        clock=DatabaseClock(),
        ids=UuidIds(),
    )


def only_token(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    return line


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


async def test_r_7_6_token_for_an_external_database(machine: Machine, database: Database, dsn: str) -> None:
    await prepare(database)
    done = await machine.admin(
        "token", "create", "--name", "ci", "-e", "2h",
        DATABASE_URL=dsn, SERVER_URL="https://h.example.com", SERVER_GRPC_BROADCAST_ADDRESS="g.example.com:443",
    )  # fmt: skip
    token = only_token(done)
    claims = claims_of(token)
    assert (claims["sub"], claims["server_url"]) == (DEFAULT_TENANT_ID, "https://h.example.com")
    assert (claims["grpc_broadcast_address"], claims["exp"] - claims["iat"]) == ("g.example.com:443", 7200)
    assert "SERVER_ENCRYPTION_JWT_PRIVATE_KEYSET_FILE" in done.stderr
    assert token not in done.stderr
    caller = await verifier(database, machine.keys(), "https://h.example.com").verify(token)
    assert caller.tenant_id == DEFAULT_TENANT_ID
    with pytest.raises(Unauthenticated):
        await verifier(database, machine.keys()).verify(token)
    again = await machine.admin("token", "create", DATABASE_URL=dsn)
    assert again.stderr == ""
    claims = claims_of(only_token(again))
    assert claims["exp"] - claims["iat"] == 2160 * 3600


async def test_token_for_a_chosen_tenant_and_the_error_for_an_unknown_one(
    machine: Machine, database: Database, dsn: str
) -> None:
    await prepare(database)
    good = await machine.admin("token", "create", "--tenant-id", DEFAULT_TENANT_ID.upper(), DATABASE_URL=dsn)
    assert claims_of(only_token(good))["sub"] == DEFAULT_TENANT_ID
    bad = await machine.admin("token", "create", "--tenant-id", UNKNOWN, DATABASE_URL=dsn)
    assert (bad.returncode, bad.stdout) == (1, "")
    assert UNKNOWN in bad.stderr
    assert "--tenant-id" in bad.stderr
    assert "Traceback" not in bad.stderr


async def test_a_config_file_names_the_database(machine: Machine, database: Database, dsn: str) -> None:
    await prepare(database)
    file = machine.home / "server.env"
    file.write_text(f"DATABASE_URL={dsn}\nSERVER_URL=http://configured:1234\n")
    for arguments in (("token", "create", "--config", str(file)), ("--config", str(file), "token", "create")):
        token = only_token(await machine.admin(*arguments))
        assert claims_of(token)["server_url"] == "http://configured:1234"


async def test_an_empty_external_database_says_what_to_do_and_seed_does_it(machine: Machine, empty_dsn: str) -> None:
    refused = await machine.admin("token", "create", DATABASE_URL=empty_dsn)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "hatchet-admin seed" in refused.stderr
    for _ in range(2):
        seeded = await machine.admin("seed", DATABASE_URL=empty_dsn, DEFAULT_TENANT_SLUG="mine")
        assert seeded.returncode == 0, seeded.stderr
    assert claims_of(only_token(await machine.admin("token", "create", DATABASE_URL=empty_dsn)))["sub"]


async def test_an_unreachable_database_is_one_paragraph(machine: Machine) -> None:
    done = await machine.admin("token", "create", DATABASE_URL="postgresql://u:hunter2@127.0.0.1:1/x")
    assert (done.returncode, done.stdout) == (1, "")
    assert "database" in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["soon", "-1h", "", "0s"])
async def test_a_bad_lifetime_names_the_flag_or_the_field(
    machine: Machine, database: Database, dsn: str, text: str
) -> None:
    await prepare(database)
    done = await machine.admin("token", "create", f"--expiresIn={text}", DATABASE_URL=dsn)
    assert (done.returncode, done.stdout) == (1, "")
    assert "--expiresIn" in done.stderr or "lifetime" in done.stderr


@pytest.mark.parametrize("project", ["default", "hatchet-cli"])
async def test_token_for_a_running_local_server(machine: Machine, database: Database, dsn: str, project: str) -> None:
    await prepare(database)
    machine.data_dir = machine.home / "server" / project
    machine.data_dir.mkdir(parents=True)
    presence = Presence(machine.data_dir)
    assert presence.claim()
    presence.announce(
        Runtime(
            pid=os.getpid(),
            dsn=dsn,
            grpc_address="localhost:7099",
            server_url="http://localhost:8899",
            health_port=None,
            tenant_id=DEFAULT_TENANT_ID,
        )
    )
    try:
        token = only_token(await machine.admin("token", "create"))
    finally:
        presence.leave()
    assert claims_of(token)["grpc_broadcast_address"] == "localhost:7099"
    caller = await verifier(database, machine.keys(), "http://localhost:8899").verify(token)
    assert caller.tenant_id == DEFAULT_TENANT_ID
    assert not (machine.data_dir / "postgres").exists()


async def test_a_stopped_project_is_not_replaced_by_an_empty_server(machine: Machine) -> None:
    (machine.home / "server" / "hatchet-cli").mkdir(parents=True)
    done = await machine.admin("token", "create")
    assert (done.returncode, done.stdout) == (1, "")
    assert "hatchet server start" in done.stderr
    assert not machine.data_dir.exists()


async def test_token_for_a_server_at_rest(machine: Machine) -> None:
    first = only_token(await machine.admin("token", "create"))
    second = only_token(await machine.admin("token", "create"))
    assert claims_of(first)["sub"] == DEFAULT_TENANT_ID
    keys = machine.keys()
    for token in (first, second):
        assert jwt.get_unverified_header(token)["kid"] == keys.primary
    assert stat.S_IMODE((machine.data_dir / "keys" / FILE_NAME).stat().st_mode) == 0o600
    assert not (machine.data_dir / "postgres" / "cluster" / "postmaster.pid").exists()


def test_keyset_create_local_keys(machine: Machine) -> None:
    directory = machine.home / "chosen"
    done = machine.run("keyset", "create-local-keys", "--key-dir", str(directory))
    assert done.returncode == 0, done.stderr
    private, public = directory / "private_ec256.key", directory / "public_ec256.key"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    keys = parse_key_set(private.read_text(), source="x")
    assert [member["kid"] for member in json.loads(public.read_text())["keys"]] == [keys.primary]
    again = machine.run("keyset", "--key-dir", str(directory), "create-local-keys")
    assert again.returncode == 1
    assert "exists already" in again.stderr
    assert parse_key_set(private.read_text(), source="x").primary == keys.primary


def test_keyset_without_a_directory_prints_both(machine: Machine) -> None:
    done = machine.run("keyset", "create-local-keys")
    assert done.returncode == 0, done.stderr
    private, public = (text.split("}\n\n")[0] for text in done.stdout.split(" key set:\n")[1:])
    assert '"d"' in private
    assert '"d"' not in public


async def test_a_configured_key_set_signs(machine: Machine, database: Database, dsn: str) -> None:
    await prepare(database)
    made = await machine.admin("keyset", "create-local-keys", "--key-dir", str(machine.home / "k"))
    assert made.returncode == 0, made.stderr
    name, _, file = made.stdout.splitlines()[-1].partition("=")
    done = await machine.admin("token", "create", DATABASE_URL=dsn, **{name: file})
    keys = load(KeySource(directory=machine.home / "unused", private_file=file))
    assert (await verifier(database, keys).verify(only_token(done))).tenant_id == DEFAULT_TENANT_ID
    assert done.stderr == ""
    assert not machine.data_dir.exists()


def test_version(machine: Machine) -> None:
    done = machine.run("--version")
    assert (done.returncode, done.stdout) == (0, f"{__version__}\n")
