"""Checksum and storage form of workflow definitions (behaviour-core C-3.12, C-3.20, C-3.29, C-3.30)."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import uuid
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_strategies import versions

from hatchet.core.conditions import Action, Condition, Kind
from hatchet.core.definitions import (
    Idempotency,
    IdempotencyMethod,
    StoredVersion,
    TaskDefinition,
    WorkflowDefinition,
    checksum,
    from_json,
    shared_rules,
    stored_version,
    to_json,
    topological,
)
from hatchet.core.labels import Comparator, DesiredLabel
from hatchet.core.rules import BatchRule, ConcurrencyRule, DefaultFilter, RateLimitRule, Sticky, Strategy, Window
from hatchet.grpc.condition_messages import conditions_of
from hatchet_contracts.v1.shared import condition_pb2 as pb


def task(readable_id: str = "step", **options: object) -> TaskDefinition:
    return TaskDefinition(**{"readable_id": readable_id, "action": f"flow:{readable_id}".lower(), **options})  # type: ignore[arg-type]


def workflow(*tasks: TaskDefinition, **options: object) -> WorkflowDefinition:
    return WorkflowDefinition(**{"name": "Flow", "tasks": tasks or (task(),), **options})  # type: ignore[arg-type]


def condition(**options: object) -> Condition:
    plain = {"kind": Kind.EVENT, "action": Action.QUEUE, "or_group": 0, "data_key": "k", "event_key": "e"}
    return Condition(**{**plain, **options})  # type: ignore[arg-type]


CONDITIONS = (
    condition(event_scope="s", expression="input.n > 1"),
    condition(kind=Kind.SLEEP, event_key=None, sleep_for="1h30m", action=Action.SKIP, or_group=1),
    condition(kind=Kind.PARENT, event_key=None, parent="One", expression="output.ok", action=Action.CANCEL),
)
LABELS = (
    DesiredLabel(key="memory", value=16, comparator=Comparator.GREATER_THAN, required=True),
    DesiredLabel(key="zone", value="eu", weight=-5),
)
IDEMPOTENCY = Idempotency(expression="input.id", ttl_ms=5, method=IdempotencyMethod.STATUS)
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
        worker_labels=LABELS,
    ),
    task("two", parents=("One",), conditions=CONDITIONS),
    on_failure=task("fail", retries=2),
    idempotency=IDEMPOTENCY,
    description="d",
    version="v1",
    default_priority=2,
    input_json_schema='{"type": "object"}',
)

RULE = ConcurrencyRule(expression="input.user", max_runs=2, strategy=Strategy.GROUP_ROUND_ROBIN)
SHARED = ConcurrencyRule(expression="'all'", name="all", is_tenant_scoped=True, max_runs_expression="input.n")
LIMIT = RateLimitRule(key="api", units=2)
DYNAMIC = RateLimitRule(
    key="user", key_expression="input.user", units_expression="1", limit_expression="input.n", window=Window.HOUR
)
BATCH = BatchRule(max_size=5)
FILTER = DefaultFilter(scope="s", expression="true", payload='{"a": 1, "b": 2}')
FLOW = workflow(
    task("a", concurrency=(RULE, SHARED), rate_limits=(LIMIT, DYNAMIC), batch=BATCH),
    task("b", parents=("a",)),
    on_failure=task("fail", concurrency=(RULE,), rate_limits=(LIMIT,)),
    concurrency=(RULE, replace(RULE, expression="input.team")),
    sticky=Sticky.SOFT,
    event_triggers=("user:*", "a"),
    cron_triggers=("@daily", "* * * * *"),
    cron_input='{"a": 1}',
    default_filters=(FILTER, replace(FILTER, scope="t")),
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
        workflow(on_failure=task("b")),
        workflow(idempotency=IDEMPOTENCY),
        workflow(task(worker_labels=LABELS)),
        workflow(task(conditions=CONDITIONS[:1])),
    ],
)
def test_c_3_30_every_change_changes_the_checksum(changed: WorkflowDefinition) -> None:
    assert checksum(changed) != checksum(workflow())


@pytest.mark.parametrize(
    "changed",
    [
        replace(FULL, on_failure=task("fail", retries=3)),
        replace(FULL, on_failure=None),
        replace(FULL, tasks=(*FULL.tasks, task("fail", retries=2)), on_failure=None),
        replace(FULL, idempotency=replace(IDEMPOTENCY, ttl_ms=6)),
        replace(FULL, idempotency=replace(IDEMPOTENCY, method=IdempotencyMethod.TTL)),
        replace(FULL, idempotency=replace(IDEMPOTENCY, expression="input.key")),
    ],
)
def test_c_3_30_every_change_of_the_on_failure_task_or_of_idempotency_counts(changed: WorkflowDefinition) -> None:
    assert checksum(changed) != checksum(FULL)


@pytest.mark.parametrize(
    "change",
    [
        {"key": "x"},
        {"value": 17},
        {"value": "16"},
        {"comparator": Comparator.EQUAL},
        {"required": False},
        {"weight": 1},
    ],
)
def test_c_3_30_every_change_of_a_worker_label_counts(change: dict[str, object]) -> None:
    changed = (replace(LABELS[0], **change), LABELS[1])  # type: ignore[arg-type]
    assert checksum(workflow(task(worker_labels=changed))) != checksum(workflow(task(worker_labels=LABELS)))


@pytest.mark.parametrize(
    ("number", "change"),
    [
        (0, {"kind": Kind.SLEEP, "sleep_for": "1s", "event_key": None}),
        (0, {"action": Action.SKIP}),
        (0, {"or_group": 7}),
        (0, {"data_key": "other"}),
        (0, {"expression": ""}),
        (0, {"event_key": "other"}),
        (0, {"event_scope": None}),
        (1, {"sleep_for": "90m"}),
        (2, {"parent": "two"}),
    ],
)
def test_c_3_30_every_change_of_a_condition_counts(number: int, change: dict[str, object]) -> None:
    changed = list(CONDITIONS)
    changed[number] = replace(CONDITIONS[number], **change)  # type: ignore[arg-type]
    assert checksum(workflow(task(conditions=tuple(changed)))) != checksum(workflow(task(conditions=CONDITIONS)))


def or_groups(*groups: str) -> pb.TaskConditions:
    """Conditions of a client with these or-group ids, two sleeps and one event for each."""
    base = {"action": pb.QUEUE, "readable_data_key": "k"}
    return pb.TaskConditions(
        sleep_conditions=[
            pb.SleepMatchCondition(base=pb.BaseMatchCondition(**base, or_group_id=group), sleep_for=f"{number}s")  # type: ignore[arg-type]
            for number, group in itertools.product((1, 2), groups)
        ],
        user_event_conditions=[
            pb.UserEventMatchCondition(base=pb.BaseMatchCondition(**base, or_group_id=group), user_event_key="e")  # type: ignore[arg-type]
            for group in groups
        ],
    )


def test_c_3_30_a_client_that_starts_again_with_new_or_group_ids_makes_no_new_version() -> None:
    def at_a_start(count: int) -> str:
        ids = [str(uuid.uuid4()) for _ in range(count)]
        return checksum(workflow(task(conditions=conditions_of(or_groups(*ids)))))

    assert at_a_start(2) == at_a_start(2)
    assert at_a_start(2) != at_a_start(1)
    together = checksum(workflow(task(conditions=conditions_of(or_groups("a", "a")))))
    assert together != checksum(workflow(task(conditions=conditions_of(or_groups("a", "b")))))


def test_c_3_19_an_empty_or_group_id_is_a_group_of_its_own() -> None:
    assert [one.or_group for one in conditions_of(or_groups("", "a"))] == [0, 1, 2, 1, 3, 1]


def changed_first(**options: object) -> WorkflowDefinition:
    """``FLOW`` with another first task."""
    return replace(FLOW, tasks=(replace(FLOW.tasks[0], **options), *FLOW.tasks[1:]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changed",
    [
        replace(FLOW, concurrency=()),
        replace(FLOW, concurrency=FLOW.concurrency[:1]),
        replace(FLOW, concurrency=FLOW.concurrency[::-1]),
        *(
            replace(FLOW, concurrency=(replace(RULE, **change), FLOW.concurrency[1]))  # type: ignore[arg-type]
            for change in (
                {"expression": "input.x"},
                {"max_runs": 3},
                {"max_runs": 0},
                {"strategy": Strategy.CANCEL_NEWEST},
                {"name": "n"},
                {"name": "n", "is_tenant_scoped": True},
                {"max_runs_expression": "2"},
            )
        ),
        replace(FLOW, sticky=None),
        replace(FLOW, sticky=Sticky.HARD),
        replace(FLOW, event_triggers=("user:*",)),
        replace(FLOW, cron_triggers=("@daily",)),
        replace(FLOW, cron_input=None),
        replace(FLOW, cron_input='{"a": 2}'),
        replace(FLOW, default_filters=(FILTER,)),
        *(
            replace(FLOW, default_filters=(replace(FILTER, **change), FLOW.default_filters[1]))  # type: ignore[arg-type]
            for change in ({"scope": "x"}, {"expression": "false"}, {"payload": '{"a": 1}'})
        ),
        changed_first(concurrency=(SHARED, RULE)),
        changed_first(rate_limits=(LIMIT,)),
        changed_first(rate_limits=(DYNAMIC, LIMIT)),
        *(
            changed_first(rate_limits=(replace(LIMIT, **change), DYNAMIC))  # type: ignore[arg-type]
            for change in (
                {"key": "x"},
                {"units": 3},
                {"key_expression": "'x'"},
                {"units_expression": "2"},
                {"limit_expression": "2"},
                {"window": Window.DAY},
            )
        ),
        changed_first(batch=None),
        *(
            changed_first(batch=replace(BATCH, **change))  # type: ignore[arg-type]
            for change in (
                {"max_size": 6},
                {"interval_ms": 1},
                {"key_expression": "input.a"},
                {"max_runs": 1},
                {"broadcast_output": True},
            )
        ),
        replace(FLOW, on_failure=task("fail", rate_limits=(LIMIT,))),
    ],
)
def test_c_3_29_every_change_of_flow_control_and_triggers_counts(changed: WorkflowDefinition) -> None:
    assert checksum(changed) != checksum(FLOW)


def test_c_3_29_the_order_of_triggers_and_filters_changes_no_checksum() -> None:
    mixed = replace(
        FLOW,
        event_triggers=("a", "user:*", "a"),
        cron_triggers=FLOW.cron_triggers[::-1],
        default_filters=(replace(FILTER, scope="t"), replace(FILTER, payload='{"b":2,"a":1}')),
    )
    assert checksum(mixed) == checksum(FLOW)


def test_c_16_12_slot_requests_of_a_batch_task_change_no_checksum() -> None:
    assert checksum(changed_first(slot_requests={"gpu": 2})) == checksum(FLOW)


def test_c_3_29_what_older_versions_of_the_server_registered_keeps_its_checksum() -> None:
    """As they were before flow control and triggers came: otherwise each start of a client made a new version."""
    assert checksum(workflow()) == "3cfc0485ae6df769b799ade136c389b36f87cd4e595c4dad6b8886e1d88e7f90"
    assert checksum(FULL) == "f9aa92292101242226f3df71713efe6684d2b8ccf61b4dccf64fc56777071699"


def test_c_3_38_the_shared_rules_of_a_definition() -> None:
    assert shared_rules(FLOW) == {"all": SHARED}
    assert shared_rules(workflow(on_failure=task("f", concurrency=(SHARED,)))) == {"all": SHARED}
    assert shared_rules(workflow(concurrency=(SHARED, RULE))) == {"all": SHARED}
    assert shared_rules(FULL) == {}


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


@pytest.mark.parametrize("definition", [FULL, FLOW])
def test_the_stored_form_gives_the_definition_back(definition: WorkflowDefinition) -> None:
    ids = {one.readable_id: f"id-{number}" for number, one in enumerate(definition.all_tasks)}
    stored = to_json(definition, ids)
    assert from_json(stored) == (definition, ids)
    # jsonb reorders keys and changes white space.
    assert from_json(json.dumps(json.loads(stored), sort_keys=True, indent=1)) == (definition, ids)
    assert checksum(from_json(stored)[0]) == checksum(definition)


@given(versions())
def test_any_graph_with_any_conditions_is_stored_as_it_is(version: StoredVersion) -> None:
    tasks = tuple(one.definition for one in version.tasks)
    last = tasks[-1] if version.graph.on_failure is not None else None
    definition = workflow(*(tasks[:-1] if last else tasks), on_failure=last)
    ids = {one.definition.readable_id: one.id for one in version.tasks}
    assert from_json(to_json(definition, ids)) == (definition, ids)


@given(versions(), st.randoms())
def test_c_3_29_any_order_of_listing_is_the_same_version(version: StoredVersion, random: Random) -> None:
    last = version.graph.on_failure
    tasks = [one.definition for one in version.tasks if one.index != last]
    mixed = list(tasks)
    random.shuffle(mixed)
    assert checksum(workflow(*tasks)) == checksum(workflow(*mixed))
    ordered = topological(tasks)
    assert len(ordered) == len(tasks)
    for number, one in enumerate(ordered):
        assert set(one.parents) <= {other.readable_id for other in ordered[:number]}


def test_c_0_6_a_single_task_that_waits_for_nothing_is_a_run_of_its_own() -> None:
    def is_plain(definition: WorkflowDefinition) -> bool:
        ids = {one.readable_id: one.readable_id for one in definition.all_tasks}
        return stored_version(definition, ids, version_id="v", tenant_id="t", workflow_id="w", order=1).is_plain

    assert is_plain(workflow())
    assert is_plain(workflow(task(worker_labels=LABELS), idempotency=IDEMPOTENCY))
    # C-3.43: with an on-failure task it is a run of two tasks.
    assert not is_plain(workflow(on_failure=task("fail")))
    assert not is_plain(workflow(task("a"), task("b")))
    assert not is_plain(workflow(task(conditions=CONDITIONS[:1])))


def test_the_tasks_of_a_version_are_numbered_with_the_on_failure_task_last() -> None:
    ids = {"One": "id-1", "two": "id-2", "fail": "id-3"}
    version = stored_version(FULL, ids, version_id="v", tenant_id="t", workflow_id="w", order=3)
    assert [(one.index, one.id) for one in version.tasks] == [(0, "id-1"), (1, "id-2"), (2, "id-3")]
    assert version.graph.on_failure == 2
    assert [version.step(one.id) for one in version.tasks] == list(version.tasks)
    assert version.idempotency == IDEMPOTENCY


def test_a_stored_version_has_its_seconds_computed() -> None:
    ids = {"One": "id-1", "two": "id-2", "fail": "id-3"}
    version = stored_version(FULL, ids, version_id="v", tenant_id="t", workflow_id="w", order=3)
    assert isinstance(version, StoredVersion)
    assert (version.id, version.order, version.name, version.default_priority) == ("v", 3, "Flow", 2)
    first, second, _ = version.tasks
    assert (first.id, first.execution_timeout_seconds, first.schedule_timeout_seconds) == ("id-1", 3600.0, 10.0)
    assert first.slots == {"gpu": 2}
    # C-3.12: the defaults.
    assert (second.execution_timeout_seconds, second.schedule_timeout_seconds) == (60.0, 300.0)


def test_c_4_29_priority_is_1_when_the_definition_names_none() -> None:
    version = stored_version(workflow(), {"step": "id"}, version_id="v", tenant_id="t", workflow_id="w", order=1)
    assert version.default_priority == 1
