"""Our compiled messages and services are those that the official clients speak (facts in ``tests/contract``)."""

from __future__ import annotations

import copy
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

import hatchet_contracts
from hatchet.grpc.methods import contract_methods


def _load_checker() -> ModuleType:
    path = Path(__file__).parents[1] / "contract" / "check_grpc.py"
    spec = importlib.util.spec_from_file_location("check_grpc", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


checker = _load_checker()


def found(wanted: dict) -> list[str]:  # type: ignore[type-arg]
    have = checker.described(checker.compiled_files(hatchet_contracts))
    return list(checker.problems(wanted, have))


def test_c_0_9_to_c_0_14_our_descriptors_equal_the_contract() -> None:
    assert found(checker.contract()) == []


def test_the_contract_is_there_as_a_whole() -> None:
    wanted = checker.contract()
    assert (len(wanted["messages"]), len(wanted["enums"]), len(wanted["methods"])) == (116, 19, 36)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda c: c["messages"].update(New={}), "missing: New"),
        (
            lambda c: c["messages"]["StepActionEvent"].update(extra="13 singular string"),
            "missing: StepActionEvent extra",
        ),
        (
            lambda c: c["messages"]["StepActionEvent"].update(worker_id="2 singular string"),
            "different: StepActionEvent",
        ),
        (
            lambda c: c["messages"]["StepRunResult"].update(error="4 singular string"),
            "'4 optional string', the contract",
        ),
        (lambda c: c["messages"]["StepActionEvent"].pop("retry_count"), None),
        (lambda c: c["messages"]["HeartbeatResponse"].update(a="1 singular string"), "missing: HeartbeatResponse a"),
        (
            lambda c: c["reserved"].update(StepRunResult=[[4, 5]]) or c["messages"]["StepRunResult"].pop("error"),
            "clash",
        ),
        (lambda c: c["enums"]["ActionType"].update(START_BATCH=4), "different: ActionType START_BATCH"),
        (lambda c: c["enums"]["ActionType"].update({"NEW": 3, "START_BATCH": 3}), "missing: ActionType NEW"),
        (
            lambda c: c["enums"]["ActionType"].update(OTHER=c["enums"]["ActionType"].pop("START_BATCH")),
            "clash: ActionType",
        ),
        (lambda c: c["methods"].update({"/Dispatcher/New": "A -> B"}), "missing: method /Dispatcher/New"),
        (
            lambda c: c["methods"].update({"/Dispatcher/ListenV2": "WorkerListenRequest -> AssignedAction"}),
            "different: method /Dispatcher/ListenV2",
        ),
    ],
)
def test_a_mismatch_is_found(change, problem: str | None) -> None:  # type: ignore[no-untyped-def]
    wanted = copy.deepcopy(checker.contract())
    change(wanted)
    problems = found(wanted)
    if problem is None:
        # What we have besides the contract is no problem while it takes no number of it.
        assert problems == []
    else:
        assert any(problem in line for line in problems), problems


def test_the_method_table_of_the_server_is_the_contract() -> None:
    methods = {method.path: method for method in contract_methods()}
    wanted = checker.contract()["methods"]
    assert methods.keys() == wanted.keys()
    for path, signature in wanted.items():
        request, response = signature.split(" -> ")
        assert methods[path].client_streaming == request.startswith("stream ")
        assert methods[path].server_streaming == response.startswith("stream ")
        assert methods[path].request.DESCRIPTOR.full_name == request.removeprefix("stream ")


def test_handler_names_are_snake_case() -> None:
    names = {method.path: method.name for method in contract_methods()}
    assert names["/Dispatcher/SendStepActionEvent"] == "send_step_action_event"
    assert names["/Dispatcher/ListenV2"] == "listen_v2"
    assert names["/v1.AdminService/PutWorkflow"] == "put_workflow"
