"""Every environment variable that the server reads, typed and checked once at the start.

A variable that is set to nothing counts as not set, as compose files write it. Names and defaults are the documented
ones (behaviour-rest R-8.8, R-28), except where a measurement or safety says otherwise; those fields say why.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from hatchet.core.durations import parse_duration
from hatchet.core.errors import InvalidArgument
from hatchet.core.ids import parse_uuid

SERVICES = ("all", "grpc-api", "controllers", "scheduler", "api")
LOG_LEVELS = ("debug", "info", "warn", "warning", "error", "fatal")

_TRUE = {"t", "true", "1"}
_FALSE = {"f", "false", "0"}
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SHORTEST_SECRET = 8
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_ANYWHERE = {"0.0.0.0", "::", "[::]", ""}

# Parameters of other PostgreSQL clients in a DATABASE_URL: asyncpg would pass them to the server, which refuses them.
_FOREIGN_PARAMETERS = re.compile(
    r"pool_\w+|channel_binding|connect_timeout|keepalives\w*|gssencmode|statement_cache\w*"
)


def _flag(value: object) -> object:
    text = str(value).strip().lower()
    if text in _TRUE | _FALSE:
        return text in _TRUE
    raise ValueError("write true or false (t, 1, f and 0 work as well)")


def _whole(lowest: int, highest: int, meaning: str) -> BeforeValidator:
    def check(value: object) -> int:
        text = str(value).strip()
        if re.fullmatch(r"[0-9]{1,15}", text) and lowest <= int(text) <= highest:
            return int(text)
        raise ValueError(f"write {meaning} from {lowest} to {highest}")

    return BeforeValidator(check)


def _seconds(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return parse_duration(value.strip())
    except InvalidArgument as error:
        raise ValueError("write a duration such as 90s, 15m or 720h") from error


def _milliseconds_as_seconds(value: object) -> object:
    text = str(value).strip()
    return _seconds(f"{text}ms" if text.isdigit() else text)


def _one_of(*accepted: str) -> BeforeValidator:
    def check(value: object) -> str:
        text = str(value).strip().lower()
        if text in accepted:
            return text
        raise ValueError(f"write one of: {', '.join(accepted)}")

    return BeforeValidator(check)


def _services(value: object) -> object:
    """A JSON list as documented, or names separated by spaces or commas."""
    names: object = value
    if isinstance(value, str):
        try:
            names = orjson.loads(value) if value.lstrip().startswith("[") else re.split(r"[\s,]+", value.strip())
        except orjson.JSONDecodeError:
            names = None
    if isinstance(names, (list, tuple)) and names and all(name in SERVICES for name in names):
        return tuple(names)
    raise ValueError(f'write a JSON list such as ["all"] with names of: {", ".join(SERVICES)}')


def _domains(value: object) -> object:
    """Names separated by spaces or commas."""
    names = tuple(re.split(r"[\s,]+", value.strip().lower())) if isinstance(value, str) else value
    if isinstance(names, tuple) and all(re.fullmatch(r"[\w-]+(\.[\w-]+)*", name) for name in names):
        return names
    raise ValueError("write domains such as example.com, separated by commas")


def _cookie_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", value):
        raise ValueError("write a name of letters, digits, hyphens, dots and underscores")
    return value


def _cookie_domain(value: str) -> str:
    """Without a port, which a cookie's domain cannot have."""
    found = re.fullmatch(r"(\.?[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*)(?::[0-9]+)?", value)
    if found is None:
        raise ValueError("write a host name such as hatchet.example.com")
    return found[1]


def _cookie_secrets(value: object) -> object:
    secrets = tuple(value.split()) if isinstance(value, str) else value
    if isinstance(secrets, tuple) and all(len(secret) >= _SHORTEST_SECRET for secret in secrets):
        return secrets
    raise ValueError(f"write secrets of at least {_SHORTEST_SECRET} characters, separated by spaces")


def _uuid(value: str) -> str:
    found = parse_uuid(value.strip())
    if found is None:
        raise ValueError("write a UUID")
    return found


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write an address that begins with http:// or https://")
    return value.rstrip("/")


