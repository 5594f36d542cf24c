"""Where the client's settings come from, in which order, and what is said when they cannot work."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from fakes.fake_engine import TENANT, make_token
from hatchet_sdk import ClientConfig, ClientTLSConfig, ConfigurationError, Hatchet, HealthcheckConfig, TenacityConfig
from hatchet_sdk.token import extract_claims_from_jwt, get_addresses_from_jwt, get_tenant_id_from_jwt


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("HATCHET_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HATCHET_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def _profiles(tmp_path: Path, text: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "profiles.yaml").write_text(text)


def _profile(name: str, address: str, tls: str = "none") -> str:
    return (
        f"  {name}:\n    name: {name}\n    tenant_id: {TENANT}\n    token: {make_token(address)}\n"
        f"    api_url: http://{name}:8080\n    grpc_address: {address}\n    tls_strategy: {tls}\n"
    )


# --- token ----------------------------------------------------------------------------------------------------------


def test_c_1_3_claims_give_tenant_and_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    token = make_token("engine:7077")
    monkeypatch.setenv("HATCHET_CLIENT_TOKEN", token)
    config = ClientConfig()
    assert (config.tenant_id, config.host_port, config.server_url) == (TENANT, "engine:7077", "http://localhost:8080")
    assert get_tenant_id_from_jwt(token) == TENANT
    assert get_addresses_from_jwt(token) == ("http://localhost:8080", "engine:7077")


@pytest.mark.parametrize(
    "token", ["secret", "ey.a", "xy.b.c", "ey.!!!.c", "eyJ9.bm90IGpzb24.c", "eyJ9.WzFd.c"], ids=range(6)
)
def test_c_1_1_malformed_tokens_are_refused_before_any_call(token: str) -> None:
    with pytest.raises(ConfigurationError, match="API token is malformed") as caught:
        ClientConfig(token=token)
    assert token not in str(caught.value)


@pytest.mark.parametrize("claim", ["sub", "server_url", "grpc_broadcast_address"])
def test_c_1_4_all_three_claims_are_required(claim: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{claim}'"):
        ClientConfig(token=make_token(**{claim: None}), host_port="a:1", server_url="http://b")
    with pytest.raises(ConfigurationError, match="is missing or not a text"):
        extract_claims_from_jwt(make_token(**{claim: 5}))


def test_no_token_anywhere_says_how_to_get_one() -> None:
    with pytest.raises(ConfigurationError, match=r"HATCHET_CLIENT_TOKEN.*hatchet server start"):
        Hatchet()


def test_the_token_is_not_in_the_representation() -> None:
    token = make_token()
    assert token not in repr(ClientConfig(token=token)) + str(ClientConfig(token=token))


def test_c_1_19_addresses_may_be_set_and_the_tenant_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HATCHET_CLIENT_HOST_PORT", "other:1")
    monkeypatch.setenv("HATCHET_CLIENT_SERVER_URL", "http://other")
    monkeypatch.setenv("HATCHET_CLIENT_TENANT_ID", "not-this")
    config = ClientConfig(token=make_token("engine:7077"))
    assert (config.host_port, config.server_url, config.tenant_id) == ("other:1", "http://other", TENANT)


# --- environment and .env files -------------------------------------------------------------------------------------


def test_every_group_reads_its_own_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "TLS_STRATEGY": "mtls",
        "TLS_ROOT_CA_FILE": "/ca",
        "TLS_SERVER_NAME": "engine",
        "WORKER_HEALTHCHECK_ENABLED": "true",
        "WORKER_HEALTHCHECK_PORT": "9001",
        "WORKER_HEALTHCHECK_EVENT_LOOP_BLOCK_THRESHOLD_SECONDS": "2.5",
        "TENACITY_MAX_ATTEMPTS": "2",
        "GRPC_MAX_SEND_MESSAGE_LENGTH": "1000",
        "NAMESPACE": "Dev",
        "DEBUG": "1",
    }.items():
        monkeypatch.setenv(f"HATCHET_CLIENT_{name}", value)
    config = ClientConfig(token=make_token())
    assert (config.tls_config.strategy, config.tls_config.root_ca_file, config.tls_config.server_name) == (
        "mtls",
        "/ca",
        "engine",
    )
    assert (config.healthcheck.enabled, config.healthcheck.port) == (True, 9001)
    assert config.healthcheck.event_loop_block_threshold_seconds == timedelta(seconds=2.5)
    assert config.tenacity.max_attempts == 2
    assert (config.grpc_max_send_message_length, config.namespace, config.debug) == (1000, "dev_", True)


def test_later_env_files_win_and_the_environment_wins_over_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(f"HATCHET_CLIENT_TOKEN={make_token('one:1')}\nHATCHET_CLIENT_NAMESPACE=one\n")
    (tmp_path / ".env.local").write_text(f"HATCHET_CLIENT_TOKEN={make_token('two:2')}\n")
    assert (ClientConfig().host_port, ClientConfig().namespace) == ("two:2", "one_")
    monkeypatch.setenv("HATCHET_CLIENT_TOKEN", make_token("three:3"))
    assert ClientConfig().host_port == "three:3"
    assert ClientConfig(token=make_token("four:4")).host_port == "four:4"


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HATCHET_CLIENT_TOKEN", "")
    with pytest.raises(ConfigurationError, match="no API token"):
        ClientConfig()


def test_sync_result_poll_interval_is_at_least_a_second() -> None:
    with pytest.raises(ValueError, match="sync_result_poll_interval"):
        ClientConfig(token=make_token(), sync_result_poll_interval=0.5)


def test_healthcheck_values() -> None:
    assert HealthcheckConfig(bind_address="").bind_address is None
    assert HealthcheckConfig(event_loop_block_threshold_seconds=timedelta(1)).event_loop_block_threshold_seconds.days
    assert TenacityConfig().max_attempts == 5


# --- namespace ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "expected"), [("", ""), ("Dev", "dev_"), ("dev_", "dev_"), ("A_b", "a_b_")])
def test_c_1_24_namespaces_are_lower_case_with_a_trailing_underscore(given: str, expected: str) -> None:
    assert ClientConfig(token=make_token(), namespace=given).namespace == expected


def test_c_1_24_the_namespace_is_put_before_names_once() -> None:
    config = ClientConfig(token=make_token(), namespace="ns")
    assert config.apply_namespace("Task") == "ns_Task"
    assert config.apply_namespace("ns_Task") == "ns_Task"
    assert config.apply_namespace("Task", "Other") == "other_Task"
    assert config.apply_namespace(None) is None
    assert ClientConfig(token=make_token()).apply_namespace("Task") == "Task"


# --- profiles -------------------------------------------------------------------------------------------------------


def test_the_profile_local_is_found_without_any_setting(tmp_path: Path) -> None:
    _profiles(tmp_path, "profiles:\n" + _profile("cloud", "cloud:443", "tls") + _profile("local", "127.0.0.1:7077"))
    config = ClientConfig()
    assert (config.host_port, config.server_url, config.tls_config.strategy) == (
        "127.0.0.1:7077",
        "http://local:8080",
        "none",
    )


def test_the_default_profile_wins_over_local_and_the_named_one_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiles = _profile("cloud", "cloud:443", "tls") + _profile("local", "l:1") + _profile("third", "t:1")
    _profiles(tmp_path, "default: cloud\nprofiles:\n" + profiles)
    assert (ClientConfig().host_port, ClientConfig().tls_config.strategy) == ("cloud:443", "tls")
    monkeypatch.setenv("HATCHET_CLI_PROFILE", "third")
    assert ClientConfig().host_port == "t:1"
    monkeypatch.setenv("HATCHET_CLI_PROFILE", "none-such")
    with pytest.raises(ConfigurationError, match=r"'none-such'.*cloud, local, third"):
        ClientConfig()


def test_the_only_profile_is_used_and_two_strangers_are_not(tmp_path: Path) -> None:
    _profiles(tmp_path, "profiles:\n" + _profile("mine", "m:1"))
    assert ClientConfig().host_port == "m:1"
    (tmp_path / "home" / "profiles.yaml").write_text("profiles:\n" + _profile("a", "a:1") + _profile("b", "b:1"))
    with pytest.raises(ConfigurationError, match="no API token"):
        ClientConfig()


def test_settings_win_over_the_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _profiles(tmp_path, "profiles:\n" + _profile("local", "l:1"))
    monkeypatch.setenv("HATCHET_CLIENT_TLS_STRATEGY", "tls")
    monkeypatch.setenv("HATCHET_CLIENT_HOST_PORT", "h:2")
    assert (ClientConfig().tls_config.strategy, ClientConfig().host_port) == ("tls", "h:2")
    monkeypatch.delenv("HATCHET_CLIENT_TLS_STRATEGY")
    assert ClientConfig(tls_config=ClientTLSConfig(strategy="mtls")).tls_config.strategy == "mtls"


def test_a_token_of_the_environment_leaves_the_profile_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _profiles(tmp_path, "profiles:\n" + _profile("local", "l:1"))
    monkeypatch.setenv("HATCHET_CLIENT_TOKEN", make_token("engine:1"))
    assert (ClientConfig().host_port, ClientConfig().tls_config.strategy) == ("engine:1", "tls")


@pytest.mark.parametrize("text", ["- a list", "profiles: 3", "profiles: {local: 3}", "profiles: {local: {}}", "a: [b"])
def test_a_damaged_profile_file_is_named(tmp_path: Path, text: str) -> None:
    _profiles(tmp_path, text)
    with pytest.raises(ConfigurationError, match=r"profiles\.yaml"):
        ClientConfig()


def test_hatchet_shows_what_is_in_effect() -> None:
    hatchet = Hatchet(config=ClientConfig(token=make_token(), namespace="ns"))
    assert (hatchet.namespace, hatchet.tenant_id, hatchet.config.host_port) == ("ns_", TENANT, "localhost:7070")
    assert hatchet.get_current_context() is None
    assert hatchet.current_context is None
