"""What the client reads from its token. The signature is the engine's business (behaviour-core C-1.1 to C-1.4)."""

from __future__ import annotations

import base64
import json
from typing import Any

from pydantic import BaseModel

from hatchet_sdk.exceptions import ConfigurationError


class Claims(BaseModel):
    """The claims that a client uses: tenant id, REST base URL, ``host:port`` of the engine."""

    sub: str
    server_url: str
    grpc_broadcast_address: str


def extract_claims_from_jwt(token: str) -> Claims:
    """Read the claims of a compact JWS.

    Raises ``ConfigurationError`` for anything that is not a Hatchet token; the text never contains the token.
    """
    parts = token.split(".")
    if not token.startswith("ey") or len(parts) != 3:
        raise ConfigurationError(_malformed("three base64url parts joined by dots are expected, beginning with 'ey'"))
    claims = _decode(parts[1])
    missing = [name for name in Claims.model_fields if not isinstance(claims.get(name), str)]
    if missing:
        raise ConfigurationError(_malformed(f"the claim '{missing[0]}' is missing or not a text"))
    return Claims(**{name: claims[name] for name in Claims.model_fields})


def get_tenant_id_from_jwt(token: str) -> str:
    """The tenant that the token belongs to."""
    return extract_claims_from_jwt(token).sub


def get_addresses_from_jwt(token: str) -> tuple[str, str]:
    """REST base URL and gRPC ``host:port``, in this order."""
    claims = extract_claims_from_jwt(token)
    return claims.server_url, claims.grpc_broadcast_address


def _decode(part: str) -> dict[str, Any]:
    try:
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        raise ConfigurationError(_malformed("its second part is not base64url-encoded JSON")) from None
    if not isinstance(claims, dict):
        raise ConfigurationError(_malformed("its second part is not a JSON object"))
    return claims


def _malformed(why: str) -> str:
    return (
        f"the API token is malformed: {why}. Copy it whole into HATCHET_CLIENT_TOKEN; `hatchet-admin token create` "
        "prints a new one."
    )
