"""Station 4: the instance that holds a worker's stream sends it its actions (behaviour-core C-2.13 to C-2.19, C-5)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import structlog

from hatchet.core.clock import Clock
from hatchet.core.errors import ResourceExhausted
from hatchet.core.messages import ActionKind, Send
from hatchet.core.transitions import Event, EventKind, State, decide
from hatchet.engine.bus import Bus
from hatchet.engine.component import Background
from hatchet.engine.endings import Ending, Endings
from hatchet.engine.inputs import Input, Inputs
from hatchet.engine.memory import Flight, Flights, policy_of
from hatchet.engine.parcels import Parcel, batch_action, cancel_action, start_action, submission
from hatchet.engine.rebuild import Rebuild
from hatchet.engine.workers import WorkerRecord, Workers

log = structlog.get_logger("hatchet.engine")

Elsewhere = dict[str, dict[str, str]]
"""What to tell to other instances: by tenant and instance, by batch or task id, a task's id."""


class Session:
    """One open stream to a worker."""

    def __init__(self, record: WorkerRecord, opened_at: float) -> None:
        self.record = record
        self.opened_at = opened_at
        self.outbox: deque[Parcel] = deque()
        self.wake = asyncio.Event()
        self.is_closed = False

    def push(self, parcel: Parcel) -> None:
        for flight in parcel.flights:
            flight.sent_on = self
        self.outbox.append(parcel)
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
        """Send attempts to workers whose stream is here; the others are told to the instance that has it.

        Those of one batch go in one message, in their order; all of them must be given together.
        """
        missing: dict[str, list[Flight]] = {}
        elsewhere: Elsewhere = {}
        batches: dict[str, list[tuple[Flight, Input | None]]] = {}
        for flight in flights:
            if flight.worker_id not in self._sessions:
                self._send_elsewhere(flight, elsewhere)
                continue
            known = self._inputs.known(flight)
            if flight.batch is not None:
                batches.setdefault(flight.batch.id, []).append((flight, known))
            if known is None:
                missing.setdefault(flight.tenant_id, []).append(flight)
            elif flight.batch is None:
                self._send(flight, known)
        self._tell_elsewhere(elsewhere)
        found: dict[str, Input] = {}
        for tenant_id, waiting in missing.items():
            found |= await self._inputs.read(tenant_id, waiting)
            for flight in waiting:
                if flight.batch is None and self._flights.get(flight.task.id) is flight:
                    self._send(flight, found[flight.task.id])
        for members in batches.values():
            self._send_batch([(flight, (known or found[flight.task.id]).text) for flight, known in members])

    def remind(self, flights: Sequence[Flight]) -> None:
        """Tell the instances that hold the workers' streams once more: the first message may have been lost."""
        elsewhere: Elsewhere = {}
        for flight in flights:
            instance_id = self._listener_elsewhere(flight)
            if instance_id is not None:
                _name(flight, instance_id, elsewhere)
        self._tell_elsewhere(elsewhere)

    def cancel(self, tenant_id: str, flight: Flight) -> None:
        """Tell the worker to stop an attempt that has ended (C-5.18 to C-5.22); it need not answer.

        A worker cannot stop one attempt of a batch (C-16.34): it is told to stop the batch when all have ended.
        """
        if flight.worker_id in self._sessions:
            action = cancel_action(flight)
            if flight.batch is not None:
                if flight.batch.is_stopped or self._flights.in_batch(flight.batch.id):
                    return
                flight.batch.is_stopped = True
                action = batch_action(flight, flight.batch, ActionKind.CANCEL_BATCH)
            self._sessions[flight.worker_id][-1].push(Parcel(action))
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
                parcel = outbox[0]
                if not parcel.flights or self._is_wanted(parcel):
                    await self._hand_over(parcel, send)
                outbox.popleft()

    def _is_wanted(self, parcel: Parcel) -> bool:
        """Whether any of the attempts has not ended; those that have are left out."""
        parcel.flights = [flight for flight in parcel.flights if self._flights.get(flight.task.id) is flight]
        return bool(parcel.flights)

    async def _hand_over(self, parcel: Parcel, send: Send) -> None:
        while True:
            try:
                await send(parcel.action())
            except ResourceExhausted as error:
                # Too large for the transport (C-2.35): that one fails, the stream and those behind it go on. Of a batch
                # the first half may be small enough; the others come again in another batch.
                half = len(parcel.flights) // 2
                parcel.flights, late = parcel.flights[:half], parcel.flights[half:]
                self._background.spawn(self._hand_over_failed(late, error.message))
                if parcel.flights:
                    continue
            return

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

    async def _after_end(self, session: Session, unsent: list[Parcel]) -> None:
        others = self._sessions.get(session.record.id)
        log.info("a worker's stream ended", worker=session.record.id, name=session.record.row.name)
        try:
            for parcel in unsent:
                if others:
                    others[-1].push(parcel)
                elif parcel.flights:
                    await self._hand_over_failed(parcel.flights, "its stream ended before the task was sent")
        finally:
            await self._workers.session_closed(session.record)

    async def _hand_over_failed(self, flights: Sequence[Flight], cause: str) -> None:
        event = Event(EventKind.HAND_OVER_FAILED, self._clock.now(), payload=cause)
        endings: list[Ending] = []
        for flight in flights:
            policy = policy_of(flight.task, self._max_internal_retries)
            decision = decide(State.RUNNING, event, policy, flight.counters)
            if decision is not None:
                endings.append(Ending(flight.tenant_id, flight.task, decision, event.at))
        await self._endings.end_all(endings)

    def _send(self, flight: Flight, sent: Input) -> None:
        self._push(flight.worker_id, Parcel(start_action(flight, sent), [flight]))

    def _send_batch(self, members: Sequence[tuple[Flight, str]]) -> None:
        """``members``: the attempts of one batch that go, each with its payload."""
        flights = [flight for flight, _ in members if self._flights.get(flight.task.id) is flight]
        if flights and (batch := flights[0].batch) is not None:
            action = batch_action(flights[0], batch, ActionKind.START_BATCH)
            texts = {flight.task.id: text for flight, text in members}
            self._push(flights[0].worker_id, Parcel(action, flights, texts))

    def _push(self, worker_id: str, parcel: Parcel) -> None:
        sessions = self._sessions.get(worker_id)
        if sessions:
            sessions[-1].push(parcel)
        else:
            self._background.spawn(self._hand_over_failed(parcel.flights, "its worker has no open stream"))

    def _send_elsewhere(self, flight: Flight, elsewhere: Elsewhere) -> None:
        instance_id = self._listener_elsewhere(flight)
        if instance_id is None:
            self._background.spawn(self._hand_over_failed([flight], "its worker has no open stream"))
            return
        _name(flight, instance_id, elsewhere)

    def _listener_elsewhere(self, flight: Flight) -> str | None:
        """The other instance that holds the stream of the flight's worker; None when there is none."""
        record = self._workers.get(flight.worker_id)
        instance_id = record.row.listener_instance if record is not None else None
        return None if instance_id == self._instance_id else instance_id

    def _tell_elsewhere(self, elsewhere: Elsewhere) -> None:
        for key, tasks in elsewhere.items():
            tenant_id, instance_id = key.split("/")
            self._bus.publish_ids("deliver", list(tasks.values()), tenant=tenant_id, to=instance_id)

    def _deliver_for_owner(self, message: dict[str, object]) -> None:
        ids = message.get("ids")
        if message.get("to") == self._instance_id and isinstance(ids, list):
            self._background.spawn(self.deliver_rows(str(message["tenant"]), ids))

    async def deliver_rows(self, tenant_id: str, task_ids: Sequence[str]) -> None:
        """Send attempts that another instance assigned to workers whose stream is here, unless that was done.

        Of a batch all are sent, because the ids may have come in several messages.
        """
        fresh = []
        told = await self._rebuild.flights(tenant_id, task_ids)
        for flight in await self._rebuild.whole_batches(tenant_id, told):
            known = self._flights.get(flight.task.id)
            if known is not None and known.task.attempt >= flight.task.attempt:
                continue
            if flight.worker_id in self._sessions and not flight.is_confirmed:
                self._flights.put(flight)
                fresh.append(flight)
        await self.deliver(sorted(fresh, key=submission))

    def _cancel_for_other(self, message: dict[str, object]) -> None:
        worker_id = str(message["worker"])
        if worker_id not in self._sessions:
            return
        flight = self._flights.end(str(message["task"]), int(str(message["attempt"])))
        if flight is not None:
            self.cancel(str(message["tenant"]), flight)


def _name(flight: Flight, instance_id: str, elsewhere: Elsewhere) -> None:
    """Of a batch one attempt is enough: its instance looks for the others."""
    key = flight.task.id if flight.batch is None else flight.batch.id
    elsewhere.setdefault(f"{flight.tenant_id}/{instance_id}", {}).setdefault(key, flight.task.id)
