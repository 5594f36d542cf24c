"""Event filters that people and clients make (behaviour-core C-12.16, C-12.25, C-12.28; behaviour-rest R-18).

What a call changed counts for every event that is pushed after the call has returned, at every instance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hatchet.core.clock import Clock, Ids
from hatchet.core.errors import InvalidArgument, NotFound
from hatchet.core.expressions import Use, check
from hatchet.core.json_texts import check_json_object
from hatchet.core.rules import DefaultFilter
from hatchet.store import filters as store
from hatchet.store.filters import FilterRecord
from hatchet.store.pool import Database

DUPLICATE = "the workflow already has a filter with this scope, expression and payload: change one of them"
UNKNOWN = "filter not found: {}"


@dataclass(slots=True, frozen=True)
class Filters:
    """Lists, makes, changes and deletes filters, inside a tenant."""

    database: Database
    clock: Clock
    ids: Ids

    async def list(
        self,
        tenant_id: str,
        *,
        workflow_ids: Sequence[str] | None,
        scopes: Sequence[str] | None,
        offset: int,
        limit: int,
    ) -> tuple[Sequence[FilterRecord], int]:
        """One page of the filters, the oldest first, and how many there are on all pages (R-18.4)."""
        storable = [scope for scope in scopes or () if "\x00" not in scope]
        if scopes and not storable:
            # No filter has such a scope, and PostgreSQL cannot be asked for it.
            return [], 0
        return await store.list_filters(
            self.database, tenant_id, workflow_ids=workflow_ids, scopes=storable, offset=offset, limit=limit
        )

    async def get(self, tenant_id: str, filter_id: str) -> FilterRecord:
        """One filter. Raises NotFound."""
        found = await store.get_filter(self.database, tenant_id, filter_id)
        if found is None:
            raise NotFound(UNKNOWN.format(filter_id))
        return found

    async def add(self, tenant_id: str, workflow_id: str, wanted: DefaultFilter) -> FilterRecord:
        """Make a filter (R-18.2). Raises InvalidArgument for a bad or a known one, NotFound for an unknown workflow."""
        _check(wanted)
        filter_id = self.ids.new()
        async with self.database.transaction() as transaction:
            if not await store.hold_workflow(transaction, tenant_id, workflow_id):
                raise NotFound(f"workflow not found: {workflow_id}")
            await store.bump(transaction, tenant_id)
            named = [(filter_id, wanted)]
            now = self.clock.now()
            if not await store.add_filters(transaction, tenant_id, workflow_id, named, is_declarative=False, now=now):
                raise InvalidArgument(DUPLICATE)
        return await self.get(tenant_id, filter_id)

    async def change(
        self, tenant_id: str, filter_id: str, *, scope: str | None, expression: str | None, payload: str | None
    ) -> FilterRecord:
        """Change what is not None (R-18.4). Raises as :meth:`add` and :meth:`get`."""
        async with self.database.transaction() as transaction:
            # First of all: who changes the same filter meanwhile must have ended, so that none of it gets lost.
            await store.bump(transaction, tenant_id)
            known = await store.get_filter(transaction, tenant_id, filter_id)
            if known is None:
                raise NotFound(UNKNOWN.format(filter_id))
            wanted = DefaultFilter(
                scope=known.scope if scope is None else scope,
                expression=known.expression if expression is None else expression,
                payload=known.payload if payload is None else payload,
            )
            _check(wanted)
            if not await store.change_filter(transaction, tenant_id, filter_id, wanted, self.clock.now()):
                raise InvalidArgument(DUPLICATE)
        return await self.get(tenant_id, filter_id)

    async def remove(self, tenant_id: str, filter_id: str) -> FilterRecord:
        """Delete a filter; what it was (R-18.4). Raises NotFound."""
        async with self.database.transaction() as transaction:
            await store.bump(transaction, tenant_id)
            known = await store.get_filter(transaction, tenant_id, filter_id)
            if known is None:
                raise NotFound(UNKNOWN.format(filter_id))
            await store.remove_filter(transaction, tenant_id, filter_id)
        return known


def _check(wanted: DefaultFilter) -> None:
    """Raises InvalidArgument that names the field (R-18.3)."""
    if not wanted.scope:
        raise InvalidArgument("scope is required: the filter looks at events with exactly this scope")
    if "\x00" in wanted.scope:
        raise InvalidArgument("scope contains the null character, remove it")
    if any("\ud800" <= character <= "\udfff" for character in wanted.scope):
        raise InvalidArgument("scope contains half a surrogate pair, remove it")
    if not wanted.expression:
        raise InvalidArgument("expression is required: the filter starts a run when it is true")
    reason = check(wanted.expression, Use.EVENT_FILTER)
    if reason is not None:
        raise InvalidArgument(f"expression {reason}")
    check_json_object(wanted.payload, "payload")
