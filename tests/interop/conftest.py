"""The interop programs on an engine, once with the official client and once with our SDK.

Tests that take ``session`` run with both: the same programs, written against the documented interface, do the same.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from official_environment import official_python
from official_session import Session

from support.engine_process import EngineProcess


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter of the official client."""
    return official_python()


@pytest.fixture(scope="session", params=["official", "ours"])
def the_session(request: pytest.FixtureRequest) -> Iterator[Session]:
    """An engine with the workers ``one`` (all but ``long``) and ``keeper`` (only ``long``), connected, and a client."""
    python = Path(sys.executable) if request.param == "ours" else request.getfixturevalue("python")
    with tempfile.TemporaryDirectory(prefix="hatchet-interop-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        engine = EngineProcess(directory)
        try:
            engine.launch()
            session = Session(python, directory, engine.client_environment(engine.token()))
            try:
                workers = [session.worker("one"), session.worker("keeper", 5, "long")]
                for worker in workers:
                    session.await_worker(worker)
                session.engine = engine
                yield session
            finally:
                session.close()
        finally:
            engine.stop()


@pytest.fixture
def session(the_session: Session, request: pytest.FixtureRequest) -> Iterator[Session]:
    """The session that all tests share; what its programs said last is shown when a test failed."""
    failed_before = request.session.testsfailed
    yield the_session
    if request.session.testsfailed > failed_before:
        programs = [the_session.engine, *the_session.workers]
        print(*(program.tail() for program in programs if program is not None), sep="\n")
