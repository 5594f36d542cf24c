"""The environment of the other queues and of the profiler: made once, beside the project's own."""

from __future__ import annotations

import hashlib
import subprocess
import sys

from benchmarks.machine import ROOT

DIRECTORY = ROOT / ".venv-bench"
REQUIREMENTS = ROOT / "benchmarks" / "requirements.txt"


def python() -> str:
    """The Python of ``.venv-bench``, installed first when the requirements have changed.

    Raises subprocess.CalledProcessError when a package cannot be installed; pip has then said why.
    """
    interpreter = DIRECTORY / "bin" / "python"
    stamp = DIRECTORY / ".installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if not interpreter.exists() or not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        print(f"installing {REQUIREMENTS.name} of the benchmarks into {DIRECTORY.name}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(DIRECTORY)], check=True)
        quiet = ["--quiet", "--disable-pip-version-check"]
        subprocess.run([str(interpreter), "-m", "pip", "install", *quiet, "-r", str(REQUIREMENTS)], check=True)
        stamp.write_text(wanted, encoding="utf-8")
    return str(interpreter)
