"""Which tenants exist: read often, changed hardly ever, therefore remembered for a moment."""

from __future__ import annotations

from collections import OrderedDict

from hatchet.core.clock import Clock
from hatchet.store import identity
from hatchet.store.identity import Tenant
from hatchet.store.pool import Database

CACHE_SECONDS = 5.0


class Tenants:
    """Looks tenants up by id; what was found may be ``CACHE_SECONDS`` old, "unknown" is always fresh."""

    def __init__(self, *, database: Database, clock: Clock, cache_size: int = 1000) -> None:
        self._database = database
        self._clock = clock
        self._cache_size = cache_size
        self._found: OrderedDict[str, tuple[Tenant, float]] = OrderedDict()

    async def get(self, tenant_id: str) -> Tenant | None:
        """The tenant with this UUID, None when there is none."""
        now = self._clock.now()
        found = self._found.get(tenant_id)
        if found is not None and now < found[1]:
            return found[0]
        tenant = await identity.tenant(self._database, tenant_id)
        self._found.pop(tenant_id, None)
        if tenant is not None:
            self._found[tenant_id] = (tenant, now + CACHE_SECONDS)
            if len(self._found) > self._cache_size:
                self._found.popitem(last=False)
        return tenant
