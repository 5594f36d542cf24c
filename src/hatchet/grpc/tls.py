"""TLS of the gRPC port from plain values (settings group ``SERVER_TLS_*``)."""

from __future__ import annotations

from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from hatchet.core.errors import FailedPrecondition


def server_credentials(
    *,
    strategy: str,
    cert: str = "",
    cert_file: str = "",
    key: str = "",
    key_file: str = "",
    root_ca: str = "",
    root_ca_file: str = "",
) -> grpc.ServerCredentials | None:
    """Credentials for the strategies ``tls`` and ``mtls``; ``None``, which is plaintext, for ``none``.

    Certificate, key and root are PEM texts or paths of PEM files. ``mtls`` asks clients for a certificate of the root.
    Raises :class:`FailedPrecondition` that names the environment variable to set.
    """
    if strategy == "none":
        return None
    if strategy not in ("tls", "mtls"):
        raise FailedPrecondition(f"SERVER_TLS_STRATEGY is {strategy!r}: set it to tls, mtls or none")
    certificate = _pem(cert, cert_file, "SERVER_TLS_CERT")
    private_key = _pem(key, key_file, "SERVER_TLS_KEY")
    _check_pair(certificate, private_key)
    root = _pem(root_ca, root_ca_file, "SERVER_TLS_ROOT_CA") if strategy == "mtls" else None
    return grpc.ssl_server_credentials([(private_key, certificate)], root, require_client_auth=root is not None)


def _check_pair(certificate: bytes, private_key: bytes) -> None:
    # grpc would report a bad pair as a port that cannot be had.
    try:
        public_key = x509.load_pem_x509_certificates(certificate)[0].public_key()
        matches = load_pem_private_key(private_key, password=None).public_key() == public_key
    except (ValueError, TypeError) as error:
        raise FailedPrecondition(f"SERVER_TLS_CERT or SERVER_TLS_KEY is not readable as PEM: {error}") from error
    if not matches:
        raise FailedPrecondition(
            "SERVER_TLS_KEY is not the key of the certificate SERVER_TLS_CERT: set a matching pair."
        )


def _pem(text: str, path: str, variable: str) -> bytes:
    if text:
        return text.encode()
    if not path:
        raise FailedPrecondition(
            f"The gRPC port is to use TLS, but {variable} and {variable}_FILE are not set: set one of them, or set "
            "SERVER_GRPC_INSECURE=true to serve plaintext."
        )
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise FailedPrecondition(f"{variable}_FILE: cannot read {path}: {error.strerror}") from error
