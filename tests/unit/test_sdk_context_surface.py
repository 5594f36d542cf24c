"""Context and runs client have the names, signatures and defaults of the contract.

`tests/contract/sdk_surface_context.json` holds the facts for what this version serves; what it does not serve (REST,
durable tasks) is absent from both sides.
"""

from __future__ import annotations

import inspect
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from hatchet_sdk.context.context import Context
from hatchet_sdk.context.durable import DurableContext
from hatchet_sdk.context.log_line import LogLevel
from hatchet_sdk.context.payload import ActionPayload
from hatchet_sdk.context.worker_context import WorkerContext
from hatchet_sdk.features import run_models
from hatchet_sdk.features.runs import RunsClient

FACTS = json.loads((Path(__file__).parents[1] / "contract" / "sdk_surface_context.json").read_text())

CLASSES: dict[str, Any] = {
    "Context": Context,
    "WorkerContext": WorkerContext,
    "RunsClient": RunsClient,
    "LogLevel": LogLevel,
    "ActionPayload": ActionPayload,
    **{
        name: getattr(run_models, name)
        for name in (
            "BulkCancelReplayOpts",
            "RunFilter",
            "RunStatus",
            "TaskRunDetail",
            "V1TaskStatus",
            "WorkflowRunDetail",
        )
    },
}

OWN_MEMBERS = {
    "Context": {"children_log", "mark_cancelled", "next_child_index", "payload", "write_line"},
    "WorkerContext": {"check_sticky", "link"},
    # Of durable tasks: see tests/contract/sdk_surface_step4.json.
    "RunsClient": {"aio_reset_durable_task", "reset_durable_task"},
}
"""Public members beyond the contract; a member that is in neither list is an accident."""

KINDS = {
    "sync": inspect.isfunction,
    "async": inspect.iscoroutinefunction,
    "async_generator": inspect.isasyncgenfunction,
}


def _members() -> list[tuple[str, str]]:
    return [(name, member) for name, fact in FACTS.items() for member in fact.get("members", ())]


def _parameters(function: Any) -> list[dict[str, str]]:
    found = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name not in ("self", "cls"):
            has_default = parameter.default is not inspect.Parameter.empty
            found.append({"name": parameter.name} | ({"default": repr(parameter.default)} if has_default else {}))
    return found


def test_every_fact_has_its_class() -> None:
    assert set(FACTS) == set(CLASSES)


@pytest.mark.parametrize(("name", "member"), _members())
def test_context_member(name: str, member: str) -> None:
    cls, fact = CLASSES[name], FACTS[name]["members"][member]
    static = inspect.getattr_static(cls, member, None)
    if fact["kind"] == "property":
        # An attribute that __init__ sets reads the same.
        assert isinstance(static, property | cached_property) or f"self.{member}" in inspect.getsource(cls.__init__)
        return
    found = getattr(cls, member)
    assert _parameters(found) == fact["params"]
    if fact["kind"] == "method":
        assert KINDS[fact["call"]](found)
        assert fact["call"] != "sync" or not inspect.iscoroutinefunction(found)
    else:
        assert isinstance(static, classmethod | staticmethod) or hasattr(static, "wrapped")
    assert bool(getattr(found, "__deprecated__", None)) == fact.get("deprecated", False)


@pytest.mark.parametrize("name", OWN_MEMBERS)
def test_context_exposes_nothing_else(name: str) -> None:
    public = {member for member in dir(CLASSES[name]) if not member.startswith("_")}
    assert public - OWN_MEMBERS[name] <= set(FACTS[name]["members"])


@pytest.mark.parametrize("name", [name for name, fact in FACTS.items() if "fields" in fact])
def test_context_fields(name: str) -> None:
    fields = CLASSES[name].model_fields
    assert list(fields) == [fact["name"] for fact in FACTS[name]["fields"]]
    for fact in FACTS[name]["fields"]:
        info = fields[fact["name"]]
        assert info.is_required() == fact["required"], fact["name"]
        if not fact["required"]:
            assert repr(info.get_default(call_default_factory=True)) == fact["default"], fact["name"]


@pytest.mark.parametrize("name", [name for name, fact in FACTS.items() if "values" in fact])
def test_context_enum_values(name: str) -> None:
    assert {item.name: item.value for item in CLASSES[name]} == FACTS[name]["values"]


def test_a_durable_context_exposes_what_the_contract_names_and_our_twins_for_functions_that_are_not_async() -> None:
    facts = json.loads((Path(__file__).parents[1] / "contract" / "sdk_surface_step4.json").read_text())
    named = set(facts["classes"]["DurableContext"]["members"])
    twins = {member.removeprefix("aio_") for member in named if member.startswith("aio_")}
    own = {"aio_memo", "memo", "aio_run_child", "run_child", "bind"}
    public = {member for member in vars(DurableContext) if not member.startswith("_")}
    assert public == named | twins | own | {"children_log"}
