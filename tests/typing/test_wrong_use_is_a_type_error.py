"""Wrong use of the SDK is an error of the type checker, with a message that names the mistake; right use is none.

`correct_use.py` must be clean. In `wrong_use.py` every line with `# E: text` must give an error that contains the text,
and no other line may give one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest
from mypy import api

HERE = Path(__file__).parent
EXPECTED = re.compile(r"#\s*E:\s*(.+)$")
REPORTED = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+): error: (?P<text>.*)$")

pytestmark = pytest.mark.slow


def _errors(name: str, cache: Path) -> dict[int, list[str]]:
    config = HERE.parents[1] / "pyproject.toml"
    output, problems, _ = api.run(
        [str(HERE / name), "--config-file", str(config), "--cache-dir", str(cache), "--follow-imports=silent"]
    )
    assert not problems
    errors: dict[int, list[str]] = defaultdict(list)
    for line in output.splitlines():
        match = REPORTED.match(line)
        if match and match["file"].endswith(name):
            errors[int(match["line"])].append(match["text"])
    return errors


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


def test_correct_use_is_clean(cache: Path) -> None:
    assert _errors("correct_use.py", cache) == {}


def test_wrong_use_is_reported_with_its_message(cache: Path) -> None:
    lines = (HERE / "wrong_use.py").read_text().splitlines()
    expected = {i: match[1] for i, line in enumerate(lines, 1) if (match := EXPECTED.search(line))}
    assert expected
    errors = _errors("wrong_use.py", cache)
    assert {line: texts for line, texts in errors.items() if line not in expected} == {}
    for line, text in expected.items():
        assert any(text in found for found in errors[line]), (line, text, errors[line])
