"""An engine that keeps pushed events, and nothing else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from hatchet_contracts import events_pb2 as pb

TENANT = "707d0855-80ab-4e1f-a156-f1c4546cbf52"


class FakeEvents:
    """Answers as C-12.2 says, with ids that count from 0; refuses an event with the key ``bad``."""

    def __init__(self) -> None:
        self.pushed: list[pb.PushEventRequest] = []
        self.bulk_sizes: list[int] = []
        self._server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
        methods = {
            "Push": grpc.unary_unary_rpc_method_handler(
                self._push, pb.PushEventRequest.FromString, pb.Event.SerializeToString
            ),
            "BulkPush": grpc.unary_unary_rpc_method_handler(
                self._bulk_push, pb.BulkPushEventRequest.FromString, pb.Events.SerializeToString
            ),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("EventsService", methods),))
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def close(self) -> None:
        self._server.stop(0).wait()

    def _push(self, request: pb.PushEventRequest, context: Any) -> pb.Event:
        return self._keep([request], context)[0]

    def _bulk_push(self, request: pb.BulkPushEventRequest, context: Any) -> pb.Events:
        self.bulk_sizes.append(len(request.events))
        return pb.Events(events=self._keep(request.events, context))

    def _keep(self, requests: Any, context: Any) -> list[pb.Event]:
        if any(request.key == "bad" for request in requests):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "events[0].key is bad")
        first = len(self.pushed)
        self.pushed.extend(requests)
        return [
            pb.Event(
                tenant_id=TENANT,
                event_id=str(number),
                key=request.key,
                payload=request.payload,
                event_timestamp=request.event_timestamp,
                additional_metadata=request.additional_metadata,
                scope=request.scope if request.HasField("scope") else None,
            )
            for number, request in enumerate(requests, first)
        ]
