"""Where runs go and in which order: sticky workflows and their children, labels that change, priorities."""

from __future__ import annotations

import pytest
from official_session import Session

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("strategy", ["soft", "hard"])
def test_c_11_14_a_sticky_run_and_its_sticky_children_stay_on_one_worker(session: Session, strategy: str) -> None:
    """C-11.15 for the children; two workers could run every task."""
    assert list(session.worker_statuses().values()).count("ACTIVE") > 1
    for _ in range(6):
        result = session.client.ask("aio_run", f"sticky_{strategy}", {"n": 3}, {})
        children = result["spawns"]["children"]
        assert len(children) == 6
        workers = {task["worker"] for task in result.values()} | set(children)
        assert len(workers) == 1
        assert None not in workers
