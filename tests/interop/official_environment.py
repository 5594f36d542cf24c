"""The official client lives in a virtual environment of its own, made once per content of requirements.txt."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
DIRECTORY = Path(__file__).resolve().parents[2] / ".venv-interop"
INSTALL_SECONDS = 900.0


def official_python() -> Path:
    """The interpreter in which ``hatchet_sdk`` is the official client. Installs it first where that is needed."""
    DIRECTORY.mkdir(exist_ok=True)
    with (DIRECTORY / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        environment, stamp = DIRECTORY / "python", DIRECTORY / "stamp"
        wanted = f"{sys.version}\n{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()}\n"
        if not stamp.exists() or stamp.read_text() != wanted:
            stamp.unlink(missing_ok=True)
            shutil.rmtree(environment, ignore_errors=True)
            _make(environment)
            stamp.write_text(wanted)
    return environment / "bin" / "python"


def _make(environment: Path) -> None:
    _run(sys.executable, "-m", "venv", str(environment))
    pip = (str(environment / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input")
    _run(*pip, "install", "--quiet", "--requirement", str(REQUIREMENTS))


def _run(*command: str) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    assert ran.returncode == 0, f"{' '.join(command)}\n{ran.stdout}\n{ran.stderr}"
