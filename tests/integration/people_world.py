"""API processes on one database, and people who signed in at them; hashes are cheap, so that tests are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from typing import Any

import httpx2
from argon2 import PasswordHasher

from hatchet.core.clock import HeldClock
from hatchet.core.roles import Role
from hatchet.engine.clock import UuidIds
from hatchet.engine.identity import Tokens
from hatchet.engine.keys import KeySet, generate
from hatchet.engine.passwords import Passwords
from hatchet.engine.people import People, SignInRules
from hatchet.engine.sessions import Sessions, signing_keys
from hatchet.engine.tenants import Tenants
from hatchet.rest.app import build_app
from hatchet.rest.cookies import SessionCookie
from hatchet.rest.ports import About, Services
from hatchet.rest.request_limits import RequestLimits
from hatchet.store.people import User, add_user
from hatchet.store.pool import Database
from hatchet.store.workers_read import WorkersRead
from hatchet.store.workflows_read import WorkflowsRead

TENANT = "707d0855-80ab-4e1f-a156-f1c4546cbf52"
OTHER = "707d0855-80ab-4e1f-a156-f1c4546cbf53"
UNKNOWN = "0195f2a0-0000-7000-8000-0000000000ff"
PASSWORD = "Lovelace1815"
URL = "https://localhost:8080"
"""Secure cookies do not travel over plain HTTP."""
MANY = 1_000_000
NOW = 1_750_000_000.0

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class CountingPasswords(Passwords):
    """Remembers what was hashed and compared."""

    def __init__(self) -> None:
        super().__init__(CHEAP)
        self.hashed: list[str] = []
        self.compared: list[str] = []

    async def hash(self, password: str) -> str:
        self.hashed.append(password)
        return await super().hash(password)

    def _check(self, password: str, password_hash: str) -> bool:
        self.compared.append(password_hash)
        return super()._check(password, password_hash)


class Process:
    """One API process."""

    def __init__(
        self,
        database: Database,
        clock: HeldClock,
        keys: KeySet,
        *,
        rules: SignInRules | None = None,
        secrets: Sequence[str] = (),
        most: int = MANY,
        about: dict[str, Any] | None = None,
        services: Callable[[Process], Services] | None = None,
        **options: Any,
    ) -> None:
        self.database = database
        self.clock = clock
        self.ids = UuidIds()
        self.passwords = CountingPasswords()
        self.sessions = Sessions(database, signing_keys(secrets, keys), clock)
        self.people = People(database, self.passwords, self.sessions, rules or SignInRules(), clock, self.ids)
        self.tokens = Tokens(
            database=database,
            keys=keys,
            server_url=URL,
            grpc_broadcast_address="127.0.0.1:7070",
            clock=clock,
            ids=self.ids,
        )
        self.services = services(self) if services else self._services(most)
        self.about = About(
            version="9.8.7",
            grpc_address="127.0.0.1:7070",
            server_url=URL,
            **{"cookie": SessionCookie(), **(about or {})},
        )
        self.app = build_app(self.services, self.about, **options)
        self._clients: list[httpx2.AsyncClient] = []

    def _services(self, most: int) -> Services:
        """Those of the people, and of the rest what the guard asks."""
        parts: dict[str, Any] = {field.name: None for field in fields(Services)}
        parts.update(
            tokens=self.tokens,
            api_tokens=self.tokens,
            people=self.people,
            limits=RequestLimits(self.clock, most=most),
            tenants=Tenants(database=self.database, clock=self.clock),
            workers=WorkersRead(self.database, self.clock),
            workflows=WorkflowsRead(self.database),
        )
        return Services(**parts)

    def browser(self, address: str = "192.0.2.1", **cookies: str) -> httpx2.AsyncClient:
        """A client with cookies of its own."""
        transport = httpx2.ASGITransport(app=self.app, raise_app_exceptions=False, client=(address, 50_000))
        made = httpx2.AsyncClient(transport=transport, base_url=URL, cookies=cookies)
        self._clients.append(made)
        return made

    async def add_person(
        self,
        email: str,
        role: Role | None = None,
        *,
        tenant: str = TENANT,
        password: str | None = PASSWORD,
        is_verified: bool = True,
        can_view_payloads: bool = True,
    ) -> str:
        """Somebody who is registered, and with ``role`` a member of the tenant; their id."""
        user = User(
            id=self.ids.new(),
            email=email,
            name="Ada",
            password_hash=None if password is None else CHEAP.hash(password),
            email_verified=is_verified,
            created_at=self.clock.now(),
        )
        assert await add_user(self.database, user)
        if role is not None:
            await self.add_member(user.id, role, tenant=tenant, can_view_payloads=can_view_payloads)
        return user.id

    async def add_member(
        self, user_id: str, role: Role, *, tenant: str = TENANT, can_view_payloads: bool = True
    ) -> None:
        async with self.database.transaction() as transaction:
            await transaction.raw.execute(
                "INSERT INTO tenant_member (tenant_id, user_id, role, can_view_payloads, created_at) "
                "VALUES ($1::uuid, $2::uuid, $3, $4, to_timestamp($5))",
                tenant,
                user_id,
                role.value,
                can_view_payloads,
                self.clock.now(),
            )

    async def signed_in(self, email: str = "ada@example.com", role: Role | None = None, **more: Any) -> Any:
        """A browser in which this new person has signed in."""
        await self.add_person(email, role, **more)
        return await self.log_in(email)

    async def log_in(self, email: str = "ada@example.com", password: str = PASSWORD) -> httpx2.AsyncClient:
        browser = self.browser()
        answer = await browser.post("/api/v1/users/login", json={"email": email, "password": password})
        assert answer.status_code == 200, answer.text
        return browser

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()


class PeopleWorld:
    """Processes that share a database, a clock and a key set."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = HeldClock(NOW)
        self.keys = generate()
        self.processes: list[Process] = []

    def process(self, *, keys: KeySet | None = None, **options: Any) -> Process:
        made = Process(self.database, self.clock, keys or self.keys, **options)
        self.processes.append(made)
        return made


@asynccontextmanager
async def people_world(database: Database) -> AsyncIterator[PeopleWorld]:
    """A world with two tenants and nobody in them."""
    async with database.transaction() as transaction:
        await transaction.raw.execute(
            "INSERT INTO tenant (id, name, slug, created_at) SELECT id, slug, slug, to_timestamp(0) "
            "FROM unnest($1::uuid[], $2::text[]) AS t (id, slug)",
            [TENANT, OTHER],
            ["one", "other"],
        )
    made = PeopleWorld(database)
    yield made
    for process in made.processes:
        await process.close()
