"""``EventsService``: pushed events, log lines and stream chunks of tasks."""

from __future__ import annotations

from hatchet.core.clock import Clock
from hatchet.core.messages import Caller
from hatchet.grpc.event_messages import stream_chunk, task_log_line
from hatchet.grpc.event_push import event_message, new_event, new_events, refuse_unanswerable
from hatchet.grpc.fields import required_uuid
from hatchet.grpc.ports import EventPushing, RunEventing, TaskLogging
from hatchet_contracts import events_pb2 as pb


class EventsService:
    """Handlers of ``EventsService`` (behaviour-core C-12, C-13)."""

    def __init__(
        self,
        *,
        events: EventPushing,
        logs: TaskLogging,
        run_events: RunEventing,
        clock: Clock,
        max_message_bytes: int,
    ) -> None:
        self._events = events
        self._logs = logs
        self._run_events = run_events
        self._clock = clock
        self._max_message_bytes = max_message_bytes

    async def push(self, caller: Caller, request: pb.PushEventRequest) -> pb.Event:
        """C-12.1, C-12.2."""
        refuse_unanswerable(request.ByteSize(), 1, self._max_message_bytes)
        [record] = await self._events.push(caller.tenant_id, [new_event(request)])
        return event_message(record)

    async def bulk_push(self, caller: Caller, request: pb.BulkPushEventRequest) -> pb.Events:
        """C-12.3, C-12.4."""
        items = new_events(request.events)
        refuse_unanswerable(request.ByteSize(), len(items), self._max_message_bytes)
        records = await self._events.push(caller.tenant_id, items)
        return pb.Events(events=[event_message(record) for record in records])

    async def replay_single_event(self, caller: Caller, request: pb.ReplayEventRequest) -> pb.Event:
        """C-12.9: the event is pushed again, the answer is the new one."""
        return event_message(await self._events.replay(caller.tenant_id, required_uuid(request.event_id, "event_id")))

    async def put_log(self, caller: Caller, request: pb.PutLogRequest) -> pb.PutLogResponse:
        """C-13.1 to C-13.8."""
        await self._logs.put(caller.tenant_id, task_log_line(request))
        return pb.PutLogResponse()

    async def put_stream_event(self, caller: Caller, request: pb.PutStreamEventRequest) -> pb.PutStreamEventResponse:
        """C-13.9 to C-13.12."""
        chunk = stream_chunk(request, self._clock)
        await self._run_events.chunk(caller.tenant_id, chunk.task_id, None, chunk.index, chunk.text, chunk.at)
        return pb.PutStreamEventResponse()
