"""The embedded server from the outside: start, a connection text, stop.

Layout of the directory that it owns::

    lock              held while somebody owns the directory
    cluster/          PostgreSQL's data directory (custom.conf in it is the user's)
    socket/           the socket, when the path is short enough
    password          for the TCP port, used where Unix sockets do not work
    postgres.log      what the server says
    programs/         a copy of the programs, only when we run as root and they lie where the server's user cannot go
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlencode

import asyncpg

from hatchet.core.errors import FailedPrecondition
from hatchet.postgres import config, sockets
from hatchet.postgres.binaries import Binaries, cluster_major, find_binaries
from hatchet.postgres.cluster import USER, create_cluster, read_password
from hatchet.postgres.failures import explain, from_os_error
from hatchet.postgres.identity import Identity, choose_identity, may_enter, usable_binaries
from hatchet.postgres.lock import OwnerLock
from hatchet.postgres.orphans import clear_orphans
from hatchet.postgres.process import Child, spawn

DATABASE = "hatchet"

_START_PATIENCE = 600.0
"""Seconds until a server that still runs must accept connections; recovery after a crash can be long."""

_LOG_LIMIT = 16 * 1024 * 1024
_POLL = 0.01


class EmbeddedPostgres:
    """A PostgreSQL server of our own in ``data_dir``; also an asynchronous context manager.

    ``settings`` are added to postgresql.conf. ``programs`` names a directory with postgres and initdb
    (``HATCHET_POSTGRES_BIN``). ``unix_socket=False`` listens on a port of the loop-back address instead.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        settings: Mapping[str, str] | None = None,
        programs: Path | None = None,
        unix_socket: bool = True,
    ) -> None:
        self.data_dir = Path(os.path.abspath(data_dir))
        self.cluster = self.data_dir / "cluster"
        self.log_path = self.data_dir / "postgres.log"
        self._settings = dict(settings or {})
        self._chosen_programs = programs
        self._unix_socket = unix_socket
        self._lock = OwnerLock(self.data_dir / "lock")
        self._identity: Identity | None = None
        self._binaries: Binaries | None = None
        self._child: Child | None = None
        self._socket_directory = ""
        self._port = sockets.PORT

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._child.process.pid if self._child is not None and self._child.running else None

    def dsn(self, database: str = DATABASE) -> str:
        """Connection text for asyncpg and libpq; changes only with a start. Carries the password when TCP is used."""
        if self._socket_directory:
            where = urlencode({"host": self._socket_directory, "port": self._port})
            return f"postgresql://{USER}@/{quote(database)}?{where}"
        password = quote(read_password(self.data_dir), safe="")
        return f"postgresql://{USER}:{password}@127.0.0.1:{self._port}/{quote(database)}"

    async def start(self) -> str:
        """Start, wait until it serves, and return the DSN of the database ``hatchet``.

        Raises :class:`FailedPrecondition` with one paragraph that says what to do: another owner, no write permission,
        a full disk, another version's directory, no programs, or a server that does not come up.
        """
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except OSError as error:
            raise from_os_error(error, self.data_dir) from error
        try:
            await self._prepare()
            await self._launch()
            await self._create_database()
        except OSError as error:
            await self.stop()
            raise from_os_error(error, self.data_dir) from error
        except BaseException:
            await self.stop()
            raise
        return self.dsn()

    async def ensure_running(self) -> bool:
        """Start the server again, at the same address, if it has died; whether that was needed. Raises as ``start``."""
        if self.pid is not None:
            return False
        if self._child is not None:
            self._child.dismiss_watcher()
        await clear_orphans(self.cluster)
        await self._launch()
        return True

    async def stop(self) -> None:
        """Stop the server and give the directory free. Nothing happens when it does not run."""
        if self._child is not None:
            await self._child.stop()
            self._child = None
        with contextlib.suppress(OSError):
            sockets.forget_socket_directory(self.data_dir)
        self._lock.release()

    async def _prepare(self) -> None:
        self._identity = choose_identity(self.cluster)
        major = cluster_major(self.cluster)
        found = find_binaries(self._chosen_programs, major)
        self._binaries = usable_binaries(found, self._identity, self.data_dir)
        await clear_orphans(self.cluster)
        if major is None:
            await create_cluster(
                self.data_dir,
                self.cluster,
                self._binaries,
                self._identity,
                keep_search_right=self._needs_search_right(self._binaries),
            )
        if self._unix_socket:
            self._socket_directory = sockets.prepare_socket_directory(self.data_dir, self._identity)
        if not self._socket_directory:
            self._port = sockets.free_port()
        self._write_config()

    def _needs_search_right(self, binaries: Binaries) -> bool:
        """Root's home is closed to others: a server there keeps root's right to enter directories, and nothing else."""
        if self._identity is None:
            return False
        return not (may_enter(self.data_dir, self._identity) and may_enter(binaries.postgres, self._identity))

    def _write_config(self) -> None:
        path, custom = self.cluster / "postgresql.conf", self.cluster / config.CUSTOM_FILE
        values = config.server_settings(socket_directory=self._socket_directory, port=self._port, extra=self._settings)
        path.write_text(config.as_file(values), "utf-8")
        if not custom.exists():
            custom.write_text(config.CUSTOM_TEXT, "utf-8")
        if self._identity is not None:
            for each in (path, custom):
                os.chown(each, self._identity.uid, self._identity.gid)

    async def _launch(self) -> None:
        assert self._binaries is not None, "prepared before"
        self._rotate_log()
        if self._socket_directory:
            sockets.clear_socket_directory(self._socket_directory)
        with self.log_path.open("ab") as output:
            begin = output.tell()
            self._child = spawn(
                [str(self._binaries.postgres), "-D", str(self.cluster)],
                identity=self._identity,
                keep_search_right=self._needs_search_right(self._binaries),
                output=output,
                directory=self.data_dir,
            )
        await self._until_ready(self._child, begin)

    async def _until_ready(self, child: Child, log_begin: int) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _START_PATIENCE
        while not self._says_ready(child.process.pid):
            if not child.running or loop.time() > deadline:
                raise FailedPrecondition(explain("did not start", self.data_dir, self._log_since(log_begin)))
            await asyncio.sleep(_POLL)

    def _says_ready(self, pid: int) -> bool:
        """The postmaster notes its state in the eighth line of its pid file."""
        try:
            lines = (self.cluster / "postmaster.pid").read_text("utf-8").splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"

    async def _create_database(self) -> None:
        try:
            connection = await asyncpg.connect(self.dsn())
        except asyncpg.InvalidCatalogNameError:
            connection = await asyncpg.connect(self.dsn("postgres"))
            with contextlib.suppress(asyncpg.DuplicateDatabaseError):
                await connection.execute(f"CREATE DATABASE {DATABASE}")
        await connection.close()

    def _rotate_log(self) -> None:
        if self.log_path.exists() and self.log_path.stat().st_size > _LOG_LIMIT:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))

    def _log_since(self, begin: int) -> str:
        with self.log_path.open("rb") as file:
            file.seek(begin)
            return file.read().decode("utf-8", "replace")
