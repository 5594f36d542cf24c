"""The services of the gRPC port, put together for the composition root."""

from __future__ import annotations

from hatchet.core.clock import Clock
from hatchet.grpc.dispatcher import DispatcherService
from hatchet.grpc.durable import DurableService
from hatchet.grpc.events import EventsService
from hatchet.grpc.ports import (
    Bulking,
    Controlling,
    Dispatching,
    DurableExecution,
    EventPushing,
    Publishing,
    RateLimiting,
    Reading,
    Registering,
    Reporting,
    Restoring,
    RunEventing,
    Scheduling,
    TaskLogging,
    Triggering,
    WorkerBook,
)
from hatchet.grpc.workflows import AdminService, WorkflowService


def grpc_services(
    *,
    registration: Registering,
    trigger: Triggering,
    workers: WorkerBook,
    dispatch: Dispatching,
    reports: Reporting,
    control: Controlling,
    evicting: Restoring,
    bulk: Bulking,
    results: Publishing,
    reading: Reading,
    run_events: RunEventing,
    events: EventPushing,
    scheduled: Scheduling,
    logs: TaskLogging,
    rate_limits: RateLimiting,
    durable: DurableExecution,
    clock: Clock,
    max_message_bytes: int,
) -> dict[str, object]:
    """Handlers by full service name, as :class:`hatchet.grpc.server.GrpcServer` takes them."""
    return {
        "Dispatcher": DispatcherService(
            workers=workers,
            dispatch=dispatch,
            reports=reports,
            control=control,
            evicting=evicting,
            results=results,
            run_events=run_events,
            clock=clock,
            max_message_bytes=max_message_bytes,
        ),
        "EventsService": EventsService(
            events=events, logs=logs, run_events=run_events, clock=clock, max_message_bytes=max_message_bytes
        ),
        "WorkflowService": WorkflowService(
            registration=registration, trigger=trigger, scheduled=scheduled, rate_limits=rate_limits
        ),
        "v1.AdminService": AdminService(
            registration=registration, trigger=trigger, bulk=bulk, reading=reading, durable=durable
        ),
        "v1.V1Dispatcher": DurableService(durable=durable, max_message_bytes=max_message_bytes),
    }
