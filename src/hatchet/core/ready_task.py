"""One attempt that may start, and who of two comes first (behaviour-core C-11.1 to C-11.3)."""

from __future__ import annotations

from math import inf

from hatchet.core.deadlines import WAITING
from hatchet.core.definitions import StoredTask, StoredVersion
from hatchet.core.ids import time_of
from hatchet.core.labels import DesiredLabels
from hatchet.core.limits import NONE, Limits
from hatchet.core.transitions import Counters

INTERNAL_PRIORITY = 4
LEVELS = 5

LEVEL_SECONDS = 60.0
"""How long a task must have waited to come before a younger one of the next level."""


class ReadyTask:
    """One attempt of a task that may start now."""

    __slots__ = (
        "app_retries",
        "attempt",
        "desired_worker",
        "evictions",
        "id",
        "internal_retries",
        "labels",
        "level",
        "limits",
        "noted",
        "place",
        "priority",
        "ready_at",
        "run_id",
        "step",
        "version",
    )

    def __init__(
        self,
        id: str,  # noqa: A002
        version: StoredVersion,
        priority: int,
        ready_at: float,
        attempt: int = 0,
        app_retries: int = 0,
        internal_retries: int = 0,
        step: StoredTask | None = None,
        run_id: str | None = None,
        labels: DesiredLabels = (),
        limits: Limits = NONE,
        desired_worker: str | None = None,
        evictions: int = 0,
    ) -> None:
        """``step`` may be left out where the version has but one; ``run_id`` None: the task is its own run (C-0.7).

        ``labels``: what the task wants of its worker, the run's wishes merged in (C-11.24). ``desired_worker``: the
        worker that it should go to, when its workflow is sticky (C-11.11). ``evictions``: how many of the attempts
        before this one ended by one. ``ready_at`` infinite: it is evicted and waits for its restore.
        """
        self.id = id
        self.version = version
        self.step = step if step is not None else version.tasks[0]
        self.run_id = run_id
        # A sticky task has no other wishes about its worker (C-11.12), and others no such worker (C-11.13).
        is_sticky = version.sticky is not None
        self.labels = () if is_sticky else labels
        self.desired_worker = desired_worker if is_sticky else None
        self.limits = limits
        self.priority = priority
        self.ready_at = ready_at
        self.attempt = attempt
        self.app_retries = app_retries
        self.internal_retries = internal_retries
        self.evictions = evictions
        self.level = INTERNAL_PRIORITY if attempt else priority
        self.place = WAITING
        self.noted: tuple[str, ...] = ()
        """Which notes about its waiting were written."""

    def again(
        self, ready_at: float, attempt: int, app_retries: int, internal_retries: int, evictions: int
    ) -> ReadyTask:
        """Another attempt of the task, or the same one as a new object."""
        return ReadyTask(
            self.id,
            self.version,
            self.priority,
            ready_at,
            attempt,
            app_retries,
            internal_retries,
            step=self.step,
            run_id=self.run_id,
            labels=self.labels,
            limits=self.limits,
            desired_worker=self.desired_worker,
            evictions=evictions,
        )

    @property
    def is_evicted(self) -> bool:
        """Whether it waits for its restore (D-17.14)."""
        return self.ready_at == inf

    @property
    def retry_count(self) -> int:
        """The attempt's number as workers and people know it: evictions do not count (D-5.7)."""
        return self.attempt - self.evictions

    @property
    def invocation(self) -> int:
        """Which hand-over of a durable task this attempt is: each has one at most (D-5.2)."""
        return self.attempt + 1

    @property
    def counters(self) -> Counters:
        """What :func:`hatchet.core.transitions.decide` needs to know of it."""
        return Counters(self.attempt, self.app_retries, self.internal_retries, self.evictions)

    @property
    def created_at(self) -> float:
        """When the task was created, from its id: a retry does not change it."""
        return time_of(self.id)


def urgency(task: ReadyTask) -> float:
    """Who comes first: the smaller number. A level is worth ``LEVEL_SECONDS`` of waiting (C-11.1), so that nobody
    starves; what the engine queued again comes before all others (C-11.3).
    """
    if task.level == INTERNAL_PRIORITY:
        return -inf
    return task.ready_at - LEVEL_SECONDS * task.level
