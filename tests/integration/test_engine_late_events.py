"""A sleep decides about a task only when no event came before its end, whatever happened meanwhile (C-8.38)."""

from __future__ import annotations

from typing import Any

import pytest
from engine_fixture import Instance, World, on_event, sleep, waits
from engine_worker import Worker, until

from hatchet.core.conditions import Action as Does
from hatchet.core.errors import Unavailable
from hatchet.core.statuses import RunStatus
from hatchet.engine import waits as waits_module

OK = '{"ok":true}'
SKIPPED = '{"skipped":true}'


async def listening(one: Instance, worker: Worker) -> str:
    """A run whose task ``b`` waits for the event ``e``."""
    run_id = await one.run("dag")
    await worker.complete(await worker.task("a", run_id=run_id))
    await until(lambda: len(one.scheduler.runs.waits) == 1, "the task listens")
    await one.scheduler.runs.waits._looks.drain()
    return run_id


def refuse(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """The waits cannot reach the database with these."""

    async def refused(*args: Any) -> Any:
        raise Unavailable("the database does not answer")

    for name in names:
        monkeypatch.setattr(waits_module, name, refused)


@pytest.mark.parametrize("does", [Does.SKIP, Does.CANCEL])
async def test_an_event_counts_whose_match_got_lost_with_the_owner(
    world: World, monkeypatch: pytest.MonkeyPatch, does: Does
) -> None:
    one = await world.engine()
    waiting = waits(on_event("e"), sleep("30s", does, 1), parents=("a",))
    run_id = await listening(one, await one.dag_worker(await one.define_dag(a=(), b=waiting)))
    with monkeypatch.context() as patched:
        refuse(patched, "append_matches")
        await one.push("e", '{"v":1}')
        await one.kill()
    # The next owner comes when the sleep is long over.
    two = await world.engine(skipped=60)
    worker = await two.dag_worker(await two.define_dag(a=(), b=waiting))
    b = await worker.task("b", run_id=run_id)
    assert '"triggers":{"e":{"v":1}}' in b.payload
    await worker.complete(b)
    await two.ended(run_id, RunStatus.COMPLETED)
    await two.empty()


async def test_a_sleep_beside_a_wait_still_decides_after_a_take_over(world: World) -> None:
    one = await world.engine()
    waiting = waits(on_event("e"), sleep("30s", Does.SKIP, 1), parents=("a",))
    run_id = await listening(one, await one.dag_worker(await one.define_dag(a=(), b=waiting)))
    await one.kill()
    two = await world.engine(skipped=60)
    # This event came after the sleep: it changes nothing.
    await two.push("e")
    await two.ended(run_id, RunStatus.COMPLETED)
    assert await two.outcomes(run_id) == {"a": OK, "b": SKIPPED}
    await two.empty()


async def test_an_event_counts_that_came_before_the_database_went_away(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits_module, "RETRY_SECONDS", 0.02)
    waiting = waits(on_event("e"), sleep("30s", Does.SKIP, 1), parents=("a",))
    worker = await one.dag_worker(await one.define_dag(a=(), b=waiting))
    run_id = await listening(one, worker)
    with monkeypatch.context() as patched:
        refuse(patched, "append_matches", "events_since")
        await one.push("e", '{"v":1}')
        await one.pass_time(31, worker)
        await one.watched()
        # Whoever asks meanwhile hears what will be.
        assert await one.status(run_id) is RunStatus.RUNNING
        assert worker.begun() == [("a", 0)]
    b = await worker.task("b", run_id=run_id)
    assert '"triggers":{"e":{"v":1}}' in b.payload
    await worker.complete(b)
    await one.ended(run_id, RunStatus.COMPLETED)
    await one.empty()


async def test_the_first_event_counts_and_not_the_one_that_came_while_the_engine_looked_back(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits_module, "RETRY_SECONDS", 0.02)
    worker = await one.dag_worker(await one.define_dag(a=(), b=waits(on_event("e"), parents=("a",))))
    with monkeypatch.context() as patched:
        refuse(patched, "events_since")
        run_id = await one.run("dag")
        await worker.complete(await worker.task("a", run_id=run_id))
        await one.push("e", '{"v":1}')
        await until(lambda: len(one.scheduler.runs.waits) == 1, "the task listens")
        await one.push("e", '{"v":2}')
    assert '"triggers":{"e":{"v":1}}' in (await worker.task("b", run_id=run_id)).payload
