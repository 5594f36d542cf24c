"""API tokens: issued, verified, revoked (behaviour-core C-1.1 to C-1.8).

Invariants: a token is accepted only after its signature was checked once and its row at most ``cache_seconds`` ago, so
a revocation takes effect within that time on every instance; several calls that check one token share one statement;
every refusal is the same :class:`~hatchet.core.errors.Unauthenticated`. The token text never reaches a log.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
import structlog

from hatchet.core.clock import Clock, Ids
from hatchet.core.errors import InvalidArgument, NotFound, Unauthenticated, Unavailable
from hatchet.core.ids import parse_uuid
from hatchet.core.messages import Caller
from hatchet.engine.keys import ALGORITHM, KeySet
from hatchet.store import identity
from hatchet.store.pool import Database

DEFAULT_LIFETIME_SECONDS = 90 * 86400.0
MAX_LIFETIME_SECONDS = 1000 * 365 * 86400.0
MAX_NAME_LENGTH = 255
MAX_TOKEN_LENGTH = 8192

CACHE_SECONDS = 5.0
"""How long the answer of the database about a token is used (C-1.8, behaviour-rest R-2.13)."""

AWAY_SECONDS = 60.0
"""How long a token that was good stays good while the database is away, so that its restart turns no worker away."""

CLOCK_SKEW_SECONDS = 5.0
"""How far in the future ``iat`` may lie: another instance may have issued the token a moment ago."""

_CLAIMS = ["sub", "aud", "iss", "iat", "exp", "token_id"]
_NO_CLOCK = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
_MOST_REPORTED_KIDS = 16

log = structlog.stdlib.get_logger("hatchet.identity")


@dataclass(slots=True)
class _Known:
    """A token whose signature and claims were good, and what the database last said about it."""

    caller: Caller
    expires_at: float
    accepted_at: float | None = None
    """When the row was last found to be good."""
    accepted_until: float = 0.0
    refused_until: float = 0.0
    check: asyncio.Task[bool] | None = None


class Tokens:
    """Issues and verifies the API tokens of this server."""

    def __init__(
        self,
        *,
        database: Database,
        keys: KeySet,
        server_url: str,
        grpc_broadcast_address: str,
        clock: Clock,
        ids: Ids,
        cache_seconds: float = CACHE_SECONDS,
        cache_size: int = 10_000,
    ) -> None:
        self._database = database
        self._keys = keys
        self._server_url = server_url.rstrip("/")
        self._grpc_address = grpc_broadcast_address
        self._clock = clock
        self._ids = ids
        self._cache_seconds = cache_seconds
        self._cache_size = cache_size
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._reported_kids: set[str] = set()

    async def issue(self, tenant_id: str, *, name: str, lifetime_seconds: float = DEFAULT_LIFETIME_SECONDS) -> str:
        """A new token of the tenant, recorded before it is returned (C-1.5).

        Raises InvalidArgument for a bad tenant id, name or lifetime, and NotFound for an unknown tenant.
        """
        tenant = parse_uuid(tenant_id)
        if tenant is None:
            raise InvalidArgument(f'tenant id: "{tenant_id}" is not a UUID.')
        if not 1 <= len(name) <= MAX_NAME_LENGTH:
            raise InvalidArgument(f"name: a token's name has 1 to {MAX_NAME_LENGTH} characters, this has {len(name)}.")
        if not 1 <= lifetime_seconds <= MAX_LIFETIME_SECONDS:
            raise InvalidArgument("lifetime: a token lives at least one second and at most 1000 years.")
        issued_at = int(self._clock.now())
        expires_at = issued_at + int(lifetime_seconds)
        token_id = self._ids.new()
        if not await identity.insert_token(
            self._database, token_id=token_id, tenant_id=tenant, name=name, created_at=issued_at, expires_at=expires_at
        ):
            raise NotFound(f"no tenant has the id {tenant}.")
        return self._signed(tenant, token_id, issued_at, expires_at)

    def cached(self, token: str) -> Caller | None:
        """The caller when the token was found good a moment ago, for one look-up; None says: ask ``verify``."""
        known = self._known.get(token)
        if known is None or self._clock.now() >= known.accepted_until:
            return None
        return known.caller

    def resolve(self, token: str) -> Caller | Awaitable[Caller]:
        """The caller at once when ``cached`` knows it, else something to await; what the gRPC front door takes."""
        return self.cached(token) or self.verify(token)

    async def verify(self, token: str) -> Caller:
        """Who sends this token. Raises Unauthenticated for every token that is not good (C-1.7, C-1.10).

        Raises Unavailable when the database is away and the token was not found good within the last minute.
        """
        known = self._known.get(token)
        if known is None:
            known = self._remember(token, self._checked_claims(token))
        now = self._clock.now()
        if now < known.accepted_until:
            return known.caller
        if now < known.refused_until or now >= known.expires_at:
            raise Unauthenticated
        if not await self._shared_check(known):
            raise Unauthenticated
        return known.caller

    async def list(self, tenant_id: str) -> Sequence[identity.TokenRecord]:
        """The tenant's tokens that were not revoked, the newest first; without their texts, which nobody keeps."""
        return await identity.tokens(self._database, tenant_id)

    async def tenant_of(self, token_id: str) -> str | None:
        """The tenant that a token was issued for, also when it was revoked; None for an unknown id."""
        state = await identity.token_state(self._database, token_id)
        return None if state is None else state.tenant_id

    async def revoke(self, tenant_id: str, token_id: str) -> None:
        """Refuse the token from now on: at once here, within ``cache_seconds`` on other instances.

        Raises NotFound when the tenant has no such token.
        """
        wanted = parse_uuid(token_id)
        at = self._clock.now()
        if wanted is None or not await identity.revoke_token(
            self._database, tenant_id=tenant_id, token_id=wanted, at=at
        ):
            raise NotFound(f"the tenant has no API token {token_id}.")
        for text in [text for text, known in self._known.items() if known.caller.token_id == wanted]:
            del self._known[text]

    def _signed(self, tenant_id: str, token_id: str, issued_at: int, expires_at: int) -> str:
        claims = {
            "sub": tenant_id,
            "aud": self._server_url,
            "iss": self._server_url,
            "iat": issued_at,
            "exp": expires_at,
            "token_id": token_id,
            "server_url": self._server_url,
            "grpc_broadcast_address": self._grpc_address,
        }
        headers = {"kid": self._keys.primary}
        return jwt.encode(claims, self._keys.signing_key, algorithm=ALGORITHM, headers=headers)

    def _checked_claims(self, token: str) -> _Known:
        claims = self._decoded(token)
        now = self._clock.now()
        issued_at, expires_at = claims["iat"], claims["exp"]
        if not (_is_number(issued_at) and _is_number(expires_at)):
            raise Unauthenticated
        if issued_at > now + CLOCK_SKEW_SECONDS or expires_at <= now:
            raise Unauthenticated
        if claims.get("server_url", self._server_url) != self._server_url:
            raise Unauthenticated
        tenant_id, token_id = _uuid(claims["sub"]), _uuid(claims["token_id"])
        if tenant_id is None or token_id is None:
            raise Unauthenticated
        return _Known(Caller(tenant_id, token_id), expires_at)

    def _decoded(self, token: str) -> dict[str, Any]:
        """The claims after signature, audience and issuer were checked, with the one algorithm that we sign with."""
        if len(token) > MAX_TOKEN_LENGTH:
            raise Unauthenticated
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = self._keys.public_key(kid) if isinstance(kid, str) else None
            if key is None:
                self._report_unknown_kid(token, kid)
                raise Unauthenticated
            options: Any = {"require": _CLAIMS, **_NO_CLOCK}
            return jwt.decode(token, key, [ALGORITHM], options, audience=self._server_url, issuer=self._server_url)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise Unauthenticated from error

    def _report_unknown_kid(self, token: str, kid: object) -> None:
        """Tell the operator once a key that several instances with keys of their own refuse each other's tokens."""
        if not isinstance(kid, str) or kid in self._reported_kids or len(self._reported_kids) >= _MOST_REPORTED_KIDS:
            return
        unverified = jwt.decode(token, options={"verify_signature": False})
        if unverified.get("iss") == self._server_url:
            self._reported_kids.add(kid)
            log.warning(
                "refused a token that names this server but was signed by a key that this instance does not hold; "
                "instances on one database need the same SERVER_ENCRYPTION_JWT_PRIVATE_KEYSET",
                kid=kid[:64],
            )

    def _remember(self, token: str, known: _Known) -> _Known:
        self._known[token] = known
        while len(self._known) > self._cache_size:
            self._known.popitem(last=False)
        return known

    async def _shared_check(self, known: _Known) -> bool:
        """Look at the row once for all calls that wait; one that gives up does not end it for the others."""
        check = known.check
        if check is None:
            check = known.check = asyncio.create_task(self._check_row(known), name="token-check")
            check.add_done_callback(lambda done: _forget_check(known, done))
        return await asyncio.shield(check)

    async def _check_row(self, known: _Known) -> bool:
        """Ask the database and keep its answer; whether the token is good."""
        asked_at = self._clock.now()
        try:
            state = await identity.token_state(self._database, known.caller.token_id)
        except Unavailable:
            if known.accepted_at is None or asked_at >= known.accepted_at + AWAY_SECONDS:
                raise
            known.accepted_until = min(asked_at + 1.0, known.expires_at)
            return asked_at < known.expires_at
        good_until = min(known.expires_at, state.expires_at) if state is not None else 0.0
        if state is None or state.revoked or state.tenant_id != known.caller.tenant_id or asked_at >= good_until:
            known.accepted_at, known.accepted_until = None, 0.0
            known.refused_until = asked_at + self._cache_seconds
            return False
        known.accepted_at = asked_at
        known.accepted_until = min(asked_at + self._cache_seconds, good_until)
        return True


def _forget_check(known: _Known, done: asyncio.Task[bool]) -> None:
    known.check = None
    if not done.cancelled():
        done.exception()  # also read when every waiter has gone, or asyncio complains


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _uuid(value: object) -> str | None:
    return parse_uuid(value) if isinstance(value, str) else None
