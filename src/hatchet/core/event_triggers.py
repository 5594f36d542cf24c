"""Which runs an event starts: keys and patterns, filters, metadata (behaviour-core C-12.10 to C-12.29, C-4.24).

For each workflow with a trigger that matches there is one candidate, however many of its triggers match (C-12.13).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from hatchet.core.expressions import ExpressionFailed, Use, holds_all
from hatchet.core.json_texts import json_value
from hatchet.core.messages import EventRecord

RESERVED = "hatchet__"
EVENT_ID = f"{RESERVED}event_id"
EVENT_KEY = f"{RESERVED}event_key"
KEPT = frozenset({f"{RESERVED}source_workflow_run_id", f"{RESERVED}source_step_run_id"})
"""Reserved keys that a run takes over from its event."""

KEYS_REMEMBERED = 10_000


@dataclass(slots=True, frozen=True)
class Pattern:
    """A trigger in which ``*`` stands for any characters, also none; everything else is itself (C-12.11).

    Looked for from the left, piece after piece: a regular expression with many stars may take for ever.
    """

    first: str
    between: tuple[str, ...]
    last: str

    @classmethod
    def of(cls, text: str) -> Pattern:
        """The pattern of a trigger with at least one ``*``."""
        first, *between, last = text.split("*")
        return cls(first, tuple(piece for piece in between if piece), last)

    def matches(self, key: str) -> bool:
        """Whether the key of an event fits, case-sensitively (C-12.15)."""
        if not key.startswith(self.first) or not key.endswith(self.last):
            return False
        at, end = len(self.first), len(key) - len(self.last)
        for piece in self.between:
            found = key.find(piece, at, end)
            if found < 0:
                return False
            at = found + len(piece)
        return at <= end


@dataclass(slots=True, frozen=True)
class TriggeredWorkflow:
    """A workflow whose latest version is started by events."""

    id: str
    name: str
    keys: tuple[str, ...]
    """As they were declared: exact keys and patterns."""


@dataclass(slots=True, frozen=True)
class Filter:
    """One filter of a workflow (C-12.16)."""

    id: str
    workflow_id: str
    scope: str
    expression: str
    payload: str
    """JSON object text."""


@dataclass(slots=True, frozen=True)
class Start:
    """One run to start: of that workflow, because of that filter."""

    workflow: str
    """Its name."""
    filter: Filter | None = None


@dataclass(slots=True, frozen=True)
class FailedFilter:
    """A filter whose expression has no value for an event: it starts nothing (C-12.20)."""

    filter: Filter
    reason: str


@dataclass(slots=True, frozen=True)
class Question:
    """A filter to ask, with what its expression sees of it."""

    start: Start
    expression: str
    own: Mapping[str, Any]


@dataclass(slots=True, frozen=True)
class Candidates:
    """What an event may start: workflows without filters for certain, the others by those filters that hold."""

    certain: tuple[Start, ...]
    filtered: tuple[Question, ...]


@dataclass(slots=True)
class Triggers:
    """All event triggers and filters of a tenant, indexed."""

    workflows: Sequence[TriggeredWorkflow]
    filters: Sequence[Filter]
    revision: int = 0
    """Of which state of the rows this is."""
    _exact: dict[str, list[int]] = field(default_factory=dict, init=False)
    _patterns: list[tuple[Pattern, int]] = field(default_factory=list, init=False)
    _filters: dict[str, dict[str, list[Question]]] = field(default_factory=dict, init=False)
    """By workflow and scope."""
    _of_key: dict[str, tuple[TriggeredWorkflow, ...]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        names = {workflow.id: workflow.name for workflow in self.workflows}
        for number, workflow in enumerate(self.workflows):
            for key in dict.fromkeys(workflow.keys):
                if "*" in key:
                    self._patterns.append((Pattern.of(key), number))
                else:
                    self._exact.setdefault(key, []).append(number)
        owns: dict[str, Mapping[str, Any]] = {}
        for one in self.filters:
            if one.workflow_id in names:
                # One object for equal payloads: their expressions share what is made of it.
                own = owns.get(one.payload) or owns.setdefault(one.payload, {"payload": json_value(one.payload)})
                question = Question(Start(names[one.workflow_id], one), one.expression, own)
                self._filters.setdefault(one.workflow_id, {}).setdefault(one.scope, []).append(question)

    def matching(self, key: str) -> tuple[TriggeredWorkflow, ...]:
        """The workflows that a key may start (C-12.10, C-12.12)."""
        known = self._of_key.get(key)
        if known is None:
            found = set(self._exact.get(key, ()))
            found.update(number for pattern, number in self._patterns if pattern.matches(key))
            known = tuple(self.workflows[number] for number in sorted(found))
            if len(self._of_key) >= KEYS_REMEMBERED:
                self._of_key.clear()
            self._of_key[key] = known
        return known

    def candidates(self, key: str, scope: str | None) -> Candidates | None:
        """What an event of that key and scope may start; None for nothing.

        A workflow without filters is started, whatever the scope (C-12.17). One with filters is started by those of
        exactly that scope, therefore not by an event without one (C-12.18, C-12.24).
        """
        matching = self.matching(key)
        if not matching:
            return None
        certain: list[Start] = []
        filtered: list[Question] = []
        for workflow in matching:
            of_scope = self._filters.get(workflow.id)
            if of_scope is None:
                certain.append(Start(workflow.name))
            elif scope is not None:
                filtered += of_scope.get(scope, ())
        return Candidates(tuple(certain), tuple(filtered)) if certain or filtered else None


def variables_of(event: EventRecord) -> dict[str, Any]:
    """What the expressions of filters see of an event (C-8.30, C-12.26); its texts are read once for all of them."""
    return {
        "input": json_value(event.payload),
        "additional_metadata": json_value(event.additional_metadata) if event.additional_metadata else {},
        "event_id": event.id,
        "event_key": event.key,
    }


def asked(questions: Sequence[Question], variables: Mapping[str, Any]) -> tuple[list[Start], list[FailedFilter]]:
    """The runs that these filters start (C-12.19), and those filters that have no value."""
    answers = holds_all([(one.expression, one.own) for one in questions], Use.EVENT_FILTER, variables)
    starts: list[Start] = []
    failed: list[FailedFilter] = []
    for question, answer in zip(questions, answers, strict=True):
        if answer is True:
            starts.append(question.start)
        elif isinstance(answer, ExpressionFailed) and question.start.filter is not None:
            failed.append(FailedFilter(question.start.filter, answer.reason))
    return starts, failed


def run_metadata(event: EventRecord) -> str:
    """The metadata of the runs of an event (C-4.24), JSON object text: the event's, and which event it was."""
    own = orjson.dumps({EVENT_ID: event.id, EVENT_KEY: event.key}).decode()
    if not event.additional_metadata:
        return own
    given = json_value(event.additional_metadata)
    reserved = [key for key in given if key.startswith(RESERVED) and key not in KEPT]
    if reserved:
        # By the slower library, which keeps every number as it is.
        kept = json.loads(event.additional_metadata)
        return json.dumps({**{key: kept[key] for key in kept if key not in reserved}, **json.loads(own)})
    if not given:
        return own
    return f"{event.additional_metadata.rstrip()[:-1]},{own[1:]}"


def triggering_event(metadata: str) -> tuple[str | None, str | None]:
    """Id and key of the event that started a run, from the run's metadata; None for other runs (C-12.31)."""
    if EVENT_ID not in metadata:
        return None, None
    found = json_value(metadata)
    event_id, key = found.get(EVENT_ID), found.get(EVENT_KEY)
    return (event_id, key) if isinstance(event_id, str) and isinstance(key, str) else (None, None)
