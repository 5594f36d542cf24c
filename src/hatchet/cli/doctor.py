"""What ``hatchet-admin doctor`` prints, and the exit code that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from hatchet.engine.doctor_checks import EXAMPLES, MOST, Found, Outcome

HEALTHY, FINDINGS, NOT_CHECKED = 0, 1, 2


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """0: healthy, or all was mended; 1: something is left; 2: nothing was found, and not all could be checked."""
    if any(outcome.is_open for outcome in outcomes):
        return FINDINGS
    return NOT_CHECKED if any(outcome.error for outcome in outcomes) else HEALTHY


def as_json(outcomes: Sequence[Outcome]) -> str:
    """Everything for programs."""
    return orjson.dumps(
        {"healthy": exit_code(outcomes) == HEALTHY, "checks": [_data(outcome) for outcome in outcomes]},
        option=orjson.OPT_INDENT_2,
    ).decode()


def as_text(outcomes: Sequence[Outcome], *, fixes: bool) -> str:
    """The findings for people; ``fixes``: whether mending was asked for."""
    blocks = [_block(outcome, fixes=fixes) for outcome in outcomes if outcome.found or outcome.error]
    clean = sum(1 for outcome in outcomes if not outcome.found and not outcome.error)
    return "\n\n".join([*blocks, f"{clean} of {len(outcomes)} checks found nothing."])


def _block(outcome: Outcome, *, fixes: bool) -> str:
    check = outcome.check
    lines = [f"{check.name}: {_count(outcome)} {check.meaning}"] if outcome.found else []
    if outcome.error:
        lines.append(f"{check.name}: not checked, {outcome.error}. Try --days or a longer --patience.")
    if not outcome.found:
        return "\n".join(lines)
    lines += [f"  {_line(one)}" for one in outcome.found[:EXAMPLES]]
    if outcome.mended is not None:
        lines.append(f"  mended {outcome.mended}: {check.mends}")
    elif check.mends and not fixes:
        lines.append(f"  --fix {check.mends}")
    if outcome.is_open:
        lines.append(f"  remedy: {check.remedy}")
    return "\n".join(lines)


def _count(outcome: Outcome) -> str:
    count = len(outcome.found)
    return f"{count} or more" if count >= MOST else str(count)


def _line(one: Found) -> str:
    tenant = f" (tenant {one.tenant_id})" if one.tenant_id and one.tenant_id != one.id else ""
    attempt = f" attempt {one.attempt}" if one.attempt else ""
    return f"{one.id}{attempt}: {one.text}{tenant}"


def _data(outcome: Outcome) -> dict[str, Any]:
    check = outcome.check
    return {
        "name": check.name,
        "meaning": check.meaning,
        "count": len(outcome.found),
        "isMore": len(outcome.found) >= MOST,
        "mended": outcome.mended,
        "error": outcome.error or None,
        "fix": check.mends or None,
        "remedy": check.remedy,
        "examples": [
            {"tenantId": one.tenant_id or None, "id": one.id, "attempt": one.attempt, "text": one.text}
            for one in outcome.found[:EXAMPLES]
        ],
    }
