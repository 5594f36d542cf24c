"""What each durable run of the chaos tests does, and what it has to see: pure functions of its number.

``programs/durable.py`` follows a plan, and ``durable_checker.py`` compares what came of it. Memos are never in
branches: they answer at once on a replay, so what runs beside them may ask in another order (D-12.13).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

FLOWS = ("durable-kept", "durable-brief")
"""The second is evicted from each wait that the worker notices."""
ALONE = ("memo", "past", "future")
"""Steps that have a memo in them."""
WAITS = ("sleep", "once", "nap", "news", "race", "both")
CHILDREN = ("child", "lasting", "failing", "bulk", "keyed", "orphan")
ENTRIES: dict[str, tuple[str, ...]] = {"memo": ("MEMO",)}
ENTRIES |= dict.fromkeys(("past", "future"), ("MEMO", "WAIT_FOR"))
ENTRIES |= dict.fromkeys(WAITS, ("WAIT_FOR",))
LONG = "1h"
"""Nothing waits for the end of this sleep."""


@dataclass(slots=True, frozen=True)
class Step:
    """One operation, or branches of operations that run beside each other.

    ``path`` names it within its run. ``amount``: milliseconds of a sleep, how many children, or which key.
    """

    kind: str
    path: str
    amount: int = 0
    branches: tuple[tuple[Step, ...], ...] = ()


@dataclass(slots=True, frozen=True)
class Child:
    """The input of a child run; a negative number makes it fail."""

    n: int


def plan(n: int) -> tuple[Step, ...]:
    """What run number ``n`` does. It ends with a sleep, so that every memo is followed by something (D-28.5)."""
    chance = random.Random(f"durable-{n}")
    steps: list[Step] = []
    for number in range(chance.randint(2, 4)):
        if chance.random() < 0.4:
            branches = tuple(_branch(chance, f"{number}.{branch}") for branch in range(chance.randint(2, 3)))
            steps.append(Step("branches", str(number), branches=branches))
        else:
            steps.append(_step(chance, str(number), (*ALONE, *ALONE, *WAITS, *CHILDREN)))
    return (*steps, Step("sleep", "last", 50))


def _branch(chance: random.Random, path: str) -> tuple[Step, ...]:
    return tuple(_step(chance, f"{path}.{number}", (*WAITS, *CHILDREN)) for number in range(chance.randint(1, 3)))


def _step(chance: random.Random, path: str, kinds: Sequence[str]) -> Step:
    kind = chance.choice(kinds)
    if kind == "bulk":
        return Step(kind, path, chance.randint(2, 5))
    if kind == "keyed":
        return Step(kind, path, chance.randint(1, 2))
    return Step(kind, path, chance.randrange(50, 500, 10))


def flat(steps: Sequence[Step]) -> Iterator[Step]:
    """All operations."""
    for step in steps:
        if step.branches:
            for branch in step.branches:
                yield from flat(branch)
        else:
            yield step


def entries(steps: Sequence[Step]) -> Counter[str]:
    """How many entries of each kind the log has in the end (D-6.2, D-13.6)."""
    operations = list(flat(steps))
    counted = Counter(kind for step in operations for kind in ENTRIES.get(step.kind, ()))
    keys = {step.amount for step in operations if step.kind == "keyed"}
    counted["RUN"] = len(keys) + sum(len(children(step)) for step in operations if step.kind != "keyed")
    return +counted


def children(step: Step) -> list[Child]:
    """The children that a step asks for, in order."""
    if step.kind not in CHILDREN:
        return []
    if step.kind == "keyed":
        return [Child(step.amount)]
    number = 10 * sum(map(ord, step.path))
    if step.kind == "failing":
        return [Child(-number)]
    return [Child(number + one) for one in range(step.amount if step.kind == "bulk" else 1)]


def event(step: Step, label: str, n: int, task: str) -> str:
    """The key of the event that a step waits for.

    One that is pushed once its wait is stored belongs to the task; the others are pushed before there is a task, or
    without knowing it.
    """
    if step.kind in ("past", "future"):
        return f"chaos:{step.kind}:{label}:{n}:{step.path}"
    return f"chaos:once:{label}:{task}:{step.path}"


def results(step: Step, key: str) -> list[Any]:
    """What a wait may give; one thing, but for a race. ``key``: of its event."""
    nap = {f"{step.path}-nap": [{"sleep_duration": f"{step.amount}ms"}]}
    news = {f"{step.path}-news": [{"of": key}]}
    if step.kind == "sleep":
        return [step.amount]
    if step.kind in ("once", "past", "future"):
        return [{"of": key}]
    held = {"nap": [nap], "news": [news], "race": [nap, news], "both": [nap | news]}[step.kind]
    return [{"CREATE": one} for one in held]
