"""A workflow's definition: plain data, its validation and its checksum (behaviour-core C-3).

A front door parses its message into :class:`WorkflowDefinition`; :func:`validate` collects every mistake, and
:func:`checksum` decides whether it is a new version.
"""

from __future__ import annotations

from dataclasses import dataclass, field

DEFAULT_EXECUTION_TIMEOUT = "60s"
DEFAULT_SCHEDULE_TIMEOUT = "5m"


@dataclass(slots=True, frozen=True, kw_only=True)
class TaskDefinition:
    """One task of a workflow. Duration texts are kept as registered, because error texts quote them (C-6.30)."""

    readable_id: str
    action: str
    """Lower-cased action id (C-3.10)."""
    execution_timeout: str = DEFAULT_EXECUTION_TIMEOUT
    schedule_timeout: str = DEFAULT_SCHEDULE_TIMEOUT
    parents: tuple[str, ...] = ()
    retries: int = 0
    backoff_factor: float | None = None
    backoff_max_seconds: int | None = None
    is_durable: bool = False
    slot_requests: dict[str, int] = field(default_factory=dict)
    """Slot type to units; empty means the default of C-3.20."""

    @property
    def slots(self) -> dict[str, int]:
        """The units that the task takes while it runs (C-3.20)."""
        return self.slot_requests or ({"durable": 1} if self.is_durable else {"default": 1})


@dataclass(slots=True, frozen=True, kw_only=True)
class WorkflowDefinition:
    """What PutWorkflow registers."""

    name: str
    description: str = ""
    version: str = ""
    tasks: tuple[TaskDefinition, ...] = ()
    default_priority: int | None = None
    input_json_schema: str | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class StoredTask:
    """A task definition of a stored version, with everything the hot path needs computed once."""

    id: str
    definition: TaskDefinition
    execution_timeout_seconds: float
    schedule_timeout_seconds: float
    slots: dict[str, int]


@dataclass(slots=True, frozen=True, kw_only=True)
class StoredVersion:
    """A registered version of a workflow. Immutable, therefore cached by id for ever."""

    id: str
    tenant_id: str
    workflow_id: str
    name: str
    order: int
    default_priority: int
    """1, 2 or 3; 1 when the definition names none (C-4.29)."""
    tasks: tuple[StoredTask, ...]
