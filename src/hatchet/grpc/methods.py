"""The methods of the contract, read from the compiled descriptors: nothing is listed by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from hatchet_contracts import dispatcher_pb2, events_pb2, workflows_pb2
from hatchet_contracts.v1 import dispatcher_pb2 as v1_dispatcher_pb2
from hatchet_contracts.v1 import workflows_pb2 as v1_workflows_pb2

_FILES = (dispatcher_pb2, events_pb2, workflows_pb2, v1_dispatcher_pb2, v1_workflows_pb2)
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(slots=True, frozen=True)
class Method:
    """One method: where it is called, and what travels."""

    service: str
    """Full name with the package, such as ``v1.AdminService``."""
    name: str
    """Name of the handler: ``SendStepActionEvent`` is ``send_step_action_event``."""
    path: str
    request: type[Message]
    client_streaming: bool
    server_streaming: bool


def contract_methods() -> Iterator[Method]:
    """Every method of every service of the contract (C-0.9 to C-0.14)."""
    for file in _FILES:
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield Method(
                    service=service.full_name,
                    name=_WORD_START.sub("_", method.name).lower(),
                    path=f"/{service.full_name}/{method.name}",
                    request=GetMessageClass(method.input_type),
                    client_streaming=method.client_streaming,
                    server_streaming=method.server_streaming,
                )
