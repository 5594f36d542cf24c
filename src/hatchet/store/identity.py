"""Rows of tenants, API tokens and the first user."""

from __future__ import annotations

from dataclasses import dataclass

from hatchet.store.pool import Queries


@dataclass(slots=True, frozen=True)
class Tenant:
    """A tenant as it is stored; ``created_at`` in seconds since 1970."""

    id: str
    name: str
    slug: str
    created_at: float


@dataclass(slots=True, frozen=True)
class TokenState:
    """What the database says about an issued token; ``expires_at`` in seconds since 1970."""

    tenant_id: str
    expires_at: float
    revoked: bool


@dataclass(slots=True, frozen=True)
class TokenRecord:
    """An issued token as its tenant sees it; times in seconds since 1970."""

    id: str
    name: str
    created_at: float
    expires_at: float


@dataclass(slots=True, frozen=True)
class SeedState:
    """How much of the seed is there already. ``slug_owner`` is the tenant that holds the slug."""

    tenant_exists: bool
    slug_owner: str | None
    user_exists: bool


async def insert_token(
    database: Queries, *, token_id: str, tenant_id: str, name: str, created_at: float, expires_at: float
) -> bool:
    """Record a token; False when the tenant does not exist."""
    return await database.execute("identity_insert_token", token_id, tenant_id, name, created_at, expires_at) == 1


async def token_state(database: Queries, token_id: str) -> TokenState | None:
    """The row of a token, None when it was never issued (or its tenant is gone)."""
    rows = await database.fetch("identity_token_state", token_id)
    return TokenState(str(rows[0]["tenant_id"]), rows[0]["expires_at"], rows[0]["revoked"]) if rows else None


async def tokens(database: Queries, tenant_id: str) -> list[TokenRecord]:
    """The tokens of a tenant that were not revoked, the newest first."""
    rows = await database.fetch("identity_tokens", tenant_id)
    return [TokenRecord(str(row["id"]), row["name"], row["created_at"], row["expires_at"]) for row in rows]


async def revoke_token(database: Queries, *, tenant_id: str, token_id: str, at: float) -> bool:
    """Revoke for good; False when the tenant has no such token. Repeating keeps the first time."""
    return await database.execute("identity_revoke_token", tenant_id, token_id, at) == 1


async def tenant(database: Queries, tenant_id: str) -> Tenant | None:
    """The tenant, None when the id is unknown."""
    rows = await database.fetch("identity_tenant", tenant_id)
    if not rows:
        return None
    row = rows[0]
    return Tenant(str(row["id"]), row["name"], row["slug"], row["created_at"])


async def seed_state(database: Queries, *, tenant_id: str, slug: str, email: str) -> SeedState:
    """Which of tenant, slug and user exist."""
    row = (await database.fetch("identity_is_seeded", tenant_id, slug, email))[0]
    owner = row["slug_owner"]
    return SeedState(row["tenant_exists"], None if owner is None else str(owner), row["user_exists"])


async def insert_tenant(database: Queries, wanted: Tenant) -> bool:
    """Create a tenant; False when the id or the slug exists already."""
    arguments = (wanted.id, wanted.name, wanted.slug, wanted.created_at)
    return await database.execute("identity_insert_tenant", *arguments) == 1


async def insert_user(database: Queries, *, user_id: str, email: str, name: str, password_hash: str, at: float) -> bool:
    """Create a user with a verified e-mail address; False when the address exists already."""
    return await database.execute("identity_insert_user", user_id, email, name, password_hash, at) == 1


async def insert_owner(database: Queries, *, tenant_id: str, email: str, at: float) -> None:
    """Make the user an OWNER of the tenant unless they are a member already, whatever their role."""
    await database.execute("identity_insert_owner", tenant_id, email, at)
