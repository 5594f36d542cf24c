"""What the HTTP front door needs of the engine: the smallest interface of each service, so that tests can stand in.

Every method may raise a :class:`~hatchet.core.errors.HatchetError`, whose code becomes the HTTP status.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hatchet.core.definitions import StoredVersion
from hatchet.core.durable_messages import LogLine
from hatchet.core.held import PauseSettings
from hatchet.core.messages import Caller, EventRecord, RunFilter, TriggerItem
from hatchet.core.queue_stats import TaskStats
from hatchet.core.rules import DefaultFilter
from hatchet.core.run_views import RunView, TaskView
from hatchet.core.statuses import RunStatus
from hatchet.engine.crons import NewCron
from hatchet.engine.event_reading import EventView
from hatchet.engine.log_reading import LogPoint, ShownLine
from hatchet.engine.run_views import Timing
from hatchet.engine.scheduled_runs import BulkAnswer, Listed, Page, WantedRun
from hatchet.engine.sessions import Session
from hatchet.engine.worker_use import Use
from hatchet.rest.cookies import SessionCookie
from hatchet.rest.health import Health
from hatchet.rest.request_limits import RequestLimits
from hatchet.store.events_read import EventFilter
from hatchet.store.filters import FilterRecord
from hatchet.store.identity import Tenant, TokenRecord
from hatchet.store.logs_read import LogFilter
from hatchet.store.people import Membership, Rights, User
from hatchet.store.rate_limits import LimitRecord
from hatchet.store.schedule_entries import CronFilter, CronRecord, ScheduledFilter
from hatchet.store.workers_read import WorkerRecord, WorkflowName
from hatchet.store.workflows_read import VersionDetails, WorkflowRecord


class Verifying(Protocol):
    """Resolves API tokens; ``cached`` answers None when ``verify`` has to be asked."""

    def cached(self, token: str) -> Caller | None: ...

    async def verify(self, token: str) -> Caller: ...


class Owned(Protocol):
    """Resources that belong to a tenant."""

    async def tenant_of(self, resource_id: str, /) -> str | None:
        """Whose it is; None for an unknown id."""
        ...


class TokenKeeping(Protocol):
    """Lists, issues and revokes API tokens, inside a tenant (R-7)."""

    async def list(self, tenant_id: str) -> Sequence[TokenRecord]: ...

    async def issue(self, tenant_id: str, *, name: str, lifetime_seconds: float) -> str: ...

    async def revoke(self, tenant_id: str, token_id: str) -> None: ...

    async def tenant_of(self, token_id: str) -> str | None: ...


class PeopleKeeping(Protocol):
    """People and their sessions (R-5); what opens a session answers also with what its cookie holds."""

    async def register(self, *, name: str, email: str, password: str) -> tuple[User, str]: ...

    async def log_in(self, *, email: str, password: str) -> tuple[User, str]: ...

    async def log_out(self, session: Session) -> None: ...

    async def change_password(self, session: Session, *, old: str, new: str) -> None: ...

    async def visit(self, cookie: str, tenant_id: str | None = None) -> Session | None: ...

    async def rights_around(self, user: User, resource_id: str) -> Rights | None: ...

    async def memberships(self, user: User) -> Sequence[Membership]: ...


class TenantReading(Protocol):
    """Finds a tenant by its id."""

    async def get(self, tenant_id: str) -> Tenant | None: ...


class WorkerReading(Protocol):
    """Finds workers, inside a tenant."""

    async def list(self, tenant_id: str) -> list[WorkerRecord]: ...

    async def get(self, tenant_id: str, worker_id: str) -> WorkerRecord | None: ...

    async def tenant_of(self, worker_id: str) -> str | None: ...

    async def workflows(self, tenant_id: str, record: WorkerRecord) -> tuple[WorkflowName, ...]: ...

    async def connected(self) -> int: ...


class Pausing(Protocol):
    """Pauses and resumes workers (C-2.38)."""

    async def set_paused(self, tenant_id: str, worker_id: str, paused: bool) -> None: ...


class WorkflowReading(Protocol):
    """Finds workflows, inside a tenant."""

    async def list(
        self, tenant_id: str, *, name: str | None, offset: int, limit: int
    ) -> tuple[Sequence[WorkflowRecord], int]: ...

    async def get(self, tenant_id: str, workflow_id: str) -> WorkflowRecord | None: ...

    async def version(self, tenant_id: str, workflow_id: str, version_id: str | None) -> VersionDetails | None:
        """A version of a workflow, by default the newest one."""
        ...

    async def definition(self, tenant_id: str, version_id: str) -> str | None:
        """The registered definition of a version as JSON text."""
        ...

    async def tenant_of(self, workflow_id: str) -> str | None: ...


class WorkflowPausing(Protocol):
    """Pauses and resumes workflows (C-4.52)."""

    async def pause(self, tenant_id: str, workflow_id: str, settings: PauseSettings) -> None: ...

    async def unpause(self, tenant_id: str, workflow_id: str) -> None: ...


class WorkflowRemoving(Protocol):
    """Deletes workflows; raises NotFound (R-13.9)."""

    async def delete(self, tenant_id: str, workflow_id: str) -> None: ...


class Bulking(Protocol):
    """Cancels and replays runs and tasks, by ids or by a filter; the ids that it took (R-11.9)."""

    async def cancel(self, tenant_id: str, wanted: Sequence[str] | RunFilter) -> list[str]: ...

    async def replay(self, tenant_id: str, wanted: Sequence[str] | RunFilter) -> list[str]: ...


class RunReading(Protocol):
    """Single runs and tasks, inside a tenant; all raise NotFound (R-10.22 to R-10.30, R-11.1 to R-11.5)."""

    async def run(self, tenant_id: str, run_id: str) -> RunView: ...

    async def runs(self, tenant_id: str, run_ids: Sequence[str]) -> Sequence[RunView]:
        """Those that exist."""
        ...

    async def status(self, tenant_id: str, run_id: str) -> RunStatus: ...

    async def task(self, tenant_id: str, task_id: str, attempt: int | None = None) -> TaskView: ...

    async def timings(self, tenant_id: str, run_id: str, depth: int) -> Sequence[Timing]: ...


class Triggering(Protocol):
    """Starts runs, all or none; their ids (R-10.31)."""

    async def trigger(self, tenant_id: str, items: Sequence[TriggerItem]) -> Sequence[str]: ...


class EventReading(Protocol):
    """Events, inside a tenant (R-19); what reads one raises NotFound."""

    async def page(
        self, tenant_id: str, wanted: EventFilter, *, statuses: frozenset[RunStatus], offset: int, limit: int
    ) -> tuple[Sequence[EventView], int]: ...

    async def get(self, tenant_id: str, event_id: str) -> EventView: ...

    async def record(self, tenant_id: str, event_id: str) -> EventRecord: ...

    async def keys(self, tenant_id: str) -> Sequence[str]: ...


class LogReading(Protocol):
    """Log lines, inside a tenant (R-12.4, R-23)."""

    async def of_task(
        self, tenant_id: str, task_id: str, wanted: LogFilter, *, newest_first: bool, limit: int
    ) -> Sequence[ShownLine]: ...

    async def of_tenant(
        self, tenant_id: str, wanted: LogFilter, *, newest_first: bool, limit: int
    ) -> Sequence[ShownLine]: ...

    async def points(self, tenant_id: str, wanted: LogFilter) -> Sequence[LogPoint]: ...


class QueueReading(Protocol):
    """What waits and runs now, inside a tenant (R-12.5, R-12.7)."""

    async def tasks(self, tenant_id: str) -> Mapping[str, TaskStats]: ...

    async def queues(self, tenant_id: str) -> Mapping[str, int]: ...


class WorkerUsing(Protocol):
    """What workers have free, by worker id; absent where it is not known (R-14.5)."""

    async def of(self, tenant_id: str) -> Mapping[str, Use]: ...


class RateLimiting(Protocol):
    """Lists and deletes rate limits, inside a tenant (R-17)."""

    async def list(
        self, tenant_id: str, *, search: str | None, order_by: str, is_descending: bool, offset: int, limit: int
    ) -> tuple[Sequence[LimitRecord], int]: ...

    async def delete(self, tenant_id: str, key: str) -> None: ...


class Filtering(Protocol):
    """Event filters, inside a tenant (R-18)."""

    async def list(
        self,
        tenant_id: str,
        *,
        workflow_ids: Sequence[str] | None,
        scopes: Sequence[str] | None,
        offset: int,
        limit: int,
    ) -> tuple[Sequence[FilterRecord], int]: ...

    async def get(self, tenant_id: str, filter_id: str) -> FilterRecord: ...

    async def add(self, tenant_id: str, workflow_id: str, wanted: DefaultFilter) -> FilterRecord: ...

    async def change(
        self, tenant_id: str, filter_id: str, *, scope: str | None, expression: str | None, payload: str | None
    ) -> FilterRecord: ...

    async def remove(self, tenant_id: str, filter_id: str) -> FilterRecord: ...


class CronKeeping(Protocol):
    """Crons, inside a tenant (R-15)."""

    async def add(self, tenant_id: str, workflow: str, new: NewCron) -> CronRecord: ...

    async def get(self, tenant_id: str, cron_id: str) -> CronRecord: ...

    async def page(
        self, tenant_id: str, wanted: CronFilter, *, offset: int, limit: int
    ) -> tuple[Sequence[CronRecord], int]: ...

    async def switch(self, tenant_id: str, cron_id: str, is_enabled: bool) -> None: ...

    async def delete(self, tenant_id: str, cron_id: str) -> None: ...

    async def trigger(self, tenant_id: str, cron_id: str) -> str: ...


class ScheduledKeeping(Protocol):
    """Scheduled runs, inside a tenant (R-16)."""

    async def add(self, tenant_id: str, wanted: WantedRun) -> tuple[StoredVersion, Sequence[tuple[str, float]]]: ...

    async def get(self, tenant_id: str, scheduled_id: str) -> Listed: ...

    async def page(
        self,
        tenant_id: str,
        wanted: ScheduledFilter,
        part: Page,
        *,
        waiting: bool = False,
        statuses: frozenset[RunStatus] = frozenset(),
    ) -> tuple[Sequence[Listed], int]: ...

    async def move(self, tenant_id: str, scheduled_id: str, at: float) -> Listed: ...

    async def delete(self, tenant_id: str, scheduled_id: str) -> None: ...

    async def trigger(self, tenant_id: str, scheduled_id: str) -> str: ...

    async def delete_ids(self, tenant_id: str, ids: Sequence[str]) -> BulkAnswer: ...

    async def delete_matching(self, tenant_id: str, wanted: ScheduledFilter) -> BulkAnswer: ...

    async def move_all(self, tenant_id: str, times: Mapping[str, float]) -> BulkAnswer: ...


class DurableTasks(Protocol):
    """Logs of durable tasks, inside a tenant (D-25). Both raise NotFound for an unknown task."""

    async def entries(self, tenant_id: str, task_id: str, offset: int, limit: int) -> Sequence[LogLine]:
        """A page of the log, by branch and node."""
        ...

    async def branch(self, tenant_id: str, task_id: str, node: int, branch: int) -> int:
        """Start again from a node; the number of the new branch. Raises FailedPrecondition (D-22.11)."""
        ...


class Restoring(Protocol):
    """Queues an evicted task again, and leaves one alone that is not; raises NotFound for an unknown task (D-18)."""

    async def requeue(self, tenant_id: str, task_id: str, cause: str) -> None: ...


@dataclass(slots=True, frozen=True, kw_only=True)
class Services:
    """Everything that the routes use."""

    tokens: Verifying
    api_tokens: TokenKeeping
    people: PeopleKeeping
    limits: RequestLimits
    tenants: TenantReading
    workers: WorkerReading
    pausing: Pausing
    workflows: WorkflowReading
    workflow_pausing: WorkflowPausing
    workflow_removal: WorkflowRemoving
    bulk: Bulking
    filters: Filtering
    crons: CronKeeping
    scheduled: ScheduledKeeping
    rate_limits: RateLimiting
    views: RunReading
    trigger: Triggering
    events: EventReading
    logs: LogReading
    queue_stats: QueueReading
    worker_uses: WorkerUsing
    durable: DurableTasks
    restoring: Restoring
    health: Health


@dataclass(slots=True, frozen=True, kw_only=True)
class About:
    """What the server tells about itself (behaviour-rest R-8.1 to R-8.4)."""

    version: str
    grpc_address: str
    server_url: str
    health_port: int | None = None
    """None when the health port is switched off."""
    auth_schemes: tuple[str, ...] = ()
    """Ways to sign in with a browser: ``basic`` is a password."""
    cookie: SessionCookie = field(default_factory=SessionCookie)
    allow_signup: bool = False
    allow_invites: bool = False
    allow_create_tenant: bool = False
    allow_change_password: bool = False
    observability_enabled: bool = False
    prometheus_enabled: bool = False
    embedded: bool = False
    integrations: dict[str, bool] = field(default_factory=lambda: {"slack": False, "email": False})
    """Kind of alert to whether it is set up (R-8.3)."""
