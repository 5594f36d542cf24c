"""Rows of people, their memberships and their sessions."""

from __future__ import annotations

from dataclasses import dataclass, field

from hatchet.core.roles import Role
from hatchet.store.identity import Tenant
from hatchet.store.pool import Queries, Row


@dataclass(slots=True, frozen=True, kw_only=True)
class User:
    """A person; ``created_at`` in seconds since 1970."""

    id: str
    email: str
    name: str
    password_hash: str | None = field(repr=False)
    """None for somebody who never chose a password."""
    email_verified: bool
    created_at: float


@dataclass(slots=True, frozen=True)
class Rights:
    """What a person may do in a tenant."""

    tenant_id: str
    role: Role
    sees_payloads: bool


@dataclass(slots=True, frozen=True, kw_only=True)
class Membership:
    """A person's place in a tenant."""

    id: str
    role: Role
    can_view_payloads: bool
    created_at: float
    tenant: Tenant


async def user_by_email(database: Queries, email: str) -> User | None:
    """The person with this normal address, None when there is none."""
    rows = await database.fetch("user_by_email", email)
    return _user(rows[0]) if rows else None


async def add_user(database: Queries, user: User) -> bool:
    """Create a person; False when the address is taken."""
    return (
        await database.execute(
            "user_add", user.id, user.email, user.name, user.password_hash, user.email_verified, user.created_at
        )
        == 1
    )


async def set_password(database: Queries, user: User, password_hash: str) -> bool:
    """Change the password; False when somebody else changed it since ``user`` was read."""
    return await database.execute("user_set_password", user.id, password_hash, user.password_hash) == 1


async def memberships(database: Queries, user_id: str) -> list[Membership]:
    """The tenants of a person, the oldest membership first."""
    return [
        Membership(
            id=str(row["id"]),
            role=Role(row["role"]),
            can_view_payloads=Role(row["role"]).sees_payloads(row["can_view_payloads"]),
            created_at=row["created_at"],
            tenant=Tenant(str(row["tenant_id"]), row["name"], row["slug"], row["tenant_created_at"]),
        )
        for row in await database.fetch("member_list", user_id)
    ]


async def rights_around(database: Queries, user_id: str, resource_id: str) -> Rights | None:
    """The rights of a person in the tenant of a task or a run; None when no tenant of theirs has it."""
    rows = await database.fetch("member_around", user_id, resource_id)
    return _rights(rows[0]) if rows else None


async def open_session(database: Queries, session_id: bytes, user_id: str, *, at: float, expires_at: float) -> None:
    """Record a session."""
    await database.execute("session_open", session_id, user_id, at, expires_at)


async def read_session(
    database: Queries, session_id: bytes, *, at: float, tenant_id: str | None
) -> tuple[User, Rights | None] | None:
    """Who has the session and what they may do in the tenant; None when there is no such session (any more)."""
    rows = await database.fetch("session_read", session_id, at, tenant_id)
    if not rows:
        return None
    return _user(rows[0]), None if rows[0]["role"] is None else _rights(rows[0])


async def close_session(database: Queries, session_id: bytes) -> None:
    """End a session."""
    await database.execute("session_close", session_id)


async def close_other_sessions(database: Queries, user_id: str, kept: bytes) -> None:
    """End every other session of a person."""
    await database.execute("session_close_others", user_id, kept)


async def forget_sessions(database: Queries, at: float) -> None:
    """Remove sessions that are over."""
    await database.execute("session_forget", at)


def _user(row: Row) -> User:
    return User(
        id=str(row["id"]),
        email=row["email"],
        name=row["name"],
        password_hash=row["password_hash"],
        email_verified=row["email_verified"],
        created_at=row["created_at"],
    )


def _rights(row: Row) -> Rights:
    role = Role(row["role"])
    return Rights(str(row["tenant_id"]), role, role.sees_payloads(row["can_view_payloads"]))
