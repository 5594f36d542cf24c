"""Sessions of people who signed in (behaviour-rest R-2.6).

The cookie holds a random id and its signature; everything else is in the database, which is asked for every request,
so that a session ends at once on every instance. The row holds a digest of the id: who reads it cannot take a session
over.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hatchet.core.clock import Clock
from hatchet.engine.keys import KeySet, PrivateKey
from hatchet.store import people as store
from hatchet.store.people import Rights, User
from hatchet.store.pool import Database

LIFETIME_SECONDS = 30 * 86400.0
LONGEST_COOKIE = 256

_PURPOSE = b"hatchet session cookie"


@dataclass(slots=True, frozen=True)
class Session:
    """A session that is open, who has it, and what they may do in the tenant that was asked about."""

    id: bytes
    user: User
    rights: Rights | None


class Sessions:
    """Opens, finds and ends sessions. ``signing_keys``: the first signs, all verify."""

    def __init__(
        self,
        database: Database,
        signing_keys: Sequence[bytes],
        clock: Clock,
        lifetime_seconds: float = LIFETIME_SECONDS,
    ) -> None:
        self._database = database
        self._keys = tuple(signing_keys)
        self._clock = clock
        self.lifetime_seconds = lifetime_seconds

    async def open(self, user_id: str) -> str:
        """Open a session; what its cookie holds. Removes some sessions that are over."""
        now = self._clock.now()
        await store.forget_sessions(self._database, now)
        name = secrets.token_urlsafe(32)
        await store.open_session(self._database, _row_id(name), user_id, at=now, expires_at=now + self.lifetime_seconds)
        return f"{name}.{_signature(self._keys[0], name)}"

    async def find(self, cookie: str, tenant_id: str | None) -> Session | None:
        """The open session of a cookie, with the rights in the tenant; None for any cookie that is not good."""
        name, _, signature = cookie.rpartition(".")
        if len(cookie) > LONGEST_COOKIE or not cookie.isascii() or not self._signed(name, signature):
            return None
        session_id = _row_id(name)
        found = await store.read_session(self._database, session_id, at=self._clock.now(), tenant_id=tenant_id)
        return None if found is None else Session(session_id, *found)

    async def close(self, session: Session) -> None:
        """End the session, at once and everywhere."""
        await store.close_session(self._database, session.id)

    async def close_others(self, session: Session) -> None:
        """End every other session of the same person."""
        await store.close_other_sessions(self._database, session.user.id, session.id)

    def _signed(self, name: str, signature: str) -> bool:
        return any(hmac.compare_digest(_signature(key, name), signature) for key in self._keys)


def signing_keys(configured: Sequence[str], keys: KeySet) -> tuple[bytes, ...]:
    """The keys that sign cookies: those configured, else keys derived from the private ones of the key set.

    Instances that share the key set, as they must for tokens, so share sessions without any further setting.
    """
    if configured:
        return tuple(secret.encode() for secret in configured)
    others = [key.private for kid, key in keys.keys.items() if kid != keys.primary and key.private is not None]
    return tuple(_derived(key) for key in (keys.signing_key, *others))


def _derived(key: PrivateKey) -> bytes:
    material = key.private_numbers().private_value.to_bytes(32)
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(material)


def _signature(key: bytes, name: str) -> str:
    digest = hmac.digest(key, _PURPOSE + b"\0" + name.encode(), "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _row_id(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
