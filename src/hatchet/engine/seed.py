"""The tenant and the user that exist after the first start (behaviour-rest R-8.8)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from argon2 import PasswordHasher

from hatchet.core.clock import Clock, Ids
from hatchet.core.errors import FailedPrecondition, InvalidArgument
from hatchet.core.ids import parse_uuid
from hatchet.store import identity
from hatchet.store.pool import Database

DEFAULT_TENANT_ID = "707d0855-80ab-4e1f-a156-f1c4546cbf52"


@dataclass(slots=True, frozen=True, kw_only=True)
class SeedValues:
    """What to create; the defaults are those of R-8.8."""

    tenant_id: str = DEFAULT_TENANT_ID
    tenant_name: str = "Default"
    tenant_slug: str = "default"
    admin_email: str = "admin@example.com"
    admin_name: str = "Admin"
    admin_password: str = "Admin123!!"

    def __repr__(self) -> str:
        return f"SeedValues(tenant_id={self.tenant_id!r}, tenant_slug={self.tenant_slug!r})"


async def seed(database: Database, values: SeedValues, *, clock: Clock, ids: Ids) -> None:
    """Create what is missing of tenant, user and ownership; change nothing that exists.

    Several instances may do it at once. The user becomes OWNER only together with the creation of the tenant or of the
    user, so that a membership which somebody took away stays away. Raises InvalidArgument for a tenant id that is no
    UUID and FailedPrecondition when another tenant holds the slug.
    """
    tenant_id = parse_uuid(values.tenant_id)
    if tenant_id is None:
        raise InvalidArgument(f'DEFAULT_TENANT_ID must be a UUID, not "{values.tenant_id}".')
    email = values.admin_email.strip().lower()
    state = await identity.seed_state(database, tenant_id=tenant_id, slug=values.tenant_slug, email=email)
    if state.tenant_exists and state.user_exists:
        return
    if not state.tenant_exists and state.slug_owner is not None:
        raise _slug_taken(values.tenant_slug, state.slug_owner)
    # Hashing takes some 50 ms of one core, so it happens only for a user that does not exist, and off the loop.
    password_hash = "" if state.user_exists else await asyncio.to_thread(PasswordHasher().hash, values.admin_password)
    wanted = identity.Tenant(tenant_id, values.tenant_name, values.tenant_slug, clock.now())
    await _create(database, wanted, email, values.admin_name, password_hash, ids)


async def _create(
    database: Database, wanted: identity.Tenant, email: str, name: str, password_hash: str, ids: Ids
) -> None:
    at = wanted.created_at
    async with database.transaction() as transaction:
        created = await identity.insert_tenant(transaction, wanted)
        if not created and await identity.tenant(transaction, wanted.id) is None:
            raise _slug_taken(wanted.slug, None)
        if password_hash:
            created |= await identity.insert_user(
                transaction, user_id=ids.new(), email=email, name=name, password_hash=password_hash, at=at
            )
        if created:
            await identity.insert_owner(transaction, tenant_id=wanted.id, email=email, at=at)


def _slug_taken(slug: str, owner: str | None) -> FailedPrecondition:
    who = "another tenant" if owner is None else f"the tenant {owner}"
    return FailedPrecondition(
        f'cannot create the default tenant: its slug "{slug}" belongs to {who}. Set DEFAULT_TENANT_SLUG to a free text '
        "or DEFAULT_TENANT_ID to the id of the tenant that exists."
    )
