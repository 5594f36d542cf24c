"""People: registering, signing in and out, passwords and memberships (behaviour-rest R-5).

Refusals say as little as possible: whether an address is registered can be learned neither from a text nor from the
time that an answer takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hatchet.core.clock import Clock, Ids
from hatchet.core.errors import InvalidArgument, InvalidFields, SwitchedOff
from hatchet.core.people import email_domain, email_fault, is_storable, name_fault, normal_email, password_fault
from hatchet.engine.passwords import Passwords
from hatchet.engine.sessions import Session, Sessions
from hatchet.store import people as store
from hatchet.store.people import Membership, Rights, User
from hatchet.store.pool import Database

INVALID_CREDENTIALS = "invalid credentials"
REGISTRATION_FAILED = "registration failed"
SIGNUPS_DISABLED = "user signups are disabled"
PASSWORDS_DISABLED = "signing in with a password is switched off on this server (SERVER_AUTH_BASIC_AUTH_ENABLED)."
CHANGES_DISABLED = "changing passwords is switched off on this server (SERVER_ALLOW_CHANGE_PASSWORD)."


@dataclass(slots=True, frozen=True, kw_only=True)
class SignInRules:
    """What the operator allows (R-28.2, R-28.3)."""

    passwords: bool = True
    """Registering and signing in with a password."""
    signups: bool = True
    password_changes: bool = True
    emails_count_as_verified: bool = False
    email_domains: tuple[str, ...] = ()
    """Domains whose addresses may register; none: all."""


class People:
    """The people of this server and their sessions."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        sessions: Sessions,
        rules: SignInRules,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._sessions = sessions
        self._rules = rules
        self._clock = clock
        self._ids = ids

    async def register(self, *, name: str, email: str, password: str) -> tuple[User, str]:
        """Create a person and open a session; what its cookie holds (R-5.2).

        Raises SwitchedOff, InvalidFields for fields that break R-5.3, and InvalidArgument with one text for everything
        that would tell about others (R-5.4).
        """
        self._want_passwords()
        if not self._rules.signups:
            raise InvalidArgument(SIGNUPS_DISABLED)
        email = normal_email(email)
        _check(name=name_fault(name), email=email_fault(email), password=password_fault(password, "password"))
        # Before anything that may be refused, so that every refusal takes as long.
        password_hash = await self._passwords.hash(password)
        user = User(
            id=self._ids.new(),
            email=email,
            name=name.strip(),
            password_hash=password_hash,
            email_verified=self._rules.emails_count_as_verified,
            created_at=self._clock.now(),
        )
        if not self._accepts(email) or not await store.add_user(self._database, user):
            raise InvalidArgument(REGISTRATION_FAILED)
        return user, await self._sessions.open(user.id)

    async def log_in(self, *, email: str, password: str) -> tuple[User, str]:
        """Open a session; what its cookie holds (R-5.5).

        Raises SwitchedOff, and InvalidArgument with one text for whatever is wrong.
        """
        self._want_passwords()
        email = normal_email(email)
        if not is_storable(email + password):
            email = password = ""
        user = await store.user_by_email(self._database, email)
        is_good = await self._passwords.matches(password, None if user is None else user.password_hash)
        if user is None or not is_good:
            raise InvalidArgument(INVALID_CREDENTIALS)
        return user, await self._sessions.open(user.id)

    async def log_out(self, session: Session) -> None:
        """End the session (R-5.7)."""
        await self._sessions.close(session)

    async def change_password(self, session: Session, *, old: str, new: str) -> None:
        """Change the password and end every other session of the person (R-5.9).

        Raises SwitchedOff, InvalidFields for a new password that breaks R-5.3, InvalidArgument for a wrong old one.
        """
        if not self._rules.password_changes:
            raise SwitchedOff(CHANGES_DISABLED)
        self._want_passwords()
        _check(newpassword=password_fault(new, "newPassword"))
        user = session.user
        if not is_storable(old) or not await self._passwords.matches(old, user.password_hash):
            raise InvalidArgument(INVALID_CREDENTIALS)
        if not await store.set_password(self._database, user, await self._passwords.hash(new)):
            raise InvalidArgument(INVALID_CREDENTIALS)
        await self._sessions.close_others(session)

    async def visit(self, cookie: str, tenant_id: str | None = None) -> Session | None:
        """The session of a cookie, with the person's rights in a tenant; None when the cookie is not good."""
        return await self._sessions.find(cookie, tenant_id)

    async def rights_around(self, user: User, resource_id: str) -> Rights | None:
        """The person's rights in the tenant of a task or run; None when no tenant of theirs has it."""
        return await store.rights_around(self._database, user.id, resource_id)

    async def memberships(self, user: User) -> Sequence[Membership]:
        """The tenants that the person belongs to (R-5.10)."""
        return await store.memberships(self._database, user.id)

    def _want_passwords(self) -> None:
        if not self._rules.passwords:
            raise SwitchedOff(PASSWORDS_DISABLED)

    def _accepts(self, email: str) -> bool:
        return not self._rules.email_domains or email_domain(email) in self._rules.email_domains


def _check(**faults: str | None) -> None:
    """Raise InvalidFields when a field has a fault; fields are named in lower case (R-5.3)."""
    found = [(field, fault) for field, fault in faults.items() if fault is not None]
    if found:
        raise InvalidFields(*found)