def _host_and_port(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or "/" in value or not port.isdigit() or int(port) > 65535:
        raise ValueError("write host:port, such as engine.example.com:443")
    return value


def _database_url(value: str) -> str:
    parts = urlsplit(value)
    # An unencoded @ or # moves the border between password and host without an error.
    if parts.scheme not in ("postgres", "postgresql") or parts.netloc.count("@") > 1 or parts.fragment:
        raise ValueError(_URL_HINT)
    try:
        parameters = parse_qsl(parts.query, strict_parsing=True) if parts.query else []
    except ValueError as error:
        raise ValueError(_URL_HINT) from error
    kept = [(name, text) for name, text in parameters if not _FOREIGN_PARAMETERS.fullmatch(name)]
    return value if kept == parameters else urlunsplit(parts._replace(query=urlencode(kept)))


_URL_HINT = (
    "write postgresql://user:password@host:port/database, with special characters of user and password percent-encoded"
)


def default_data_dir(env: Mapping[str, str]) -> Path:
    """``server/default`` in ``$HATCHET_HOME``, else in ``~/.hatchet``."""
    return Path(env.get("HATCHET_HOME") or "~/.hatchet").expanduser() / "server" / "default"


Flag = Annotated[bool, BeforeValidator(_flag)]
Port = Annotated[int, _whole(0, 65535, "a port number (0 takes any free one)")]
Count = Annotated[int, _whole(0, 10**9, "a whole number")]
Positive = Annotated[int, _whole(1, 10**9, "a whole number")]
Seconds = Annotated[float, BeforeValidator(_seconds)]
Secret = Annotated[str, Field(repr=False)]


class Settings(BaseModel):
    """The server's configuration. Texts that are not set are empty; durations are seconds."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    # gRPC
    grpc_bind_address: str = Field("127.0.0.1", alias="SERVER_GRPC_BIND_ADDRESS")
    grpc_port: Port = Field(7070, alias="SERVER_GRPC_PORT")
    grpc_broadcast_address: Annotated[str, AfterValidator(_host_and_port)] = Field(
        "", alias="SERVER_GRPC_BROADCAST_ADDRESS"
    )
    grpc_insecure: Flag = Field(False, alias="SERVER_GRPC_INSECURE")
    grpc_max_message_bytes: Annotated[int, _whole(1024, 2**31 - 1, "a number of bytes")] = Field(
        4_194_304, alias="SERVER_GRPC_MAX_MSG_SIZE"
    )

    # Runtime
    url: Annotated[str, AfterValidator(_web_address)] = Field("", alias="SERVER_URL")
    port: Port = Field(8080, alias="SERVER_PORT")
    healthcheck: Flag = Field(True, alias="SERVER_HEALTHCHECK")
    healthcheck_port: Port = Field(8733, alias="SERVER_HEALTHCHECK_PORT")
    services: Annotated[tuple[str, ...], BeforeValidator(_services)] = Field(("all",), alias="SERVER_SERVICES")
    max_internal_retries: Count = Field(10, alias="SERVER_MAX_INTERNAL_RETRY_COUNT")
    data_retention: Flag = Field(True, alias="SERVER_ENABLE_DATA_RETENTION")
    retention_seconds: Seconds = Field(720 * 3600.0, alias="SERVER_LIMITS_DEFAULT_TENANT_RETENTION_PERIOD")
    data_dir: Path = Field(default_factory=lambda: default_data_dir(os.environ), alias="HATCHET_DATA_DIR")
    """Where the embedded database and the generated keys live."""

    # The reference expects RabbitMQ unless told otherwise; ours needs nothing but the database.
    message_queue: Annotated[str, _one_of("postgres", "rabbitmq")] = Field("postgres", alias="SERVER_MSGQUEUE_KIND")

    # Signing in
    allow_signup: Flag = Field(True, alias="SERVER_ALLOW_SIGNUP")
    allow_invites: Flag = Field(True, alias="SERVER_ALLOW_INVITES")
    allow_create_tenant: Flag = Field(True, alias="SERVER_ALLOW_CREATE_TENANT")
    allow_change_password: Flag = Field(True, alias="SERVER_ALLOW_CHANGE_PASSWORD")
    auth_basic: Flag = Field(True, alias="SERVER_AUTH_BASIC_AUTH_ENABLED")
    auth_set_email_verified: Flag = Field(False, alias="SERVER_AUTH_SET_EMAIL_VERIFIED")
    auth_email_domains: Annotated[tuple[str, ...], BeforeValidator(_domains)] = Field(
        (), alias="SERVER_AUTH_RESTRICTED_EMAIL_DOMAINS"
    )
    auth_cookie_name: Annotated[str, AfterValidator(_cookie_name)] = Field("hatchet", alias="SERVER_AUTH_COOKIE_NAME")
    auth_cookie_domain: Annotated[str, AfterValidator(_cookie_domain)] = Field("", alias="SERVER_AUTH_COOKIE_DOMAIN")
    auth_cookie_insecure: Flag = Field(False, alias="SERVER_AUTH_COOKIE_INSECURE")
    auth_cookie_secrets: Annotated[tuple[str, ...], BeforeValidator(_cookie_secrets)] = Field(
        (), alias="SERVER_AUTH_COOKIE_SECRETS", repr=False
    )
    """The first signs, all verify; without any, keys derived from the key set of the tokens."""

    # First start
    admin_email: str = Field("admin@example.com", alias="ADMIN_EMAIL")
    admin_name: str = Field("Admin", alias="ADMIN_NAME")
    admin_password: Secret = Field("Admin123!!", alias="ADMIN_PASSWORD")
    default_tenant_id: Annotated[str, AfterValidator(_uuid)] = Field(
        "707d0855-80ab-4e1f-a156-f1c4546cbf52", alias="DEFAULT_TENANT_ID"
    )
    default_tenant_name: str = Field("Default", alias="DEFAULT_TENANT_NAME")
    default_tenant_slug: str = Field("default", alias="DEFAULT_TENANT_SLUG")

    # Database
    database_url: Annotated[Secret, AfterValidator(_database_url)] = Field("", alias="DATABASE_URL", repr=False)
    database_host: str = Field("127.0.0.1", alias="DATABASE_POSTGRES_HOST")
    database_port: Annotated[int, _whole(1, 65535, "a port number")] = Field(5431, alias="DATABASE_POSTGRES_PORT")
    database_username: str = Field("hatchet", alias="DATABASE_POSTGRES_USERNAME")
    database_password: Secret = Field("hatchet", alias="DATABASE_POSTGRES_PASSWORD")
    database_name: str = Field("hatchet", alias="DATABASE_POSTGRES_DB_NAME")
    database_ssl_mode: Annotated[str, _one_of(*_SSL_MODES)] = Field("disable", alias="DATABASE_POSTGRES_SSL_MODE")
    database_pgbouncer: Flag = Field(False, alias="DATABASE_PGBOUNCER_ENABLED")
    database_direct_url: Annotated[Secret, AfterValidator(_database_url)] = Field(
        "", alias="DATABASE_DIRECT_URL", repr=False
    )
    # Statements are batched, so that ten connections saturate a database; documented are 10 to 50.
    database_max_connections: Positive = Field(10, alias="DATABASE_MAX_CONNS")
    database_min_connections: Count = Field(2, alias="DATABASE_MIN_CONNS")

    # Keys, each a text or a file
    jwt_private_keyset: Secret = Field("", alias="SERVER_ENCRYPTION_JWT_PRIVATE_KEYSET")
    jwt_private_keyset_file: str = Field("", alias="SERVER_ENCRYPTION_JWT_PRIVATE_KEYSET_FILE")
    jwt_public_keyset: Secret = Field("", alias="SERVER_ENCRYPTION_JWT_PUBLIC_KEYSET")
    jwt_public_keyset_file: str = Field("", alias="SERVER_ENCRYPTION_JWT_PUBLIC_KEYSET_FILE")
    master_keyset: Secret = Field("", alias="SERVER_ENCRYPTION_MASTER_KEYSET")
    master_keyset_file: str = Field("", alias="SERVER_ENCRYPTION_MASTER_KEYSET_FILE")

    # Batching: a gap between flushes, not a wait before each, so 2 ms and 1,000 rows instead of the documented 10 ms
    # and 100 (design section 5: less CPU per task and a shorter tail).
    flush_gap_seconds: Annotated[float, BeforeValidator(_milliseconds_as_seconds)] = Field(
        0.002, alias="SERVER_FLUSH_PERIOD_MILLISECONDS"
    )
    flush_maximum: Positive = Field(1000, alias="SERVER_FLUSH_ITEMS_THRESHOLD")

    # TLS of the gRPC port; texts are PEM
    tls_strategy_chosen: Annotated[str, _one_of("tls", "mtls", "none")] = Field("", alias="SERVER_TLS_STRATEGY")
    tls_cert: str = Field("", alias="SERVER_TLS_CERT", repr=False)
    tls_cert_file: str = Field("", alias="SERVER_TLS_CERT_FILE")
    tls_key: Secret = Field("", alias="SERVER_TLS_KEY")
    tls_key_file: str = Field("", alias="SERVER_TLS_KEY_FILE")
    tls_root_ca: str = Field("", alias="SERVER_TLS_ROOT_CA", repr=False)
    tls_root_ca_file: str = Field("", alias="SERVER_TLS_ROOT_CA_FILE")
    tls_server_name: str = Field("", alias="SERVER_TLS_SERVER_NAME")

    # Logs
    logger_level: Annotated[str, _one_of(*LOG_LEVELS)] = Field("info", alias="SERVER_LOGGER_LEVEL")
    logger_format: Annotated[str, _one_of("json", "console")] = Field("json", alias="SERVER_LOGGER_FORMAT")

    postgres_programs: Path | None = Field(None, alias="HATCHET_POSTGRES_BIN")
    """Directory with the postgres and initdb of the embedded server, when the wheel's are not wanted."""

    @classmethod
    def from_environment(cls, env: Mapping[str, str] | None = None) -> Self:
        """Read ``env``, by default the process's environment.

        Raises :class:`InvalidArgument` that names every wrong variable, its value unless it is a secret, and what is
        accepted.
        """
        source = os.environ if env is None else env
        known = {field.alias for field in cls.model_fields.values()}
        values: dict[str, Any] = {name: value for name, value in source.items() if name in known and value.strip()}
        chosen = values.get("HATCHET_DATA_DIR")
        values["HATCHET_DATA_DIR"] = Path(chosen).expanduser() if chosen else default_data_dir(source)
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            raise InvalidArgument("\n".join(_complaints(error, values))) from error
        settings._refuse_contradictions()
        return settings

    def database_dsn(self) -> str | None:
        """Connection text of the external database, or ``None`` when the embedded one is wanted.

        ``DATABASE_URL`` wins over ``DATABASE_POSTGRES_*``; one of the latter is enough to mean an external database.
        Behind PgBouncer the direct address is used: sessions hold listeners and locks.
        """
        if self.database_pgbouncer:
            return self.database_direct_url
        if self.database_url:
            return self.database_url
        if not any(name in self.model_fields_set for name in _DATABASE_PARTS):
            return None
        user, password = (quote(text, safe="") for text in (self.database_username, self.database_password))
        query = {"sslmode": self.database_ssl_mode}
        host = self.database_host
        if host.startswith("/"):
            query, host = {"host": host, "port": str(self.database_port), **query}, ""
        else:
            host = f"[{host}]" if ":" in host and not host.startswith("[") else host
            host = f"{host}:{self.database_port}"
        return f"postgresql://{user}:{password}@{host}/{quote(self.database_name, safe='')}?{urlencode(query)}"

    @property
    def database_pool(self) -> tuple[int, int]:
        """Fewest and most connections."""
        return min(self.database_min_connections, self.database_max_connections), self.database_max_connections

    @property
    def embedded_dir(self) -> Path:
        """The directory of the embedded database."""
        return self.data_dir / "postgres"

    @property
    def tls_strategy(self) -> str:
        """``tls``, ``mtls`` or ``none``: plaintext by choice, or unasked while only this machine can connect."""
        if self.grpc_insecure:
            return "none"
        if self.tls_strategy_chosen:
            return self.tls_strategy_chosen
        silent = "grpc_insecure" not in self.model_fields_set and not (self.tls_cert or self.tls_cert_file)
        return "none" if silent and self.grpc_bind_address in _LOOPBACK else "tls"

    def broadcast_address(self, port: int | None = None) -> str:
        """What tokens name as the gRPC address. ``port`` is the one in use, when any free one was asked for."""
        if self.grpc_broadcast_address:
            return self.grpc_broadcast_address
        host = "127.0.0.1" if self.grpc_bind_address in _ANYWHERE else self.grpc_bind_address
        return f"{f'[{host}]' if ':' in host else host}:{port or self.grpc_port}"

    def server_url(self, port: int | None = None) -> str:
        """What tokens name as the address of the API and the dashboard, without a slash at the end."""
        return self.url or f"http://localhost:{port or self.port}"

    def _refuse_contradictions(self) -> None:
        if self.database_pgbouncer and not self.database_direct_url:
            raise InvalidArgument(
                "DATABASE_PGBOUNCER_ENABLED needs DATABASE_DIRECT_URL, the address of the database itself."
            )
        asked_minimum = "database_min_connections" in self.model_fields_set
        if asked_minimum and self.database_min_connections > self.database_max_connections:
            raise InvalidArgument(
                f"DATABASE_MIN_CONNS is {self.database_min_connections}, more than DATABASE_MAX_CONNS, which is "
                f"{self.database_max_connections}."
            )


_DATABASE_PARTS = (
    "database_host",
    "database_port",
    "database_username",
    "database_password",
    "database_name",
    "database_ssl_mode",
)


def read_settings(env: Mapping[str, str] | None = None) -> Settings:
    """:meth:`Settings.from_environment`."""
    return Settings.from_environment(env)


def _complaints(error: ValidationError, values: Mapping[str, Any]) -> list[str]:
    """One line for each wrong variable; of the branches of a union only the first speaks."""
    hidden = {field.alias for field in Settings.model_fields.values() if not field.repr}
    lines: dict[str, str] = {}
    for detail in error.errors():
        name = str(detail["loc"][0])
        reason = str(detail.get("ctx", {}).get("error") or detail["msg"])
        shown = "has a value that cannot be used" if name in hidden else f"is {str(values.get(name))[:100]!r}"
        lines.setdefault(name, f"{name} {shown}: {reason}.")
    return list(lines.values())
