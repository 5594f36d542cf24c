"""Every example is run as a person runs it: a worker in one process, the trigger in another, on a server that is real.

One server serves the whole module, and all workers are started at once.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.engine_process import EngineProcess
from support.program import Program, wait_until

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TRIGGER_SECONDS = 120.0

PRINTED = {
    "": """\
greet         -> {'message': 'Hello, World!'}
count-letters -> {'letters': 5}
""",
    "dag": """\
split    -> {'words': ['tasks', 'that', 'depend', 'on', 'each', 'other']}
count    -> {'count': 6}
longest  -> {'word': 'depend'}
summary  -> {'text': '6 words, the longest is depend'}
""",
    "branching": """\
an order of 80 was accepted by a machine
  skipped: ['review']
an order of 800 was accepted by a person
  skipped: ['accept']
""",
    "fan_out": """\
{'chapters': 4, 'letters': 24}
""",
    "on_failure": """\
50   -> paid 50
5000 -> ['ValueError: 5000 is above the limit']
         {'failed': ['charge'], 'because': '5000 is above the limit'}
""",
    "wait_for_event": """\
A -> approved by Ada
B -> nobody objected for 3 seconds
""",
    "streaming": """\
You asked for the answer and the answer is 42
{'words': 10}
""",
    "idempotency": """\
refused while the first run goes on: True
taken after its end: True
of three in bulk: 1 created, 2 refused
the created one completes: True
""",
    "retries_and_timeouts": """\
flaky -> {'attempt': 2, 'of': 4}
flaky -> trying again does not help
too-slow -> Task exceeded timeout of 1s
asks-for-time -> {'finished': 'a job'}
waits-for-a-partner -> 20 finished, on two slots side by side: True
can-be-cancelled -> Workflow run … was cancelled.
""",
    "task_logs": """\
orders.csv -> {'rows': 12}
returns.csv -> {'rows': 0}
""",
    "bulk": """\
the sum of 500 squares: 41541750
the last one: {'square': 249001, 'metadata': {'source': 'example', 'batch': 'one'}}
started: 500 and the eighth says 49
failed: FailedTaskRunExceptionGroup
fine: dict
""",
    "concurrency": """\
ann's five pages were printed one after the other: True
bob did not wait for them: True
""",
    "rate_limits": """\
ann's last search waited for a later second: True
bob's did not wait: True
sent: 3
units left: 97 of 100
""",
    "schedules": """\
declared: ['30 3 * * *']
scheduled: {'of': 'the orders'}
left: ['30 3 * * *']
""",
    "events": """\
pushed: 4
filters left: ['shop-1']
""",
    "batches": """\
0 as one of 10 in orders
9 as one of 10 in orders
0 as one of 2 in people
[{'sum': 6}, {'sum': 6}, {'sum': 6}, {'sum': 6}]
""",
    "durable_approval": """\
A -> approved by the rules
B -> approved by Ada
C -> refused, as nobody decided in time
""",
    "durable_agent_loop": """\
Everest is 4043 m higher than Mont Blanc
tools used: look-up-height, look-up-height, subtract
""",
    "durable_saga": """\
Vienna -> {'booked': ['flight-vienna', 'hotel-vienna', 'car-vienna']}
Venice -> {'because': 'there are no cars in Venice', 'undone': ['hotel-venice', 'flight-venice']}
""",
    "sticky": """\
{'found': 'the model small', 'child_found': 'the model small', 'workers': 1}
{'found': 'the model large', 'child_found': 'the model large', 'workers': 1}
""",
}
"""What the trigger of each directory prints."""

WORKER_PRINTED = {
    "retries_and_timeouts": ["a job was cancelled"],
    "schedules": ["a backup of the orders", "a backup of the second"],
    "events": [
        *(f"recorded: order {order}" for order in "ABCD"),
        "thanked: order B with a book",
        "thanked: order D with a bicycle",
    ],
    "task_logs": ["importing orders.csv", "WARNING my-application: returns.csv is empty"],
}
"""What the worker prints meanwhile."""


class World:
    """The server, and the worker of each example."""

    def __init__(self, directory: Path) -> None:
        self.engine = EngineProcess(directory)
        self.engine.launch()
        self.environment = self.engine.client_environment(self.engine.token())
        self.workers = {name: self._worker(name, directory) for name in PRINTED}

    def _worker(self, name: str, directory: Path) -> Program:
        command = [sys.executable, str(EXAMPLES / name / "worker.py")]
        worker = Program(f"worker-{name}", command, self.environment, directory / f"worker-{name}.log")
        worker.start()
        return worker

    def await_worker(self, name: str) -> None:
        worker = self.workers[name]
        wait_until(lambda: "connected (id" in worker.text() or not worker.is_running, f"{worker.name} is connected")
        assert worker.is_running, worker.tail()

    def trigger(self, name: str) -> str:
        command = [sys.executable, str(EXAMPLES / name / "trigger.py")]
        said = f"\n{self.workers[name].tail()}\n{self.engine.tail()}"
        try:
            ran = subprocess.run(
                command, env=self.environment, capture_output=True, text=True, timeout=TRIGGER_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{error}{said}") from None
        assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}{said}"
        assert ran.stderr == ""
        return ran.stdout

    def close(self) -> None:
        for worker in self.workers.values():
            worker.kill()
        self.engine.stop()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="hatchet-examples-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        world = World(directory)
        try:
            yield world
        finally:
            world.close()


@pytest.mark.parametrize("name", PRINTED)
def test_an_example_prints_what_it_promises(world: World, name: str) -> None:
    world.await_worker(name)
    assert [line.rstrip() for line in world.trigger(name).splitlines()] == PRINTED[name].splitlines()
    worker = world.workers[name]
    for text in WORKER_PRINTED.get(name, ()):
        wait_until(lambda text=text: text in worker.text(), f"the worker printed {text!r}")
    # An error in a task is printed where it happens; nothing else goes wrong in an example.
    unexpected = [line for line in worker.text().splitlines() if " ERROR " in line or "could not" in line.lower()]
    assert unexpected == []


def test_every_example_is_run_here() -> None:
    directories = {
        path.parent.relative_to(EXAMPLES).as_posix().replace(".", "") for path in EXAMPLES.rglob("worker.py")
    }
    assert directories == set(PRINTED)
