"""Payloads inside the bodies of answers (behaviour-rest R-10.6)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hatchet.rest.json_bodies import object_of


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"a":{"b":[null,1.5]}}', {"a": {"b": [None, 1.5]}}),
        ("[1]", {}),
        ('"text"', {}),
        ("null", {}),
        ("", {}),
        (None, {}),
        ('{"half":"a\\ud800b"}', {"half": "a?b"}),
        ('{"\\udfff":1}', {"?": 1}),
        ('{"big":1e999,"small":-1e999}', {"big": "1e999", "small": "-1e999"}),
    ],
)
def test_r_10_6_objects_that_an_answer_can_hold(text: str | None, shown: dict[str, Any]) -> None:
    assert object_of(text) == shown
    json.dumps(object_of(text), allow_nan=False, ensure_ascii=False).encode()
