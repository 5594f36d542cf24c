"""`DurableContext`: what a durable task may do besides what every task may (behaviour-durable).

Each of its steps is an entry in the log of the task run. When the function runs again, after a crash, an eviction or a
failure, the steps that are done answer from the log, so the function goes on where it was. It must therefore do the
same steps in the same order every time; what depends on the outside belongs into a memo or a child run.

The methods with `aio_` are for async functions; each has a twin without it for functions that are not async, which
blocks its thread.
"""

# ruff: noqa: A002  # `input` is the name that the run methods use

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from pydantic import BaseModel

from hatchet_sdk.context.context import Context
from hatchet_sdk.context.current import current_context
from hatchet_sdk.context.durable_log import DurableLog
from hatchet_sdk.context.durable_log import DurableSpawnResult as DurableSpawnResult
from hatchet_sdk.context.memos import Memoized
from hatchet_sdk.declare.conditions import Action as ConditionAction
from hatchet_sdk.declare.conditions import (
    OrGroup,
    SleepCondition,
    UserEventCondition,
    build_conditions_proto,
    declared,
)
from hatchet_sdk.declare.durations import Duration, expr_to_timedelta, timedelta_to_expr
from hatchet_sdk.declare.values import Values
from hatchet_sdk.run.call import blocked
from hatchet_sdk.wire.loop_thread import connection_thread

if TYPE_CHECKING:
    from hatchet_sdk.config import ClientConfig
    from hatchet_sdk.declare.options import TriggerWorkflowOptions
    from hatchet_sdk.declare.runnable import Runnable
    from hatchet_sdk.declare.task import TWorkflowInput

P = ParamSpec("P")
T = TypeVar("T")
TPayload = TypeVar("TPayload")
TResult = TypeVar("TResult")


class SleepResult(BaseModel):
    """How long a durable sleep was ordered to last."""

    duration: timedelta


