"""Passwords are kept as argon2id hashes, made and checked off the event loop (behaviour-rest R-5.6).

Invariant: a check takes the same time whether the person exists, has a password or does not.
"""

from __future__ import annotations

import asyncio
import base64
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

AT_ONCE = 2
"""A hash takes 64 MiB and some 50 ms of a core: more at once would let sign-ins starve the engine."""


class Passwords:
    """Hashes and checks; ``hasher`` decides what a hash costs."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._nobody = _never_matching(self._hasher)
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def hash(self, password: str) -> str:
        """What to keep of a password."""
        async with self._turn:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def matches(self, password: str, password_hash: str | None) -> bool:
        """Whether the password is the one of the hash; False, after the same time, when there is none."""
        async with self._turn:
            return await asyncio.to_thread(self._check, password, password_hash or self._nobody)

    def _check(self, password: str, password_hash: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False


def _never_matching(hasher: PasswordHasher) -> str:
    """A hash of nobody's password that costs as much to check as real ones."""
    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    salt, digest = (_text(secrets.token_bytes(length)) for length in (hasher.salt_len, hasher.hash_len))
    return f"$argon2id$v=19${cost}${salt}${digest}"


def _text(part: bytes) -> str:
    return base64.b64encode(part).rstrip(b"=").decode()
