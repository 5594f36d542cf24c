"""Whether a pushed event meets a condition of a waiting task (behaviour-core C-8.23, C-8.24)."""

from __future__ import annotations

from typing import Any, Protocol

from hatchet.core.expressions import Use, holds
from hatchet.core.json_texts import json_value
from hatchet.core.messages import EventRecord


class Listens(Protocol):
    """What is asked of a condition."""

    @property
    def event_key(self) -> str | None: ...

    @property
    def event_scope(self) -> str | None: ...

    @property
    def expression(self) -> str: ...


class Happened:
    """One event, held against any number of conditions: its payload is read once, each expression evaluated once."""

    def __init__(self, record: EventRecord) -> None:
        self.record = record
        self._variables: dict[str, Any] | None = None
        self._truths: dict[str, bool] = {}

    def meets(self, condition: Listens) -> bool:
        """Keys are compared exactly; a condition without scope takes any; an expression that fails is not met."""
        if condition.event_key != self.record.key:
            return False
        if condition.event_scope and condition.event_scope != self.record.scope:
            return False
        text = condition.expression
        if text not in self._truths:
            if self._variables is None:
                self._variables = {"input": json_value(self.record.payload or "{}")}
            self._truths[text] = holds(text, Use.USER_EVENT_CONDITION, self._variables)
        return self._truths[text]