class DurableContext(Context):
    """The second argument of every durable task."""

    _durable: DurableLog
    _durable_config: ClientConfig
    _wait_count = 0

    def bind(self, log: DurableLog, config: ClientConfig) -> DurableContext:
        """Give it its log. For the worker."""
        self._durable, self._durable_config = log, config
        return self

    def children_log(self, config: ClientConfig) -> DurableLog | None:
        """The log that child runs of this client go to."""
        return self._durable if self._durable.logs_children and self._durable.serves(config) else None

    @property
    def invocation_count(self) -> int:
        """How often this run was given to a worker: 1 the first time; restores count too (D-5.2)."""
        return self._action.durable_task_invocation_count or 1

    @property
    def wait_index(self) -> int:
        """How many waits this invocation has begun."""
        return self._wait_count

    # --- sleeps and events ---------------------------------------------------------------------------------------

    async def aio_sleep_for(self, duration: Duration, label: str | None = None) -> SleepResult:
        """Sleep; the end is fixed when the sleep begins for the first time, whatever happens to the worker (D-9.3).

        ``duration`` is a ``timedelta`` or a text such as ``"90s"``; ``label`` is shown with the run. Raises
        ``ValueError`` for a negative duration and for a text that is none.
        """
        return _slept(await self._wait(*self._sleep(duration), label))

    def sleep_for(self, duration: Duration, label: str | None = None) -> SleepResult:
        """Like ``aio_sleep_for``, for functions that are not async."""
        return _slept(self._block(self._waiting(*self._sleep(duration), label)))

    async def aio_sleep_until(self, wake_at: datetime, label: str | None = None) -> SleepResult:
        """Sleep until a time; not at all when it has passed. Without a time zone it means local time."""
        left = wake_at.astimezone(UTC) - await self.aio_now()
        return await self.aio_sleep_for(max(left, timedelta()), label)

    def sleep_until(self, wake_at: datetime, label: str | None = None) -> SleepResult:
        """Like ``aio_sleep_until``, for functions that are not async."""
        return self.sleep_for(max(wake_at.astimezone(UTC) - self.now(), timedelta()), label)

    async def aio_wait_for(
        self, signal_key: str, *conditions: SleepCondition | UserEventCondition | OrGroup, label: str | None = None
    ) -> dict[str, Any]:
        """Wait until all conditions hold; of an ``or_`` group one is enough.

        The result is ``{"CREATE": {<key of a condition>: [<its data>]}}`` with what held (D-11). ``signal_key`` names
        the wait for engines that know no log. Raises ``TypeError`` for other kinds of conditions and ``ValueError`` for
        none.
        """
        result: dict[str, Any] = await self._wait(self._conditions(conditions), signal_key, label)
        return result

    def wait_for(
        self, signal_key: str, *conditions: SleepCondition | UserEventCondition | OrGroup, label: str | None = None
    ) -> dict[str, Any]:
        """Like ``aio_wait_for``, for functions that are not async."""
        result: dict[str, Any] = self._block(self._waiting(self._conditions(conditions), signal_key, label))
        return result

    @overload
    async def aio_wait_for_event(
        self,
        key: str,
        expression: str | None = None,
        *,
        payload_validator: type[TPayload],
        scope: str | None = None,
        lookback_window: timedelta | None = None,
        label: str | None = None,
    ) -> TPayload: ...

    @overload
    async def aio_wait_for_event(
        self,
        key: str,
        expression: str | None = None,
        *,
        payload_validator: None = None,
        scope: str | None = None,
        lookback_window: timedelta | None = None,
        label: str | None = None,
    ) -> dict[str, Any]: ...

    async def aio_wait_for_event(
        self,
        key: str,
        expression: str | None = None,
        *,
        payload_validator: type[Any] | None = None,
        scope: str | None = None,
        lookback_window: timedelta | None = None,
        label: str | None = None,
    ) -> Any:
        """Wait for an event with this key; its payload, as a value of ``payload_validator`` if one is given.

        ``expression`` is CEL over ``input``, the payload. Only events count that come after the wait began, unless
        ``lookback_window`` is given: then also those of that time before, of the given ``scope``. Raises ``ValueError``
        when only one of the two is given, and when the payload does not fit (``pydantic.ValidationError``).
        """
        _check_lookback(scope, lookback_window)
        since = await self.aio_now() - lookback_window if lookback_window is not None else None
        condition = UserEventCondition(key, expression, scope=scope, consider_events_since=since)
        result = await self._wait(self._conditions((condition,)), self._event_key(key), label)
        return _payload(result, payload_validator)

    @overload
    def wait_for_event(
        self,
        key: str,
        expression: str | None = None,
        *,
        payload_validator: type[TPayload],
        scope: str | None = None,
        lookback_window: timedelta | None = None,
        label: str | None = None,
    ) -> TPayload: ...

    @overload
    def wait_for_event(
        self,
        key: str,
        expression: str | None = None,
        *,
        payload_validator: None = None,
        scope: str | None = None,
        lookback_window: timedelta | None = None,
        label: str | None = None,
    ) -> dict[str, Any]: ...

    def wait_for_event(
        self,
        key: str,
        expression: str | None = None,
        *,
        payload_validator: type[Any] | None = None,
        scope: str | None = None,
        lookback_window: timedelta | None = None,
        label: str | None = None,
    ) -> Any:
        """Like ``aio_wait_for_event``, for functions that are not async."""
        _check_lookback(scope, lookback_window)
        since = self.now() - lookback_window if lookback_window is not None else None
        condition = UserEventCondition(key, expression, scope=scope, consider_events_since=since)
        waiting = self._waiting(self._conditions((condition,)), self._event_key(key), label)
        return _payload(self._block(waiting), payload_validator)

    # --- memos ---------------------------------------------------------------------------------------------------

    @overload
    async def aio_memo(self, fn: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T: ...

    @overload
    async def aio_memo(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...

    async def aio_memo(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call ``fn(*args, **kwargs)`` once and remember what it returned: later invocations get it from the log.

        ``fn`` may be async. Its result must fit into JSON; it comes back as a value of the return annotation of ``fn``,
        and as plain objects without one. If the worker dies before the engine has the result, ``fn`` is called again.
        Raises what ``fn`` raises (nothing is remembered then), ``TypeError`` for a result or an argument that has no
        JSON, ``ValueError`` for a result above the message limit.
        """
        memoized = Memoized(self.task_run_id, fn, args, kwargs)
        memo = await self._call(self._durable.memo(memoized.key))
        if memo.value is not None:
            return memoized.read(memo.value)
        value = fn(*args, **kwargs)
        text = memoized.text(await value if inspect.isawaitable(value) else value)
        await self._call(self._durable.complete_memo(memo, memoized.key, text))
        return memoized.read(text)

    def memo(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Like ``aio_memo``, for functions that are not async."""
        memoized = Memoized(self.task_run_id, fn, args, kwargs)
        memo = self._block(self._durable.memo(memoized.key))
        if memo.value is not None:
            found: T = memoized.read(memo.value)
            return found
        text = memoized.text(fn(*args, **kwargs))
        self._block(self._durable.complete_memo(memo, memoized.key, text))
        made: T = memoized.read(text)
        return made

    async def aio_now(self) -> datetime:
        """The time in UTC, the same in every invocation: a memo."""
        return await self.aio_memo(_now)

    def now(self) -> datetime:
        """Like ``aio_now``, for functions that are not async."""
        return self.memo(_now)

    # --- children ------------------------------------------------------------------------------------------------

    async def aio_run_child(
        self,
        child: Runnable[TWorkflowInput, TResult, Any],
        input: TWorkflowInput | None = None,
        options: TriggerWorkflowOptions | None = None,
        *,
        key: str | None = None,
    ) -> TResult:
        """Run a task or workflow as a child of this task and await its result: the same as ``child.aio_run(input)``.

        ``key`` identifies the child among the others whatever their order (D-13.6). Raises what ``aio_run`` raises.
        """
        token = current_context.set(self)
        try:
            if input is None:
                return await child.aio_run(options=options, child_key=key)
            return await child.aio_run(input, options, child_key=key)
        finally:
            current_context.reset(token)

    run_child = aio_run_child
    """The name that the documentation uses; it is awaited too."""

    # --- behind all of them --------------------------------------------------------------------------------------

    def _sleep(self, duration: Duration) -> tuple[Any, str]:
        text = timedelta_to_expr(duration)
        expr_to_timedelta(text)
        return self._conditions((SleepCondition(duration),)), f"sleep:{text}-{self._wait_count}"

    def _event_key(self, key: str) -> str:
        return f"event:{key}-{self._wait_count}"

    def _conditions(self, conditions: tuple[SleepCondition | UserEventCondition | OrGroup, ...]) -> Any:
        if not conditions:
            raise ValueError("a wait needs at least one condition; without any it would never end")
        self._wait_count += 1
        flat = declared(list(conditions), ConditionAction.CREATE, "the conditions of a wait")
        return build_conditions_proto(flat, self._durable_config)

    def _waiting(self, conditions: Any, signal_key: str, label: str | None) -> Coroutine[Any, Any, Any]:
        return self._durable.wait(conditions, signal_key=signal_key, label=label)

    async def _wait(self, conditions: Any, signal_key: str, label: str | None) -> Any:
        return await self._call(self._waiting(conditions, signal_key, label))

    async def _call(self, step: Coroutine[Any, Any, T]) -> T:
        return await connection_thread().call(step)

    def _block(self, step: Coroutine[Any, Any, T]) -> T:
        return blocked(connection_thread().run, step)


def _now() -> datetime:
    return datetime.now(UTC)


def _check_lookback(scope: str | None, window: timedelta | None) -> None:
    if (scope is None) != (window is None):
        missing = "lookback_window" if window is None else "scope"
        raise ValueError(f"scope and lookback_window of a wait for an event belong together; {missing} is missing")


def _first(result: Any) -> Any:
    """The data of a wait for one thing (D-11.6)."""
    held = next(iter(result.values()), None) or {}
    data = next(iter(held.values()), None) or [{}]
    return data[0]


def _payload(result: Any, validator: Any) -> Any:
    payload = _first(result)
    return payload if validator is None else Values(validator).parse(payload)


def _slept(result: Any) -> SleepResult:
    return SleepResult(duration=expr_to_timedelta(_first(result)["sleep_duration"]))
