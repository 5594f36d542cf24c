"""TLS of the gRPC port (settings ``SERVER_TLS_*``; behaviour-core C-1.17)."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from grpc_world import AUTH, Tokens, within

from hatchet.core.errors import FailedPrecondition
from hatchet.grpc.server import GrpcServer
from hatchet.grpc.tls import server_credentials


@dataclass
class Pair:
    cert: str
    key: str


def a_pair() -> Pair:
    """A self-signed certificate of 127.0.0.1, which is also its own root."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=10))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem_key = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Pair(cert.public_bytes(Encoding.PEM).decode(), pem_key.decode())


PAIR = a_pair()
CLIENT = a_pair()


async def answer(credentials: grpc.ServerCredentials | None, channel: grpc.ChannelCredentials) -> grpc.StatusCode:
    """Status of a call of an unserved method, which shows that the connection works."""
    server = GrpcServer(
        services={}, tokens=Tokens(), host="127.0.0.1", port=0, credentials=credentials, max_message_bytes=1000
    )
    port = await server.start()
    try:
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", channel) as opened:
            call = opened.unary_unary("/Dispatcher/GetVersion")(b"", metadata=AUTH, timeout=20)
            return await within(call.code())
    finally:
        await server.stop(1)


async def test_c_1_17_tls_from_files(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text(PAIR.cert)
    (tmp_path / "key.pem").write_text(PAIR.key)
    credentials = server_credentials(
        strategy="tls", cert_file=str(tmp_path / "cert.pem"), key_file=str(tmp_path / "key.pem")
    )
    trusting = grpc.ssl_channel_credentials(PAIR.cert.encode())
    assert await answer(credentials, trusting) is grpc.StatusCode.UNIMPLEMENTED


async def test_c_1_17_mtls_asks_for_a_certificate_of_the_root() -> None:
    credentials = server_credentials(strategy="mtls", cert=PAIR.cert, key=PAIR.key, root_ca=CLIENT.cert)
    with_certificate = grpc.ssl_channel_credentials(PAIR.cert.encode(), CLIENT.key.encode(), CLIENT.cert.encode())
    without = grpc.ssl_channel_credentials(PAIR.cert.encode())
    stranger = grpc.ssl_channel_credentials(PAIR.cert.encode(), PAIR.key.encode(), PAIR.cert.encode())
    assert await answer(credentials, with_certificate) is grpc.StatusCode.UNIMPLEMENTED
    assert await answer(credentials, without) is grpc.StatusCode.UNAVAILABLE
    assert await answer(credentials, stranger) is grpc.StatusCode.UNAVAILABLE


def test_c_1_17_strategy_none_is_plaintext() -> None:
    assert server_credentials(strategy="none") is None


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"strategy": "both"}, "SERVER_TLS_STRATEGY"),
        ({"strategy": "tls"}, "SERVER_TLS_CERT_FILE"),
        ({"strategy": "tls", "cert": PAIR.cert}, "SERVER_TLS_KEY_FILE"),
        ({"strategy": "mtls", "cert": PAIR.cert, "key": PAIR.key}, "SERVER_TLS_ROOT_CA_FILE"),
        (
            {"strategy": "tls", "cert_file": "/nonexistent/cert.pem", "key": PAIR.key},
            "cannot read /nonexistent/cert.pem",
        ),
        ({"strategy": "tls", "cert": "x", "key": PAIR.key}, "not readable as PEM"),
        ({"strategy": "tls", "cert": PAIR.cert, "key": "x"}, "not readable as PEM"),
        ({"strategy": "tls", "cert": PAIR.cert, "key": CLIENT.key}, "not the key of the certificate"),
    ],
)
def test_bad_settings_say_what_to_set(values: dict[str, str], text: str) -> None:
    with pytest.raises(FailedPrecondition, match=text) as refused:
        server_credentials(**values)  # type: ignore[arg-type]
    assert PAIR.key not in refused.value.message
