"""Ask the server behind a new token about itself (behaviour-rest R-36.4)."""

from __future__ import annotations

import re
import socket
import ssl
import sys

from hatchet.cli.profiles import Profile
from hatchet.core.errors import InvalidArgument

TIMEOUT_SECONDS = 5.0


def tls_strategy(profile: Profile) -> str:
    """``tls`` when the gRPC port speaks it, ``none`` when it does not.

    When nobody answers there, the scheme of the API address decides, and a note on standard error says so.
    """
    host, _, port = profile.grpc_address.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname = False  # only whether it speaks TLS matters here; clients check the certificate
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=TIMEOUT_SECONDS) as plain:
            try:
                context.wrap_socket(plain, server_hostname=host or None).close()
            except (ssl.SSLError, OSError):
                return "none"
            return "tls"
    except (OSError, ValueError, OverflowError):
        guess = "tls" if profile.api_url.startswith("https:") else "none"
        _note(
            f"nobody answers at the gRPC address {profile.grpc_address} now; the profile says TLS strategy {guess!r}."
        )
        return guess


def tenant_name(profile: Profile) -> str | None:
    """The name of the token's tenant; None, with a note on standard error, when the server cannot be asked.

    Raises :class:`InvalidArgument` when the server answers and refuses the token.
    """
    import httpx2

    url = f"{profile.api_url.rstrip('/')}/api/v1/tenants/{profile.tenant_id}"
    try:
        answer = httpx2.get(url, headers={"Authorization": f"Bearer {profile.token}"}, timeout=TIMEOUT_SECONDS)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        _note(f"the token could not be checked: {profile.api_url} does not answer ({type(error).__name__}).")
        return None
    if answer.status_code in (401, 403):
        raise InvalidArgument(
            f"the server at {profile.api_url} refuses this token: it may be expired, revoked or from another server. "
            "Make a new one there, for example with `hatchet-admin token create`."
        )
    if answer.status_code != 200:
        _note(f"the token could not be checked: {profile.api_url} answered {answer.status_code} for the tenant.")
        return None
    try:
        return str(answer.json()["name"])
    except (ValueError, KeyError, TypeError):
        _note(f"{profile.api_url} gave no name for the tenant.")
        return None


def slug(name: str | None) -> str:
    """A tenant name in the form of a profile name; empty when nothing is left of it."""
    return re.sub(r"[^a-z0-9._-]+", "-", (name or "").lower()).strip("-._")[:63]


def _note(text: str) -> None:
    print(f"Note: {text}", file=sys.stderr)
