"""Checks of JSON payload texts (behaviour-core C-4.8, C-4.10, C-5.31)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatchet.core.errors import InvalidArgument
from hatchet.core.json_texts import check_json, check_json_object, normal_input, normal_metadata

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("text", ["{}", "null", "[1]", '"x"', " 1.5e3 ", '{"a": "\\ud800"}', "1e400", "9" * 5000])
def test_c_4_8_what_the_grammar_allows_is_accepted(text: str) -> None:
    check_json(text, "input")


@pytest.mark.parametrize(
    "text", ["", "{", "{'a': 1}", "NaN", "[Infinity]", '{"a": 1,}', '"a\x00"', "[" * 100_000, "\ufeff{}"]
)
def test_c_4_8_invalid_json_names_the_field(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^invalid json in field input: "):
        check_json(text, "input")


@pytest.mark.parametrize("text", ['"\\u0000"', '{"\\u0000": 1}', '["a\\\\\\u0000"]', '"x\\u0000\\\\u0000"'])
@pytest.mark.parametrize("check", [check_json, lambda text, field: check_json_object(f'{{"a":{text}}}', field)])
def test_c_4_8_null_character_is_refused(check, text: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidArgument, match=r"field output: .*null character"):
        check(text, "output")


@pytest.mark.parametrize("text", ['"\\\\u0000"', '"\\\\\\\\u0000"', '{"a\\\\u0000": "\\\\u0000"}'])
def test_c_4_8_an_escaped_backslash_before_u0000_is_legal(text: str) -> None:
    check_json(text, "input")


@given(ANY_JSON)
def test_c_4_8_the_answer_agrees_with_a_parser(value: object) -> None:
    text = json.dumps(value)
    if _has_null(value):
        with pytest.raises(InvalidArgument):
            check_json(text, "input")
    else:
        check_json(text, "input")


def _has_null(value: object) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, list):
        return any(map(_has_null, value))
    if isinstance(value, dict):
        return any("\x00" in key or _has_null(inner) for key, inner in value.items())
    return False


@pytest.mark.parametrize("text", ["null", "[]", '"a"', "1", "{", '{"a": "\\ud800"}', '{"a": 1e400}'])
def test_c_4_10_metadata_must_be_a_storable_object(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^invalid json in field additional_metadata: "):
        normal_metadata(text)


@pytest.mark.parametrize("number", ["1e-400000", "1e-99999999999999999999", "0." + "1" * 20_000])
def test_metadata_numbers_that_postgresql_refuses_are_refused(number: str) -> None:
    with pytest.raises(InvalidArgument, match="number is too large or too long"):
        normal_metadata(f'{{"a": {number}}}')


def test_digits_in_metadata_texts_are_no_numbers() -> None:
    text = json.dumps({"a": "1" * 2000, "b": "1e9999", "c": 1e300, "d": 5e-324})
    assert normal_metadata(text) == text


def test_c_4_3_and_c_4_10_empty_means_empty_object_and_texts_are_kept_as_given() -> None:
    assert normal_input("") == "{}"
    assert normal_metadata("") == "{}"
    assert normal_input(' {"b": 1,  "a": 2} ') == ' {"b": 1,  "a": 2} '
    assert normal_metadata('{"b":1,"a":2}') == '{"b":1,"a":2}'
