"""The ES256 key set that signs API tokens: one primary key, and further keys that verify (behaviour-core C-1.6).

A key set is written as JSON: a JWK set (RFC 7517) whose keys carry ``d`` when they can sign, and ``primary`` naming the
``kid`` that signs. PEM texts are read too. ``kid`` is the key's RFC 7638 thumbprint unless the JSON names another, so
that two instances given the same PEM agree on it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from jwt.exceptions import InvalidKeyError

from hatchet.core.errors import InvalidArgument

ALGORITHM = "ES256"
ACCEPTED_FORMATS = (
    "a JSON key set as `hatchet-admin keyset create-local-keys` writes it (a JWK set of EC P-256 keys), "
    "or PEM text of EC P-256 keys without a passphrase"
)

_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----", re.DOTALL)

PublicKey = ec.EllipticCurvePublicKey
PrivateKey = ec.EllipticCurvePrivateKey


@dataclass(slots=True, frozen=True)
class Key:
    """One key of a set. ``private`` is None when it can only verify."""

    kid: str
    public: PublicKey
    private: PrivateKey | None


@dataclass(slots=True, frozen=True)
class KeySet:
    """A signing key and every key whose tokens are accepted, by ``kid``."""

    primary: str
    keys: Mapping[str, Key]

    @property
    def signing_key(self) -> PrivateKey:
        """The private key that signs new tokens."""
        private = self.keys[self.primary].private
        assert private is not None, "a key set is only made with a primary key that can sign"
        return private

    def public_key(self, kid: str) -> PublicKey | None:
        """The key that checks tokens signed by ``kid``; None when the key is not in this set."""
        key = self.keys.get(kid)
        return None if key is None else key.public

    def with_keys(self, more: Iterable[Key]) -> KeySet:
        """The same set that also accepts tokens of ``more``."""
        added = {key.kid: key for key in more if key.kid not in self.keys}
        return KeySet(self.primary, {**self.keys, **added})


def generate() -> KeySet:
    """A set of one new key."""
    key = _key(ec.generate_private_key(ec.SECP256R1()))
    return KeySet(key.kid, {key.kid: key})


def to_json(keys: KeySet, *, private: bool) -> str:
    """The JSON text of the set; without the private parts when ``private`` is false."""
    members = [_to_jwk(key, private=private) for key in keys.keys.values()]
    return json.dumps({"primary": keys.primary, "keys": members}, indent=2) + "\n"


def parse_key_set(text: str, *, source: str) -> KeySet:
    """Read a key set that can sign.

    Raises InvalidArgument naming ``source`` (a variable or a file) and the accepted formats when the text is neither,
    or when no key in it can sign.
    """
    found, primary = _parse(text, source)
    signing = [key for key in found if key.private is not None]
    if not signing:
        raise InvalidArgument(f"{source} holds no private key that can sign tokens. Accepted: {ACCEPTED_FORMATS}.")
    chosen = primary or signing[0].kid
    if all(key.kid != chosen for key in signing):
        raise InvalidArgument(f'{source} names "{chosen}" as its primary key, but holds no private key of that kid.')
    return KeySet(chosen, {key.kid: key for key in found})


def parse_public_keys(text: str, *, source: str) -> list[Key]:
    """Read keys that only verify. Raises InvalidArgument as :func:`parse_key_set` does."""
    found, _ = _parse(text, source)
    return [Key(key.kid, key.public, None) for key in found]


def _parse(text: str, source: str) -> tuple[list[Key], str | None]:
    stripped = text.strip()
    try:
        if stripped.startswith("{"):
            found, primary = _parse_json(stripped)
        else:
            found, primary = [_from_pem(block.group(0)) for block in _PEM.finditer(stripped)], None
    except (ValueError, TypeError, KeyError, AttributeError, InvalidKeyError, UnsupportedAlgorithm):
        # The cause may quote key material, so it is not chained.
        raise InvalidArgument(f"{source} does not hold a readable key set. Accepted: {ACCEPTED_FORMATS}.") from None
    if not found:
        raise InvalidArgument(f"{source} holds no keys. Accepted: {ACCEPTED_FORMATS}.")
    return found, primary


def _parse_json(text: str) -> tuple[list[Key], str | None]:
    document = json.loads(text)
    members = document.get("keys", [document])
    primary = document.get("primary")
    if primary is not None and not isinstance(primary, str):
        raise ValueError("primary must be a text")
    return [_from_jwk(member) for member in members], primary


def _from_jwk(member: dict[str, Any]) -> Key:
    kid = member.get("kid")
    if kid is not None and not (isinstance(kid, str) and kid):
        raise ValueError("kid must be a text")
    return _key(ECAlgorithm.from_jwk(member), kid)


def _from_pem(block: str) -> Key:
    data = block.encode()
    if "PRIVATE" in block.splitlines()[0]:
        return _key(serialization.load_pem_private_key(data, password=None))
    return _key(serialization.load_pem_public_key(data))


def _key(material: object, kid: str | None = None) -> Key:
    if not isinstance(material, PrivateKey | PublicKey) or not isinstance(material.curve, ec.SECP256R1):
        raise ValueError("not an EC P-256 key")
    private = material if isinstance(material, PrivateKey) else None
    public = material if isinstance(material, PublicKey) else material.public_key()
    return Key(kid or _thumbprint(public), public, private)


def _to_jwk(key: Key, *, private: bool) -> dict[str, Any]:
    material = key.private if private and key.private is not None else key.public
    jwk: dict[str, Any] = ECAlgorithm.to_jwk(material, as_dict=True)
    return {**jwk, "kid": key.kid, "alg": ALGORITHM, "use": "sig"}


def _thumbprint(public: PublicKey) -> str:
    jwk = ECAlgorithm.to_jwk(public, as_dict=True)
    members = {name: jwk[name] for name in ("crv", "kty", "x", "y")}
    digest = hashlib.sha256(json.dumps(members, separators=(",", ":"), sort_keys=True).encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
