"""The official client's environment and one engine with its worker for a whole module."""

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


@pytest.fixture(scope="module")
def engine(python: Path, request: pytest.FixtureRequest) -> Iterator[EngineProcess]:
    """An engine of the module; its log is shown when a test failed."""
    with tempfile.TemporaryDirectory(prefix="hatchet-interop-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        failed_before = request.session.testsfailed
        engine = EngineProcess(directory)
        try:
            engine.launch()
            yield engine
        finally:
            if request.session.testsfailed > failed_before:
                print(engine.tail())
            engine.stop()


@pytest.fixture(scope="module")
def session(python: Path, engine: EngineProcess, request: pytest.FixtureRequest) -> Iterator[Session]:
    """The official worker ``one`` (all tasks) and ``keeper`` (only ``long``), connected, and the official client."""
    failed_before = request.session.testsfailed
    session = Session(python, engine.data_dir.parent, engine.client_environment(engine.token()))
    try:
        workers = [session.worker("one"), session.worker("keeper", 5, "long")]
        for worker in workers:
            session.await_worker(worker)
        yield session
    finally:
        if request.session.testsfailed > failed_before:
            print(*(worker.tail() for worker in session.workers), sep="\n")
        session.close()
