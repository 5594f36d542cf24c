"""Checksum and storage form of workflow definitions (behaviour-core C-3.12, C-3.20, C-3.29, C-3.30)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from hatchet.core.definitions import (
    StoredVersion,
    TaskDefinition,
    WorkflowDefinition,
    checksum,
    from_json,
    stored_version,
    to_json,
    topological,
)


def task(readable_id: str = "step", **options: object) -> TaskDefinition:
    return TaskDefinition(**{"readable_id": readable_id, "action": f"flow:{readable_id}".lower(), **options})  # type: ignore[arg-type]


def workflow(*tasks: TaskDefinition, **options: object) -> WorkflowDefinition:
    return WorkflowDefinition(**{"name": "Flow", "tasks": tasks or (task(),), **options})  # type: ignore[arg-type]


FULL = workflow(
    task(
        "One",
        execution_timeout="1h",
        schedule_timeout="10s",
        retries=3,
        backoff_factor=1.5,
        backoff_max_seconds=10,
        is_durable=True,
        slot_requests={"gpu": 2},
    ),
    task("two", parents=("One",)),
    description="d",
    version="v1",
    default_priority=2,
    input_json_schema='{"type": "object"}',
)


def test_c_3_20_slots_by_default() -> None:
    assert task().slots == {"default": 1}
    assert task(is_durable=True).slots == {"durable": 1}
    assert task(is_durable=True, slot_requests={"gpu": 2}).slots == {"gpu": 2}


def test_c_3_29_topological_order_breaks_ties_by_readable_id() -> None:
    diamond = (
        task("d", parents=("b", "c")),
        task("c", parents=("a",)),
        task("b", parents=("a",)),
        task("a"),
        task("0"),
    )
    assert [one.readable_id for one in topological(diamond)] == ["0", "a", "b", "c", "d"]


def test_c_3_29_order_of_listing_and_default_slots_change_no_checksum() -> None:
    one, two, three = task("a"), task("b"), task("c", parents=("a", "b"))
    first = checksum(workflow(one, two, three))
    assert first == checksum(workflow(replace(three, parents=("b", "a")), two, one))
    assert first == checksum(workflow(replace(one, slot_requests={"default": 1}), two, three))
    durable = workflow(task(is_durable=True))
    assert checksum(durable) == checksum(workflow(task(is_durable=True, slot_requests={"durable": 1})))


@pytest.mark.parametrize(
    "changed",
    [
        workflow(task(execution_timeout="61s")),
        workflow(task(schedule_timeout="1m")),
        workflow(task(retries=1)),
        workflow(task(backoff_factor=2.0)),
        workflow(task(backoff_max_seconds=2)),
        workflow(task(is_durable=True)),
        workflow(task(slot_requests={"default": 2})),
        workflow(task(action="flow:other")),
        workflow(task("Step")),
        workflow(task(), task("b")),
        workflow(description="x"),
        workflow(version="x"),
        workflow(default_priority=1),
        workflow(input_json_schema="{}"),
    ],
)
def test_c_3_30_every_change_changes_the_checksum(changed: WorkflowDefinition) -> None:
    assert checksum(changed) != checksum(workflow())


def test_c_3_29_checksum_is_the_same_in_every_process() -> None:
    code = (
        "from hatchet.core.definitions import *;"
        "t=TaskDefinition(readable_id='a',action='f:a',slot_requests={'z':1,'b':2,'default':3});"
        "print(checksum(WorkflowDefinition(name='F',tasks=(t,))))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1
    assert len(found.pop().strip()) == 64


def test_the_stored_form_gives_the_definition_back() -> None:
    ids = {"One": "id-1", "two": "id-2"}
    stored = to_json(FULL, ids)
    assert from_json(stored) == (FULL, ids)
    # jsonb reorders keys and changes white space.
    assert from_json(json.dumps(json.loads(stored), sort_keys=True, indent=1)) == (FULL, ids)
    assert checksum(from_json(stored)[0]) == checksum(FULL)


def test_a_stored_version_has_its_seconds_computed() -> None:
    version = stored_version(
        FULL, {"One": "id-1", "two": "id-2"}, version_id="v", tenant_id="t", workflow_id="w", order=3
    )
    assert isinstance(version, StoredVersion)
    assert (version.id, version.order, version.name, version.default_priority) == ("v", 3, "Flow", 2)
    first, second = version.tasks
    assert (first.id, first.execution_timeout_seconds, first.schedule_timeout_seconds) == ("id-1", 3600.0, 10.0)
    assert first.slots == {"gpu": 2}
    # C-3.12: the defaults.
    assert (second.execution_timeout_seconds, second.schedule_timeout_seconds) == (60.0, 300.0)


def test_c_4_29_priority_is_1_when_the_definition_names_none() -> None:
    version = stored_version(workflow(), {"step": "id"}, version_id="v", tenant_id="t", workflow_id="w", order=1)
    assert version.default_priority == 1
