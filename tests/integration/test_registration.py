"""Registration on a real database: versions, their identity, shared rules and the caches (C-3.29 to C-3.38)."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from dataclasses import replace

import pytest
import pytest_asyncio

from hatchet.core.clock import HeldClock
from hatchet.core.definitions import TaskDefinition, WorkflowDefinition
from hatchet.core.errors import InvalidArgument
from hatchet.core.rules import BatchRule, ConcurrencyRule, DefaultFilter, RateLimitRule, Sticky, Strategy
from hatchet.engine.registration import Registration
from hatchet.store.pool import Database, Row
from hatchet.store.tenant_rules import put_tenant_rules

STEP = TaskDefinition(readable_id="Step", action="flow:step", execution_timeout="10s", retries=2, backoff_factor=1.1)
FLOW = WorkflowDefinition(name="Flow", tasks=(STEP,), default_priority=2)


class CountedIds:
    """Ids that are unique in this process and increase."""

    _numbers = itertools.count(1)

    def new(self) -> str:
        return str(uuid.UUID(int=(7 << 76) | next(self._numbers)))


async def add_tenant(database: Database) -> str:
    tenant_id = CountedIds().new()
    async with database.transaction() as transaction:
        await transaction.raw.execute(
            "INSERT INTO tenant (id, name, slug, created_at) VALUES ($1, $2, $2, to_timestamp(0))", tenant_id, tenant_id
        )
    return tenant_id


async def rows(database: Database, table: str) -> int:
    async with database.transaction() as transaction:
        return int(await transaction.raw.fetchval(f"SELECT count(*) FROM {table}"))


@pytest_asyncio.fixture
async def tenant(database: Database) -> str:
    return await add_tenant(database)


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


def a_registration(database: Database, clock: HeldClock, cache_size: int = 100) -> Registration:
    return Registration(database=database, clock=clock, ids=CountedIds(), cache_size=cache_size)


@pytest.fixture
def registration(database: Database, clock: HeldClock) -> Registration:
    return a_registration(database, clock)


async def test_c_3_30_the_same_definition_is_the_same_version(registration: Registration, tenant: str) -> None:
    first = await registration.put(tenant, FLOW)
    assert (first.name, first.order, first.tenant_id, first.default_priority) == ("Flow", 1, tenant, 2)
    assert first.tasks[0].definition == STEP
    assert first.tasks[0].execution_timeout_seconds == 10.0
    assert await registration.put(tenant, FLOW) == first


async def test_c_3_30_a_changed_definition_is_a_new_version_of_the_workflow(
    registration: Registration, tenant: str
) -> None:
    first = await registration.put(tenant, FLOW)
    second = await registration.put(tenant, replace(FLOW, tasks=(replace(STEP, execution_timeout="11s"),)))
    assert second.workflow_id == first.workflow_id
    assert second.id != first.id
    assert second.tasks[0].id != first.tasks[0].id
    assert (first.order, second.order) == (1, 2)


async def test_c_3_31_going_back_makes_a_new_version_again(registration: Registration, tenant: str) -> None:
    first = await registration.put(tenant, FLOW)
    await registration.put(tenant, replace(FLOW, description="changed"))
    third = await registration.put(tenant, FLOW)
    assert third.order == 3
    assert third.id != first.id


async def test_c_3_2_concurrent_equal_registrations_agree(database: Database, clock: HeldClock, tenant: str) -> None:
    instances = [a_registration(database, clock) for _ in range(4)]
    versions = await asyncio.gather(*(instance.put(tenant, FLOW) for instance in instances for _ in range(10)))
    assert {(version.id, version.workflow_id, version.tasks[0].id) for version in versions} == {
        (versions[0].id, versions[0].workflow_id, versions[0].tasks[0].id)
    }
    assert await rows(database, "workflow_version") == 1
    assert await rows(database, "workflow") == 1


async def test_c_3_2_concurrent_different_registrations_get_their_own_versions(
    database: Database, clock: HeldClock, tenant: str
) -> None:
    flows = [replace(FLOW, description=str(number)) for number in range(8)]
    versions = await asyncio.gather(*(a_registration(database, clock).put(tenant, flow) for flow in flows))
    assert sorted(version.order for version in versions) == list(range(1, 9))
    assert len({version.workflow_id for version in versions}) == 1


async def test_a_repeated_registration_writes_nothing(database: Database, clock: HeldClock, tenant: str) -> None:
    await a_registration(database, clock).put(tenant, FLOW)
    async with database.transaction() as transaction:
        before = await transaction.raw.fetchval("SELECT max(xmin::text::bigint) FROM workflow")
        await transaction.raw.execute("LOCK TABLE workflow, workflow_version IN EXCLUSIVE MODE")
        # Would wait for the lock if it wanted to write.
        await asyncio.wait_for(a_registration(database, clock).put(tenant, FLOW), 30)
        assert await transaction.raw.fetchval("SELECT max(xmin::text::bigint) FROM workflow") == before


async def test_c_3_26_a_bad_definition_is_not_registered(database: Database, clock: HeldClock, tenant: str) -> None:
    with pytest.raises(InvalidArgument, match="Validation failed with the following errors:"):
        await a_registration(database, clock).put(tenant, replace(FLOW, tasks=()))
    assert await rows(database, "workflow") == 0


async def test_c_1_12_names_belong_to_a_tenant(database: Database, registration: Registration, tenant: str) -> None:
    other = await add_tenant(database)
    mine = await registration.put(tenant, FLOW)
    assert await registration.latest(other, ["Flow"]) == {}
    theirs = await registration.put(other, FLOW)
    assert theirs.workflow_id != mine.workflow_id
    assert (await registration.latest(tenant, ["Flow"]))["Flow"] == mine


async def test_latest_leaves_out_unknown_names_and_keeps_case(registration: Registration, tenant: str) -> None:
    version = await registration.put(tenant, FLOW)
    assert await registration.latest(tenant, ["Flow", "flow", "no such", "nul\x00", "", "Flow"]) == {"Flow": version}
    assert await registration.latest(tenant, []) == {}


async def test_c_17_20_another_instance_sees_a_new_version_within_5_seconds(
    database: Database, clock: HeldClock, tenant: str
) -> None:
    here, there = a_registration(database, clock), a_registration(database, clock)
    first = await here.put(tenant, FLOW)
    assert await there.latest(tenant, ["Flow"]) == {"Flow": first}
    second = await here.put(tenant, replace(FLOW, description="new"))
    # At once where it was registered.
    assert await here.latest(tenant, ["Flow"]) == {"Flow": second}
    clock.advance(4.9)
    assert await there.latest(tenant, ["Flow"]) == {"Flow": first}
    clock.advance(0.2)
    assert await there.latest(tenant, ["Flow"]) == {"Flow": second}


async def test_an_unknown_name_is_asked_for_again_at_once(database: Database, clock: HeldClock, tenant: str) -> None:
    here, there = a_registration(database, clock), a_registration(database, clock)
    assert await there.latest(tenant, ["Flow"]) == {}
    version = await here.put(tenant, FLOW)
    assert await there.latest(tenant, ["Flow"]) == {"Flow": version}


async def test_a_cached_name_needs_no_database(database: Database, registration: Registration, tenant: str) -> None:
    version = await registration.put(tenant, FLOW)
    async with database.transaction() as transaction:
        await transaction.raw.execute("LOCK TABLE workflow, workflow_version IN ACCESS EXCLUSIVE MODE")
        assert await asyncio.wait_for(registration.latest(tenant, ["Flow"]), 30) == {"Flow": version}
        assert await asyncio.wait_for(registration.versions({version.id}), 30) == {version.id: version}


async def test_versions_are_found_by_id_by_another_instance(
    database: Database, registration: Registration, clock: HeldClock, tenant: str
) -> None:
    first = await registration.put(tenant, FLOW)
    second = await registration.put(tenant, replace(FLOW, description="new", input_json_schema='{"a": "\\u00e9"}'))
    unknown = CountedIds().new()
    found = await a_registration(database, clock).versions({first.id, second.id, unknown})
    assert found == {first.id: first, second.id: second}


async def test_the_caches_are_bounded_and_still_answer(database: Database, clock: HeldClock, tenant: str) -> None:
    small = a_registration(database, clock, cache_size=2)
    versions = [await small.put(tenant, replace(FLOW, name=f"flow-{number}")) for number in range(5)]
    assert len(small._versions) == len(small._latest) == 2
    assert await small.versions({version.id for version in versions}) == {version.id: version for version in versions}
    assert await small.latest(tenant, [version.name for version in versions]) == {
        version.name: version for version in versions
    }


async def test_c_3_33_a_deleted_workflow_may_be_registered_again(
    database: Database, registration: Registration, clock: HeldClock, tenant: str
) -> None:
    first = await registration.put(tenant, FLOW)
    async with database.transaction() as transaction:
        await transaction.raw.execute("DELETE FROM workflow")
    second = await registration.put(tenant, FLOW)
    assert second.workflow_id != first.workflow_id
    assert second.order == 1
    assert await registration.latest(tenant, ["Flow"]) == {"Flow": second}


SHARED = ConcurrencyRule(
    expression="input.account",
    max_runs=2,
    strategy=Strategy.GROUP_ROUND_ROBIN,
    name="accounts",
    is_tenant_scoped=True,
    max_runs_expression="input.n",
)
SHARING = replace(FLOW, concurrency=(SHARED,))


def sharing(name: str = "Flow", **options: object) -> WorkflowDefinition:
    """A workflow with a changed shared rule."""
    return replace(SHARING, name=name, concurrency=(replace(SHARED, **options),))  # type: ignore[arg-type]


async def rule_rows(database: Database) -> list[Row]:
    async with database.transaction() as transaction:
        return list(await transaction.raw.fetch("SELECT *, xmin::text, xmax::text FROM tenant_rule ORDER BY name"))


async def test_every_option_comes_back_from_the_database(
    database: Database, clock: HeldClock, registration: Registration, tenant: str
) -> None:
    step = replace(
        STEP,
        concurrency=(replace(SHARED, name="", is_tenant_scoped=False),),
        rate_limits=(RateLimitRule(key="k", limit_expression="5"),),
        batch=BatchRule(max_size=5),
    )
    definition = replace(
        SHARING,
        tasks=(step,),
        sticky=Sticky.SOFT,
        event_triggers=("user:*",),
        cron_input='{"b": 1, "a": 2}',
        default_filters=(DefaultFilter(scope="s", expression="true", payload='{"b": 1, "a": 2}'),),
    )
    version = await registration.put(tenant, definition)
    assert version.tasks[0].definition == step
    assert [rule.definition for rule in version.tasks[0].rules] == [SHARED, *step.concurrency]
    assert (version.sticky, version.event_triggers, version.shares_rules) == (Sticky.SOFT, ("user:*",), True)
    elsewhere = a_registration(database, clock)
    assert await elsewhere.versions([version.id]) == {version.id: version}
    assert await elsewhere.put(tenant, definition) == version


async def test_c_3_38_a_registration_puts_its_shared_rules(
    database: Database, registration: Registration, tenant: str
) -> None:
    other = await add_tenant(database)
    in_tasks = replace(SHARED, name="users")
    await registration.put(tenant, replace(SHARING, tasks=(replace(STEP, concurrency=(in_tasks,)),)))
    assert await registration.tenant_rules(tenant) == {"accounts": SHARED, "users": in_tasks}
    assert await registration.tenant_rules(other) == {}


async def test_c_3_38_the_latest_registration_decides_also_with_an_old_version(
    database: Database, registration: Registration, clock: HeldClock, tenant: str
) -> None:
    first = await registration.put(tenant, SHARING)
    await registration.tenant_rules(tenant)
    clock.advance(1)
    later = sharing("Other", max_runs=3, strategy=Strategy.CANCEL_NEWEST, expression="'x'", max_runs_expression=None)
    await registration.put(tenant, later)
    # At once where it was registered.
    assert await registration.tenant_rules(tenant) == {"accounts": later.concurrency[0]}
    elsewhere = a_registration(database, clock)
    assert await elsewhere.tenant_rules(tenant) == {"accounts": later.concurrency[0]}
    assert await registration.put(tenant, SHARING) == first
    assert await registration.tenant_rules(tenant) == {"accounts": SHARED}
    clock.advance(5.1)
    assert await elsewhere.tenant_rules(tenant) == {"accounts": SHARED}
    assert len(await rule_rows(database)) == 1


async def test_c_3_38_a_rule_that_is_as_it_was_is_not_written(
    database: Database, clock: HeldClock, tenant: str
) -> None:
    await a_registration(database, clock).put(tenant, SHARING)
    before = await rule_rows(database)
    async with database.transaction() as transaction:
        await transaction.raw.execute("LOCK TABLE workflow, workflow_version, tenant_rule IN EXCLUSIVE MODE")
        # Would wait for the lock if it wanted to write.
        clock.advance(60)
        await asyncio.wait_for(a_registration(database, clock).put(tenant, SHARING), 30)
    assert await rule_rows(database) == before
    await put_tenant_rules(database, tenant, [SHARED], now=clock.now())
    assert [row["updated_at"] for row in await rule_rows(database)] == [row["updated_at"] for row in before]


async def test_c_3_38_concurrent_registrations_of_several_rules_leave_those_of_one(
    database: Database, clock: HeldClock, tenant: str
) -> None:
    def definition(number: int) -> WorkflowDefinition:
        names = [f"rule-{index}" for index in range(20)]
        ordered = names if number % 2 else names[::-1]
        rules = tuple(replace(SHARED, name=name, max_runs=number + 1) for name in ordered)
        return replace(SHARING, name=f"Flow-{number}", concurrency=rules)

    instances = [a_registration(database, clock) for _ in range(8)]
    await asyncio.gather(*(one.put(tenant, definition(number)) for number, one in enumerate(instances)))
    assert len({row["max_runs"] for row in await rule_rows(database)}) == 1


async def test_c_3_38_an_older_answer_does_not_outlive_a_registration(
    database: Database, registration: Registration, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, go_on = asyncio.Event(), asyncio.Event()
    fetch = database.fetch

    async def slow(name: str, *args: object) -> list[Row]:
        answer = await fetch(name, *args)
        if name == "tenant_rule_list" and not read.is_set():
            read.set()
            await go_on.wait()
        return answer

    monkeypatch.setattr(database, "fetch", slow)
    asked = asyncio.create_task(registration.tenant_rules(tenant))
    await read.wait()
    await registration.put(tenant, SHARING)
    go_on.set()
    assert await asked == {}
    assert await registration.tenant_rules(tenant) == {"accounts": SHARED}


async def test_c_3_26_a_bad_definition_changes_no_shared_rule(
    database: Database, registration: Registration, tenant: str
) -> None:
    with pytest.raises(InvalidArgument, match="max_runs"):
        await registration.put(tenant, sharing(max_runs=2**31))
    assert await rule_rows(database) == []
