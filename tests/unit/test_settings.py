"""Environment variables: defaults, what is accepted, and what is said about the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from asyncpg.connect_utils import _parse_connect_dsn_and_args

from hatchet.core.errors import InvalidArgument
from hatchet.settings import Settings, read_settings


def read(**env: str) -> Settings:
    return Settings.from_environment({"HATCHET_DATA_DIR": "/data", **env})


def complaint(**env: str) -> str:
    with pytest.raises(InvalidArgument) as caught:
        read(**env)
    return caught.value.message


def test_r_8_8_and_r_28_documented_defaults() -> None:
    settings = read()
    assert (settings.admin_email, settings.admin_password, settings.admin_name) == (
        "admin@example.com",
        "Admin123!!",
        "Admin",
    )
    assert settings.default_tenant_id == "707d0855-80ab-4e1f-a156-f1c4546cbf52"
    assert (settings.default_tenant_name, settings.default_tenant_slug) == ("Default", "default")
    assert (settings.port, settings.grpc_port, settings.healthcheck_port, settings.healthcheck) == (
        8080,
        7070,
        8733,
        True,
    )
    assert settings.server_url() == "http://localhost:8080"
    assert settings.broadcast_address() == "127.0.0.1:7070"
    assert settings.grpc_bind_address == "127.0.0.1"
    assert settings.grpc_max_message_bytes == 4_194_304
    assert settings.max_internal_retries == 10
    assert settings.services == ("all",)
    assert settings.retention_seconds == 720 * 3600


def test_every_field_reads_the_variable_that_the_contract_documents(request: pytest.FixtureRequest) -> None:
    aliases = [field.alias for field in Settings.model_fields.values()]
    assert len(set(aliases)) == len(aliases)
    ours = {"HATCHET_DATA_DIR", "HATCHET_POSTGRES_BIN"}
    contract = request.config.rootpath.parent / "shared" / "contract" / "env_vars.json"
    if not contract.exists():
        pytest.skip("the contract is not on this machine")
    documented = set(json.loads(contract.read_text())["variables"])
    assert set(aliases) - ours <= documented


def test_r_28_2_and_r_28_3_defaults_of_signing_in() -> None:
    settings = read()
    assert settings.allow_signup
    assert settings.allow_invites
    assert settings.allow_create_tenant
    assert settings.allow_change_password
    assert settings.auth_basic
    assert not settings.auth_set_email_verified
    assert not settings.auth_cookie_insecure
    assert (settings.auth_cookie_name, settings.auth_cookie_domain) == ("hatchet", "")
    assert settings.auth_cookie_secrets == settings.auth_email_domains == ()


def test_r_28_3_lists_and_domains() -> None:
    assert read(SERVER_AUTH_COOKIE_SECRETS=" a-new-one  an-old-one ").auth_cookie_secrets == ("a-new-one", "an-old-one")
    for text in ("Example.com,example.org", "example.com  example.org", "example.com, example.org"):
        assert read(SERVER_AUTH_RESTRICTED_EMAIL_DOMAINS=text).auth_email_domains == ("example.com", "example.org")
    # As the documentation writes it, though a cookie's domain has no port.
    assert read(SERVER_AUTH_COOKIE_DOMAIN="localhost:8080").auth_cookie_domain == "localhost"
    assert read(SERVER_AUTH_COOKIE_DOMAIN="hatchet.example.com").auth_cookie_domain == "hatchet.example.com"


@pytest.mark.parametrize("text", ["t", "true", "TRUE", "1", " True "])
def test_true(text: str) -> None:
    assert read(SERVER_GRPC_INSECURE=text).grpc_insecure is True


@pytest.mark.parametrize("text", ["f", "false", "False", "0"])
def test_false(text: str) -> None:
    assert read(SERVER_HEALTHCHECK=text).healthcheck is False


def test_a_variable_set_to_nothing_is_not_set() -> None:
    assert read(SERVER_GRPC_PORT="", DATABASE_URL="", DATABASE_POSTGRES_HOST=" ").database_dsn() is None


@pytest.mark.parametrize("text", ['["grpc-api", "scheduler"]', "grpc-api scheduler", "grpc-api,scheduler"])
def test_services_as_json_or_words(text: str) -> None:
    assert read(SERVER_SERVICES=text).services == ("grpc-api", "scheduler")


@pytest.mark.parametrize(("text", "seconds"), [("250", 0.25), ("10ms", 0.01), ("1s", 1.0)])
def test_flush_period_is_milliseconds_or_a_duration(text: str, seconds: float) -> None:
    assert read(SERVER_FLUSH_PERIOD_MILLISECONDS=text).flush_gap_seconds == seconds


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("SERVER_GRPC_INSECURE", "maybe", "true or false"),
        ("SERVER_GRPC_PORT", "70000", "from 0 to 65535"),
        ("SERVER_PORT", "-1", "from 0 to 65535"),
        ("SERVER_HEALTHCHECK_PORT", "8733.5", "from 0 to 65535"),
        ("SERVER_GRPC_BROADCAST_ADDRESS", "engine.example.com", "host:port"),
        ("SERVER_URL", "localhost:8080", "http://"),
        ("SERVER_SERVICES", '["everything"]', "grpc-api"),
        ("SERVER_SERVICES", "[1", "JSON list"),
        ("SERVER_MAX_INTERNAL_RETRY_COUNT", "ten", "a whole number"),
        ("SERVER_FLUSH_PERIOD_MILLISECONDS", "soon", "a duration"),
        ("SERVER_FLUSH_ITEMS_THRESHOLD", "0", "from 1 to"),
        ("SERVER_LIMITS_DEFAULT_TENANT_RETENTION_PERIOD", "30 days", "a duration"),
        ("SERVER_LOGGER_LEVEL", "loud", "debug, info"),
        ("SERVER_LOGGER_FORMAT", "xml", "json, console"),
        ("SERVER_TLS_STRATEGY", "ssl", "tls, mtls, none"),
        ("SERVER_MSGQUEUE_KIND", "kafka", "postgres, rabbitmq"),
        ("DEFAULT_TENANT_ID", "1234", "a UUID"),
        ("SERVER_AUTH_COOKIE_NAME", "a b", "letters"),
        ("SERVER_AUTH_COOKIE_DOMAIN", "https://example.com", "a host name"),
        ("SERVER_AUTH_RESTRICTED_EMAIL_DOMAINS", "@example.com", "domains such as"),
        ("SERVER_AUTH_SET_EMAIL_VERIFIED", "maybe", "true or false"),
        ("DATABASE_POSTGRES_PORT", "0", "from 1 to 65535"),
        ("DATABASE_POSTGRES_SSL_MODE", "on", "verify-full"),
        ("DATABASE_MAX_CONNS", "0", "from 1 to"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_accepted(name: str, value: str, accepted: str) -> None:
    text = complaint(**{name: value})
    assert text.startswith(f"{name} is {value!r}: write ")
    assert accepted in text


def test_r_28_3_a_short_secret_is_refused_without_being_shown() -> None:
    text = complaint(SERVER_AUTH_COOKIE_SECRETS="long-enough short")
    assert text.startswith("SERVER_AUTH_COOKIE_SECRETS has a value that cannot be used: write secrets of at least 8")
    assert "long-enough" not in text


def test_every_wrong_variable_has_its_line() -> None:
    lines = complaint(SERVER_PORT="x", SERVER_GRPC_PORT="y", SERVER_LOGGER_LEVEL="z").splitlines()
    assert [line.split(" is ")[0] for line in lines] == ["SERVER_GRPC_PORT", "SERVER_PORT", "SERVER_LOGGER_LEVEL"]


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:hidden@host/x",
        "postgresql+asyncpg://me:hidden@host/x",
        "postgres://me:hid@den@host/x",
        "postgres://me:hidden#@host/x",
        "me:hidden",
    ],
)
def test_a_wrong_database_url_is_refused_without_showing_it(url: str) -> None:
    text = complaint(DATABASE_URL=url)
    assert text.startswith("DATABASE_URL has a value that cannot be used: write postgresql://")
    assert "hid" not in text


def test_secrets_stay_out_of_the_representation() -> None:
    secret = "s3cr3t"
    settings = read(
        ADMIN_PASSWORD=secret,
        DATABASE_URL=f"postgres://me:{secret}@host/x",
        DATABASE_POSTGRES_PASSWORD=secret,
        SERVER_ENCRYPTION_MASTER_KEYSET=secret,
        SERVER_ENCRYPTION_JWT_PRIVATE_KEYSET=secret,
        SERVER_TLS_KEY=secret,
        SERVER_AUTH_COOKIE_SECRETS=f"{secret}-{secret}",
    )
    assert secret not in repr(settings)
    assert secret not in str(settings)


def test_nothing_about_a_database_means_the_embedded_one() -> None:
    settings = read()
    assert settings.database_dsn() is None
    assert settings.embedded_dir == Path("/data/postgres")


def test_database_url_wins_over_its_parts() -> None:
    url = "postgresql://hatchet:hatchet@postgres:5432/hatchet?sslmode=disable"
    assert read(DATABASE_URL=url, DATABASE_POSTGRES_HOST="other").database_dsn() == url


def test_parameters_of_other_clients_are_left_out_of_the_url() -> None:
    url = "postgres://u:p@h:5/d?sslmode=require&pool_max_conns=5&channel_binding=require"
    assert read(DATABASE_URL=url).database_dsn() == "postgres://u:p@h:5/d?sslmode=require"


def _as_asyncpg_reads(dsn: str) -> tuple[object, ...]:
    names = ("host", "port", "user", "password", "passfile", "database", "ssl", "service", "servicefile")
    more = ("direct_tls", "server_settings", "target_session_attrs", "krbsrvname", "gsslib")
    addresses, given, *_ = _parse_connect_dsn_and_args(dsn=dsn, **dict.fromkeys((*names, *more)))
    return addresses, given.user, given.password, given.database, given.sslmode.name


@pytest.mark.parametrize("password", ["p@ss", "a/b:c?d#e", "100%", "pass word", "ü+&=", "[x]"])
def test_parts_reach_asyncpg_as_they_were_given(password: str) -> None:
    dsn = read(
        DATABASE_POSTGRES_HOST="db.example.com",
        DATABASE_POSTGRES_PORT="6543",
        DATABASE_POSTGRES_USERNAME="me@corp",
        DATABASE_POSTGRES_PASSWORD=password,
        DATABASE_POSTGRES_DB_NAME="tasks/1",
        DATABASE_POSTGRES_SSL_MODE="prefer",
    ).database_dsn()
    assert dsn is not None
    assert _as_asyncpg_reads(dsn) == ([("db.example.com", 6543)], "me@corp", password, "tasks/1", "prefer")


def test_one_part_is_enough_for_an_external_database() -> None:
    dsn = read(DATABASE_POSTGRES_PASSWORD="x").database_dsn()
    assert dsn == "postgresql://hatchet:x@127.0.0.1:5431/hatchet?sslmode=disable"


def test_a_socket_directory_and_an_ipv6_address_as_host() -> None:
    socket = read(DATABASE_POSTGRES_HOST="/var/run/postgresql", DATABASE_POSTGRES_PORT="5432").database_dsn()
    assert socket is not None
    assert _as_asyncpg_reads(socket)[0] == ["/var/run/postgresql/.s.PGSQL.5432"]
    six = read(DATABASE_POSTGRES_HOST="::1").database_dsn()
    assert six is not None
    assert "@[::1]:5431/" in six


def test_pgbouncer_needs_the_direct_address_and_uses_it() -> None:
    assert "DATABASE_DIRECT_URL" in complaint(DATABASE_PGBOUNCER_ENABLED="t", DATABASE_URL="postgres://pool/x")
    settings = read(
        DATABASE_PGBOUNCER_ENABLED="t", DATABASE_URL="postgres://pool/x", DATABASE_DIRECT_URL="postgres://direct/x"
    )
    assert settings.database_dsn() == "postgres://direct/x"


def test_the_pool_honours_lower_limits() -> None:
    assert read().database_pool == (2, 10)
    assert read(DATABASE_MAX_CONNS="1").database_pool == (1, 1)
    assert "DATABASE_MIN_CONNS" in complaint(DATABASE_MIN_CONNS="9", DATABASE_MAX_CONNS="3")


def test_tls_is_left_out_only_by_choice_or_on_this_machine_alone() -> None:
    assert read().tls_strategy == "none"
    assert read(SERVER_GRPC_BIND_ADDRESS="0.0.0.0").tls_strategy == "tls"
    assert read(SERVER_GRPC_BIND_ADDRESS="0.0.0.0", SERVER_GRPC_INSECURE="t").tls_strategy == "none"
    assert read(SERVER_TLS_CERT_FILE="/cert.pem").tls_strategy == "tls"
    assert read(SERVER_GRPC_INSECURE="f").tls_strategy == "tls"
    assert read(SERVER_TLS_STRATEGY="mtls").tls_strategy == "mtls"


def test_addresses_follow_the_ports_unless_they_are_named() -> None:
    assert read(SERVER_GRPC_PORT="7077", SERVER_PORT="8888").broadcast_address() == "127.0.0.1:7077"
    assert read(SERVER_GRPC_BIND_ADDRESS="0.0.0.0", SERVER_GRPC_PORT="0").broadcast_address(4711) == "127.0.0.1:4711"
    assert read(SERVER_GRPC_BROADCAST_ADDRESS="e.example.com:443").broadcast_address(1) == "e.example.com:443"
    assert read(SERVER_PORT="8888").server_url() == "http://localhost:8888"
    assert read(SERVER_URL="https://hatchet.example.com/").server_url() == "https://hatchet.example.com"


def test_the_data_directory_follows_hatchet_home() -> None:
    assert Settings.from_environment({"HATCHET_HOME": "/h"}).data_dir == Path("/h/server/default")
    assert Settings.from_environment({}).data_dir == Path("~/.hatchet/server/default").expanduser()
    assert read_settings({"HATCHET_DATA_DIR": "~/x"}).data_dir == Path("~/x").expanduser()
