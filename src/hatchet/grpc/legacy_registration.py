"""The registration of old clients: jobs with steps, as the newer message says the same (behaviour-core C-3.8)."""

from __future__ import annotations

from typing import cast

from hatchet.core.definitions import StoredVersion
from hatchet.core.errors import Unimplemented
from hatchet.core.ids import time_of
from hatchet.grpc.fields import quoted, to_timestamp
from hatchet_contracts import workflows_pb2 as pb
from hatchet_contracts.v1 import workflows_pb2 as v1


def newer_request(opts: pb.CreateWorkflowVersionOpts) -> v1.CreateWorkflowVersionRequest:
    """The same definition in the newer message; the steps of the first job are the tasks.

    Raises :class:`Unimplemented` for what only the old message has.
    """
    _refuse_unserved(opts)
    request = v1.CreateWorkflowVersionRequest(
        name=opts.name,
        description=opts.description,
        version=opts.version,
        event_triggers=opts.event_triggers,
        cron_triggers=opts.cron_triggers,
        tasks=[_task(step, opts) for step in (opts.jobs[0].steps if opts.jobs else ())],
    )
    if opts.HasField("cron_input"):
        request.cron_input = opts.cron_input
    if opts.HasField("on_failure_job") and opts.on_failure_job.steps:
        request.on_failure_task.CopyFrom(_task(opts.on_failure_job.steps[0], opts))
    if opts.HasField("concurrency"):
        request.concurrency.CopyFrom(_concurrency(opts.concurrency))
    if opts.HasField("sticky"):
        # The enums of the two messages share their numbers.
        request.sticky = cast(v1.StickyStrategy, opts.sticky)
    if opts.HasField("default_priority"):
        request.default_priority = opts.default_priority
    return request


def version_message(version: StoredVersion, text: str) -> pb.WorkflowVersion:
    """The answer; ``text``: the version text of the request."""
    created_at = to_timestamp(time_of(version.id))
    return pb.WorkflowVersion(
        id=version.id,
        created_at=created_at,
        updated_at=created_at,
        version=text,
        order=version.order,
        workflow_id=version.workflow_id,
    )


def _refuse_unserved(opts: pb.CreateWorkflowVersionOpts) -> None:
    features = {
        "more than one job": len(opts.jobs) > 1,
        "scheduled triggers": bool(opts.scheduled_triggers),
        "concurrency with an action instead of an expression": bool(opts.concurrency.action),
    }
    unserved = [feature for feature, is_used in features.items() if is_used]
    if unserved:
        raise Unimplemented(
            f"workflow {quoted(opts.name)} was not registered: the old form of registration does not serve "
            + "; ".join(unserved)
            + ". Use a newer client; runs at a time are scheduled with ScheduleWorkflow"
        )


def _task(step: pb.CreateWorkflowStepOpts, opts: pb.CreateWorkflowVersionOpts) -> v1.CreateTaskOpts:
    task = v1.CreateTaskOpts(
        readable_id=step.readable_id,
        action=step.action,
        timeout=step.timeout,
        parents=step.parents,
        retries=step.retries,
        worker_labels=step.worker_labels,
        rate_limits=[_rate_limit(limit) for limit in step.rate_limits],
    )
    if opts.HasField("schedule_timeout"):
        task.schedule_timeout = opts.schedule_timeout
    if step.HasField("backoff_factor"):
        task.backoff_factor = step.backoff_factor
    if step.HasField("backoff_max_seconds"):
        task.backoff_max_seconds = step.backoff_max_seconds
    return task


def _concurrency(opts: pb.WorkflowConcurrencyOpts) -> v1.Concurrency:
    concurrency = v1.Concurrency(expression=opts.expression)
    if opts.HasField("max_runs"):
        concurrency.max_runs = opts.max_runs
    if opts.HasField("limit_strategy"):
        concurrency.limit_strategy = cast(v1.ConcurrencyLimitStrategy, opts.limit_strategy)
    return concurrency


def _rate_limit(limit: pb.CreateStepRateLimit) -> v1.CreateTaskRateLimit:
    # Field by field the same message.
    return v1.CreateTaskRateLimit.FromString(limit.SerializeToString())
