"""The names, signatures and defaults that the SDK offers are those of the contract.

`tests/contract/sdk_surface_step2.json` holds the facts for what this version serves, `sdk_surface_step3.json` and
`sdk_surface_step4.json` what came later; what it does not serve is absent from both sides. Annotations are not compared
here: `tests/typing` checks types by what a type checker says.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from datetime import timedelta
from enum import Enum
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import hatchet_sdk

CONTRACT = Path(__file__).parents[1] / "contract"


def _facts() -> dict[str, Any]:
    facts, *grown = (json.loads((CONTRACT / f"sdk_surface_step{step}.json").read_text()) for step in (2, 3, 4))
    for later in grown:
        for name, fact in later["classes"].items():
            known = facts["classes"].setdefault(name, {})
            members = {**known.get("members", {}), **fact.get("members", {})}
            known.update(fact)
            if members:
                known["members"] = members
        facts["exports"] += later["exports"]
    return {**facts, "rest_models": grown[0]["rest_models"], "rest_enums": grown[0]["rest_enums"]}


FACTS = _facts()

MODULES = (
    "config",
    "context.durable",
    "declare.base",
    "declare.batches",
    "declare.conditions",
    "declare.durations",
    "declare.eviction",
    "declare.fallbacks",
    "declare.labels",
    "declare.limits",
    "declare.options",
    "declare.standalone",
    "declare.task",
    "declare.values",
    "declare.workflow",
    "exceptions",
    "features.cel",
    "features.cron",
    "features.cron_models",
    "features.event_models",
    "features.events",
    "features.filter_models",
    "features.filters",
    "features.rate_limit_models",
    "features.rate_limits",
    "features.rest_models",
    "features.run_models",
    "features.runs",
    "features.scheduled",
    "features.scheduled_models",
    "hatchet",
    "run.refs",
    "token",
    "wire.rest_errors",
)

OWN_EXPORTS = {
    "ApiException",
    "BadRequestException",
    "CancelledRunError",
    "ConfigurationError",
    "DurableOperationError",
    "CronWorkflowsOrderByField",
    "EngineError",
    "IllegalTaskOutputError",
    "NotFoundException",
    "RateLimitOrderByDirection",
    "RateLimitOrderByField",
    "RestTransportError",
    "ScheduledRunStatus",
    "ScheduledWorkflowsBulkUpdateItem",
    "ScheduledWorkflowsOrderByField",
    "Standalone",
    "V1UpdateFilterRequest",
    "WorkflowRunOrderByDirection",
}
"""Names that the contract's package does not export at its top."""

OWN_PARAMETERS = {("Hatchet", "batch_task"): {"retries"}, ("Workflow", "batch_task"): {"retries"}}
"""Parameters beyond the contract: without one a batch task could never be tried again (C-16.3, C-16.30)."""

OWN_MEMBERS = {
    "Hatchet": {"client"},
    "BaseWorkflow": {"inputs", "input_text", "merge"},
    "Standalone": set(),
    "Workflow": set(),
    "Task": {"action_name", "parse_input", "parse_output", "readable_id", "serialize_output"},
    "EventClient": set(),
    "CELClient": set(),
    "CronClient": set(),
    "FiltersClient": set(),
    "RateLimitsClient": set(),
    "ScheduledClient": set(),
    "RunsClient": set(),
    "WorkflowRunRef": set(),
    "TaskRunRef": {"workflow_run_id"},
}
"""Public members beyond the contract; a member that is in neither list is an accident."""


def _find(name: str) -> Any:
    for module in MODULES:
        value = getattr(import_module(f"hatchet_sdk.{module}"), name, None)
        if value is not None and getattr(value, "__module__", None) == f"hatchet_sdk.{module}":
            return value
    pytest.fail(f"{name} is not defined in hatchet_sdk")


def _default(value: Any) -> str:
    """A default as the facts write it."""
    if isinstance(value, timedelta):
        return f"timedelta(seconds={value.total_seconds():g})"
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, BaseModel) and not value.model_fields_set:
        return f"{type(value).__name__}()"
    return repr(value).replace("datetime.timedelta", "timedelta")


def _parameters(function: Any) -> list[dict[str, str]]:
    found = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        fact = {"name": parameter.name}
        if parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
            fact["kind"] = parameter.kind.name.lower()
        if parameter.default is not inspect.Parameter.empty:
            fact["default"] = _default(parameter.default)
        found.append(fact)
    return found


def _members(kind: str) -> list[tuple[str, str]]:
    return [(name, m) for name, fact in FACTS["classes"].items() if kind in fact for m in fact[kind]]


@pytest.mark.parametrize("name", FACTS["classes"])
def test_class_and_constructor(name: str) -> None:
    cls, fact = _find(name), FACTS["classes"][name]
    if "constructor" in fact:
        assert _parameters(cls.__init__) == fact["constructor"]
    names = {base.__name__ for base in cls.__mro__}
    for base in fact["bases"]:
        assert base.partition("[")[0].rpartition(".")[2] in names


