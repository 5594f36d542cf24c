"""The load test without a server: its flags, what it plans, whom it triggers, and when it has not passed."""

from __future__ import annotations

import asyncio
import csv
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

import click
import grpc
import pytest
import typer

from hatchet.cli import loadtest
from hatchet.cli.loadtest import chart, figures, plan, producer, summary
from hatchet.cli.loadtest.plan import Later, Plan
from hatchet.cli.loadtest.producer import Producer, Tally, Timing
from hatchet.core.errors import FailedPrecondition, InvalidArgument, Unimplemented
from hatchet_sdk import EngineError, FailedTaskRunExceptionGroup

# Contract cli.json, program loadtest: every flag with its short form and its default.
FLAGS: dict[str, tuple[str | None, object]] = {
    "averageDurationThreshold": (None, "100ms"),
    "concurrency": ("c", 0),
    "dagSteps": ("g", 1),
    "delay": ("D", "0s"),
    "duration": ("d", "10s"),
    "emitWorkers": (None, 0),
    "eventFanout": ("F", 1),
    "events": ("e", 10),
    "exclude": (None, []),
    "externalWorker": (None, False),
    "failureRate": ("f", 0.0),
    "level": ("l", "info"),
    "payloadSize": ("P", "0kb"),
    "plotDirectory": (None, ""),
    "registrationTimeout": (None, "60s"),
    "rlDurationUnit": (None, "second"),
    "rlKeys": (None, 0),
    "rlLimit": (None, 0),
    "select": (None, []),
    "slots": ("s", 0),
    "timingSampleRate": (None, 1.0),
    "wait": ("w", "10s"),
    "workerDelay": ("p", "0s"),
}

DEFAULTS: dict[str, Any] = {
    "events": 10,
    "duration": "10s",
    "wait": "10s",
    "slots": 0,
    "payload_size": "0kb",
    "fanout": 1,
    "delay": "0s",
    "failure_rate": 0.0,
    "concurrency": 0,
    "worker_delay": "0s",
    "external_worker": False,
    "emit_workers": 0,
    "registration_timeout": "60s",
    "threshold": "100ms",
    "sample_rate": 1.0,
    "plot_directory": "",
    "level": "info",
    "later": Later(),
}


def from_flags(**changed: Any) -> Plan:
    return plan.from_flags(**{**DEFAULTS, **changed})


# --- flags ----------------------------------------------------------------------------------------------------------


def test_every_flag_of_the_contract_has_its_name_short_form_and_default() -> None:
    app = typer.Typer(add_completion=False)
    loadtest.register(app)
    command = typer.main.get_command(app)
    if isinstance(command, click.Group):
        command = command.commands["loadtest"]
    found = {}
    for option in command.params:
        long = next((name for name in option.opts if name.startswith("--")), None)
        if long is None:
            continue
        short = next((name[1:] for name in option.opts if not name.startswith("--")), None)
        default = option.default
        found[long[2:]] = (short, list(default) if isinstance(default, (list, tuple)) else default)
    found.pop("help", None)
    assert found == FLAGS


def test_the_defaults_are_the_plans_defaults() -> None:
    assert from_flags() == Plan()


@pytest.mark.parametrize(
    ("text", "size"), [("0kb", 0), ("10kb", 10240), ("1.5MB", 1572864), ("300b", 300), ("300", 300)]
)
def test_payload_sizes(text: str, size: int) -> None:
    assert plan.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "kb", "-1kb", "10gb", "1 0kb"])
def test_other_payload_sizes_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="--payloadSize"):
        plan.parse_size(text)


def test_concurrency_bounds_the_slots_of_the_worker() -> None:
    assert from_flags(concurrency=7).slots == 7
    assert from_flags(concurrency=70, slots=20).slots == 20
    with pytest.raises(InvalidArgument, match="--externalWorker"):
        from_flags(concurrency=7, external_worker=True)


@pytest.mark.parametrize(
    ("later", "kind", "flag"),
    [
        (Later(dag_steps=2), Unimplemented, "--dagSteps 2"),
        (Later(rate_limit_keys=3), Unimplemented, "--rlKeys"),
        (Later(rate_limit=3), Unimplemented, "--rlLimit"),
        (Later(rate_limit_unit="fortnight"), InvalidArgument, "--rlDurationUnit"),
        (Later(select=("dag",)), InvalidArgument, "--select"),
        (Later(exclude=("events",)), InvalidArgument, "--exclude"),
    ],
)
def test_what_this_version_does_not_serve_is_refused_by_the_name_of_its_flag(
    later: Later, kind: type[Exception], flag: str
) -> None:
    with pytest.raises(kind, match=flag):
        from_flags(later=later)


