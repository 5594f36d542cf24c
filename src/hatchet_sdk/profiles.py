"""The profile file that `hatchet server start` and `hatchet profile` write: where a token is found without any setting.

Format: ``{default: name, profiles: {name: {tenant_id, name, token, api_url, grpc_address, expires_at, tls_strategy}}}``
in ``~/.hatchet/profiles.yaml``; the environment variable ``HATCHET_HOME`` names another directory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hatchet_sdk.exceptions import ConfigurationError

FILE_NAME = "profiles.yaml"
LOCAL = "local"


@dataclass(slots=True, frozen=True)
class Profile:
    """One entry of the file, as far as a client needs it."""

    name: str
    token: str = field(repr=False)
    grpc_address: str | None = None
    api_url: str | None = None
    tls_strategy: str | None = None


def profile_file() -> Path:
    """Where the file is expected, whether or not it exists."""
    home = os.environ.get("HATCHET_HOME")
    return (Path(home) if home else Path.home() / ".hatchet") / FILE_NAME


def find_profile() -> Profile | None:
    """The profile to use.

    That is the one named by ``HATCHET_CLI_PROFILE``, else the default, else ``local``, else the only one.

    Returns None when there is no file or no candidate. Raises ``ConfigurationError`` when the file cannot be read or
    the named profile is not in it.
    """
    asked = os.environ.get("HATCHET_CLI_PROFILE")
    path = profile_file()
    content = _load(path)
    profiles = _mapping(content.get("profiles"), path)
    if asked:
        if asked not in profiles:
            raise ConfigurationError(
                f"HATCHET_CLI_PROFILE names the profile '{asked}', which is not in {path}; "
                f"known: {', '.join(map(str, profiles)) or 'none'}"
            )
        return _profile(asked, profiles[asked], path)
    for name in (content.get("default"), LOCAL):
        if name and name in profiles:
            return _profile(name, profiles[name], path)
    if len(profiles) == 1:
        name, entry = next(iter(profiles.items()))
        return _profile(name, entry, path)
    return None


def _load(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigurationError(f"cannot read the profile file {path}: {error.strerror}") from error

    import yaml

    try:
        return _mapping(yaml.safe_load(text), path)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"the profile file {path} is not valid YAML") from error


def _mapping(value: object, path: Path) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"the profile file {path} is malformed: a mapping is expected")
    return value


def _profile(name: str, entry: object, path: Path) -> Profile:
    fields = _mapping(entry, path)
    token = fields.get("token")
    if not isinstance(token, str) or not token:
        raise ConfigurationError(f"the profile '{name}' in {path} has no token")
    return Profile(
        name=name,
        token=token,
        grpc_address=fields.get("grpc_address"),
        api_url=fields.get("api_url"),
        tls_strategy=fields.get("tls_strategy"),
    )
