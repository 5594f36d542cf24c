"""Who reaches which route: every route of the application, by everybody who should not (behaviour-rest R-2, R-3)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import jwt
import pytest
import pytest_asyncio
from engine_fixture import OTHER_TENANT, Instance
from engine_worker import TENANT
from fastapi import APIRouter
from fastapi.routing import APIRoute, iter_route_contexts
from people_world import MANY, OTHER, UNKNOWN, URL, PeopleWorld, Process, people_world

from hatchet.core.definitions import TaskDefinition, WorkflowDefinition
from hatchet.core.messages import TriggerItem, WorkerRegistration
from hatchet.core.roles import Role
from hatchet.engine.keys import generate
from hatchet.rest.access import UNDECLARED, Access, Who, access_of, needs
from hatchet.rest.app import build_api
from hatchet.rest.guard import LOOKED_UP_INSIDE, CallerOf, GuardedRoute
from hatchet.rest.health import Health
from hatchet.rest.ports import About, Services
from hatchet.rest.request_limits import RequestLimits
from hatchet.store.pool import Database

WANTED = {"message": "Please provide valid credentials"}
NOT_AUTHORIZED = {"message": "Not authorized to view this resource"}
NOT_FOR_TOKENS = {"message": "Not authorized to perform this operation"}
READING_POSTS = {("POST", "/api/v1/stable/tenants/{tenant}/cel/debug")}
"""They change nothing, so that a viewer may."""


CHILDREN = ("cron_workflow", "scheduled_workflow_run", "v1_filter", "durable_task")
"""Path parameters of things that are looked up inside the tenant before them."""


@dataclass(frozen=True)
class Route:
    """One operation of the application."""

    method: str
    path: str
    access: Access

    def url(self, ids: dict[str, str]) -> str:
        """The path with these ids; what is not among them is an id that nobody has."""
        url = re.sub(r"\{(\w+)\}", lambda name: ids.get(name[1], UNKNOWN), self.path)
        return f"{url}?tenant={ids['tenant']}" if self.access.tenant_in_query else url

    @property
    def is_looked_up_inside(self) -> bool:
        return "{tenant}" not in self.path and any(f"{{{name}}}" in self.path for name in LOOKED_UP_INSIDE)


def walk() -> list[tuple[str, APIRoute]]:
    services: Any = None
    app = build_api(services, About(version="1", grpc_address="", server_url=URL))
    found = []
    for context in iter_route_contexts(app.routes):
        assert isinstance(context.original_route, APIRoute), context
        found += [(method, context.original_route) for method in sorted(context.original_route.methods or ())]
    return found


ROUTES = [Route(method, route.path, access_of(route.endpoint) or UNDECLARED) for method, route in walk()]
GUARDED = [route for route in ROUTES if route.access.who is not Who.EVERYBODY]
FOR_MEMBERS = [route for route in ROUTES if route.access.who is Who.MEMBERS]


def test_r_3_1_every_route_declares_who_may_call_it() -> None:
    assert len(ROUTES) >= 45
    for method, route in walk():
        assert isinstance(route, GuardedRoute), f"{method} {route.path} has another route class than GuardedRoute"
        assert access_of(route.endpoint) is not None, f"{method} {route.path} declares nothing: see hatchet.rest.access"


def test_r_3_2_and_r_3_3_viewers_only_read() -> None:
    for route in FOR_MEMBERS:
        reads = route.method == "GET" or (route.method, route.path) in READING_POSTS
        administers = "api-tokens" in route.path
        least = Role.ADMIN if administers else Role.VIEWER if reads else Role.MEMBER
        assert route.access.role is least, f"{route.method} {route.path}"


def test_r_2_9_what_is_open_to_all() -> None:
    assert {(route.method, route.path) for route in ROUTES if route.access.who is Who.EVERYBODY} == {
        ("GET", "/api/live"),
        ("GET", "/api/ready"),
        ("GET", "/api/v1/meta"),
        ("GET", "/api/v1/cloud/metadata"),
        ("GET", "/api/v1/version"),
        ("POST", "/api/v1/users/register"),
        ("POST", "/api/v1/users/login"),
    }


def test_r_3_1_higher_roles_include_lower_ones() -> None:
    order = [Role.VIEWER, Role.MEMBER, Role.ADMIN, Role.OWNER]
    for number, role in enumerate(order):
        assert [role.includes(other) for other in order] == [place <= number for place in range(4)]


class Sweep:
    """The whole application in front of an engine, and one of everything in two tenants."""

    def __init__(self, one: Instance) -> None:
        self.engine = one.engine
        clock: Any = one.clock
        self.process = Process(one.database, clock, generate(), services=self._services)

    def _services(self, process: Process) -> Services:
        limits = RequestLimits(process.clock, most=MANY)
        health = Health([], clock=process.clock)
        return self.engine.rest_services(tokens=process.tokens, people=process.people, limits=limits, health=health)

    async def resources(self, tenant: str) -> dict[str, str]:
        """One of everything: name of the path parameter to id."""
        engine = self.engine
        task = TaskDefinition(readable_id="flow", action="flow:run")
        version = await engine.registration.put(tenant, WorkflowDefinition(name="flow", tasks=(task,)))
        registration = WorkerRegistration(name="w", actions=("flow:run",), slots={"default": 1})
        [run] = await engine.trigger.trigger(tenant, [TriggerItem(workflow_name="flow")])
        token = await self.process.tokens.issue(tenant, name="test")
        headers = {"Authorization": f"Bearer {token}"}
        client = self.process.browser()

        async def made(path: str, body: dict[str, Any]) -> str:
            answer = await client.post(path.format(tenant=tenant), json=body, headers=headers)
            assert answer.status_code == 200, answer.text
            return str(answer.json()["metadata"]["id"])

        flow = "/api/v1/tenants/{tenant}/workflows/flow"
        input_: dict[str, Any] = {"input": {}, "additionalMetadata": {}}
        cron = {"cronName": "c", "cronExpression": "0 5 1 1 *", **input_}
        scope = {"workflowId": version.workflow_id, "scope": "s", "expression": "true"}
        return {
            "tenant": tenant,
            "worker": await engine.workers.register(tenant, registration),
            "workflow": version.workflow_id,
            "task": run,
            "durable_task": run,
            "v1_workflow_run": run,
            "api_token": jwt.decode(token, options={"verify_signature": False})["token_id"],
            "cron_workflow": await made(flow + "/crons", cron),
            "scheduled_workflow_run": await made(flow + "/scheduled", {"triggerAt": "2099-01-01T00:00:00Z", **input_}),
            "v1_filter": await made("/api/v1/stable/tenants/{tenant}/filters", scope),
        }

    async def each(
        self, routes: list[Route], ids: dict[str, str], client: httpx2.AsyncClient, **headers: str
    ) -> list[tuple[Route, httpx2.Response]]:
        """Call every one of the routes with these ids."""
        return [
            (route, await client.request(route.method, route.url(ids), headers=headers, json={})) for route in routes
        ]


@pytest_asyncio.fixture
async def sweep(one: Instance) -> AsyncIterator[Sweep]:
    made = Sweep(one)
    yield made
    await made.process.close()


async def test_r_2_3_no_route_without_good_credentials(sweep: Sweep) -> None:
    ids = await sweep.resources(TENANT)
    tokens = sweep.process.tokens
    revoked = await tokens.issue(TENANT, name="revoked")
    await tokens.revoke(TENANT, jwt.decode(revoked, options={"verify_signature": False})["token_id"])
    for headers in ({}, {"Authorization": f"Bearer {revoked}"}, {"Cookie": "hatchet=nonsense"}):
        for route, answer in await sweep.each(GUARDED, ids, sweep.process.browser(), **headers):
            assert (answer.status_code, answer.json()) == (403, WANTED), f"{route.method} {route.path}"


async def test_r_2_2_and_c_1_12_no_token_reaches_another_tenant(sweep: Sweep) -> None:
    theirs = await sweep.resources(OTHER_TENANT)
    token = await sweep.process.tokens.issue(TENANT, name="test")
    headers = {"Authorization": f"Bearer {token}"}
    for route, answer in await sweep.each(FOR_MEMBERS, theirs, sweep.process.browser(), **headers):
        expected = 404 if route.is_looked_up_inside else 403
        assert answer.status_code == expected, f"{route.method} {route.path}: {answer.text}"


async def test_r_2_8_and_r_3_7_no_person_reaches_another_tenant(sweep: Sweep) -> None:
    theirs = await sweep.resources(OTHER_TENANT)
    owner = await sweep.process.signed_in(role=Role.OWNER, tenant=TENANT)
    for route, answer in await sweep.each(FOR_MEMBERS, theirs, owner):
        expected = (404, {"message": "not found"}) if route.is_looked_up_inside else (401, NOT_AUTHORIZED)
        assert (answer.status_code, answer.json()) == expected, f"{route.method} {route.path}"


async def test_c_1_12_anothers_child_under_ones_own_tenant_is_an_unknown_one(sweep: Sweep) -> None:
    mine = {**await sweep.resources(OTHER_TENANT), "tenant": TENANT}
    await sweep.resources(TENANT)
    owner = await sweep.process.signed_in(role=Role.OWNER, tenant=TENANT)
    children = [route for route in FOR_MEMBERS if any(route.path.endswith(f"/{{{kind}}}") for kind in CHILDREN)]
    assert len(children) >= 10
    theirs = await sweep.each(children, mine, owner)
    unknown = await sweep.each(children, {"tenant": TENANT}, owner)
    for (route, answer), (_, nobodys) in zip(theirs, unknown, strict=True):
        assert answer.status_code == nobodys.status_code, f"{route.method} {route.path}"
        if route.method in ("GET", "DELETE"):
            assert answer.status_code == 404, f"{route.method} {route.path}"
        # An empty change of nothing is none: 204.
        assert answer.status_code in (204, 400, 404), f"{route.method} {route.path}"


async def test_r_3_2_a_viewer_reads_everything_and_changes_nothing(sweep: Sweep) -> None:
    ids = await sweep.resources(TENANT)
    viewer = await sweep.process.signed_in(role=Role.VIEWER)
    before = await viewer.get(f"/api/v1/tenants/{TENANT}/workflows/crons")
    for route, answer in await sweep.each(FOR_MEMBERS, ids, viewer):
        if route.access.role is Role.VIEWER:
            # 400: parameters are missing here, or the operation is deprecated.
            assert answer.status_code in (200, 400, 404), f"{route.method} {route.path}: {answer.text}"
        else:
            assert (answer.status_code, answer.json()) == (401, NOT_AUTHORIZED), f"{route.method} {route.path}"
    after = await viewer.get(f"/api/v1/tenants/{TENANT}/workflows/crons")
    assert before.json() == after.json()
    assert len(after.json()["rows"]) == 1


@pytest.mark.parametrize("role", [Role.MEMBER, Role.ADMIN, Role.OWNER])
async def test_r_3_3_to_r_3_5_each_role_reaches_what_it_includes(sweep: Sweep, role: Role) -> None:
    ids = await sweep.resources(TENANT)
    person = await sweep.process.signed_in(role=role)
    for route, answer in await sweep.each(FOR_MEMBERS, ids, person):
        least = route.access.role
        assert least is not None
        # What an earlier route of the sweep has deleted is 404.
        expected = (200, 204, 400, 404) if role.includes(least) else (401,)
        assert answer.status_code in expected, f"{route.method} {route.path}: {answer.text}"


async def test_r_2_4_a_token_reaches_everything_but_tokens(sweep: Sweep) -> None:
    ids = await sweep.resources(TENANT)
    token = await sweep.process.tokens.issue(TENANT, name="another")
    headers = {"Authorization": f"Bearer {token}"}
    for route, answer in await sweep.each(FOR_MEMBERS, ids, sweep.process.browser(), **headers):
        if route.access.tokens:
            assert answer.status_code in (200, 204, 400, 404), f"{route.method} {route.path}: {answer.text}"
        else:
            assert (answer.status_code, answer.json()) == (401, NOT_FOR_TOKENS), f"{route.method} {route.path}"


async def test_r_2_7_unverified_owners_reach_nothing_of_their_tenant(sweep: Sweep) -> None:
    ids = await sweep.resources(TENANT)
    owner = await sweep.process.signed_in(role=Role.OWNER, is_verified=False)
    for route, answer in await sweep.each(FOR_MEMBERS, ids, owner):
        assert answer.status_code == 401, f"{route.method} {route.path}"
        assert answer.json() == {"message": "Please verify your email before continuing"}


# What the guard tells the handlers, on routes of our own ---------------------------------------------------------

probe = APIRouter(route_class=GuardedRoute)


@probe.get("/api/v1/tenants/{tenant}/probe")
@needs(Role.VIEWER)
async def tell(tenant: str, caller: CallerOf) -> dict[str, Any]:
    return {"role": caller.role.value, "sees": caller.sees_payloads, "user": caller.user_id, "tenant": caller.tenant_id}


@probe.get("/api/v1/query-probe")
@needs(Role.VIEWER, tenant_in_query=True)
async def tell_by_query(tenant: str, caller: CallerOf) -> dict[str, Any]:
    return {"role": caller.role.value, "tenant": caller.tenant_id}


@probe.get("/api/v1/tenants/{tenant}/forgotten")
async def forgotten(tenant: str) -> dict[str, Any]:
    return {}


@pytest_asyncio.fixture
async def people(database: Database) -> AsyncIterator[PeopleWorld]:
    async with people_world(database) as made:
        yield made


@pytest.fixture
def process(people: PeopleWorld) -> Process:
    made = people.process()
    made.app = build_api(made.services, made.about)
    made.app.include_router(probe)
    return made


@pytest.mark.parametrize(
    ("role", "allowed", "sees"),
    [
        (Role.OWNER, False, True),
        (Role.ADMIN, False, True),
        (Role.MEMBER, True, True),
        (Role.MEMBER, False, False),
        (Role.VIEWER, True, True),
        (Role.VIEWER, False, False),
    ],
)
async def test_r_3_6_who_sees_payloads(process: Process, role: Role, allowed: bool, sees: bool) -> None:
    user_id = await process.add_person("ada@example.com", role, can_view_payloads=allowed)
    answer = await (await process.log_in()).get(f"/api/v1/tenants/{TENANT}/probe")
    assert answer.json() == {"role": role.value, "sees": sees, "user": user_id, "tenant": TENANT}


async def test_r_2_4_tokens_are_like_owners_and_see_payloads(process: Process) -> None:
    token = await process.tokens.issue(TENANT, name="test")
    headers = {"Authorization": f"Bearer {token}"}
    answer = await process.browser().get(f"/api/v1/tenants/{TENANT}/probe", headers=headers)
    assert answer.json() == {"role": "OWNER", "sees": True, "user": None, "tenant": TENANT}


async def test_r_11_14_a_tenant_in_the_query_is_checked_like_one_in_the_path(process: Process) -> None:
    path = "/api/v1/query-probe"
    viewer = await process.signed_in(role=Role.VIEWER)
    headers = {"Authorization": f"Bearer {await process.tokens.issue(TENANT, name='test')}"}
    browser = process.browser()
    assert (await viewer.get(path, params={"tenant": TENANT})).json() == {"role": "VIEWER", "tenant": TENANT}
    assert (await browser.get(path, params={"tenant": TENANT}, headers=headers)).json()["role"] == "OWNER"
    assert (await viewer.get(path, params={"tenant": OTHER})).status_code == 401
    assert (await browser.get(path, params={"tenant": OTHER}, headers=headers)).status_code == 403
    for params, status in (({"tenant": UNKNOWN}, 404), ({"tenant": "x"}, 400), ({}, 400)):
        assert (await browser.get(path, params=params, headers=headers)).status_code == status


async def test_r_3_1_a_route_that_declares_nothing_is_for_owners(process: Process) -> None:
    for email, role, status in (("a@example.com", Role.ADMIN, 401), ("o@example.com", Role.OWNER, 200)):
        browser = await process.signed_in(email, role)
        assert (await browser.get(f"/api/v1/tenants/{TENANT}/forgotten")).status_code == status


async def test_r_3_1_a_changed_role_counts_at_once(process: Process) -> None:
    browser = await process.signed_in(role=Role.ADMIN)
    path = f"/api/v1/tenants/{TENANT}/api-tokens"
    assert (await browser.get(path)).status_code == 200
    for change, status in (("UPDATE tenant_member SET role = 'VIEWER'", 200), ("DELETE FROM tenant_member", 401)):
        async with process.database.transaction() as transaction:
            await transaction.raw.execute(change)
        assert (await browser.get(path)).status_code == 401
        assert (await browser.get(f"/api/v1/tenants/{TENANT}/probe")).status_code == status
