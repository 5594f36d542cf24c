"""Compile ``protos/`` into ``src/hatchet_contracts``; with ``--check`` only tell whether that is up to date.

The compiled files are committed, so that installing needs no compiler. The compiler (``grpcio-tools``) is pinned in
``pyproject.toml``: another version writes other files, and the check would fail for no reason.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "protos"
COMPILED = ROOT / "src"
PACKAGE = "hatchet_contracts"


def compile_into(target: Path) -> None:
    """Write the modules and type files of every proto below ``target``; ends the program when one does not compile."""
    from grpc_tools import protoc  # type: ignore[import-untyped]

    protos = sorted(path.relative_to(SOURCES).as_posix() for path in SOURCES.rglob("*.proto"))
    includes = [f"-I{SOURCES}", f"-I{files('grpc_tools') / '_proto'}"]
    if protoc.main(["protoc", *includes, f"--python_out={target}", f"--pyi_out={target}", *protos]) != 0:
        sys.exit("the protos do not compile; see the message above")


def generated(root: Path) -> dict[str, bytes]:
    """The compiled files below ``root``, by their path in the package."""
    found = [path for path in (root / PACKAGE).rglob("*_pb2.py*") if path.suffix in (".py", ".pyi")]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


def differences() -> list[str]:
    """The compiled files that are missing, left over or not what the protos say; empty when all is fresh."""
    with tempfile.TemporaryDirectory() as scratch:
        compile_into(Path(scratch))
        fresh, committed = generated(Path(scratch)), generated(COMPILED)
    return sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))


def rewrite() -> None:
    """Replace the compiled files by fresh ones, and drop those whose proto is gone."""
    with tempfile.TemporaryDirectory() as scratch:
        compile_into(Path(scratch))
        fresh = generated(Path(scratch))
    for name in generated(COMPILED).keys() - fresh.keys():
        (COMPILED / name).unlink()
    for name, content in fresh.items():
        path = COMPILED / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        (path.parent / "__init__.py").touch()
    shutil.rmtree(COMPILED / PACKAGE / "__pycache__", ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when a file is not up to date")
    if not parser.parse_args().check:
        rewrite()
        return
    stale = differences()
    if stale:
        names = "\n".join(f"  src/{name}" for name in stale)
        sys.exit(f"these compiled protos are not what protos/ says; run `make protos` and commit the result:\n{names}")


if __name__ == "__main__":
    main()
