"""``make run``: start the server, run the example worker, run a task on it once, then serve until Ctrl-C.

A server that already runs is used and left running; one that this command started is stopped at the end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from hatchet.cli.local_server import LocalServer

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
HATCHET = str(Path(sys.executable).parent / "hatchet")
PROFILE = "local"
REGISTRATION_SECONDS = 30.0
WORKER_STOP_SECONDS = 40.0


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    found_running = LocalServer().is_running()
    try:
        started = subprocess.run([HATCHET, "server", "start", "--profile", PROFILE], check=False)
        if started.returncode != 0:
            return started.returncode
        return _serve_example()
    except KeyboardInterrupt:
        print("\nStopping.", flush=True)
        return 0
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if not found_running:
            subprocess.run([HATCHET, "server", "stop"], check=False)


def _serve_example() -> int:
    environment = _environment()
    print("Starting the example worker (examples/worker.py).", flush=True)
    # In a session of its own: Ctrl-C must not reach it twice, once from the terminal and once from here.
    worker = subprocess.Popen([sys.executable, str(EXAMPLES / "worker.py")], env=environment, start_new_session=True)
    try:
        if not _trigger(worker, environment):
            return 1
        print("\nThe server and the worker keep running. Press Ctrl-C to stop both.", flush=True)
        code = worker.wait()
        print(f"The example worker ended by itself (code {code}).", file=sys.stderr)
        return 1
    finally:
        _end(worker)


def _trigger(worker: subprocess.Popen[bytes], environment: dict[str, str]) -> bool:
    """Run the example's tasks once; tries again while the worker has not registered them yet."""
    deadline = time.monotonic() + REGISTRATION_SECONDS
    while True:
        command = [sys.executable, str(EXAMPLES / "trigger.py")]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if ran.returncode == 0:
            print(f"\nRunning the tasks once (examples/trigger.py):\n\n{ran.stdout}", end="", flush=True)
            return True
        unregistered = "not found" in ran.stderr.lower() or "NOT_FOUND" in ran.stderr
        if not unregistered or worker.poll() is not None or time.monotonic() > deadline:
            print(f"The example did not run:\n\n{ran.stderr}", file=sys.stderr)
            return False
        time.sleep(0.2)


def _environment() -> dict[str, str]:
    """The profile that was just written, and nothing that points the SDK at another server."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HATCHET_CLIENT_")}
    return {**environment, "HATCHET_CLI_PROFILE": PROFILE}


def _end(worker: subprocess.Popen[bytes]) -> None:
    worker.terminate()
    try:
        worker.wait(WORKER_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        print(f"The worker did not stop within {WORKER_STOP_SECONDS:.0f} s; ending it.", file=sys.stderr)
        worker.kill()
        worker.wait()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
