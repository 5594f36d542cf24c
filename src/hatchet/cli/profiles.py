"""The profiles file: which server and tenant, with which token (behaviour-rest R-36.2).

``profiles.yaml`` holds ``{default: name, profiles: {name: {tenant_id, name, token, api_url, grpc_address, expires_at,
tls_strategy}}}``. The SDK reads the same file when no token is in the environment, so the keys are a contract with it.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from hatchet.cli.home import home, locked, private_directory, write_privately
from hatchet.core.errors import FailedPrecondition, InvalidArgument, NotFound

_EXPORT = re.compile(r"""^\s*(?:export\s+)?(?:HATCHET_CLIENT_TOKEN\s*=\s*)?(["']?)(?P<token>[^\s"']*)\1\s*;?\s*$""")
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")


@dataclass(slots=True, frozen=True)
class Profile:
    """One server, tenant and token under a name."""

    name: str
    tenant_id: str
    token: str = field(repr=False)
    api_url: str
    grpc_address: str
    """``host:port``"""
    expires_at: str | None
    """RFC 3339 in UTC; None for a token without an end."""
    tls_strategy: str
    """``tls`` or ``none``"""

    @property
    def masked_token(self) -> str:
        """Enough of the token to recognise it, too little to use it."""
        return f"{self.token[:6]}…{self.token[-4:]}"


@dataclass(slots=True)
class Profiles:
    """The content of the file, in the order in which profiles were added."""

    default: str | None = None
    by_name: dict[str, Profile] = field(default_factory=dict)

    def get(self, name: str) -> Profile:
        """The profile ``name``. Raises :class:`NotFound` with the names that exist."""
        if name not in self.by_name:
            raise NotFound(f"there is no profile named {name!r}. {self._known()}")
        return self.by_name[name]

    def chosen(self, name: str | None) -> Profile:
        """The named profile, else the default, else the only one (R-36.5). Raises :class:`NotFound`."""
        if name:
            return self.get(name)
        if self.default and self.default in self.by_name:
            return self.by_name[self.default]
        if len(self.by_name) == 1:
            return next(iter(self.by_name.values()))
        raise NotFound(f"say which profile you mean with --name. {self._known()}")

    def put(self, profile: Profile) -> None:
        """Add or replace a profile. Raises :class:`InvalidArgument` for a name that cannot be one."""
        check_name(profile.name)
        self.by_name[profile.name] = profile

    def remove(self, name: str) -> None:
        """Drop a profile; when it was the default there is none afterwards (R-36.5). Raises :class:`NotFound`."""
        self.get(name)
        del self.by_name[name]
        if self.default == name:
            self.default = None

    def _known(self) -> str:
        if not self.by_name:
            return "No profile exists yet: `hatchet server start` makes one, and so does `hatchet profile add`."
        return f"Profiles: {', '.join(self.by_name)}."


def check_name(name: str) -> None:
    """Raises :class:`InvalidArgument` when ``name`` cannot be one of a profile."""
    if not _NAME.match(name):
        raise InvalidArgument(
            f"{name!r} cannot be the name of a profile: use 1 to 63 letters, digits, dots, dashes and underscores, "
            "beginning with a letter or digit."
        )


def path() -> Path:
    """Where the profiles file is (or will be)."""
    return home() / "profiles.yaml"


def load() -> Profiles:
    """What the file says; empty when there is none. Raises :class:`FailedPrecondition` when it cannot be read."""
    try:
        content = yaml.safe_load(path().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Profiles()
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FailedPrecondition(f"cannot read the profiles in {path()}: {error}") from error
    return _parsed(content)


@contextmanager
def changing() -> Iterator[Profiles]:
    """The profiles to change; written back at the end, unless an error passes. Two commands at once do not lose one."""
    private_directory(home())
    with locked(home() / "profiles.lock"):
        profiles = load()
        yield profiles
        body = {
            "default": profiles.default,
            "profiles": {name: asdict(profile) for name, profile in profiles.by_name.items()},
        }
        write_privately(path(), yaml.safe_dump(body, sort_keys=False, allow_unicode=True))


def unwrapped(pasted: str) -> str:
    """The token in a pasted text, which may be ``export HATCHET_CLIENT_TOKEN="..."`` (R-36.3)."""
    match = _EXPORT.match(pasted)
    return match["token"] if match else pasted.strip()


def from_token(token: str, *, name: str, tls_strategy: str) -> Profile:
    """A profile of what the token says about itself. Raises :class:`InvalidArgument` when it is no API token.

    The signature is not checked: only the server can (behaviour-core C-1.2).
    """
    claims = _claims(token)
    texts = {key: claims.get(key) for key in ("sub", "server_url", "grpc_broadcast_address")}
    missing = [key for key, value in texts.items() if not isinstance(value, str) or not value]
    if missing:
        raise InvalidArgument(f"the token lacks {', '.join(missing)}: it is not an API token of a Hatchet server.")
    expires = claims.get("exp")
    return Profile(
        name=name,
        tenant_id=str(texts["sub"]),
        token=token,
        api_url=str(texts["server_url"]),
        grpc_address=str(texts["grpc_broadcast_address"]),
        expires_at=datetime.fromtimestamp(expires, UTC).isoformat() if isinstance(expires, int | float) else None,
        tls_strategy=tls_strategy,
    )


def _claims(token: str) -> dict[str, Any]:
    parts = token.split(".")
    if not token.startswith("ey") or len(parts) != 3:
        raise InvalidArgument(
            "this is not an API token: one begins with `ey` and has three parts joined by dots. "
            "Paste it whole; `export HATCHET_CLIENT_TOKEN=...` around it is fine."
        )
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument("the middle part of the token cannot be read; was it pasted whole?") from error
    if not isinstance(claims, dict):
        raise InvalidArgument("the middle part of the token is not an object of claims; was it pasted whole?")
    return claims


def _parsed(content: Any) -> Profiles:
    if content is None:
        return Profiles()
    try:
        found = {str(name): _stored(values) for name, values in (content.get("profiles") or {}).items()}
        default = content.get("default")
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise FailedPrecondition(
            f"the profiles in {path()} do not have the form they should have; move the file away and add them again."
        ) from error
    return Profiles(default=default if default in found else None, by_name=found)


def _stored(values: dict[str, Any]) -> Profile:
    texts = {key: values[key] for key in ("name", "tenant_id", "token", "api_url", "grpc_address", "tls_strategy")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("every value of a profile is a text")
    return Profile(**texts, expires_at=values.get("expires_at"))
