"""A directory and the processes of one chaos test; their logs are shown when it fails."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Chaos


@pytest.fixture
def chaos(request: pytest.FixtureRequest) -> Iterator[Chaos]:
    with tempfile.TemporaryDirectory(prefix="hatchet-chaos-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o755)
        failed_before = request.session.testsfailed
        made = Chaos(directory)
        try:
            yield made
        finally:
            if request.session.testsfailed > failed_before:
                print(made.tails())
            made.close()
