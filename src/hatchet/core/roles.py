"""What a member of a tenant may do (behaviour-rest R-3)."""

from __future__ import annotations

from enum import Enum


class Role(Enum):
    """Each role includes the rights of those after it (R-3.1)."""

    OWNER = "OWNER"
    ADMIN = "ADMIN"
    MEMBER = "MEMBER"
    VIEWER = "VIEWER"

    def includes(self, other: Role) -> bool:
        """Whether who has this role may do what ``other`` may."""
        return _ORDER.index(self) <= _ORDER.index(other)

    def sees_payloads(self, allowed: bool) -> bool:
        """Whether inputs, outputs and event payloads are shown; ``allowed`` counts below ADMIN only (R-3.6)."""
        return allowed or self.includes(Role.ADMIN)


_ORDER = tuple(Role)
