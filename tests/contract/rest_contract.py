"""Checks values and our own OpenAPI document against ``rest.json``, the facts about the REST interface."""

from __future__ import annotations

import json
import re
import uuid
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "array": list,
    "object": dict,
}


@cache
def contract() -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "rest.json").read_text(encoding="utf-8"))


@cache
def operations() -> dict[tuple[str, str], dict[str, Any]]:
    return {(found["method"], found["path"]): found for found in contract()["operations"]}


def answer_schema(method: str, path: str, status: int) -> dict[str, Any]:
    """The schema of an answer; fails when the contract has no such answer."""
    return operations()[(method, path)]["responses"][str(status)].get("schema", {})


def complaints(value: Any, schema: dict[str, Any], where: str = "$") -> list[str]:
    """Why ``value`` does not fit; empty when it does. Unset optional properties must be left out or null."""
    if "ref" in schema:
        return complaints(value, contract()["schemas"][schema["ref"]], where)
    kind = schema.get("type")
    if kind is not None and (not isinstance(value, _TYPES[kind]) or (kind != "boolean" and isinstance(value, bool))):
        return [f"{where}: {value!r} is no {kind}"]
    found = _scalar_complaints(value, schema, where)
    if kind == "array":
        for index, item in enumerate(value):
            found += complaints(item, schema.get("items", {}), f"{where}[{index}]")
    if kind == "object":
        found += _object_complaints(value, schema, where)
    return found


def _scalar_complaints(value: Any, schema: dict[str, Any], where: str) -> list[str]:
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where}: {value!r} is not one of {schema['enum']}")
    if "maxLength" in schema and len(value) > schema["maxLength"]:
        found.append(f"{where}: longer than {schema['maxLength']}")
    if schema.get("format") == "uuid" and str(uuid.UUID(value)) != value:
        found.append(f"{where}: {value!r} is no uuid")
    if schema.get("format") == "date-time" and datetime.fromisoformat(value).tzinfo is None:
        found.append(f"{where}: {value!r} has no time zone")
    return found


def _object_complaints(value: dict[str, Any], schema: dict[str, Any], where: str) -> list[str]:
    found: list[str] = []
    if "properties" not in schema and "additionalProperties" not in schema:
        # Whatever the user put into it, such as a payload.
        return found
    properties = schema.get("properties", {})
    for name, inner in properties.items():
        if value.get(name) is not None:
            found += complaints(value[name], inner, f"{where}.{name}")
        elif inner.get("required"):
            found.append(f"{where}.{name}: is required")
    for name in value.keys() - properties.keys():
        extra = schema.get("additionalProperties")
        if extra is True:
            continue
        found += complaints(value[name], extra, f"{where}.{name}") if extra else [f"{where}.{name}: is unknown"]
    return found


def route_complaints(openapi: dict[str, Any]) -> list[str]:
    """Routes, parameters and bodies of our document that the contract does not have, or has otherwise."""
    found = []
    for path, methods in openapi["paths"].items():
        for method, ours in methods.items():
            theirs = operations().get((method.upper(), path))
            if theirs is None:
                found.append(f"{method.upper()} {path}: is not in the contract")
                continue
            want = {(p["in"], p["name"], p["required"]) for p in theirs.get("params", ())}
            have = {(p["in"], p["name"], p.get("required", False)) for p in ours.get("parameters", ())}
            found += [f"{method.upper()} {path}: {difference}" for difference in sorted(want ^ have)]
            body = ours.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            wanted_body = theirs.get("body", {}).get("schema", {}).get("ref")
            if re.sub(r".*/", "", body.get("$ref", "")) != (wanted_body or ""):
                found.append(f"{method.upper()} {path}: body {body} instead of {wanted_body}")
    return found
