"""What events, crons and scheduled runs must have started (behaviour-core C-12, C-14)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from limits_rows import SLACK_SECONDS, LimitedTask, LimitsRows, Span

FILTERS: dict[str, Callable[[int, str], bool]] = {
    "even": lambda n, scope: scope == "left" and n % 2 == 0,
    "third": lambda n, scope: scope == "left" and n % 3 == 0,
    "right": lambda n, scope: scope == "right",
}


def check_events(rows: LimitsRows) -> None:
    """C-12.19: one run for each filter that is true, of every event that is stored, and no other run."""
    started: Counter[str] = Counter()
    for event in rows.events:
        n = json.loads(event["payload"])["n"]
        wanted = sorted(name for name, is_true in FILTERS.items() if is_true(n, event["scope"] or ""))
        runs = rows.event_runs.get(event["id"], [])
        assert sorted(json.loads(row["payload"])["filter"] for row in runs) == wanted, f"event {dict(event)}: {runs}"
        started.update(row["run"] for row in runs)
        for row in runs:
            output = json.loads(rows.tasks[row["run"]].end["output"])
            assert (output["filter"], output["n"]) == (json.loads(row["payload"])["filter"], n)
    assert started == Counter(task.row["run"] for task in rows.of("pushed")), "runs of events and their records differ"


def check_crons(rows: LimitsRows, down: Sequence[Span]) -> None:
    """C-14.9: each second fired at most once; none is missing between the first and the last while an engine was up."""
    instants = Counter(_instant(task) for task in rows.of("ticking"))
    twice = [at for at, count in instants.items() if count > 1]
    assert not twice, f"instants that fired more than once: {twice}"
    missing = [
        at
        for at in range(min(instants), max(instants))
        if at not in instants and not any(start - 1 <= at <= end + 1 for start, end in down)
    ]
    assert not missing, f"instants that did not fire: {missing}"


def _instant(task: LimitedTask) -> int:
    text = task.metadata["hatchet__cron_scheduled_at"]
    return int(datetime.fromisoformat(text).astimezone(UTC).timestamp())


def check_plans(rows: LimitsRows) -> None:
    """C-14.24: each scheduled run started exactly once, not before its time."""
    started = Counter(row["run"] for row in rows.plans.values())
    assert started == Counter(task.row["run"] for task in rows.of("planned")), "scheduled runs and their rows differ"
    for row in rows.plans.values():
        task = rows.tasks[row["run"]]
        assert task.job == json.loads(row["input"]), f"{task} is not the run of {dict(row)}"
        assert task.row["inserted_at"] >= row["at"] - SLACK_SECONDS, f"{task} started before {row['at']}"
