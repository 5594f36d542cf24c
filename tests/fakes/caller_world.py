"""What tests of the caller's half of the SDK share: a configuration for the fake engine, and the inside of a task."""

from __future__ import annotations

from typing import Any, cast

from fakes.fake_engine import FakeEngine, make_token
from hatchet_sdk import ClientConfig, ClientTLSConfig, TenacityConfig
from hatchet_sdk.context.worker_context import WorkerContext


class QuickWait:
    """No time between attempts."""

    def __call__(self, retry_state: Any) -> float:
        return 0.0


def caller_config(engine: FakeEngine, **settings: Any) -> ClientConfig:
    """A client of the fake engine that repeats failed calls at once."""
    config = ClientConfig(
        token=make_token(engine.target),
        tls_config=ClientTLSConfig(strategy="none"),
        tenacity=TenacityConfig(max_attempts=5),
        **settings,
    )
    config.tenacity.wait = cast("Any", QuickWait)
    return config


class InTask:
    """As much of a context as a trigger reads."""

    workflow_run_id = "11111111-1111-1111-1111-111111111111"
    task_run_id = "22222222-2222-2222-2222-222222222222"
    worker_id = "33333333-3333-3333-3333-333333333333"

    def __init__(self, sticky_workflows: dict[str, bool] | None = None, task_run_id: str = task_run_id) -> None:
        self._next = -1
        self.task_run_id = task_run_id
        self.worker = WorkerContext({}, cast("Any", self), sticky_workflows)

    def children_log(self, config: object) -> None:
        """It is no durable task."""

    def next_child_index(self) -> int:
        self._next += 1
        return self._next
