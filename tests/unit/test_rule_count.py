"""`make rules` counts a rule only when a test names it."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "scripts" / "rules.py"
spec = importlib.util.spec_from_file_location("rules_script", PATH)
assert spec is not None
assert spec.loader is not None
script = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = script
spec.loader.exec_module(script)


def named(source: str) -> set[str]:
    return {rule for _, rules in script.named_in(source) for rule in rules}


@pytest.mark.parametrize(
    ("source", "rules"),
    [
        ("def test_c_8_13_an_event(): ...", {"C-8.13"}),
        ("def test_c8_13_an_event(): ...", {"C-8.13"}),
        ("async def test_c_5_26_twice_and_c_5_27_once(): ...", {"C-5.26", "C-5.27"}),
        ("def test_c_6_22_factor_2_and_maximum_10(): ...", {"C-6.22"}),
        ("def test_c_3_9_to_c_3_11_a_range(): ...", {"C-3.9", "C-3.11"}),
        ("class TestOne:\n    def test_c_1_1_in_a_class(self): ...", {"C-1.1"}),
        ("async def test_d_8_2_a_replay_and_c_5_1_an_action(): ...", {"D-8.2", "C-5.1"}),
        ('def test_one():\n    """As C-8.13 says."""', {"C-8.13"}),
        ('def test_one():\n    """D-15.3 and D-15.17."""', {"D-15.3", "D-15.17"}),
        ("def test_one():\n    # C-8.13: at once\n    assert True", {"C-8.13"}),
        ("@parametrize(  # C-4.2\n    1\n)\ndef test_one(): ...", {"C-4.2"}),
        ('@rule(key=1)\ndef an_event(self):\n    """C-8.25."""', {"C-8.25"}),
        ('@invariant()\ndef it_ends(self):\n    """C-6.19."""', {"C-6.19"}),
    ],
)
def test_what_counts(source: str, rules: set[str]) -> None:
    assert named(source) == rules


@pytest.mark.parametrize(
    "source",
    [
        '"""All of C-8.1 to C-8.9."""',
        "# C-8.13\ndef test_one(): ...",
        'def helper_c_8_13():\n    """C-8.13"""',
        'def test_one():\n    text = "C-8.13"',
        "def test_public_8_13(): ...",
        'def test_one():\n    """Not of R-8.13 nor of AC-8.13."""',
        "def test_and_8_13(): ...",
        'def test_one():\n    """Not of CD-8.13 nor of E-8.13."""',
    ],
)
def test_what_does_not_count(source: str) -> None:
    assert named(source) == set()


def test_every_rule_that_our_tests_name_exists_and_every_reason_is_for_a_rule() -> None:
    rules = script.load()
    assert set(script.named()) <= set(rules.tags)
    assert set(rules.reasons) <= set(rules.tags)
    assert rules.section("C-8")[:2] == ["C-8.1", "C-8.2"]
    assert rules.section("D-1")[:2] == ["D-1.1", "D-1.2"]
    assert (len(rules.section("D-29")), all(map(rules.section, script.SECTIONS))) == (9, True)


def test_rules_are_extracted_from_several_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    core, durable, wanted = tmp_path / "core.md", tmp_path / "durable.md", tmp_path / "rules.json"
    core.write_text("- C-1.10 Ten. [doc]\n- C-1.2 Two, T: tested\n  further. [client]")
    durable.write_text("- D-2.1 One. [verified]\n\n# Not a rule\n- X-1.1 no [doc]\n")
    monkeypatch.setattr(script, "RULES", wanted)
    script.extract([durable, core])
    assert json.loads(wanted.read_text()) == {
        "rules": {"C-1.2": ["client", "T"], "C-1.10": ["doc"], "D-2.1": ["verified"]},
        "not_for_tests": [],
    }
    # The order is that of the numbers, and the parts follow each other.
    assert list(json.loads(wanted.read_text())["rules"]) == ["C-1.2", "C-1.10", "D-2.1"]


def test_the_table_adds_up() -> None:
    numbers: dict[str, list[str]] = {"D-1.1": [], "C-1.1": [], "C-1.2": ["T"], "C-1.3": [], "C-10.1": []}
    rules = script.Rules(numbers, {"C-1.2": "later", "C-1.3": "later"})
    table = [line.split() for line in script.table(rules, ["C-1.1", "C-1.2"]).splitlines()]
    assert table[1:] == [
        ["C-1", "3", "2", "1", "0"],
        ["C-10", "1", "0", "0", "1"],
        ["D-1", "1", "0", "0", "1"],
        ["all", "5", "2", "1", "2"],
    ]
    listed = script.uncovered(rules, ["C-1.1"], ["C-1", "C-10"])
    assert "C-1 uncovered: none" in listed
    assert "C-1 set aside: C-1.2, C-1.3: later" in listed
    assert "C-10 uncovered: C-10.1 []" in listed
