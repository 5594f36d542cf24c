"""The client's configuration: constructor, environment, .env files, profile, token, in this order."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from enum import Enum
from typing import overload

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from tenacity import RetryCallState, wait_exponential_jitter
from tenacity.wait import wait_base

from hatchet_sdk.exceptions import ConfigurationError
from hatchet_sdk.profiles import find_profile, profile_file
from hatchet_sdk.token import extract_claims_from_jwt

DEFAULT_HOST_PORT = "localhost:7070"
DEFAULT_SERVER_URL = "https://app.dev.hatchet-tools.com"
DEFAULT_SYNC_RESULT_POLL_INTERVAL_SECONDS = 1.0
ENV_FILES = (".env", ".env.hatchet", ".env.dev", ".env.local")
FOUR_MIB = 4 * 1024 * 1024

logger = logging.getLogger("hatchet_sdk")


def create_settings_config(env_prefix: str) -> SettingsConfigDict:
    """How every settings class reads: variables with this prefix, then the .env files, a later file over an earlier."""
    return SettingsConfigDict(
        env_prefix=env_prefix, env_file=ENV_FILES, extra="ignore", arbitrary_types_allowed=True, env_ignore_empty=True
    )


class HTTPMethod(str, Enum):  # noqa: UP042  # StrEnum prints differently
    GET = "GET"
    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"
    DELETE = "DELETE"
    HEAD = "HEAD"
    OPTIONS = "OPTIONS"


class ClientTLSConfig(BaseSettings):
    """Transport security: ``tls`` (default), ``mtls`` (all three files) or ``none`` (plain text) (C-1.17)."""

    model_config = create_settings_config("HATCHET_CLIENT_TLS_")

    strategy: str = "tls"
    cert_file: str | None = None
    key_file: str | None = None
    root_ca_file: str | None = None
    server_name: str = ""


class HealthcheckConfig(BaseSettings):
    """The worker's own health endpoint."""

    model_config = create_settings_config("HATCHET_CLIENT_WORKER_HEALTHCHECK_")

    port: int = 8001
    enabled: bool = False
    event_loop_block_threshold_seconds: timedelta = timedelta(seconds=5)
    bind_address: str | None = "0.0.0.0"

    @field_validator("event_loop_block_threshold_seconds", mode="before")
    @classmethod
    def validate_event_loop_block_threshold_seconds(cls, value: timedelta | int | float | str) -> timedelta:
        """A number, also as text, means seconds."""
        return value if isinstance(value, timedelta) else timedelta(seconds=float(value))

    @field_validator("bind_address", mode="after")
    @classmethod
    def validate_bind_address(cls, value: str | None) -> str | None:
        """An empty text means every interface, like None."""
        return value or None


def tenacity_before_sleep(retry_state: RetryCallState) -> None:
    """Log that a call is tried again, and when."""
    outcome, action = retry_state.outcome, retry_state.next_action
    if outcome is None or action is None:
        return
    logger.debug(
        "attempt %d failed, next one in %.1f s: %r", retry_state.attempt_number, action.sleep, outcome.exception()
    )


class TenacityConfig(BaseSettings):
    """How often and how far apart failed calls are repeated (C-1.11)."""

    model_config = create_settings_config("HATCHET_CLIENT_TENACITY_")

    max_attempts: int = 5
    retry_429: bool = False
    retry_not_found: bool = False
    retry_transport_errors: bool = False
    retry_transport_methods: list[HTTPMethod] = [HTTPMethod.GET, HTTPMethod.DELETE]
    wait: type[wait_base] = wait_exponential_jitter
    before_sleep: Callable[[RetryCallState], None] = tenacity_before_sleep


class ClientConfig(BaseSettings):
    """Everything a client needs to reach its engine; only a token is required.

    Without one in the constructor, the environment or a .env file, the profile that `hatchet server start` wrote is
    used. Raises ``ConfigurationError`` when there is no token at all or it is malformed.
    """

    model_config = create_settings_config("HATCHET_CLIENT_")

    token: str = Field(default="", repr=False)
    logger: logging.Logger = logging.getLogger()
    debug: bool = False
    tenant_id: str = ""
    host_port: str = DEFAULT_HOST_PORT
    server_url: str = DEFAULT_SERVER_URL
    namespace: str = ""
    tls_config: ClientTLSConfig = Field(default_factory=ClientTLSConfig)
    healthcheck: HealthcheckConfig = Field(default_factory=HealthcheckConfig)
    listener_v2_timeout: int | None = None
    grpc_max_recv_message_length: int = FOUR_MIB
    grpc_max_send_message_length: int = FOUR_MIB
    worker_preset_labels: dict[str, str] = Field(default_factory=dict)
    enable_force_kill_sync_threads: bool = False
    enable_thread_pool_monitoring: bool = False
    terminate_worker_after_num_tasks: int | None = None
    disable_log_capture: bool = False
    log_queue_size: int = 1000
    force_shutdown_on_shutdown_signal: bool = False
    tenacity: TenacityConfig = Field(default_factory=TenacityConfig)
    sync_result_poll_interval: float = Field(default=DEFAULT_SYNC_RESULT_POLL_INTERVAL_SECONDS, ge=1.0)

    @field_validator("namespace", mode="after")
    @classmethod
    def validate_namespace(cls, namespace: str) -> str:
        """Lower case, with a trailing underscore unless empty (C-1.24)."""
        namespace = namespace.lower()
        return f"{namespace}_" if namespace and not namespace.endswith("_") else namespace

    @model_validator(mode="after")
    def _complete(self) -> ClientConfig:
        given = set(self.model_fields_set)
        if not self.token:
            self._use_profile(given)
        claims = extract_claims_from_jwt(self.token)
        self.tenant_id = claims.sub
        if "host_port" not in given:
            self.host_port = claims.grpc_broadcast_address
        if "server_url" not in given:
            self.server_url = claims.server_url
        return self

    def _use_profile(self, given: set[str]) -> None:
        """Take token and addresses from the profile; what was set elsewhere stays."""
        profile = find_profile()
        if profile is None:
            raise ConfigurationError(
                "no API token: set HATCHET_CLIENT_TOKEN (`hatchet-admin token create` or the dashboard issue one), or "
                f"run `hatchet server start`, which writes the profile 'local' to {profile_file()}"
            )
        self.token = profile.token
        if profile.grpc_address and "host_port" not in given:
            self.host_port = profile.grpc_address
            given.add("host_port")
        if profile.api_url and "server_url" not in given:
            self.server_url = profile.api_url
            given.add("server_url")
        if profile.tls_strategy and "tls_config" not in given and "strategy" not in self.tls_config.model_fields_set:
            self.tls_config.strategy = profile.tls_strategy

    @overload
    def apply_namespace(self, resource_name: str, namespace_override: str | None = None) -> str: ...

    @overload
    def apply_namespace(self, resource_name: None, namespace_override: str | None = None) -> None: ...

    def apply_namespace(self, resource_name: str | None, namespace_override: str | None = None) -> str | None:
        """``resource_name`` with the namespace before it, unless it is there already (C-1.24)."""
        if resource_name is None:
            return None
        namespace = self.validate_namespace(namespace_override) if namespace_override else self.namespace
        return resource_name if resource_name.startswith(namespace) else f"{namespace}{resource_name}"