@pytest.mark.parametrize(
    ("field", "flag"),
    [
        ("duration", "--duration"),
        ("wait", "--wait"),
        ("delay", "--delay"),
        ("worker_delay", "--workerDelay"),
        ("registration_timeout", "--registrationTimeout"),
        ("threshold", "--averageDurationThreshold"),
    ],
)
def test_a_wrong_duration_names_its_flag(field: str, flag: str) -> None:
    with pytest.raises(InvalidArgument, match=flag):
        from_flags(**{field: "soon"})


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="--level"):
        from_flags(level="loud")


# --- figures --------------------------------------------------------------------------------------------------------


def test_percentiles_are_values_that_were_measured() -> None:
    values = list(range(1, 101))
    assert [figures.percentile(values, percent) for percent in (0, 1, 50, 95, 99, 100)] == [1, 1, 50, 95, 99, 100]
    assert figures.percentile([7.0], 99) == 7.0
    with pytest.raises(ValueError, match="no values"):
        figures.percentile([], 50)
    assert figures.spread([3.0, 1.0, 2.0]) == {50: 2.0, 95: 3.0, 99: 3.0}
    assert figures.spread([]) == {}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 1 / 3, 0.999, 1.0])
def test_a_share_is_spread_evenly_and_exactly(share: float) -> None:
    chosen = [producer.is_chosen(number, share) for number in range(1000)]
    assert sum(chosen) == int(1000 * share)
    assert all(abs(sum(chosen[:count]) - count * share) < 1 for count in (1, 10, 100, 500))


# --- the producer ---------------------------------------------------------------------------------------------------


class FakeRef:
    def __init__(self, workflow: FakeWorkflow, item: dict[str, Any]) -> None:
        self._workflow = workflow
        self._item = item

    async def aio_result(self) -> dict[str, float]:
        if self._workflow.never_ends:
            await asyncio.Event().wait()
        if self._item["fails"] is not self._workflow.turned:
            raise FailedTaskRunExceptionGroup("failed", [RuntimeError("asked for")])
        return {"started": time.time()}


class FakeWorkflow:
    """Takes what the producer sends, and ends each run as it asks."""

    def __init__(self, *, never_ends: bool = False, turned: bool = False, refuses: bool = False) -> None:
        self.never_ends = never_ends
        self.turned = turned
        self.refuses = refuses
        self.requests: list[list[dict[str, Any]]] = []

    def create_bulk_run_item(self, *, input: dict[str, Any]) -> dict[str, Any]:
        return input

    async def aio_run_many(self, items: list[dict[str, Any]], *, wait_for_result: bool) -> list[FakeRef]:
        assert wait_for_result is False
        if self.refuses:
            raise EngineError("full", grpc.StatusCode.RESOURCE_EXHAUSTED, "full", {})
        self.requests.append(items)
        return [FakeRef(self, item) for item in items]

    @property
    def items(self) -> list[dict[str, Any]]:
        return [item for request in self.requests for item in request]


class Steps:
    """A clock that moves by the same step at each look."""

    def __init__(self, step: float) -> None:
        self._now, self._step = 0.0, step

    def __call__(self) -> float:
        self._now += self._step
        return self._now


async def produce(chosen: Plan, *workflows: FakeWorkflow, step: float = 0.05) -> Tally:
    made = Producer(chosen, cast("list[Any]", list(workflows)), clock=Steps(step))
    return await made.run()


async def test_the_rate_times_the_duration_is_triggered_whatever_the_pace_of_the_loop() -> None:
    for step in (0.004, 0.3, 7.0):
        workflow = FakeWorkflow()
        tally = await produce(Plan(rate=50, seconds=4.0, wait=1000.0, payload_bytes=11), workflow, step=step)
        assert (tally.accepted, tally.completed, tally.failed, tally.lost) == (200, 200, 0, 0)
        assert {item["data"] for item in workflow.items} == {"x" * 11}
        assert max(map(len, workflow.requests)) <= producer.LARGEST_REQUEST


async def test_an_event_triggers_every_workflow_of_the_fanout() -> None:
    workflows = [FakeWorkflow() for _ in range(3)]
    tally = await produce(Plan(rate=10, seconds=2.0, wait=1000.0), *workflows)
    assert [len(workflow.items) for workflow in workflows] == [20, 20, 20]
    assert tally.completed == 60


