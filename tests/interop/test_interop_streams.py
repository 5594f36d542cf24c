"""Streams and logs of tasks."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from official_session import Session

from support.engine_process import EngineProcess
from support.program import wait_until

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("repetition", range(5))
def test_c_7_46_every_chunk_arrives_once_and_in_order(session: Session, repetition: int) -> None:
    run_id, chunks = session.client.ask("stream", "recites", {"n": 300})
    assert chunks == [f"<chunk {number}>" for number in range(300)]
    assert session.client.ask("aio_result_of", "recites", run_id) == {"chunks": 300}


def test_c_7_43_the_order_is_kept_for_each_task_of_a_run(session: Session) -> None:
    _, chunks = session.client.ask("stream", "duet", {"n": 40})
    for voice in "ab":
        assert [chunk for chunk in chunks if chunk[0] == voice] == [f"{voice}{number} " for number in range(40)]
    assert len(chunks) == 80


def test_c_7_36_a_run_that_has_ended_gives_nothing(session: Session) -> None:
    run_id, chunks = session.client.ask("stream", "recites", {"n": 3})
    assert len(chunks) == 3
    # For a moment the engine still serves who comes late (C-7.45).
    wait_until(lambda: session.client.ask("stream_of", run_id) == [], "nothing is left to hear")


def stored_lines(engine: EngineProcess, task_id: str) -> set[tuple[str, str]]:
    """Level and message of the lines that the engine has kept of a task."""

    async def read() -> set[tuple[str, str]]:
        connection = await asyncpg.connect(engine.runtime.dsn)
        try:
            rows = await connection.fetch("SELECT level, message FROM task_log WHERE task_id = $1", task_id)
        finally:
            await connection.close()
        return {(row["level"], row["message"]) for row in rows}

    return asyncio.run(read())


def test_c_13_6_lines_are_kept_and_the_worker_has_nothing_to_warn_of(session: Session) -> None:
    engine = session.engine
    assert engine is not None
    [worker] = [worker for worker in session.workers if worker.name == "one"]
    before = len(worker.text())
    task_id = session.client.ask("aio_run", "writes", {"text": "a line"}, {})["task"]
    wanted = {
        ("INFO", "a line with the context"),
        ("INFO", "a line with the context, async"),
        ("WARN", "a line with a logger"),
    }
    wait_until(lambda: stored_lines(engine, task_id) >= wanted, "the engine has the lines")
    said = worker.text()[before:]
    assert "a line with the context" in said
    assert "Traceback" not in said
    assert "UNIMPLEMENTED" not in said
