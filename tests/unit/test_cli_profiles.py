"""The profiles file and ``hatchet profile`` (behaviour-rest R-36)."""

from __future__ import annotations

import base64
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from hatchet.cli import probe, profile_commands, profiles
from hatchet.core.errors import FailedPrecondition, HatchetError, InvalidArgument, NotFound

TENANT = "707d0855-80ab-4e1f-a156-f1c4546cbf52"


def token_of(**claims: object) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    body = {"sub": TENANT, "server_url": "http://localhost:8888", "grpc_broadcast_address": "localhost:7077"}
    return f"{part({'alg': 'ES256'})}.{part({**body, 'exp': 1_750_000_000, **claims})}.c2lnbmF0dXJl"


@pytest.fixture(autouse=True)
def hatchet_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HATCHET_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "tls_strategy", lambda profile: "none")
    monkeypatch.setattr(probe, "tenant_name", lambda profile: "Default")


def profile(name: str = "local", **claims: object) -> profiles.Profile:
    return profiles.from_token(token_of(**claims), name=name, tls_strategy="none")


def add(*names: str, default: str | None = None) -> None:
    with profiles.changing() as known:
        for name in names:
            known.put(profile(name))
        known.default = default


def run(*arguments: str) -> str:
    result = CliRunner().invoke(profile_commands.app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_r_36_2_file_is_private_and_has_the_keys_that_the_sdk_reads(hatchet_home: Path) -> None:
    add("local", default="local")
    assert stat.S_IMODE(hatchet_home.stat().st_mode) == 0o700
    assert stat.S_IMODE((hatchet_home / "profiles.yaml").stat().st_mode) == 0o600
    assert yaml.safe_load((hatchet_home / "profiles.yaml").read_text()) == {
        "default": "local",
        "profiles": {
            "local": {
                "name": "local",
                "tenant_id": TENANT,
                "token": token_of(),
                "api_url": "http://localhost:8888",
                "grpc_address": "localhost:7077",
                "expires_at": "2025-06-15T15:06:40+00:00",
                "tls_strategy": "none",
            }
        },
    }


def test_profiles_survive_writing_and_reading() -> None:
    add("local", "prod", default="prod")
    known = profiles.load()
    assert list(known.by_name) == ["local", "prod"]
    assert known.default == "prod"
    assert known.get("local") == profile("local")


def test_no_file_means_no_profiles() -> None:
    assert profiles.load() == profiles.Profiles()


@pytest.mark.parametrize(
    "content", ["- a list", "profiles: {local: {name: local}}", "profiles: 3", "{unclosed", "\x00"]
)
def test_broken_file_is_an_error_that_names_it(hatchet_home: Path, content: str) -> None:
    hatchet_home.mkdir()
    (hatchet_home / "profiles.yaml").write_text(content)
    with pytest.raises(FailedPrecondition, match=r"profiles\.yaml"):
        profiles.load()


def test_nothing_is_written_when_a_change_fails() -> None:
    add("local", default="local")
    with pytest.raises(NotFound), profiles.changing() as known:
        _remove_both(known, "local", "absent")
    assert profiles.load().default == "local"


def test_changes_at_the_same_time_are_all_kept() -> None:
    names = [f"p{number}" for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(add, names))
    assert sorted(profiles.load().by_name) == sorted(names)


def _remove_both(known: profiles.Profiles, *names: str) -> None:
    for name in names:
        known.remove(name)


@pytest.mark.parametrize(
    "pasted",
    [
        "eyJ.a.b",
        "  eyJ.a.b\n",
        'export HATCHET_CLIENT_TOKEN="eyJ.a.b"',
        "export HATCHET_CLIENT_TOKEN='eyJ.a.b';",
        "HATCHET_CLIENT_TOKEN=eyJ.a.b",
        '"eyJ.a.b"',
    ],
)
def test_r_36_3_pasted_token_may_be_wrapped(pasted: str) -> None:
    assert profiles.unwrapped(pasted) == "eyJ.a.b"


@pytest.mark.parametrize(
    "token",
    ["", "nonsense", "ab.cd.ef", "eyJ.only", "eyJ.!!!!.x", "eyJ.W10.x", token_of(sub=7), token_of(server_url="")],
)
def test_what_is_no_api_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgument):
        profiles.from_token(token, name="x", tls_strategy="none")


def test_token_without_end_never_expires() -> None:
    assert profile(exp=None).expires_at is None


def test_token_is_in_no_representation() -> None:
    assert token_of() not in repr(profile())


def test_r_36_5_choice_is_named_then_default_then_the_only_one() -> None:
    known = profiles.Profiles(None, {"a": profile("a"), "b": profile("b")})
    assert known.chosen("a").name == "a"
    with pytest.raises(NotFound, match="a, b"):
        known.chosen(None)
    known.default = "b"
    assert known.chosen(None).name == "b"


def test_r_36_5_removing_the_default_leaves_none() -> None:
    known = profiles.Profiles("b", {"a": profile("a"), "b": profile("b")})
    known.remove("b")
    assert known.default is None
    assert known.chosen(None).name == "a"


def test_r_36_5_without_any_profile_the_error_says_how_to_get_one() -> None:
    with pytest.raises(NotFound, match="hatchet server start"):
        profiles.Profiles().chosen(None)


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "x" * 64])
def test_names_that_cannot_be_one_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument):
        profiles.Profiles().put(profile(name))


@pytest.mark.usefixtures("reachable")
def test_r_36_3_commands() -> None:
    assert "as the default" in run("add", "--name", "one", "--token", token_of())
    assert "default" not in run("add", "-n", "two", "-t", f'export HATCHET_CLIENT_TOKEN="{token_of()}"')
    listed = run("list")
    assert "(default)" in listed.splitlines()[0]
    assert [line.split()[0] for line in listed.splitlines()] == ["one", "two"]
    run("set-default", "--name", "two")
    shown = run("show")
    assert "two (default)" in shown
    assert token_of() not in shown
    assert token_of() in run("show", "--name", "two", "--show-token")
    run("unset-default")
    assert profiles.load().default is None
    run("update", "-n", "one", "-t", token_of(sub="11111111-80ab-4e1f-a156-f1c4546cbf52"))
    assert profiles.load().get("one").tenant_id.startswith("1111")
    run("remove", "--name", "one")
    assert list(profiles.load().by_name) == ["two"]


@pytest.mark.usefixtures("reachable")
@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "--name", "one", "--token", token_of()),
        ("add", "--name", "new"),
        ("add", "--token", token_of()),
        ("remove", "--name", "absent"),
        ("remove",),
        ("set-default", "--name", "absent"),
        ("update", "--name", "absent", "--token", token_of()),
        ("show", "--name", "absent"),
    ],
    ids=lambda arguments: " ".join(arguments)[:24],
)
def test_commands_that_cannot_be_done_change_nothing(arguments: tuple[str, ...]) -> None:
    add("one", default="one")
    before = profiles.path().read_text()
    with pytest.raises(HatchetError):
        run(*arguments)
    assert profiles.path().read_text() == before


def test_r_36_4_profile_name_is_proposed_from_the_tenant() -> None:
    assert probe.slug("My Team & Co.") == "my-team-co"
    assert probe.slug(None) == ""
