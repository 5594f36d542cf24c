"""The context of the task that runs here, if a task runs here.

The worker sets the variable for every attempt in a copy of the context that `Worker.start()` was called in, so that a
task, the coroutines it starts and the threads that copy its context all see it, and two tasks never see each other's.
A child run triggered from a task takes its parent from here, and its place among the children of this attempt from
`next_child_index` (behaviour-core C-4.15).
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hatchet_sdk.context.context import Context

current_context: ContextVar[Context | None] = ContextVar("hatchet_current_context", default=None)


def next_child_index() -> int:
    """The index of the next child run triggered here; 0 outside a task (C-4.11).

    Each attempt counts from 0, so that a retried parent that triggers in the same order finds its children again
    (C-4.14). Safe to call from several threads of one task.
    """
    context = current_context.get()
    return 0 if context is None else context.next_child_index()
