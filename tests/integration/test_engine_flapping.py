"""Lines that break again and again (behaviour-core C-2.14 to C-2.19, C-2.35)."""

from __future__ import annotations

import pytest
from engine_fixture import Instance

from hatchet.core.statuses import RunStatus
from hatchet.engine import watch


async def test_a_flapping_stream_does_not_put_off_the_repair_of_a_hand_over(
    one: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by tests/chaos: no stream lived as long as the watch waits, so a lost task stayed with its worker."""
    # So long that the test's own deadline cannot wait for it.
    monkeypatch.setattr(watch, "CONFIRM_SECONDS", 100.0)
    monkeypatch.setattr(watch, "LOST_SECONDS", 1000.0)
    await one.define(execution_timeout="1h")
    worker = await one.worker()
    lost = await one.run()
    await worker.started(lost)
    for _ in range(2):
        await worker.close_stream()
        await worker.open()
        await one.watched()
        assert await one.status(lost) is RunStatus.RUNNING
        one.clock.skip(0.6 * watch.CONFIRM_SECONDS)
    await worker.complete(await worker.started(lost, 1))
    await one.ended(lost, RunStatus.COMPLETED)
