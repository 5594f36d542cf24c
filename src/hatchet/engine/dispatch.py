"""Station 4: the instance that holds a worker's stream sends it its actions (behaviour-core C-2.13 to C-2.19, C-5)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import structlog

from hatchet.core.clock import Clock
from hatchet.core.errors import ResourceExhausted
from hatchet.core.messages import Action, ActionKind, Send
from hatchet.core.payloads import TaskPayload
from hatchet.core.transitions import Event, EventKind, State, decide
from hatchet.engine.bus import Bus
from hatchet.engine.component import Background
from hatchet.engine.endings import Ending, Endings
from hatchet.engine.inputs import Input, Inputs
from hatchet.engine.memory import Flight, Flights, policy_of
from hatchet.engine.rebuild import Rebuild
from hatchet.engine.workers import WorkerRecord, Workers

log = structlog.get_logger("hatchet.engine")

EMPTY = Input(TaskPayload("", ""), "")


class Session:
    """One open stream to a worker."""

    def __init__(self, record: WorkerRecord, opened_at: float) -> None:
        self.record = record
        self.opened_at = opened_at
        self.outbox: deque[tuple[Action, Flight | None]] = deque()
        self.wake = asyncio.Event()
        self.is_closed = False

    def push(self, action: Action, flight: Flight | None) -> None:
        self.outbox.append((action, flight))
        self.wake.set()

    def close(self) -> None:
        self.is_closed = True
        self.wake.set()


class Dispatch:
    """The sessions of this instance, and what is sent on them."""

    def __init__(
        self,
        workers: Workers,
        flights: Flights,
        inputs: Inputs,
        endings: Endings,
        rebuild: Rebuild,
        bus: Bus,
        clock: Clock,
        instance_id: str,
        *,
        max_internal_retries: int,
    ) -> None:
        self._workers = workers
        self._flights = flights
        self._inputs = inputs
        self._endings = endings
        self._rebuild = rebuild
        self._clock = clock
        self._bus = bus
        self._instance_id = instance_id
        self._max_internal_retries = max_internal_retries
        self._sessions: dict[str, list[Session]] = {}
        self._background = Background("dispatch")
        workers.on_unsubscribe(self.close_worker)
        bus.on("deliver", self._deliver_for_owner)
        bus.on("cancel", self._cancel_for_other)

    async def listen(self, tenant_id: str, worker_id: str, send: Send) -> None:
        """Serve one stream until the transport ends it (by cancelling) or :meth:`close_worker` does.

        Raises NotFound for an unknown worker. An action that could not be sent goes to another stream of the worker, or
        counts as a failed hand-over (C-2.19).
        """
        record = await self._workers.require(tenant_id, worker_id)
        session = Session(record, self._clock.now())
        self._sessions.setdefault(worker_id, []).append(session)
        try:
            await self._workers.session_opened(record)
            log.info("a worker's stream opened", worker=worker_id, name=record.row.name)
            await self._serve(session, send)
        finally:
            self._end(session)

    def session_since(self, worker_id: str) -> float | None:
        """When the newest stream to the worker on this instance opened."""
        sessions = self._sessions.get(worker_id)
        return sessions[-1].opened_at if sessions else None

    def close_worker(self, worker_id: str) -> None:
        """End the worker's streams with a plain end of stream (C-1.22, C-2.36)."""
        for session in self._sessions.get(worker_id, ()):
            session.close()

    def close_all(self) -> None:
        """End every stream, so that workers reconnect elsewhere before the transport stops."""
        for worker_id in list(self._sessions):
            self.close_worker(worker_id)

    async def settle(self) -> None:
        """Wait for what streams that ended left to do."""
        await self._background.settle()

    async def deliver(self, flights: Sequence[Flight]) -> None:
        """Send attempts to workers whose stream is here; the others are told to the instance that has it."""
        missing: dict[str, list[Flight]] = {}
        elsewhere: dict[str, list[str]] = {}
        for flight in flights:
            if flight.worker_id not in self._sessions:
                self._send_elsewhere(flight, elsewhere)
                continue
            known = self._inputs.known(flight)
            if known is None:
                missing.setdefault(flight.tenant_id, []).append(flight)
            else:
                self._send(flight, known)
        self._tell_elsewhere(elsewhere)
        for tenant_id, waiting in missing.items():
            found = await self._inputs.read(tenant_id, waiting)
            for flight in waiting:
                if self._flights.get(flight.task.id) is flight:
                    self._send(flight, found[flight.task.id])

    def remind(self, flights: Sequence[Flight]) -> None:
        """Tell the instances that hold the workers' streams once more: the first message may have been lost."""
        elsewhere: dict[str, list[str]] = {}
        for flight in flights:
            instance_id = self._listener_elsewhere(flight)
            if instance_id is not None:
                elsewhere.setdefault(f"{flight.tenant_id}/{instance_id}", []).append(flight.task.id)
        self._tell_elsewhere(elsewhere)

    def cancel(self, tenant_id: str, flight: Flight) -> None:
        """Tell the worker to stop an attempt (C-5.18 to C-5.22); it need not answer."""
        if flight.worker_id in self._sessions:
            self._sessions[flight.worker_id][-1].push(_action(flight, EMPTY, ActionKind.CANCEL), None)
            return
        if self._listener_elsewhere(flight) is not None:
            self._bus.publish(
                "cancel", tenant=tenant_id, task=flight.task.id, attempt=flight.task.attempt, worker=flight.worker_id
            )

    async def _serve(self, session: Session, send: Send) -> None:
        outbox, wake = session.outbox, session.wake
        while not session.is_closed:
            await wake.wait()
            wake.clear()
            while outbox and not session.is_closed:
                action, flight = outbox[0]
                if flight is None or self._flights.get(action.task_id) is flight:
                    try:
                        await send(action)
                    except ResourceExhausted as error:
                        # Too large for the transport (C-2.35): that one fails, the stream and those behind it go on.
                        if flight is not None:
                            self._background.spawn(self._hand_over_failed(flight, error.message))
                outbox.popleft()

    def _end(self, session: Session) -> None:
        sessions = self._sessions.get(session.record.id, [])
        if session in sessions:
            sessions.remove(session)
        if not sessions:
            self._sessions.pop(session.record.id, None)
        session.is_closed = True
        unsent = list(session.outbox)
        session.outbox.clear()
        self._workers.session_ended(session.record)
        self._background.spawn(self._after_end(session, unsent))

    async def _after_end(self, session: Session, unsent: list[tuple[Action, Flight | None]]) -> None:
        others = self._sessions.get(session.record.id)
        log.info("a worker's stream ended", worker=session.record.id, name=session.record.row.name)
        try:
            for action, flight in unsent:
                if others:
                    if flight is not None:
                        flight.sent_on = others[-1]
                    others[-1].push(action, flight)
                elif flight is not None:
                    await self._hand_over_failed(flight, "its stream ended before the task was sent")
        finally:
            await self._workers.session_closed(session.record)

    async def _hand_over_failed(self, flight: Flight, cause: str) -> None:
        event = Event(EventKind.HAND_OVER_FAILED, self._clock.now(), payload=cause)
        policy = policy_of(flight.task, self._max_internal_retries)
        decision = decide(State.RUNNING, event, policy, flight.counters)
        if decision is not None:
            await self._endings.end(Ending(flight.tenant_id, flight.task, decision, event.at))

    def _send(self, flight: Flight, sent: Input) -> None:
        sessions = self._sessions.get(flight.worker_id)
        if not sessions:
            self._background.spawn(self._hand_over_failed(flight, "its worker has no open stream"))
            return
        session = sessions[-1]
        flight.sent_on = session
        session.push(_action(flight, sent, ActionKind.START), flight)

    def _send_elsewhere(self, flight: Flight, elsewhere: dict[str, list[str]]) -> None:
        instance_id = self._listener_elsewhere(flight)
        if instance_id is None:
            self._background.spawn(self._hand_over_failed(flight, "its worker has no open stream"))
            return
        elsewhere.setdefault(f"{flight.tenant_id}/{instance_id}", []).append(flight.task.id)

    def _listener_elsewhere(self, flight: Flight) -> str | None:
        """The other instance that holds the stream of the flight's worker; None when there is none."""
        record = self._workers.get(flight.worker_id)
        instance_id = record.row.listener_instance if record is not None else None
        return None if instance_id == self._instance_id else instance_id

    def _tell_elsewhere(self, elsewhere: dict[str, list[str]]) -> None:
        for key, tasks in elsewhere.items():
            tenant_id, instance_id = key.split("/")
            self._bus.publish_ids("deliver", tasks, tenant=tenant_id, to=instance_id)

    def _deliver_for_owner(self, message: dict[str, object]) -> None:
        ids = message.get("ids")
        if message.get("to") == self._instance_id and isinstance(ids, list):
            self._background.spawn(self.deliver_rows(str(message["tenant"]), ids))

    async def deliver_rows(self, tenant_id: str, task_ids: Sequence[str]) -> None:
        """Send attempts that another instance assigned to workers whose stream is here, unless that was done."""
        fresh = []
        for flight in await self._rebuild.flights(tenant_id, task_ids):
            known = self._flights.get(flight.task.id)
            if known is not None and known.task.attempt >= flight.task.attempt:
                continue
            if flight.worker_id in self._sessions and not flight.is_confirmed:
                self._flights.put(flight)
                fresh.append(flight)
        await self.deliver(fresh)

    def _cancel_for_other(self, message: dict[str, object]) -> None:
        worker_id = str(message["worker"])
        if worker_id not in self._sessions:
            return
        flight = self._flights.end(str(message["task"]), int(str(message["attempt"])))
        if flight is not None:
            self.cancel(str(message["tenant"]), flight)


def _action(flight: Flight, sent: Input, kind: ActionKind) -> Action:
    task, version, payload = flight.task, flight.task.version, sent.payload
    step = task.step
    return Action(
        kind=kind,
        tenant_id=flight.tenant_id,
        run_id=task.run_id or task.id,
        task_id=task.id,
        step_id=step.id,
        readable_id=step.definition.readable_id,
        action=step.definition.action,
        workflow_id=version.workflow_id,
        version_id=version.id,
        retry_count=task.attempt,
        priority=task.priority,
        payload=sent.text,
        additional_metadata=payload.additional_metadata,
        inserted_at=task.created_at,
        parent_run_id=payload.parent_run_id,
        parent_task_id=payload.parent_task_id,
        child_index=payload.child_index,
        child_key=payload.child_key,
    )
