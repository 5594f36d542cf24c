"""What must hold for the checkout itself: fresh compiled files, and nothing in it that only works on one machine."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOT_OURS = re.compile(r"(^|/)(\.|build/|dist/|__pycache__)|\.egg-info/|_pb2\.pyi?$")
# Written in pieces, so that this file does not contain what it looks for.
MACHINE_PATHS = re.compile("|".join(["/" + top + r"/\w" for top in ("work", "root", "home", "Users")]))
ADDRESS = re.compile(r"https?:" + "//")
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX", "NotImplemented" + "Error"]) + r")\b")


def files() -> list[Path]:
    """What git knows or would add; everything that is not generated when this is no checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    named = [ROOT / name for name in listed.stdout.splitlines()]
    found = named if listed.returncode == 0 else list(ROOT.rglob("*"))
    return [path for path in found if path.is_file() and not NOT_OURS.search(path.relative_to(ROOT).as_posix())]


def matches(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    found = []
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}:{number}" for number, line in enumerate(lines, 1) if pattern.search(line)]
    return found


def project() -> dict[str, Any]:
    content: dict[str, dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return content["project"]


def test_compiled_protos_are_fresh() -> None:
    assert runpy.run_path(str(ROOT / "scripts" / "protos.py"))["differences"]() == []


def test_a_proto_that_changed_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "protos.py"))
    script["compile_into"](tmp_path)
    changed = tmp_path / "hatchet_contracts" / "dispatcher_pb2.py"
    changed.write_text(changed.read_text() + "# edited\n")
    monkeypatch.setitem(script["differences"].__globals__, "COMPILED", tmp_path)
    assert script["differences"]() == ["hatchet_contracts/dispatcher_pb2.py"]


def test_pinned_versions_name_no_registry() -> None:
    pinned = [
        path for path in files() if re.match(r"(constraints|requirements).*\.txt$|.*\.lock$|.*lock\.json$", path.name)
    ]
    assert ROOT / "constraints.txt" in pinned
    assert matches(ADDRESS, pinned) == []


def test_every_pin_is_exact() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)] == []


def test_no_path_of_one_machine() -> None:
    assert matches(MACHINE_PATHS, files()) == []


def test_nothing_is_left_unfinished() -> None:
    assert matches(UNFINISHED, [path for path in files() if path.suffix in {".py", ".sql"}]) == []


def test_every_dependency_is_pinned() -> None:
    def normal(name: str) -> str:
        return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", name, maxsplit=1)[0]).lower()

    wanted = [
        *project()["dependencies"],
        *(name for extra in project()["optional-dependencies"].values() for name in extra),
    ]
    pinned = {normal(line) for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").split()}
    assert sorted({normal(name) for name in wanted} - pinned) == []


@pytest.mark.parametrize("name", ["hatchet", "hatchet-engine", "hatchet-admin", "hatchet-migrate"])
def test_every_program_starts_and_knows_its_version(name: str) -> None:
    module, _, function = project()["scripts"][name].partition(":")
    code = f"import sys; from {module} import {function}; sys.argv = [{name!r}, '--version']; sys.exit({function}())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, project()["version"] in ran.stdout) == (0, True), ran.stderr


@pytest.mark.parametrize("name", ["scripts/run.py", "scripts/protos.py", ".ci/run"])
def test_scripts_are_there_and_parse(name: str) -> None:
    path = ROOT / name
    if path.suffix == ".py":
        compile(path.read_text(encoding="utf-8"), name, "exec")
    else:
        assert path.stat().st_mode & 0o111, f"{name} is not executable"
        subprocess.run(["bash", "-n", path], check=True)
