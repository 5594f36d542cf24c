"""``--plotDirectory``: every timed run as CSV, and a chart of the seconds of the load test as SVG."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from hatchet.cli.loadtest.figures import SHOWN, spread
from hatchet.cli.loadtest.producer import Timing
from hatchet.core.errors import FailedPrecondition

_WIDTH, _HEIGHT, _MARGIN = 800, 400, 60
_COLOURS = {50: "#2a7f4f", 95: "#c07f1a", 99: "#b23a3a"}


def write(directory: Path, timings: Sequence[Timing]) -> list[Path]:
    """The files that were written. Raises :class:`FailedPrecondition` when they cannot be."""
    files = [directory / "loadtest.csv", directory / "loadtest.svg"]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with files[0].open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(("triggered_at", "to_start_ms", "to_result_ms"))
            for timing in timings:
                rows.writerow(
                    (f"{timing.triggered:.6f}", f"{timing.to_start * 1000:.3f}", f"{timing.to_result * 1000:.3f}")
                )
        files[1].write_text(drawn(timings), encoding="utf-8")
    except OSError as error:
        raise FailedPrecondition(
            f"--plotDirectory {directory}: cannot write there ({error.strerror or error})."
        ) from error
    return files


def by_second(timings: Sequence[Timing]) -> dict[int, dict[int, float]]:
    """Milliseconds from trigger to result, the percentiles of each second since the first trigger."""
    first = min((timing.triggered for timing in timings), default=0.0)
    seconds: dict[int, list[float]] = defaultdict(list)
    for timing in timings:
        seconds[int(timing.triggered - first)].append(timing.to_result * 1000)
    return {second: spread(values) for second, values in sorted(seconds.items())}


def drawn(timings: Sequence[Timing]) -> str:
    """The chart: one line for each percentile."""
    points = by_second(timings)
    last = max(points, default=0) or 1
    top = max((value[99] for value in points.values()), default=1.0) or 1.0
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" '
        'font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_MARGIN}" y="24">Trigger to result by second, up to {top:.1f} ms</text>',
        f'<path d="M{_MARGIN} {_MARGIN}V{_HEIGHT - _MARGIN}H{_WIDTH - _MARGIN}" stroke="#888" fill="none"/>',
        f'<text x="{_WIDTH - _MARGIN}" y="{_HEIGHT - _MARGIN + 20}" text-anchor="end">{last} s</text>',
    ]
    for number, percent in enumerate(SHOWN):
        line = " ".join(f"{_x(second, last):.1f},{_y(value[percent], top):.1f}" for second, value in points.items())
        lines.append(f'<polyline points="{line}" stroke="{_COLOURS[percent]}" stroke-width="2" fill="none"/>')
        lines.append(f'<text x="{_MARGIN + 60 * number}" y="46" fill="{_COLOURS[percent]}">p{percent}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _x(second: int, last: int) -> float:
    return _MARGIN + (_WIDTH - 2 * _MARGIN) * second / last


def _y(value: float, top: float) -> float:
    return _HEIGHT - _MARGIN - (_HEIGHT - 2 * _MARGIN) * value / top
