"""People over HTTP, on a real database: registering, signing in and out, sessions (behaviour-rest R-2, R-4, R-5)."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from people_world import CHEAP, OTHER, PASSWORD, TENANT, UNKNOWN, URL, PeopleWorld, Process, people_world

from contract.rest_contract import answer_schema, complaints
from hatchet.core.roles import Role
from hatchet.engine.keys import generate
from hatchet.engine.passwords import Passwords
from hatchet.engine.people import SignInRules
from hatchet.engine.seed import SeedValues, seed
from hatchet.rest.cookies import SessionCookie
from hatchet.store.pool import Database

REGISTER = "/api/v1/users/register"
LOGIN = "/api/v1/users/login"
LOGOUT = "/api/v1/users/logout"
CURRENT = "/api/v1/users/current"
CHANGE = "/api/v1/users/password"
MEMBERSHIPS = "/api/v1/users/memberships"
ADA = {"name": "Ada", "email": "ada@example.com", "password": PASSWORD}
JSON = {"Content-Type": "application/json"}
WANTED = {"message": "Please provide valid credentials"}
INVALID = {"errors": [{"description": "invalid credentials"}]}
FAILED = {"errors": [{"description": "registration failed"}]}


@pytest_asyncio.fixture
async def world(database: Database) -> AsyncIterator[PeopleWorld]:
    async with people_world(database) as made:
        yield made


@pytest.fixture
def process(world: PeopleWorld) -> Process:
    return world.process()


def fits(answer: httpx2.Response, method: str, path: str) -> dict[str, Any]:
    """The body, which must have the shape of the contract."""
    body: dict[str, Any] = answer.json()
    assert complaints(body, answer_schema(method, path, answer.status_code)) == []
    return body


def cookie_of(browser: httpx2.AsyncClient) -> str:
    value = browser.cookies.get("hatchet")
    assert value is not None
    return value


async def test_r_8_8_the_seeded_admin_can_sign_in(process: Process) -> None:
    await seed(process.database, SeedValues(), clock=process.clock, ids=process.ids)
    browser = await process.log_in("Admin@Example.com ", "Admin123!!")
    me = (await browser.get(CURRENT)).json()
    assert (me["email"], me["name"], me["emailVerified"]) == ("admin@example.com", "Admin", True)
    [row] = (await browser.get(MEMBERSHIPS)).json()["rows"]
    assert (row["role"], row["tenant"]["metadata"]["id"]) == ("OWNER", TENANT)


async def test_r_5_1_and_r_5_2_registering_answers_the_user_and_signs_in(process: Process) -> None:
    browser = process.browser()
    answer = await browser.post(REGISTER, json={**ADA, "email": " Ada@Example.COM"})
    assert answer.status_code == 200
    body = fits(answer, "POST", REGISTER)
    assert body == {
        "metadata": {
            "id": body["metadata"]["id"],
            "createdAt": "2025-06-15T15:06:40Z",
            "updatedAt": "2025-06-15T15:06:40Z",
        },
        "name": "Ada",
        "email": "ada@example.com",
        "emailVerified": False,
        "hasPassword": True,
        "emailHash": hashlib.sha256(b"ada@example.com").hexdigest(),
    }
    # also for somebody whose address is not verified.
    assert fits(await browser.get(CURRENT), "GET", CURRENT) == body


async def test_r_2_6_the_cookie_has_the_documented_attributes(world: PeopleWorld) -> None:
    answer = await world.process().browser().post(REGISTER, json=ADA)
    [morsel] = SimpleCookie(answer.headers["set-cookie"]).values()
    assert morsel.key == "hatchet"
    assert (morsel["httponly"], morsel["secure"], morsel["samesite"], morsel["path"]) == (True, True, "lax", "/")
    assert (morsel["max-age"], morsel["domain"]) == (str(30 * 86400), "")

    cookie = SessionCookie(name="mine", domain="example.com", is_secure=False)
    other = world.process(about={"cookie": cookie})
    answer = await other.browser().post(LOGIN, json=ADA)
    [morsel] = SimpleCookie(answer.headers["set-cookie"]).values()
    assert (morsel.key, morsel["secure"], morsel["domain"]) == ("mine", "", "example.com")


async def test_r_2_6_the_database_holds_nothing_that_opens_a_session(process: Process) -> None:
    cookie = cookie_of(await process.signed_in())
    async with process.database.transaction() as transaction:
        [row] = await transaction.raw.fetch("SELECT * FROM user_session")
    assert row["id"] == hashlib.sha256(cookie.partition(".")[0].encode()).digest()
    # The digest, signed or not, is no session.
    for stolen in (row["id"].hex(), f"{row['id'].hex()}.{cookie.partition('.')[2]}"):
        assert (await process.browser(hatchet=stolen).get(CURRENT)).status_code == 403


async def test_r_2_6_a_cookie_that_was_changed_is_refused_without_asking_the_database(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _, signature = cookie_of(await process.signed_in()).partition(".")
    asked: list[str] = []

    async def fetch(statement: str, *_: object) -> list[Any]:
        asked.append(statement)
        return []

    monkeypatch.setattr(process.database, "fetch", fetch)
    forged = [name, f"{name}.", f"{name}.{signature[:-1]}", f"x{name}.{signature}", f".{signature}", "x" * 5000, "é.é"]
    for cookie in forged:
        answer = await process.browser().get(CURRENT, headers=[(b"Cookie", f"hatchet={cookie}".encode())])
        assert (answer.status_code, answer.json()) == (403, WANTED)
    assert asked == []


async def test_r_2_6_processes_with_one_key_set_share_sessions(world: PeopleWorld) -> None:
    cookie = cookie_of(await world.process().signed_in())
    assert (await world.process().browser(hatchet=cookie).get(CURRENT)).status_code == 200
    assert (await world.process(keys=generate()).browser(hatchet=cookie).get(CURRENT)).status_code == 403


async def test_r_28_3_configured_secrets_sign_and_can_be_rotated(world: PeopleWorld) -> None:
    cookie = cookie_of(await world.process(secrets=["old secret"]).signed_in())
    rotated = world.process(secrets=["new secret", "old secret"], keys=generate())
    assert (await rotated.browser(hatchet=cookie).get(CURRENT)).status_code == 200
    newer = cookie_of(await rotated.log_in())
    later = world.process(secrets=["new secret"])
    assert (await later.browser(hatchet=newer).get(CURRENT)).status_code == 200
    assert (await later.browser(hatchet=cookie).get(CURRENT)).status_code == 403


async def test_r_2_6_a_session_is_over_after_thirty_days_and_then_forgotten(process: Process) -> None:
    browser = await process.signed_in()
    process.clock.advance(30 * 86400 - 1)
    cookie = cookie_of(browser)
    assert (await process.browser(hatchet=cookie).get(CURRENT)).status_code == 200
    process.clock.advance(1)
    assert (await process.browser(hatchet=cookie).get(CURRENT)).status_code == 403
    await process.log_in()
    async with process.database.transaction() as transaction:
        assert await transaction.raw.fetchval("SELECT count(*) FROM user_session") == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"password": "Short1a"}, "password"),
        ({"password": "A1" + "a" * 63}, "password"),
        ({"password": "lovelace1815"}, "password"),
        ({"password": "LOVELACE1815"}, "password"),
        ({"password": "Lovelaceeeee"}, "password"),
        ({"email": "ada"}, "email"),
        ({"email": "ada@"}, "email"),
        ({"email": "a da@example.com"}, "email"),
        ({"email": "ada@example..com"}, "email"),
        ({"email": "ada\0@example.com"}, "email"),
        ({"email": "a" * 250 + "@example.com"}, "email"),
        ({"name": " "}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "a" * 256}, "name"),
        ({"name": None}, "name"),
        ({"password": 12345678}, "password"),
        ({"password": "Lovelace1815\ud800"}, "password"),
        ({"email": "a\ud800@example.com"}, "email"),
        ({"name": "\ud800"}, "name"),
    ],
)
async def test_r_5_3_a_field_that_breaks_the_rules_is_named(
    process: Process, changes: dict[str, Any], field: str
) -> None:
    answer = await process.browser().post(REGISTER, content=json.dumps({**ADA, **changes}), headers=JSON)
    assert answer.status_code == 400
    [error] = fits(answer, "POST", REGISTER)["errors"]
    assert error["field"] == field
    assert error["description"].startswith(f"{field}: ")
    assert "set-cookie" not in answer.headers


async def test_r_5_3_every_wrong_field_is_named_at_once(process: Process) -> None:
    answer = await process.browser().post(REGISTER, json={"name": "", "email": "x", "password": "x"})
    assert [error["field"] for error in answer.json()["errors"]] == ["name", "email", "password"]


@pytest.mark.parametrize("password", ["Abcdefg1", "A1" + "a" * 62, "Ünïcödé99 with spaces"])
async def test_r_5_3_passwords_within_the_rules(process: Process, password: str) -> None:
    assert (await process.browser().post(REGISTER, json={**ADA, "password": password})).status_code == 200
    await process.log_in(password=password)


async def test_r_5_4_a_taken_address_and_a_foreign_domain_look_alike_and_cost_the_same(world: PeopleWorld) -> None:
    process = world.process(rules=SignInRules(email_domains=("example.com",)))
    assert (await process.browser().post(REGISTER, json=ADA)).status_code == 200
    for email in ("ADA@example.com", "ada@example.org", "ada@sub.example.com"):
        process.passwords.hashed.clear()
        answer = await process.browser().post(REGISTER, json={**ADA, "email": email})
        assert (answer.status_code, answer.json()) == (400, FAILED)
        assert process.passwords.hashed == [PASSWORD]


async def test_r_5_4_switched_off(world: PeopleWorld) -> None:
    closed = await world.process(rules=SignInRules(signups=False)).browser().post(REGISTER, json=ADA)
    assert (closed.status_code, closed.json()) == (400, {"errors": [{"description": "user signups are disabled"}]})
    process = world.process(rules=SignInRules(passwords=False))
    for path in (REGISTER, LOGIN):
        answer = await process.browser().post(path, json=ADA)
        assert answer.status_code == 405
        fits(answer, "POST", path)


async def test_r_5_5_sign_in(process: Process) -> None:
    await process.add_person("ada@example.com")
    browser = process.browser()
    answer = await browser.post(LOGIN, json={"email": "ADA@example.com", "password": PASSWORD})
    assert answer.status_code == 200
    assert fits(answer, "POST", LOGIN)["email"] == "ada@example.com"
    assert (await browser.get(CURRENT)).status_code == 200


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"email": "nobody@example.com", "password": PASSWORD}),
        json.dumps({"email": "ada@example.com", "password": "Lovelace1816"}),
        json.dumps({"email": "ada@example.com", "password": ""}),
        json.dumps({"email": "ada@example.com", "password": "x" * 10_000}),
        json.dumps({"email": "oauth@example.com", "password": PASSWORD}),
        json.dumps({"email": "oauth@example.com", "password": ""}),
        json.dumps({"email": "a\0da", "password": "a\0b"}),
        '{"email": "\\ud800", "password": "\\ud800"}',
        json.dumps({"email": "ada@example.com"}),
        json.dumps({"email": 1, "password": None}),
        "[]",
        "{",
        "",
    ],
)
async def test_r_5_5_whatever_is_wrong_the_answer_is_the_same(process: Process, content: str) -> None:
    await process.add_person("ada@example.com")
    await process.add_person("oauth@example.com", password=None)
    answer = await process.browser().post(LOGIN, content=content, headers=JSON)
    assert (answer.status_code, answer.json()) == (400, INVALID)
    assert "set-cookie" not in answer.headers


async def test_r_5_6_unknown_people_cost_as_much_as_known_ones(process: Process) -> None:
    await process.add_person("ada@example.com")
    await process.add_person("oauth@example.com", password=None)
    for email in ("ada@example.com", "nobody@example.com", "oauth@example.com"):
        process.passwords.compared.clear()
        await process.browser().post(LOGIN, json={"email": email, "password": "Wrong1234"})
        [compared] = process.passwords.compared
        assert CHEAP.check_needs_rehash(compared) is False
    # And what production keeps is argon2id with the library's recommended cost.
    made = await Passwords().hash(PASSWORD)
    assert made.startswith("$argon2id$")
    assert await Passwords().matches(PASSWORD, made)
    assert not await Passwords().matches("Lovelace1816", made)
    assert not await Passwords().matches(PASSWORD, None)
    assert not await Passwords().matches(PASSWORD, "not a hash")


async def test_r_5_7_logout_ends_the_session_at_once_on_every_process(world: PeopleWorld) -> None:
    process, other = world.process(), world.process()
    browser = await process.signed_in()
    cookie = cookie_of(browser)
    second = await process.log_in()
    assert (await other.browser(hatchet=cookie).get(CURRENT)).status_code == 200
    answer = await browser.post(LOGOUT)
    assert answer.status_code == 200
    assert fits(answer, "POST", LOGOUT)["email"] == "ada@example.com"
    assert browser.cookies.get("hatchet") is None
    for elsewhere in (process, other):
        assert (await elsewhere.browser(hatchet=cookie).get(CURRENT)).status_code == 403
    # The person's session in another browser goes on.
    assert (await second.get(CURRENT)).status_code == 200


async def test_r_5_9_a_new_password_ends_the_other_sessions(world: PeopleWorld) -> None:
    process = world.process()
    browser = await process.signed_in()
    other = cookie_of(await process.log_in())
    answer = await browser.post(CHANGE, json={"password": PASSWORD, "newPassword": "Byron1788"})
    assert answer.status_code == 200
    fits(answer, "POST", CHANGE)
    assert (await browser.get(CURRENT)).status_code == 200
    assert (await world.process().browser(hatchet=other).get(CURRENT)).status_code == 403
    await process.log_in(password="Byron1788")
    answer = await process.browser().post(LOGIN, json=ADA)
    assert (answer.status_code, answer.json()) == (400, INVALID)


async def test_r_5_9_what_is_refused_changes_nothing(world: PeopleWorld) -> None:
    process = world.process()
    browser = await process.signed_in()
    other = await process.log_in()
    wrong = await browser.post(CHANGE, json={"password": "Wrong1234", "newPassword": "Byron1788"})
    assert (wrong.status_code, wrong.json()) == (400, INVALID)
    weak = await browser.post(CHANGE, json={"password": PASSWORD, "newPassword": "byron"})
    assert weak.status_code == 400
    assert fits(weak, "POST", CHANGE)["errors"][0]["field"] == "newpassword"
    for rules in (SignInRules(password_changes=False), SignInRules(passwords=False)):
        closed = world.process(rules=rules).browser(hatchet=cookie_of(browser))
        answer = await closed.post(CHANGE, json={"password": PASSWORD, "newPassword": "Byron1788"})
        assert answer.status_code == 405
        fits(answer, "POST", CHANGE)
    assert (await other.get(CURRENT)).status_code == 200
    await process.log_in()


async def test_r_5_10_and_r_5_11_memberships_tell_tenants_and_rights(process: Process) -> None:
    user_id = await process.add_person("ada@example.com", Role.VIEWER, can_view_payloads=False)
    process.clock.advance(1)
    await process.add_member(user_id, Role.ADMIN, tenant=OTHER, can_view_payloads=False)
    await process.add_person("bob@example.com", Role.OWNER)
    answer = await (await process.log_in()).get(MEMBERSHIPS)
    assert answer.status_code == 200
    rows = fits(answer, "GET", MEMBERSHIPS)["rows"]
    assert [(row["role"], row["canViewPayloads"], row["tenant"]["slug"]) for row in rows] == [
        ("VIEWER", False, "one"),
        # an ADMIN always sees payloads.
        ("ADMIN", True, "other"),
    ]
    assert rows[0]["user"] == {"email": "ada@example.com", "name": "Ada"}
    assert rows[0]["tenant"]["version"] == "V1"
    assert len({row["metadata"]["id"] for row in rows}) == 2


async def test_r_2_7_somebody_unverified_only_sees_who_they_are_and_logs_out(process: Process) -> None:
    browser = await process.signed_in(role=Role.OWNER, is_verified=False)
    for path in (MEMBERSHIPS, f"/api/v1/tenants/{TENANT}", "/api/v1/meta/integrations"):
        answer = await browser.get(path)
        assert (answer.status_code, answer.json()) == (401, {"message": "Please verify your email before continuing"})
    assert (await browser.post(CHANGE, json={"password": PASSWORD, "newPassword": "Byron1788"})).status_code == 401
    assert (await browser.get(CURRENT)).json()["emailVerified"] is False
    assert (await browser.post(LOGOUT)).status_code == 200


async def test_r_28_3_addresses_count_as_verified_when_that_is_set(world: PeopleWorld) -> None:
    process = world.process(rules=SignInRules(emails_count_as_verified=True))
    browser = process.browser()
    assert (await browser.post(REGISTER, json=ADA)).json()["emailVerified"] is True
    assert (await browser.get(MEMBERSHIPS)).json()["rows"] == []


@pytest.mark.parametrize(
    ("method", "path"), [("GET", CURRENT), ("POST", LOGOUT), ("POST", CHANGE), ("GET", MEMBERSHIPS)]
)
async def test_r_2_5_user_routes_take_the_cookie_only(process: Process, method: str, path: str) -> None:
    token = await process.tokens.issue(TENANT, name="test")
    for headers in ({}, {"Authorization": f"Bearer {token}"}):
        answer = await process.browser().request(method, path, headers=headers)
        assert (answer.status_code, answer.json()) == (403, WANTED)


async def test_r_2_1_a_bad_bearer_leaves_the_cookie_to_count(process: Process) -> None:
    browser = await process.signed_in(role=Role.VIEWER)
    path = f"/api/v1/tenants/{TENANT}"
    foreign = await process.tokens.issue(OTHER, name="test")
    for token in ("nonsense", foreign):
        assert (await browser.get(path, headers={"Authorization": f"Bearer {token}"})).status_code == 200
    # A good one comes first: it may what a viewer may not.
    good = await process.tokens.issue(TENANT, name="test")
    for headers, status in (({}, 401), ({"Authorization": f"Bearer {good}"}, 400)):
        answer = await browser.post(f"/api/v1/stable/tenants/{TENANT}/tasks/cancel", content=b"{", headers=headers)
        assert answer.status_code == status


async def test_r_2_8_not_a_member(process: Process) -> None:
    browser = await process.signed_in(role=Role.OWNER, tenant=OTHER)
    answer = await browser.get(f"/api/v1/tenants/{TENANT}")
    assert (answer.status_code, answer.json()) == (401, {"message": "Not authorized to view this resource"})
    # that a resource is unknown comes first.
    assert (await browser.get(f"/api/v1/tenants/{UNKNOWN}")).status_code == 404


@pytest.mark.parametrize("path", [LOGIN, REGISTER])
async def test_r_2_9_whoever_is_signed_in_is_sent_to_the_dashboard(process: Process, path: str) -> None:
    browser = await process.signed_in()
    answer = await browser.post(path, json=ADA, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (302, URL)
    await browser.post(LOGOUT)
    browser.cookies.set("hatchet", "over")
    assert (await browser.post(LOGIN, json=ADA)).status_code == 200


@pytest.mark.parametrize("path", [LOGIN, REGISTER, LOGOUT, CHANGE])
async def test_r_4_1_ten_requests_from_one_address_in_five_minutes(world: PeopleWorld, path: str) -> None:
    process = world.process(most=10)
    await process.add_person("ada@example.com")
    # would redirect a session away from signing in.
    cookies = {"hatchet": await process.sessions.open(await user_id(process))} if path in (LOGOUT, CHANGE) else {}

    async def ask(address: str) -> httpx2.Response:
        if path == LOGOUT:
            cookies["hatchet"] = await process.sessions.open(await user_id(process))
        return await process.browser(address, **cookies).post(path, content=b"{")

    for _ in range(10):
        assert (await ask("192.0.2.1")).status_code in (200, 400)
        process.clock.advance(1)
    # before the body is looked at.
    refused = await ask("192.0.2.1")
    assert (refused.status_code, refused.text, refused.headers["retry-after"]) == (429, "null", "291")
    assert (await ask("192.0.2.2")).status_code in (200, 400)
    assert (await process.browser("192.0.2.1", **cookies).get("/api/v1/meta")).status_code == 200
    process.clock.advance(290)
    assert (await ask("192.0.2.1")).status_code in (200, 400)
    assert (await ask("192.0.2.1")).status_code == 429


async def user_id(process: Process) -> str:
    async with process.database.transaction() as transaction:
        return str(await transaction.raw.fetchval("SELECT id FROM app_user WHERE email = 'ada@example.com'"))


async def test_r_4_1_operations_are_counted_apart(world: PeopleWorld) -> None:
    process = world.process(most=1)
    browser = process.browser()
    assert (await browser.post(LOGIN, json=ADA)).status_code == 400
    assert (await browser.post(LOGIN, json=ADA)).status_code == 429
    assert (await browser.post(REGISTER, json=ADA)).status_code == 200


async def test_r_8_1_meta_tells_how_to_sign_in(world: PeopleWorld) -> None:
    about = {"auth_schemes": ("basic",), "allow_signup": True, "allow_change_password": True}
    body = (await world.process(about=about).browser().get("/api/v1/meta")).json()
    assert body["auth"] == {"schemes": ["basic"]}
    assert (body["allowSignup"], body["allowChangePassword"], body["authDisabled"]) == (True, True, False)


async def test_r_5_4_two_registrations_of_one_address_at_once_make_one_person(world: PeopleWorld) -> None:
    first, second = world.process().browser(), world.process().browser()
    answers = await asyncio.gather(*(browser.post(REGISTER, json=ADA) for browser in (first, second)))
    assert sorted(answer.status_code for answer in answers) == [200, 400]
