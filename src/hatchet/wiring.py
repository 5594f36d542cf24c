"""What the settings say, in the shapes that the parts of the server take: shared by the server and the programs."""

from __future__ import annotations

from pathlib import Path

from hatchet.engine.keyfile import KeySource
from hatchet.engine.people import SignInRules
from hatchet.engine.seed import SeedValues
from hatchet.settings import Settings


def key_source(settings: Settings, data_dir: Path) -> KeySource:
    """Where the server of ``data_dir`` gets its keys."""
    return KeySource(
        directory=data_dir / "keys",
        private_text=settings.jwt_private_keyset,
        private_file=settings.jwt_private_keyset_file,
        public_text=settings.jwt_public_keyset,
        public_file=settings.jwt_public_keyset_file,
    )


def sign_in_rules(settings: Settings) -> SignInRules:
    """What the settings allow people (behaviour-rest R-28.2, R-28.3)."""
    return SignInRules(
        passwords=settings.auth_basic,
        signups=settings.allow_signup,
        password_changes=settings.allow_change_password,
        emails_count_as_verified=settings.auth_set_email_verified,
        email_domains=settings.auth_email_domains,
    )


def seed_values(settings: Settings) -> SeedValues:
    """What the settings say about the first tenant and user (behaviour-rest R-8.8)."""
    return SeedValues(
        tenant_id=settings.default_tenant_id,
        tenant_name=settings.default_tenant_name,
        tenant_slug=settings.default_tenant_slug,
        admin_email=settings.admin_email,
        admin_name=settings.admin_name,
        admin_password=settings.admin_password,
    )
