"""`action_payload` of an assignment: the JSON text that carries a task's input and what came before it (C-5.5)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import from_json


class ActionPayload(BaseModel):
    """The parsed payload, as `Context.data` shows it. A null is read as empty (C-5.6)."""

    model_config = ConfigDict(extra="allow")

    input: dict[str, Any] = Field(default_factory=dict)
    parents: dict[str, dict[str, Any]] = Field(default_factory=dict)
    overrides: dict[str, Any] = Field(default_factory=dict)
    user_data: dict[str, Any] = Field(default_factory=dict)
    step_run_errors: dict[str, str] = Field(default_factory=dict)
    triggered_by: str | None = None
    triggers: dict[str, Any] = Field(default_factory=dict)
    filter_payload: dict[str, Any] = Field(default_factory=dict)

    @field_validator(
        "input", "parents", "overrides", "user_data", "step_run_errors", "filter_payload", "triggers", mode="before"
    )
    @classmethod
    def validate_fields(cls, v: Any) -> Any:
        return {} if v is None else v

    @field_validator("parents", mode="before")
    @classmethod
    def empty_outputs(cls, v: Any) -> Any:
        """A parent without output may arrive as null (C-5.9)."""
        return {name: output or {} for name, output in v.items()} if isinstance(v, dict) else v

    @model_validator(mode="after")
    def _filter_payload(self) -> ActionPayload:
        """The engine sends it among the triggers (C-5.12)."""
        if not self.filter_payload:
            self.filter_payload = filter_payload(self.triggers)
        return self


def filter_payload(triggers: Any) -> dict[str, Any]:
    """The payload of the filter that let the triggering event through; empty without one (C-5.12)."""
    found = triggers.get("filter_payload") if isinstance(triggers, dict) else None
    return found if isinstance(found, dict) else {}


def parse_payload(text: str) -> dict[str, Any]:
    """The payload as plain objects; empty for an empty text.

    Raises:
        ValueError: the text is not a JSON object.
    """
    payload = from_json(text) if text else {}
    if not isinstance(payload, dict):
        raise ValueError(f"the payload of the task must be a JSON object, got {type(payload).__name__}")
    return payload
