"""What a load test came to: the text for a person, and whether it passed."""

from __future__ import annotations

from statistics import fmean

from hatchet.cli.loadtest.figures import SHOWN, spread
from hatchet.cli.loadtest.plan import Plan
from hatchet.cli.loadtest.producer import Tally


def average_duration(plan: Plan, tally: Tally) -> float | None:
    """Seconds from trigger to result without the time that the task slept; None when nothing was timed."""
    return fmean(timing.to_result for timing in tally.timings) - plan.delay if tally.timings else None


def complaints(plan: Plan, tally: Tally) -> list[str]:
    """Why the load test did not pass; empty when it did."""
    found = []
    if tally.lost:
        found.append(f"{tally.lost} of {tally.accepted} accepted runs did not finish within --wait {plan.wait:g}s")
    if tally.refused:
        found.append(f"{tally.refused} runs were refused")
    if tally.strange:
        found.append(f"{tally.strange} runs ended otherwise than --failureRate asks for")
    if not tally.accepted:
        found.append("no run was accepted")
    average = average_duration(plan, tally)
    if plan.threshold and average is not None and average > plan.threshold:
        found.append(
            f"the average duration of {average * 1000:.1f} ms is above --averageDurationThreshold "
            f"{plan.threshold * 1000:g} ms"
        )
    if found and tally.first_error:
        found.append(f"the first error: {tally.first_error}")
    return found


def report(plan: Plan, tally: Tally) -> str:
    """The table."""
    asked = f"{plan.rate} events/s" if plan.rate else "as fast as they are taken"
    finished = tally.completed + tally.failed
    rows = {
        "asked": f"{asked} for {plan.seconds:g} s, {plan.fanout} workflow{'s' if plan.fanout > 1 else ''} an event",
        "accepted": f"{tally.accepted}  ({_rate(tally.accepted, tally.emitting_seconds)} runs/s)",
        "completed": str(tally.completed),
        "failed": f"{tally.failed}  (asked for: {plan.failure_rate:.0%})" if plan.failure_rate else str(tally.failed),
        "lost": str(tally.lost),
        "tasks/s": _rate(finished, tally.total_seconds),
    }
    if tally.refused:
        rows["refused"] = str(tally.refused)
    rows["to start"] = _percentiles([timing.to_start for timing in tally.timings])
    rows["to result"] = _percentiles([timing.to_result for timing in tally.timings])
    average = average_duration(plan, tally)
    if average is not None:
        rows["average"] = f"{average * 1000:.1f} ms from trigger to result" + (" without the delay" * bool(plan.delay))
    return "\n".join(f"  {name:<11}{value}" for name, value in rows.items())


def _rate(count: int, seconds: float) -> str:
    return f"{count / seconds:.1f}" if seconds > 0 else "-"


def _percentiles(seconds: list[float]) -> str:
    found = spread(seconds)
    if not found:
        return "not timed"
    return "  ".join(f"p{percent} {found[percent] * 1000:.1f} ms" for percent in SHOWN)
