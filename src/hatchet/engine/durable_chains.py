"""Work for many tasks at once, for each task one thing after the other (behaviour-durable D-2.6)."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import structlog

from hatchet.engine.component import Background

log = structlog.get_logger("hatchet.engine")

Step = Callable[[], Awaitable[None]]


class Chains:
    """Steps by task id. A step that fails does not keep the next one back."""

    def __init__(self, name: str) -> None:
        self._steps: dict[str, deque[Step]] = {}
        self._background = Background(name)

    def __len__(self) -> int:
        return len(self._steps)

    def __contains__(self, task_id: str) -> bool:
        """Whether something is under way for the task."""
        return task_id in self._steps

    def queue(self, task_id: str, step: Step) -> None:
        """Do this after what was queued for the task before."""
        steps = self._steps.get(task_id)
        if steps is not None:
            steps.append(step)
            return
        self._steps[task_id] = deque((step,))
        self._background.spawn(self._work_off(task_id))

    async def settle(self) -> None:
        """Wait until everything is done."""
        await self._background.settle()

    async def _work_off(self, task_id: str) -> None:
        steps = self._steps[task_id]
        try:
            while steps:
                try:
                    await steps.popleft()()
                except Exception as error:
                    log.error("durable work failed", task=task_id, error=str(error), exc_info=error)
        finally:
            del self._steps[task_id]
