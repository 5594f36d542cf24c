"""The payload of an assignment."""

from __future__ import annotations

import pytest

from hatchet_sdk.context.payload import ActionPayload, parse_payload


def test_c_5_6_a_null_is_read_as_empty() -> None:
    names = ("input", "parents", "user_data", "overrides", "step_run_errors")
    payload = ActionPayload.model_validate(dict.fromkeys(names))
    assert all(getattr(payload, name) == {} for name in names)


def test_c_5_9_a_parent_without_output_is_an_empty_object() -> None:
    assert ActionPayload.model_validate({"parents": {"a": None, "b": {"x": 1}}}).parents == {"a": {}, "b": {"x": 1}}


def test_unknown_keys_are_kept() -> None:
    assert ActionPayload.model_validate({"new": 1}).model_extra == {"new": 1}


def test_no_text_is_an_empty_payload() -> None:
    assert parse_payload("") == {}


@pytest.mark.parametrize("text", ["[1]", "1", '"x"', "null", "{", "nonsense"])
def test_anything_but_an_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"JSON object|EOF|expected|key"):
        parse_payload(text)
