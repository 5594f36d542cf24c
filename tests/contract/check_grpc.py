"""Compare compiled protobuf descriptors with ``grpc.json``, the facts of the wire contract.

``grpc.json`` describes a field as ``<number> <cardinality> <type> [<type name>]``, where a member of a oneof has
``oneof:<its name>`` as cardinality; a map field as ``<number> map <key type> <value type> [<type name>]``; a method as
``[stream] <request> -> [stream] <response>``. What the descriptors have besides is no problem, unless it takes a number
that the contract uses or reserves.

Run ``python tests/contract/check_grpc.py`` to print the problems; exit status 1 says that there are some.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    MethodDescriptorProto,
)

Contract = dict[str, dict[str, Any]]

_KIND = {number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()}


def contract() -> Contract:
    """The facts: fields by message, values by enum, signatures by method path, reserved ranges by message."""
    found: Contract = json.loads(Path(__file__).with_name("grpc.json").read_text(encoding="utf-8"))
    return found


def compiled_files(package: ModuleType) -> list[FileDescriptorProto]:
    """The descriptor of every ``*_pb2`` module of a package."""
    files = []
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if module.name.endswith("_pb2"):
            file = FileDescriptorProto()
            importlib.import_module(module.name).DESCRIPTOR.CopyToProto(file)
            files.append(file)
    return files


def described(files: Iterable[FileDescriptorProto]) -> Contract:
    """The same tables as :func:`contract`, read from descriptors."""
    tables: Contract = {"messages": {}, "enums": {}, "methods": {}}
    for file in files:
        scope = f"{file.package}." if file.package else ""
        for message in file.message_type:
            _describe_message(tables, scope, message)
        for enum in file.enum_type:
            _describe_enum(tables, scope, enum)
        for service in file.service:
            for method in service.method:
                tables["methods"][f"/{scope}{service.name}/{method.name}"] = _signature(method)
    return tables


def _describe_message(tables: Contract, scope: str, message: DescriptorProto) -> None:
    name = scope + message.name
    entries = {f".{name}.{nested.name}": nested for nested in message.nested_type if nested.options.map_entry}
    tables["messages"][name] = {field.name: _field(field, message, entries) for field in message.field}
    for nested in message.nested_type:
        if not nested.options.map_entry:
            _describe_message(tables, f"{name}.", nested)
    for enum in message.enum_type:
        _describe_enum(tables, f"{name}.", enum)


def _describe_enum(tables: Contract, scope: str, enum: EnumDescriptorProto) -> None:
    tables["enums"][scope + enum.name] = {value.name: value.number for value in enum.value}


def _field(field: FieldDescriptorProto, message: DescriptorProto, entries: dict[str, DescriptorProto]) -> str:
    entry = entries.get(field.type_name)
    if entry is not None:
        key, value = sorted(entry.field, key=lambda part: part.number)
        return f"{field.number} map {_KIND[key.type]} {_type(value)}"
    return f"{field.number} {_cardinality(field, message)} {_type(field)}"


def _cardinality(field: FieldDescriptorProto, message: DescriptorProto) -> str:
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return "repeated"
    if field.label == FieldDescriptorProto.LABEL_REQUIRED:
        return "required"
    if field.proto3_optional:
        return "optional"
    return f"oneof:{message.oneof_decl[field.oneof_index].name}" if field.HasField("oneof_index") else "singular"


def _type(field: FieldDescriptorProto) -> str:
    return f"{_KIND[field.type]} {field.type_name.lstrip('.')}".rstrip()


def _signature(method: MethodDescriptorProto) -> str:
    request, response = method.input_type.lstrip("."), method.output_type.lstrip(".")
    sent, received = "stream " * method.client_streaming, "stream " * method.server_streaming
    return f"{sent}{request} -> {received}{response}"


def problems(wanted: Contract, have: Contract) -> Iterator[str]:
    """What is missing or different, one line each."""
    for kind in ("messages", "enums"):
        for name, members in wanted[kind].items():
            if name not in have[kind]:
                yield f"missing: {name}"
            else:
                yield from _differences(name, members, have[kind][name])
                yield from _clashes(name, members, have[kind][name], wanted["reserved"].get(name, []))
    yield from _differences("method", wanted["methods"], have["methods"])


def _differences(name: str, wanted: dict[str, Any], have: dict[str, Any]) -> Iterator[str]:
    for member, value in wanted.items():
        if member not in have:
            yield f"missing: {name} {member} = {value}"
        elif have[member] != value:
            yield f"different: {name} {member} is {have[member]!r}, the contract says {value!r}"


def _clashes(name: str, wanted: dict[str, Any], have: dict[str, Any], reserved: list[tuple[int, int]]) -> Iterator[str]:
    taken = {_number(value) for value in wanted.values()}
    for member, value in have.items():
        number = _number(value)
        if member not in wanted and (number in taken or any(first <= number < end for first, end in reserved)):
            yield f"clash: {name} {member} uses the number {number} of the contract"


def _number(value: int | str) -> int:
    return value if isinstance(value, int) else int(value.split(" ", 1)[0])


def main() -> int:
    """Print the problems of ``hatchet_contracts``; the exit status."""
    found = list(problems(contract(), described(compiled_files(importlib.import_module("hatchet_contracts")))))
    print("\n".join(found) or "wire compatible")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
