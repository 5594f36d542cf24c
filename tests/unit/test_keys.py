"""Key sets: the generated file, the accepted formats, and the errors for everything else (C-1.6)."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from hatchet.core.errors import FailedPrecondition, InvalidArgument
from hatchet.engine.keyfile import FILE_NAME, KeySource, load, load_or_create, write_new
from hatchet.engine.keys import KeySet, generate, parse_key_set, parse_public_keys, to_json

VARIABLE = "SERVER_ENCRYPTION_JWT_PRIVATE_KEYSET"


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def public_pem(key: ec.EllipticCurvePublicKey) -> str:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def _load_after(barrier: object, directory: str, answers: object) -> None:
    barrier.wait(30)  # type: ignore[attr-defined]
    answers.put(load_or_create(Path(directory)).primary)  # type: ignore[attr-defined]


def test_c_1_6_first_start_creates_keys_for_the_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "data" / "keys"
    old = os.umask(0)
    try:
        made = load_or_create(directory)
    finally:
        os.umask(old)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / FILE_NAME).stat().st_mode) == 0o600
    assert [path.name for path in directory.iterdir()] == [FILE_NAME]
    assert load_or_create(directory).primary == made.primary


def test_keys_that_others_could_read_become_private(tmp_path: Path) -> None:
    load_or_create(tmp_path)
    (tmp_path / FILE_NAME).chmod(0o644)
    load_or_create(tmp_path)
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


def test_two_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(3), context.Queue()
    processes = [context.Process(target=_load_after, args=(barrier, str(tmp_path / "k"), answers)) for _ in range(3)]
    for process in processes:
        process.start()
    kids = {answers.get(timeout=60) for _ in processes}
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    assert kids == {load_or_create(tmp_path / "k").primary}
    assert [path.name for path in (tmp_path / "k").iterdir()] == [FILE_NAME]


def test_a_second_writer_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert write_new(path, "first")
    assert not write_new(path, "second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_system_without_hard_links_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    assert write_new(tmp_path / "file", "first")
    assert not write_new(tmp_path / "file", "second")
    assert (tmp_path / "file").read_text() == "first"


def test_a_data_directory_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file where the folder should be")
    with pytest.raises(FailedPrecondition, match=f"{VARIABLE}_FILE"):
        load_or_create(tmp_path / "keys")


def test_json_round_trip_keeps_several_keys_and_the_primary_one() -> None:
    first, second = generate(), generate()
    both = KeySet(second.primary, {**first.keys, **second.keys})
    read = parse_key_set(to_json(both, private=True), source=VARIABLE)
    assert read.primary == second.primary
    assert set(read.keys) == {first.primary, second.primary}
    assert read.signing_key.private_numbers() == second.signing_key.private_numbers()


def test_public_json_holds_no_private_part() -> None:
    keys = generate()
    text = to_json(keys, private=False)
    assert all("d" not in member for member in json.loads(text)["keys"])
    [key] = parse_public_keys(text, source="x")
    assert key.private is None
    with pytest.raises(InvalidArgument, match="no private key"):
        parse_key_set(text, source=VARIABLE)


def test_pem_is_read_and_the_same_key_has_the_same_kid() -> None:
    key, older = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    keys = parse_key_set(pem(key) + public_pem(older.public_key()), source=VARIABLE)
    assert parse_key_set(pem(key), source="elsewhere").primary == keys.primary
    assert len(keys.keys) == 2
    assert keys.signing_key.private_numbers() == key.private_numbers()


def test_traditional_ec_pem_is_read() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()
    assert parse_key_set(text, source=VARIABLE).signing_key.private_numbers() == key.private_numbers()


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "{",
        "{}",
        '{"keys": []}',
        '{"keys": "x"}',
        '{"keys": [{"kty": "EC", "crv": "P-256"}]}',
        '{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}',
        '{"primaryKeyId": 1, "key": [{"keyData": {}}]}',
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        pem(ec.generate_private_key(ec.SECP384R1())),
        pem(rsa.generate_private_key(65537, 2048)),
    ],
    ids=lambda text: text[:30],
)
def test_anything_else_names_the_variable_and_the_formats(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_key_set(text, source=VARIABLE)
    assert VARIABLE in caught.value.message
    assert "PEM" in caught.value.message
    assert "JSON key set" in caught.value.message


def test_a_bad_key_is_not_quoted_in_the_error() -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_key_set('{"keys": [{"kty": "EC", "crv": "P-256", "d": "verysecret"}]}', source=VARIABLE)
    assert "verysecret" not in caught.value.message
    assert caught.value.__cause__ is None


def test_a_primary_that_is_not_there_is_an_error() -> None:
    document = json.loads(to_json(generate(), private=True)) | {"primary": "other"}
    with pytest.raises(InvalidArgument, match='"other"'):
        parse_key_set(json.dumps(document), source=VARIABLE)


def test_settings_win_over_the_folder_and_a_text_over_a_file(tmp_path: Path) -> None:
    by_text, by_file = generate(), generate()
    file = tmp_path / "set.json"
    file.write_text(to_json(by_file, private=True))
    directory = tmp_path / "keys"
    text = to_json(by_text, private=True)
    assert load(KeySource(directory=directory, private_file=str(file))).primary == by_file.primary
    assert load(KeySource(directory=directory, private_text=text, private_file=str(file))).primary == by_text.primary
    assert not directory.exists()


def test_a_public_key_set_adds_keys_that_verify(tmp_path: Path) -> None:
    own, older = generate(), generate()
    source = KeySource(
        directory=tmp_path, private_text=to_json(own, private=True), public_text=to_json(older, private=False)
    )
    keys = load(source)
    assert keys.primary == own.primary
    assert keys.public_key(older.primary) is not None
    assert keys.public_key("unknown") is None


def test_a_key_file_that_is_not_there_names_variable_and_path(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=rf"{VARIABLE}_FILE .*missing\.json.*No such file"):
        load(KeySource(directory=tmp_path, private_file=str(tmp_path / "missing.json")))
