"""Rate limits as people and clients set, pause, list and delete them (behaviour-core C-10.1 to C-10.5, R-17).

The row is the definition. The owner of the tenant hears of a change at once and reads the row; it also reads all rows
again and again behind that, because what it was told may get lost.
"""

from __future__ import annotations

from collections.abc import Sequence

from hatchet.core.clock import Clock
from hatchet.core.errors import InvalidArgument
from hatchet.core.limits import short_key
from hatchet.core.rules import Window
from hatchet.engine.bus import Bus
from hatchet.engine.component import Background
from hatchet.engine.memory import Owners
from hatchet.store.pool import Database
from hatchet.store.rate_limits import LimitRecord, delete_limit, list_limits, pause_limit, put_limit

LARGEST = 2**63 - 1


class RateLimiting:
    """The rate limits of tenants, for the front doors."""

    def __init__(self, database: Database, owners: Owners, bus: Bus, clock: Clock) -> None:
        self._database = database
        self._owners = owners
        self._bus = bus
        self._clock = clock
        self._background = Background("rate limits changed at another instance")
        bus.on("limits", self._heard)

    async def put(self, tenant_id: str, key: str, limit: int, window: Window) -> None:
        """Set a limit for the whole tenant (C-10.1).

        Raises InvalidArgument when the key is empty or cannot be stored, or when the limit is negative or too large.
        """
        key = _checked(key)
        if not 0 <= limit <= LARGEST:
            raise InvalidArgument(f"limit must be from 0 to {LARGEST}, not {limit}")
        await put_limit(self._database, tenant_id, key, limit, window, self._clock.now())
        await self._changed(tenant_id, [key])

    async def pause(self, tenant_id: str, key: str, until: float) -> float:
        """Let the key yield nothing until then; the effective time, in seconds since 1970 (C-10.4).

        Raises InvalidArgument when the key is empty or cannot be stored.
        """
        key = _checked(key)
        effective = await pause_limit(self._database, tenant_id, key, until, self._clock.now())
        await self._changed(tenant_id, [key])
        return effective

    async def delete(self, tenant_id: str, key: str) -> None:
        """Delete a limit with its pause; an unknown key is none already (R-17.2)."""
        if not key or "\0" in key:
            return
        deleted = await delete_limit(self._database, tenant_id, key)
        if deleted:
            await self._changed(tenant_id, deleted)

    async def _changed(self, tenant_id: str, keys: list[str]) -> None:
        owner = self._owners.get(tenant_id)
        if owner is None:
            self._bus.publish("limits", tenant=tenant_id, keys=keys)
        else:
            await owner.limits_changed(keys)

    def _heard(self, message: dict[str, object]) -> None:
        owner = self._owners.get(str(message["tenant"]))
        keys = message["keys"]
        if owner is not None and isinstance(keys, list):
            self._background.spawn(owner.limits_changed([str(key) for key in keys]))

    async def list(
        self, tenant_id: str, *, search: str | None, order_by: str, is_descending: bool, offset: int, limit: int
    ) -> tuple[Sequence[LimitRecord], int]:
        """One page of the limits, and how many there are on all pages (R-17.1)."""
        return await list_limits(
            self._database,
            tenant_id,
            search=search,
            order_by=order_by,
            is_descending=is_descending,
            now=self._clock.now(),
            offset=offset,
            limit=limit,
        )


def _checked(key: str) -> str:
    if not key:
        raise InvalidArgument("key is required")
    if "\0" in key:
        raise InvalidArgument(f"key {key[:60]!r} contains the null character, remove it")
    return short_key(key)