@pytest.mark.parametrize(("name", "member"), _members("members"))
def test_member(name: str, member: str) -> None:
    fact, cls = FACTS["classes"][name]["members"][member], _find(name)
    static = inspect.getattr_static(cls, member, None)
    if fact["kind"] in ("property", "cached_property"):
        # An attribute that __init__ sets reads the same.
        assert isinstance(static, property | cached_property) or f"self.{member}" in inspect.getsource(cls.__init__)
        return
    found = getattr(cls, member)
    own = OWN_PARAMETERS.get((name, member), set())
    assert [parameter for parameter in _parameters(found) if parameter["name"] not in own] == fact["params"]
    assert asyncio.iscoroutinefunction(found) == (fact["call"] == "async")
    assert bool(getattr(found, "__deprecated__", None)) == fact.get("deprecated", False)
    if fact["kind"] in ("classmethod", "staticmethod"):
        assert not inspect.isfunction(found) or isinstance(static, staticmethod)


@pytest.mark.parametrize("name", [n for n, fact in FACTS["classes"].items() if "attributes" in fact])
def test_attributes_that_the_constructor_sets(name: str) -> None:
    constructors = [vars(base)["__init__"] for base in _find(name).__mro__ if "__init__" in vars(base)]
    source = "".join(inspect.getsource(function) for function in constructors if inspect.isfunction(function))
    for attribute in FACTS["classes"][name]["attributes"]:
        assert re.search(rf"self\.{attribute}\b.*=", source), attribute


@pytest.mark.parametrize("name", OWN_MEMBERS)
def test_nothing_is_exposed_that_is_neither_in_the_contract_nor_listed(name: str) -> None:
    cls = _find(name)
    bases = [base for base in cls.__mro__ if base.__name__ in FACTS["classes"]]
    allowed = OWN_MEMBERS[name].union(*(FACTS["classes"][base.__name__].get("members", ()) for base in bases))
    allowed |= set().union(*(OWN_MEMBERS.get(base.__name__, set()) for base in bases))
    assert {member for member in dir(cls) if not member.startswith("_")} <= allowed


@pytest.mark.parametrize("name", [n for n, fact in FACTS["classes"].items() if "fields" in fact])
def test_fields(name: str) -> None:
    cls, fact = _find(name), FACTS["classes"][name]
    assert list(cls.model_fields) == [field["name"] for field in fact["fields"]]
    for field in fact["fields"]:
        info = cls.model_fields[field["name"]]
        assert info.is_required() == field["required"], field["name"]
        if not field["required"]:
            assert _matches(info, field["default"]), field["name"]
        if "env" in field:
            assert f"{cls.model_config['env_prefix']}{field['name']}".upper() == field["env"]
    if "env_files" in fact:
        assert list(cls.model_config["env_file"]) == fact["env_files"]
    if "extra" in fact:
        assert cls.model_config["extra"] == fact["extra"]
    if "frozen" in fact:
        assert cls.model_config["frozen"] == fact["frozen"]


def _matches(info: Any, text: str) -> bool:
    if text.startswith("factory:"):
        return bool(info.default_factory.__name__ == text.removeprefix("factory:"))
    if text.startswith("TenacityConfig("):
        return bool(info.default_factory.__name__ == "TenacityConfig")
    value = info.get_default(call_default_factory=True)
    assert value is not PydanticUndefined
    return text in (_default(value), repr(value), getattr(value, "__name__", None))


@pytest.mark.parametrize("name", [n for n, fact in FACTS["classes"].items() if "values" in fact])
def test_enum_values(name: str) -> None:
    assert {item.name: item.value for item in _find(name)} == FACTS["classes"][name]["values"]


def _rest(name: str) -> Any:
    """A class of the REST API; one of them has the name of an option of tasks."""
    return import_module("hatchet_sdk.features.rate_limit_models").RateLimit if name == "RateLimit" else _find(name)


@pytest.mark.parametrize("name", FACTS["rest_models"])
def test_rest_models_have_the_members_of_the_wire(name: str) -> None:
    fields = _rest(name).model_fields
    found = {field.alias or attribute: attribute for attribute, field in fields.items()}
    assert found == {member: fact["attribute"] for member, fact in FACTS["rest_models"][name].items()}
    required = {fact["attribute"] for fact in FACTS["rest_models"][name].values() if fact["required"]}
    assert {attribute for attribute, field in fields.items() if field.is_required()} == required


@pytest.mark.parametrize("name", FACTS["rest_enums"])
def test_rest_enums_have_the_values_of_the_wire(name: str) -> None:
    assert sorted(item.value for item in _find(name)) == sorted(FACTS["rest_enums"][name])


@pytest.mark.parametrize("name", FACTS["functions"])
def test_function(name: str) -> None:
    assert _parameters(_find(name)) == FACTS["functions"][name]


def test_exports() -> None:
    assert set(hatchet_sdk.__all__) - OWN_EXPORTS <= set(FACTS["exports"])
    for name in hatchet_sdk.__all__:
        assert getattr(hatchet_sdk, name).__name__ == name
    assert set(hatchet_sdk.__all__) <= set(dir(hatchet_sdk))
    with pytest.raises(AttributeError, match="no attribute 'durable_task'"):
        _ = hatchet_sdk.durable_task
