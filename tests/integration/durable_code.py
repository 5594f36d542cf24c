"""A durable function that is run again by each invocation, for tests in which much goes wrong at once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import asyncpg
import orjson
from durable_worker import Answer, DurableWorker, about, hears, serving, sleeps
from engine_fixture import Instance
from engine_worker import Worker, until

from hatchet.core.durable_messages import (
    EntryRef,
    EvictionAck,
    EvictRequest,
    MemoAck,
    MemoRequest,
    MemoValue,
    Refused,
    Request,
    ServerEvict,
    SpawnAck,
    SpawnRequest,
    StatusRequest,
    WaitAck,
    WaitRequest,
)
from hatchet.core.errors import HatchetError, Unavailable
from hatchet.core.messages import Action, RunDetails, TriggerItem
from hatchet.core.statuses import RunStatus
from hatchet.server import HOT_CONNECTIONS


class _Gone(Exception):
    """This invocation is over, or failed."""


class Code:
    """A deterministic durable function, run again by each invocation as a client would run it."""

    def __init__(self, worker: DurableWorker) -> None:
        self.worker = worker
        self.outputs: dict[str, set[str]] = {}
        self.computed: dict[tuple[str, str], int] = {}
        self._running: dict[str, asyncio.Task[None]] = {}

    def start(self, action: Action) -> None:
        before = self._running.get(action.task_id)
        if before is not None:
            before.cancel()
        self._running[action.task_id] = asyncio.create_task(self._run(action))

    async def stop(self) -> None:
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _run(self, action: Action) -> None:
        try:
            parts = [
                await self._memo(action, "begin"),
                await self._waited(action, WaitRequest(action.task_id, self._count(action), (sleeps("30ms"),))),
                await self._waited(action, WaitRequest(action.task_id, self._count(action), (hears("all"),))),
                await self._child(action),
                await self._memo(action, "end"),
            ]
            output = orjson.dumps({"parts": parts}).decode()
        except _Gone:
            return
        while True:
            # A client repeats its report until it is taken.
            try:
                await self.worker.worker.complete(action, output)
            except HatchetError:
                await asyncio.sleep(0.02)
            else:
                self.outputs.setdefault(action.task_id, set()).add(output)
                return

    async def _memo(self, action: Action, key: str) -> str:
        ack = await self._asked(MemoRequest(action.task_id, self._count(action), key.encode()), MemoAck)
        if ack.payload is not None:
            return str(orjson.loads(ack.payload))
        place = action.task_id, key
        self.computed[place] = self.computed.get(place, 0) + 1
        value = f"{key} of {action.task_id}"
        self._say(MemoValue(ack.ref, orjson.dumps(value).decode()))
        return value

    async def _waited(self, action: Action, request: WaitRequest) -> str:
        return await self._completed((await self._asked(request, WaitAck)).ref)

    async def _child(self, action: Action) -> str:
        item = TriggerItem(workflow_name="child", parent_task_id=action.task_id, child_index=0)
        ack = await self._asked(SpawnRequest(action.task_id, self._count(action), (item,)), SpawnAck)
        [run] = ack.runs
        return await self._completed(EntryRef(action.task_id, self._count(action), run.branch, run.node))

    async def _completed(self, ref: EntryRef) -> str:
        """As clients do: wait, and say so again and again; let go of the slot now and then."""
        for turn in itertools.count(1):
            self._say(StatusRequest((ref,)))
            for _ in range(10):
                for completion in self.worker.completions:
                    if completion.ref == ref:
                        assert not completion.is_failure, completion.error
                        return completion.payload
                self._check(ref.task_id, ref.invocation)
                await asyncio.sleep(0.01)
            if turn % 3 == hash(ref) % 3:
                await self._asked(EvictRequest(ref.task_id, ref.invocation), EvictionAck)
                raise _Gone
        raise AssertionError

    async def _asked(self, request: Request, kind: type[Answer]) -> Answer:
        """The answer; a refusal or a broken stream fails the attempt, as in a client."""
        task_id, invocation = request.task_id, request.invocation  # type: ignore[union-attr]
        before, session = len(self.worker.heard), self.worker.session
        self._say(request)
        while True:
            for answer in self.worker.heard[before:]:
                if isinstance(answer, Refused | ServerEvict | kind) and about(answer) == (task_id, invocation):
                    if isinstance(answer, kind):
                        return answer
                    assert not (isinstance(answer, Refused) and answer.is_non_determinism), answer
                    await self._failed(task_id, invocation, is_over=isinstance(answer, ServerEvict))
            if self.worker.session is not session or session is None:
                await self._failed(task_id, invocation, is_over=False)
            await asyncio.sleep(0.005)

    async def _failed(self, task_id: str, invocation: int, *, is_over: bool) -> None:
        while not is_over:
            [action] = [
                one for one in self.worker.worker.starts if (one.task_id, one.invocation) == (task_id, invocation)
            ][:1]
            try:
                await self.worker.worker.fail(action)
                break
            except HatchetError:
                await asyncio.sleep(0.02)
        raise _Gone

    def _check(self, task_id: str, invocation: int) -> None:
        if any(isinstance(one, ServerEvict) and about(one) == (task_id, invocation) for one in self.worker.heard):
            raise _Gone

    def _say(self, request: Request) -> None:
        if self.worker.session is not None:
            self.worker.say(request)

    @staticmethod
    def _count(action: Action) -> int:
        assert action.invocation is not None
        return action.invocation


class Everything:
    """Runs of that function, their worker, their children's worker, and somebody who pushes their event."""

    def __init__(self, worker: DurableWorker, helper: Worker, ids: list[str]) -> None:
        self.worker = worker
        self.helper = helper
        self.ids = ids
        self.code = Code(worker)
        worker.worker.answers(self._take)
        helper.answers(self._child)
        self._pushing = asyncio.create_task(self._push())

    async def some_more(self) -> None:
        """Wait until some more of it has happened; not all of it may have."""
        begun, over = len(self.worker.worker.starts), len(self.code.outputs)
        assert over < len(self.ids)
        await until(lambda: len(self.worker.worker.starts) > begun + 2 or len(self.code.outputs) > over, "it goes on")

    async def ended(self, one: Instance) -> None:
        """Wait for all ends. Every output is as if nothing had happened, and nothing was done twice."""
        for run_id in self.ids:
            details = await _ended(one, run_id)
            assert orjson.loads(details.tasks[0].output or "")["parts"] == [
                f"begin of {run_id}",
                '{"CREATE":{"sleep:30ms":[{"sleep_duration":"30ms"}]}}',
                '{"CREATE":{"all":[{"n":1}]}}',
                '{"by":"child"}',
                f"end of {run_id}",
            ]
        self._pushing.cancel()
        await self.code.stop()
        rows = await one.rows(
            "SELECT task_id, array_agg(node ORDER BY node) AS nodes FROM durable_entry GROUP BY task_id"
        )
        assert {tuple(row["nodes"]) for row in rows} == {(1, 2, 3, 4, 5)}
        [children] = await one.rows("SELECT count(*) AS n FROM task WHERE parent_task_id IS NOT NULL")
        assert children["n"] == len(self.ids)
        for run_id in self.ids:
            counts = [start.invocation or 0 for start in self.worker.worker.starts if start.task_id == run_id]
            assert counts == sorted(counts)
        await one.empty()

    async def _take(self, action: Action) -> None:
        self.code.start(action)

    async def _child(self, action: Action) -> None:
        while True:
            try:
                await self.helper.complete(action, '{"by":"child"}')
                return
            except HatchetError:
                await asyncio.sleep(0.02)

    async def _push(self) -> None:
        # Whoever waits only now needs one more.
        while True:
            with contextlib.suppress(HatchetError):
                await self.worker.worker.instance.push("all", '{"n":1}')
            await asyncio.sleep(0.1)


async def everything(at: Instance) -> Everything:
    worker = await serving(at, retries=1000)
    await at.define("child")
    helper = await at.worker("child", slots=100)
    return Everything(worker, helper, await at.run_many(30))


async def _ended(one: Instance, run_id: str) -> RunDetails:
    """Its end; each pooled connection that was cut may tell so once, at its next use."""
    for _ in range(HOT_CONNECTIONS):
        with contextlib.suppress(Unavailable, asyncpg.InternalClientError):
            return await one.ended(run_id, RunStatus.COMPLETED)
    return await one.ended(run_id, RunStatus.COMPLETED)
