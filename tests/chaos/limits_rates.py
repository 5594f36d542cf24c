"""What rate limits and batches promise: no window gives more than it has, no batch is larger or mixed."""

from __future__ import annotations

from collections import defaultdict

from limits_places import check_most
from limits_rows import SLACK_SECONDS, Attempt, LimitedTask, LimitsRows, Span

EARLY_SECONDS = 0.01 + SLACK_SECONDS
"""A window counts as over 10 ms early (behaviour-core C-10.13), on the clock of whoever looks."""
FIRST_LOOK_SECONDS = 0.5
"""So long before the first start its window may have begun: nobody has looked at the key before."""
STATIC_LIMIT = 25
DYNAMIC = {"dynamic": (4, 1.0), "scarce": (10, 60.0)}
"""Workflow to the units of a window and its length in seconds."""
BATCH_MOST, BATCH_SIZE = 2, 5


def check_windows(rows: LimitsRows) -> None:
    """C-10.12, C-10.13: each attempt takes a unit of a window, and no window gives more than it has, to whomever."""
    times: dict[tuple[str, int, float], list[float]] = defaultdict(list)
    for task in rows.of("static", *DYNAMIC):
        name = f"{task.flow}-{task.job['k']}"
        key = ("chaos-static", STATIC_LIMIT, 1.0) if task.flow == "static" else (name, *DYNAMIC[task.flow])
        times[key].extend(one.assigned_at for one in task.given if one.assigned_at is not None)
    for (key, most, window), starts in times.items():
        if not starts:
            continue
        starts.sort()
        bad = _overfull(starts, most, window - EARLY_SECONDS)
        assert bad is None, (
            f"{key}: no windows of {most} fit these starts: {[round(at, 3) for at in starts[bad - 2 * most : bad + 2]]}"
        )
        row = rows.limits[key]
        taken = sum(at >= row["refilled_at"] - 0.001 for at in starts)
        assert row["most"] - row["left"] >= taken, (
            f"{key}: {taken} units were taken in the last window, the row says {dict(row)}"
        )


def _overfull(starts: list[float], most: int, window: float) -> int | None:
    """Whether starts fit into windows that begin at least ``window`` seconds after each other, ``most`` in each.

    ``earliest[i]``: the earliest moment at which a window can have begun whose first start is number ``i``.
    None when they fit, otherwise the number of the start at which they do not.
    """
    earliest: list[float | None] = [starts[0] - FIRST_LOOK_SECONDS]
    for i in range(1, len(starts) + 1):
        candidates = [
            max(began + window, starts[i - 1]) for j in range(max(0, i - most), i) if (began := earliest[j]) is not None
        ]
        if not candidates:
            return i
        found = min(candidates)
        earliest.append(found if i == len(starts) or found <= starts[i] else None)
    return None


def check_batches(rows: LimitsRows) -> None:
    """C-16.7, C-16.11, C-16.12, C-16.14."""
    members: dict[str, list[tuple[LimitedTask, Attempt]]] = defaultdict(list)
    for task in rows.of("gathered"):
        for one in task.given:
            assert one.batch is not None, f"{task}: attempt {one.number} was given out alone"
            members[one.batch].append((task, one))
    spans: dict[str, list[Span]] = defaultdict(list)
    for batch, of_batch in members.items():
        assert len(of_batch) <= BATCH_SIZE, f"batch {batch} has {len(of_batch)} members"
        assert len({task.job["k"] for task, _ in of_batch}) == 1, f"batch {batch} mixes keys"
        assert len({one.worker for _, one in of_batch}) == 1, f"batch {batch} went to several workers"
        starts = {one.assigned_at for _, one in of_batch}
        assert len(starts) == 1, f"batch {batch} was given out at several times"
        spans[of_batch[0][0].job["k"]].append((starts.pop() or 0.0, max(one.finished_at for _, one in of_batch)))
    check_most("batches", BATCH_MOST, spans)
