"""Registration of workflows and look-up of their versions (behaviour-core C-3.29 to C-3.38).

Invariants: concurrent equal registrations agree on one version; a definition is compared with the newest version only,
so going back to an older one makes a new version; what this instance registered is what its look-ups return afterwards.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hatchet.core.clock import Clock, Ids
from hatchet.core.definitions import StoredVersion, WorkflowDefinition, checksum, shared_rules
from hatchet.core.rules import ConcurrencyRule
from hatchet.core.validation import is_name, validate
from hatchet.store.definitions import add_version, latest_versions, versions_by_id
from hatchet.store.pool import Database
from hatchet.store.tenant_rules import put_tenant_rules, tenant_rules

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

LATEST_SECONDS = 5.0
"""How old a cached name-to-version answer may be (C-17.20)."""


@dataclass(slots=True, frozen=True)
class _Latest:
    version: StoredVersion
    expires_at: float


@dataclass(slots=True, frozen=True)
class _Shared:
    rules: Mapping[str, ConcurrencyRule]
    expires_at: float


class Registration:
    """Registers definitions and answers which version a name or a version id means."""

    def __init__(self, *, database: Database, clock: Clock, ids: Ids, cache_size: int = 10_000) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._cache_size = cache_size
        self._latest: OrderedDict[tuple[str, str], _Latest] = OrderedDict()
        self._versions: OrderedDict[str, StoredVersion] = OrderedDict()
        self._shared: OrderedDict[str, _Shared] = OrderedDict()
        self._shared_writes = 0

    async def put(self, tenant_id: str, definition: WorkflowDefinition) -> StoredVersion:
        """Register ``definition``: its version, a new one only if the newest differs (C-3.30).

        Raises :class:`~hatchet.core.errors.InvalidArgument` with every mistake of the definition (C-3.26).
        """
        validate(definition)
        now = self._clock.now()
        # First: whoever sees the new version must find its rules.
        await self._share(tenant_id, shared_rules(definition), now)
        newest = (await latest_versions(self._database, tenant_id, [definition.name])).get(definition.name)
        # Most calls are restarts of workers that register what is there already: they take no lock and write nothing.
        if newest is not None and newest.checksum == checksum(definition):
            version = newest.version
        else:
            version = await add_version(self._database, self._ids, tenant_id, definition, now=now)
        self._remember_latest(version, now)
        return version

    async def _share(self, tenant_id: str, declared: Mapping[str, ConcurrencyRule], now: float) -> None:
        """The latest registration decides about shared rules, also when its version is known (C-3.38)."""
        if not declared:
            return
        stored = await tenant_rules(self._database, tenant_id)
        changed = [rule for name, rule in declared.items() if stored.get(name) != rule]
        if not changed:
            return
        try:
            await put_tenant_rules(self._database, tenant_id, changed, now=now)
        finally:
            # Also after a failure: the answer may have been lost on the way.
            self._shared_writes += 1
            self._shared.pop(tenant_id, None)

    async def latest(self, tenant_id: str, names: Sequence[str]) -> dict[str, StoredVersion]:
        """The newest version by name; unknown names are absent. An answer may be 5 seconds old, "unknown" never is."""
        now = self._clock.now()
        found: dict[str, StoredVersion] = {}
        missing: set[str] = set()
        for name in names:
            cached = self._latest.get((tenant_id, name))
            if cached is not None and now < cached.expires_at:
                found[name] = cached.version
            elif is_name(name):
                missing.add(name)
        if missing:
            fresh = await latest_versions(self._database, tenant_id, missing)
            found |= {name: self._remember_latest(registered.version, now) for name, registered in fresh.items()}
        return found

    def forget(self, tenant_id: str, name: str) -> None:
        """The workflow of that name was deleted: what is remembered of the name is no longer true."""
        self._latest.pop((tenant_id, name), None)

    async def tenant_rules(self, tenant_id: str) -> Mapping[str, ConcurrencyRule]:
        """The concurrency rules that the tenant's workflows share, by name (C-3.38); may be 5 seconds old."""
        now = self._clock.now()
        known = self._shared.get(tenant_id)
        if known is None or now >= known.expires_at:
            writes = self._shared_writes
            known = _Shared(await tenant_rules(self._database, tenant_id), now + LATEST_SECONDS)
            # An answer from before a write of this instance must not outlive it.
            if writes == self._shared_writes:
                self._shared[tenant_id] = known
                _bound(self._shared, tenant_id, self._cache_size)
        return known.rules

    async def versions(self, ids: Collection[str]) -> dict[str, StoredVersion]:
        """Versions by id, as lower-case UUID texts; unknown ids are absent."""
        cache = self._versions
        found = {version_id: cache[version_id] for version_id in ids if version_id in cache}
        missing = {version_id for version_id in ids if version_id not in found}
        if missing:
            fresh = await versions_by_id(self._database, missing)
            for version in fresh.values():
                self._remember(version)
            found |= fresh
        return found

    def _remember_latest(self, version: StoredVersion, asked_at: float) -> StoredVersion:
        """Cache the answer, unless a newer one came in while the question was under way; the newer of the two."""
        key = (version.tenant_id, version.name)
        known = self._latest.get(key)
        if (
            known is not None
            and known.version.workflow_id == version.workflow_id
            and known.version.order > version.order
        ):
            return known.version
        self._latest[key] = _Latest(version, asked_at + LATEST_SECONDS)
        _bound(self._latest, key, self._cache_size)
        self._remember(version)
        return version

    def _remember(self, version: StoredVersion) -> None:
        self._versions[version.id] = version
        _bound(self._versions, version.id, self._cache_size)


def _bound(cache: OrderedDict[_Key, _Value], used: _Key, size: int) -> None:
    cache.move_to_end(used)
    while len(cache) > size:
        cache.popitem(last=False)