async def test_the_failures_that_are_asked_for_are_neither_lost_nor_strange() -> None:
    tally = await produce(Plan(rate=100, seconds=1.0, wait=1000.0, failure_rate=0.2), FakeWorkflow())
    assert (tally.completed, tally.failed, tally.strange, tally.lost) == (80, 20, 0, 0)


async def test_runs_that_end_otherwise_than_asked_are_counted() -> None:
    tally = await produce(Plan(rate=100, seconds=1.0, wait=1000.0, failure_rate=0.2), FakeWorkflow(turned=True))
    assert (tally.completed, tally.failed, tally.strange, tally.lost) == (20, 80, 100, 0)
    assert "FailedTaskRunExceptionGroup" in tally.first_error


async def test_runs_without_an_end_are_lost_after_the_wait() -> None:
    tally = await produce(Plan(rate=10, seconds=1.0, wait=0.01), FakeWorkflow(never_ends=True), step=0.001)
    assert (tally.accepted, tally.lost) == (10, 10)


async def test_refused_triggers_are_counted_and_told() -> None:
    tally = await produce(Plan(rate=10, seconds=1.0, wait=1000.0), FakeWorkflow(refuses=True))
    assert (tally.accepted, tally.refused, tally.lost) == (0, 10, 0)
    assert tally.first_error == "EngineError: full"


async def test_only_the_asked_share_of_the_runs_is_timed() -> None:
    tally = await produce(Plan(rate=100, seconds=1.0, wait=1000.0, sample_rate=0.25), FakeWorkflow())
    assert (tally.completed, len(tally.timings)) == (100, 25)


async def test_what_the_producer_did_not_expect_is_raised() -> None:
    workflow = FakeWorkflow()
    workflow.create_bulk_run_item = None  # type: ignore[assignment,method-assign]
    with pytest.raises(TypeError):
        await produce(Plan(rate=10, seconds=1.0, wait=1000.0), workflow)


# --- the verdict ----------------------------------------------------------------------------------------------------

GOOD = Tally(
    accepted=3,
    completed=3,
    emitting_seconds=1.0,
    total_seconds=2.0,
    timings=[Timing(100.0, 0.01, 0.02), Timing(100.5, 0.02, 0.04), Timing(101.5, 0.03, 0.06)],
)


def test_a_good_run_passes() -> None:
    assert summary.complaints(Plan(), GOOD) == []
    text = summary.report(Plan(), GOOD)
    for part in ("accepted   3  (3.0 runs/s)", "tasks/s    1.5", "p50 20.0 ms  p95 30.0 ms  p99 30.0 ms", "40.0 ms"):
        assert part in text


def test_the_threshold_is_compared_with_the_average_without_the_delay() -> None:
    assert summary.complaints(Plan(threshold=0.041), GOOD) == []
    assert "40.0 ms is above" in summary.complaints(Plan(threshold=0.039), GOOD)[0]
    assert summary.complaints(Plan(threshold=0.0), GOOD) == []
    assert summary.complaints(Plan(threshold=0.011, delay=0.03), GOOD) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"accepted": 5}, "2 of 5 accepted runs did not finish"),
        ({"refused": 4}, "4 runs were refused"),
        ({"strange": 1}, "1 runs ended otherwise"),
        ({"accepted": 0, "completed": 0}, "no run was accepted"),
    ],
)
def test_what_keeps_a_load_test_from_passing(changed: dict[str, int], said: str) -> None:
    found = summary.complaints(Plan(), replace(GOOD, first_error="EngineError: full", **changed))
    assert said in found[0]
    assert found[-1] == "the first error: EngineError: full"


def test_the_chart_and_the_table_hold_what_was_timed(tmp_path: Path) -> None:
    table, picture = chart.write(tmp_path / "new" / "plots", GOOD.timings)
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert [float(row["to_result_ms"]) for row in rows] == [20.0, 40.0, 60.0]
    lines = ElementTree.parse(picture).getroot().findall("{http://www.w3.org/2000/svg}polyline")
    assert [len(line.attrib["points"].split()) for line in lines] == [2, 2, 2]
    assert chart.by_second(GOOD.timings)[0][50] == pytest.approx(20.0)


def test_a_chart_of_nothing_is_still_a_chart() -> None:
    assert ElementTree.fromstring(chart.drawn([])).tag.endswith("svg")


def test_a_plot_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FailedPrecondition, match="--plotDirectory"):
        chart.write(tmp_path / "file", GOOD.timings)
