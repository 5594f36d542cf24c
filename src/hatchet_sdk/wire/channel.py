"""A gRPC channel to the engine, with the transport security and limits of the configuration (C-1.17 to C-1.23)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from hatchet_sdk.exceptions import ConfigurationError

if TYPE_CHECKING:
    from hatchet_sdk.config import ClientConfig, ClientTLSConfig

KEEPALIVE_MS = 10_000
KEEPALIVE_TIMEOUT_MS = 60_000
IDLE_MS = 60_000
METADATA_BYTES = 256 * 1024
"""A bulk request of 1000 items that collide brings 80 kB of ids in its trailers (C-4.45); gRPC's own limit is 8 kB."""


def open_channel(config: ClientConfig) -> grpc.aio.Channel:
    """Open a channel to ``config.host_port``. Call it on the event loop that will use it; nothing is sent yet.

    Raises ``ConfigurationError`` for a TLS strategy that is unknown or lacks a file.
    """
    options = _options(config)
    if config.tls_config.strategy == "none":
        return grpc.aio.insecure_channel(config.host_port, options=options)
    return grpc.aio.secure_channel(config.host_port, _credentials(config.tls_config), options=options)


def authorization(config: ClientConfig) -> tuple[tuple[str, str], ...]:
    """The metadata of every call (C-1.9)."""
    return (("authorization", f"bearer {config.token}"),)


def _options(config: ClientConfig) -> list[tuple[str, int | str]]:
    options: list[tuple[str, int | str]] = [
        ("grpc.max_send_message_length", config.grpc_max_send_message_length),
        ("grpc.max_receive_message_length", config.grpc_max_recv_message_length),
        ("grpc.max_metadata_size", METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", METADATA_BYTES),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.client_idle_timeout_ms", IDLE_MS),
        # After a restart of the engine workers come back within a second or so, instead of after grpc's minute.
        ("grpc.initial_reconnect_backoff_ms", 250),
        ("grpc.min_reconnect_backoff_ms", 250),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        # A subchannel of another channel may be in back-off; ours starts fresh.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if config.tls_config.strategy != "none" and config.tls_config.server_name:
        options.append(("grpc.ssl_target_name_override", config.tls_config.server_name))
    return options


def _credentials(tls: ClientTLSConfig) -> grpc.ChannelCredentials:
    if tls.strategy == "tls":
        return grpc.ssl_channel_credentials(root_certificates=_read("root_ca_file", tls.root_ca_file))
    if tls.strategy == "mtls":
        for name in ("root_ca_file", "key_file", "cert_file"):
            if not getattr(tls, name):
                raise ConfigurationError(f"TLS strategy 'mtls' needs HATCHET_CLIENT_TLS_{name.upper()}")
        return grpc.ssl_channel_credentials(
            root_certificates=_read("root_ca_file", tls.root_ca_file),
            private_key=_read("key_file", tls.key_file),
            certificate_chain=_read("cert_file", tls.cert_file),
        )
    raise ConfigurationError(
        f"unknown TLS strategy '{tls.strategy}': HATCHET_CLIENT_TLS_STRATEGY is 'tls', 'mtls' or 'none'"
    )


def _read(name: str, path: str | None) -> bytes | None:
    if not path:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"HATCHET_CLIENT_TLS_{name.upper()}: cannot read {path}: {error.strerror}") from error
