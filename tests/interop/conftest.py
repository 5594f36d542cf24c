"""The official client's environment, and one engine with its workers for all tests."""

from __future__ import annotations

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


@pytest.fixture(scope="session")
def engine(python: Path) -> Iterator[EngineProcess]:
    """One engine for all modules that do not bring their own."""
    with tempfile.TemporaryDirectory(prefix="hatchet-interop-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        engine = EngineProcess(directory)
        try:
            engine.launch()
            yield engine
        finally:
            engine.stop()


@pytest.fixture(scope="session")
def the_session(python: Path, engine: EngineProcess) -> Iterator[Session]:
    """The official worker ``one`` (all but ``long``) and ``keeper`` (only ``long``), connected, and the client."""
    session = Session(python, engine.data_dir.parent, engine.client_environment(engine.token()))
    try:
        workers = [session.worker("one"), session.worker("keeper", 5, "long")]
        for worker in workers:
            session.await_worker(worker)
        yield session
    finally:
        session.close()


@pytest.fixture
def session(the_session: Session, engine: EngineProcess, request: pytest.FixtureRequest) -> Iterator[Session]:
    """The session that all tests share; what its programs said last is shown when a test failed."""
    failed_before = request.session.testsfailed
    yield the_session
    if request.session.testsfailed > failed_before:
        print(engine.tail(), *(worker.tail() for worker in the_session.workers), sep="\n")
