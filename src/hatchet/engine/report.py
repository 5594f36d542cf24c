"""Station 5: what workers say about their attempts (behaviour-core C-5.23 to C-5.46).

A report ends an attempt at most once; late, stale and repeated reports change nothing and are answered with success.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import orjson
import structlog

from hatchet.core.clock import Clock
from hatchet.core.errors import HatchetError, InvalidArgument
from hatchet.core.ids import parse_uuid
from hatchet.core.json_texts import check_json
from hatchet.core.messages import ReportKind, TaskReport
from hatchet.core.transitions import Event, EventKind, State, decide
from hatchet.engine.batcher import Batcher
from hatchet.engine.endings import Ending, Endings
from hatchet.engine.memory import Flight, Flights, policy_of
from hatchet.engine.rebuild import Rebuild, flight_of
from hatchet.engine.run_events import RunEvents
from hatchet.engine.workers import Workers
from hatchet.store.pool import Database
from hatchet.store.tasks import NewStart, append_starts

log = structlog.get_logger("hatchet.engine")

START_DELAY_SECONDS = 0.02
NULL_IN_ERROR = "The worker's error text contained a null character and could not be kept."
_NULL_ESCAPE = "\\u0000"
_TERMINAL = {
    ReportKind.COMPLETED: EventKind.COMPLETED,
    ReportKind.FAILED: EventKind.FAILED,
    ReportKind.CANCELLED: EventKind.CANCELLED,
}


class Reports:
    """Takes the workers' reports."""

    def __init__(
        self,
        relaxed: Database,
        flights: Flights,
        endings: Endings,
        rebuild: Rebuild,
        run_events: RunEvents,
        workers: Workers,
        clock: Clock,
        *,
        max_internal_retries: int,
    ) -> None:
        self._relaxed = relaxed
        self._flights = flights
        self._endings = endings
        self._rebuild = rebuild
        self._run_events = run_events
        self._workers = workers
        self._clock = clock
        self._max_internal_retries = max_internal_retries
        self._starts: list[NewStart] = []
        self._starts_timer: asyncio.TimerHandle | None = None
        self._start_writes: Batcher[NewStart, None] = Batcher("starts", self._write_starts)
        self.late = 0
        """Reports that came too late or twice, since the start of this process."""

    async def report(self, tenant_id: str, report: TaskReport) -> None:
        """Take one report; a terminal one is committed when this returns.

        Raises InvalidArgument for a task that the tenant does not have (C-5.25).
        """
        flight = self._known(tenant_id, report) or await self._from_rows(tenant_id, report)
        ending = self._taken(report, flight)
        if ending is not None and not await self._endings.end(ending):
            self.late += 1

    async def report_all(self, tenant_id: str, reports: Sequence[TaskReport]) -> None:
        """Take several reports; all terminal ones are committed when this returns.

        Raises InvalidArgument when a task is not the tenant's, after the others were taken.
        """
        known = [(report, self._known(tenant_id, report)) for report in reports]
        unknown = [report for report, flight in known if flight is None]
        read = await self._read(tenant_id, unknown)
        endings: list[Ending] = []
        for report, flight in known:
            ending = self._taken(report, flight or self._about(report, read.get(report.task_id)))
            if ending is not None:
                endings.append(ending)
        self.late += (await self._endings.end_all(endings)).count(False)
        for report in unknown:
            _check_known(report, read)

    def _known(self, tenant_id: str, report: TaskReport) -> Flight | None:
        """The running attempt that the report is about, if this instance holds it."""
        flight = self._flights.get(report.task_id)
        return self._about(report, flight) if flight is not None and flight.tenant_id == tenant_id else None

    def _about(self, report: TaskReport, flight: Flight | None) -> Flight | None:
        """``flight`` if the report is about it, None if it is about an earlier attempt.

        Evictions leave the retry count as it is, so of a durable task only its present worker counts (D-16.7).
        """
        found = _of_attempt(report, flight)
        if found is not None and found.task.step.definition.is_durable and not self._is_from(report, found):
            return None
        return found

    def _is_from(self, report: TaskReport, flight: Flight) -> bool:
        """Whether the worker that has the attempt says it; TypeScript sends the worker's name (C-5.24)."""
        if report.worker_id in (None, flight.worker_id):
            return True
        record = self._workers.get(flight.worker_id)
        return parse_uuid(report.worker_id or "") is None and (record is None or record.row.name == report.worker_id)

    def _taken(self, report: TaskReport, flight: Flight | None) -> Ending | None:
        """What is left to write of a report: the end of its attempt, or nothing."""
        if report.kind is ReportKind.ACKNOWLEDGED:
            return None
        if flight is None:
            self.late += 1
            return None
        if report.kind is ReportKind.STARTED:
            self._started(flight, report)
            return None
        return self._ending(flight, report)

    async def drain(self) -> None:
        """Wait for the writes that are under way."""
        self._flush_starts()
        await self._start_writes.drain()

    async def _from_rows(self, tenant_id: str, report: TaskReport) -> Flight | None:
        """The running attempt that the report is about, according to the rows; None when there is none (any more)."""
        read = await self._read(tenant_id, [report])
        _check_known(report, read)
        return self._about(report, read.get(report.task_id))

    async def _read(self, tenant_id: str, reports: Sequence[TaskReport]) -> dict[str, Flight | None]:
        """The running attempts of the tenant's tasks among those reported on, by task id; None where there is none."""
        ids = [report.task_id for report in reports if report.kind is not ReportKind.ACKNOWLEDGED]
        states = await self._rebuild.states(tenant_id, ids) if ids else []
        return {state.id: flight_of(tenant_id, state, task) for state, task in states}

    def _started(self, flight: Flight, report: TaskReport) -> None:
        """The first STARTED of an attempt counts (C-5.26, C-5.27). A lost row is sent again or repaired."""
        if flight.is_confirmed:
            return
        flight.is_confirmed = True
        flight.started_at = self._sane(report.at, flight)
        task = flight.task
        self._run_events.started(
            flight.tenant_id,
            task.run_id or task.id,
            task.id,
            task.retry_count,
            task.step.definition.retries,
            flight.started_at,
        )
        self._starts.append(NewStart(flight.tenant_id, flight.task.id, flight.task.attempt, flight.started_at))
        if self._starts_timer is None:
            self._starts_timer = asyncio.get_running_loop().call_later(START_DELAY_SECONDS, self._flush_starts)

    def _ending(self, flight: Flight, report: TaskReport) -> Ending | None:
        event = self._event(report)
        policy = policy_of(flight.task, self._max_internal_retries)
        decision = decide(State.RUNNING, event, policy, flight.counters)
        if decision is None:
            return None
        return Ending(flight.tenant_id, flight.task, decision, event.at, flight.started_at)

    def _event(self, report: TaskReport) -> Event:
        kind, payload = _TERMINAL[report.kind], report.payload
        if kind is EventKind.COMPLETED and payload:
            try:
                check_json(payload, "output")
            except HatchetError as error:
                kind, payload = EventKind.FAILED, error.message
        elif kind is EventKind.FAILED:
            payload = _storable_error(payload)
        return Event(kind, self._clock.now(), payload, report.should_not_retry, report.retry_after_ms)

    def _sane(self, at: float, flight: Flight) -> float:
        """The worker's time, held between the hand-over and now: its clock may be off (C-17.47, C-17.53)."""
        now = self._clock.now()
        return min(max(at, flight.assigned_at), now) if at > 0 else now

    def _flush_starts(self) -> None:
        if self._starts_timer is not None:
            self._starts_timer.cancel()
            self._starts_timer = None
        starts, self._starts = self._starts, []
        # Attempts that ended meanwhile carry their start in their result.
        running = [start for start in starts if self._flights.get(start.task_id) is not None]
        if running:
            try:
                self._start_writes.submit_all(running)
            except HatchetError as error:
                log.warning("starts were not recorded", error=error.message)

    async def _write_starts(self, batch: Sequence[NewStart]) -> list[None]:
        await append_starts(self._relaxed, batch)
        return [None] * len(batch)


def _of_attempt(report: TaskReport, flight: Flight | None) -> Flight | None:
    """``flight`` if the report names its attempt.

    The batch tells the attempt, because clients do not count the retries of a batch's items (C-16.27). Who names
    another batch and no attempt cannot mean this one.
    """
    if flight is None:
        return None
    if report.batch_id is not None:
        if flight.batch is not None and flight.batch.id == report.batch_id:
            return flight
        return flight if report.retry_count == flight.task.retry_count else None
    return flight if report.retry_count in (None, flight.task.retry_count) else None


def _check_known(report: TaskReport, read: Mapping[str, Flight | None]) -> None:
    if report.kind is not ReportKind.ACKNOWLEDGED and report.task_id not in read:
        raise InvalidArgument(f"unknown task: {report.task_id}; it is not a task of this tenant")


def _storable_error(text: str) -> str:
    """Error texts are kept byte for byte (C-5.42), but PostgreSQL cannot hold the null character (C-5.32)."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    return NULL_IN_ERROR if _NULL_ESCAPE in text and _is_json_with_null(text) else text


def _is_json_with_null(text: str) -> bool:
    try:
        orjson.loads(text)
    except ValueError:
        return False
    try:
        check_json(text, "error")
    except HatchetError:
        return True
    return False
