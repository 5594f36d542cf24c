"""The HTTP application in front of a real engine, and a client whose answers are checked against the contract."""

from __future__ import annotations

import re
from typing import Any, cast

import httpx2
from engine_fixture import OTHER_TENANT, Instance
from engine_worker import TENANT

from contract.rest_contract import answer_schema, complaints, operations
from hatchet.core.messages import Caller
from hatchet.engine.identity import Tokens
from hatchet.rest.app import build_app
from hatchet.rest.ports import About
from hatchet.rest.request_limits import RequestLimits

UNKNOWN = "0195f2a0-0000-7000-8000-0000000000ff"


class FakeTokens:
    """``good`` is a token of TENANT, ``other`` one of OTHER_TENANT, ``blind`` one of TENANT that sees no payloads."""

    def cached(self, token: str) -> Caller | None:
        tenant_id = OTHER_TENANT if token == "other" else TENANT
        return Caller(tenant_id, UNKNOWN, sees_payloads=token != "blind")

    async def verify(self, token: str) -> Caller:
        raise AssertionError("every token is cached")


class RestDoor:
    """Calls routes; an answer that does not fit the contract fails the test."""

    def __init__(self, instance: Instance) -> None:
        # Nobody signs in here, and nobody asks whether the server is well.
        nobody: Any = None
        services = instance.engine.rest_services(
            tokens=cast("Tokens", FakeTokens()), people=nobody, limits=RequestLimits(instance.clock), health=nobody
        )
        about = About(version="9.8.7", grpc_address="127.0.0.1:7070", server_url="http://localhost:8080")
        transport = httpx2.ASGITransport(app=build_app(services, about), raise_app_exceptions=False)
        self.client = httpx2.AsyncClient(transport=transport, base_url="http://localhost:8080")

    async def call(
        self, method: str, path: str, *, token: str = "good", status: int = 200, body: object = None, **params: Any
    ) -> Any:
        """The body of the answer, which must have this status; ``path`` may leave out ``/api/v1``."""
        url = path if path.startswith("/api/") else f"/api/v1{path}"
        answer = await self.client.request(
            method, url, params=params, json=body, headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.status_code == status, answer.text
        if not answer.content:
            return None
        found = answer.json()
        if status == 200:
            assert complaints(found, answer_schema(method, template(method, url), status)) == []
        return found

    async def get(self, path: str, **given: Any) -> Any:
        return await self.call("GET", path, **given)

    async def refusal(self, method: str, path: str, status: int, **given: Any) -> str:
        """What the answer says for people."""
        found = await self.call(method, path, status=status, **given)
        return str(found.get("message") or found["errors"][0]["description"])


def template(method: str, url: str) -> str:
    """The path of the contract that this one is an instance of; of several the one with the fewest parameters."""
    found = [
        path
        for known, path in operations()
        if known == method and re.fullmatch(re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(path)), url)
    ]
    assert found, f"the contract has no {method} {url}"
    return min(found, key=lambda path: path.count("{"))
