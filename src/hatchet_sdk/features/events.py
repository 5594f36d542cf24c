"""`hatchet.event`: push events, which start workflows and end waits (behaviour-core C-12)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from hatchet_sdk.context.current import current_context
from hatchet_sdk.declare.options import Priority
from hatchet_sdk.features.event_models import (
    BulkPushEventOptions,
    BulkPushEventWithMetadata,
    Event,
    PushEventOptions,
)

if TYPE_CHECKING:
    from hatchet_contracts.events_pb2 import PushEventRequest
    from hatchet_sdk.client import Client

SOURCE_RUN = "hatchet__source_workflow_run_id"
SOURCE_TASK = "hatchet__source_step_run_id"

ANSWER_BYTES = 160
"""At most what the answer to a push holds of an event besides what the request had; it has to fit as well."""


class EventClient:
    """Pushes events. Every method raises `EngineError` when the engine refuses or cannot be reached.

    A push returns when the event is kept. What it starts or releases follows a moment later (C-12.8). An event that is
    pushed inside a task carries the ids of the run and of the task in its metadata (C-4.24).
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def push(
        self,
        event_key: str,
        payload: dict[str, Any],
        options: PushEventOptions | None = None,
        additional_metadata: dict[str, Any] | None = None,
        priority: Priority | None = None,
        scope: str | None = None,
    ) -> Event:
        """Push one event; arguments win over the same fields of `options`, metadata is merged.

        Raises:
            TypeError: payload or metadata cannot become a JSON object.
        """
        requests = self._one(event_key, payload, options, additional_metadata, priority, scope)
        return self._client.connection.run(self._push(requests))[0]

    async def aio_push(
        self,
        event_key: str,
        payload: dict[str, Any],
        options: PushEventOptions | None = None,
        additional_metadata: dict[str, Any] | None = None,
        priority: Priority | None = None,
        scope: str | None = None,
    ) -> Event:
        """Like `push`, for async code."""
        requests = self._one(event_key, payload, options, additional_metadata, priority, scope)
        return (await self._client.connection.call(self._push(requests)))[0]

    def bulk_push(
        self, events: list[BulkPushEventWithMetadata], options: BulkPushEventOptions | None = None
    ) -> list[Event]:
        """Push events, in requests of up to 1000; answers in the order of the events (C-12.3).

        A refused event keeps all events of its request from being kept (C-12.4); those of earlier requests stay.

        Raises:
            TypeError: the payload or metadata of an event cannot become a JSON object.
        """
        return self._client.connection.run(self._push(self._many(events, options)))

    async def aio_bulk_push(
        self, events: list[BulkPushEventWithMetadata], options: BulkPushEventOptions | None = None
    ) -> list[Event]:
        """Like `bulk_push`, for async code."""
        return await self._client.connection.call(self._push(self._many(events, options)))

    # --- from arguments to requests ------------------------------------------------------------------------------

    def _one(
        self,
        key: str,
        payload: dict[str, Any],
        options: PushEventOptions | None,
        metadata: dict[str, Any] | None,
        priority: Priority | None,
        scope: str | None,
    ) -> list[PushEventRequest]:
        given = options or PushEventOptions()
        event = BulkPushEventWithMetadata(
            key=key,
            payload=payload,
            additional_metadata={**given.additional_metadata, **(metadata or {})},
            priority=given.priority if priority is None else priority,
            scope=given.scope if scope is None else scope,
        )
        return [self._request(event, given.namespace)]

    def _many(
        self, events: Sequence[BulkPushEventWithMetadata], options: BulkPushEventOptions | None
    ) -> list[PushEventRequest]:
        given = options or BulkPushEventOptions()
        completed = (
            event.model_copy(
                update={
                    "additional_metadata": {**given.additional_metadata, **event.additional_metadata},
                    "priority": given.priority if event.priority is None else event.priority,
                    "scope": given.scope if event.scope is None else event.scope,
                }
            )
            for event in events
        )
        return [self._request(event, given.namespace) for event in completed]

    def _request(self, event: BulkPushEventWithMetadata, namespace: str | None) -> PushEventRequest:
        # grpc's messages are imported with the first use, not with the client.
        from hatchet_contracts.events_pb2 import PushEventRequest

        metadata = event.additional_metadata
        context = current_context.get()
        # A batch stands for many runs, none of which can be named as the source.
        if context is not None and context.task_run_id:
            metadata = {**metadata, SOURCE_RUN: context.workflow_run_id, SOURCE_TASK: context.task_run_id}
        request = PushEventRequest(
            key=self._client.config.apply_namespace(event.key, namespace),
            payload=_json(event.payload, f"the payload of the event '{event.key}'"),
            additional_metadata=_json(metadata, f"additional_metadata of the event '{event.key}'"),
            priority=None if event.priority is None else int(event.priority),
            scope=event.scope,
        )
        request.event_timestamp.GetCurrentTime()
        return request

    async def _push(self, requests: Sequence[PushEventRequest]) -> list[Event]:
        from hatchet_sdk.run.trigger import chunks

        calls = self._client.connection.calls()
        if len(requests) == 1:
            return [Event.from_proto(await calls.push_event(requests[0]))]
        limit = self._client.config.grpc_max_send_message_length - 1024
        kept: list[Event] = []
        for part in chunks(requests, limit, added_bytes=ANSWER_BYTES):
            kept += [Event.from_proto(event) for event in await calls.bulk_push_events(part)]
        return kept


def _json(value: dict[str, Any], what: str) -> str:
    try:
        return to_json(value).decode()
    except ValueError as error:
        raise TypeError(f"{what} cannot become JSON: {error}") from error
