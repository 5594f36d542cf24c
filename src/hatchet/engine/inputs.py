"""What an attempt is sent with, from memory where it is known there, else from the rows (behaviour-core C-5.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from hatchet.core.conditions import Kind
from hatchet.core.definitions import StoredVersion
from hatchet.core.ids import task_ids
from hatchet.core.payloads import TaskEnd, TaskPayload, action_payload, run_action_payload
from hatchet.core.statuses import RunStatus
from hatchet.engine.memory import Flight, PayloadCache
from hatchet.engine.open_runs import OpenRun, OpenRuns
from hatchet.engine.run_facts import RunFacts
from hatchet.store.pool import Database
from hatchet.store.runs import run_payloads, task_matches, task_outputs
from hatchet.store.tasks import payloads as task_payloads


@dataclass(slots=True, frozen=True)
class Input:
    """One attempt's payload: what the run was triggered with, and the JSON text that the worker gets."""

    payload: TaskPayload
    text: str


class Inputs:
    """Finds the inputs of attempts."""

    def __init__(self, database: Database, payloads: PayloadCache, runs: OpenRuns, run_facts: RunFacts) -> None:
        self._database = database
        self._payloads = payloads
        self._runs = runs
        self._run_facts = run_facts

    def known(self, flight: Flight) -> Input | None:
        """The input, if memory has all of it; a payload of a task that is a run of its own is taken out."""
        task = flight.task
        if task.run_id is None:
            payload = self._payloads.take(task.id)
            return None if payload is None else Input(payload, action_payload(payload.input, payload.filter_payload))
        run = self._runs.get(task.run_id)
        if run is None or run.payload is None or task.step.definition.conditions:
            return None
        ends = _known_ends(run, task.step.index)
        return None if ends is None else _input(run.payload, run.version, task.step.index, ends, {})

    async def read(self, tenant_id: str, flights: Sequence[Flight]) -> dict[str, Input]:
        """The inputs by task id, from the rows; a statement for each kind of row, whatever the number of attempts."""
        plain = [flight.task.id for flight in flights if flight.task.run_id is None]
        found: dict[str, Input] = {}
        if plain:
            for task_id, payload in (await task_payloads(self._database, tenant_id, plain)).items():
                found[task_id] = Input(payload, action_payload(payload.input, payload.filter_payload))
        of_runs = [flight for flight in flights if flight.task.run_id is not None]
        if of_runs:
            found |= await self._read_runs(tenant_id, of_runs)
        return found

    async def _read_runs(self, tenant_id: str, flights: Sequence[Flight]) -> dict[str, Input]:
        run_ids = list({flight.task.run_id for flight in flights if flight.task.run_id is not None})
        payloads = await run_payloads(self._database, tenant_id, run_ids)
        ends = await self._ends(tenant_id, flights)
        triggers = await self._triggers(tenant_id, [flight for flight in flights if _has_conditions(flight)])
        found: dict[str, Input] = {}
        for flight in flights:
            task = flight.task
            assert task.run_id is not None
            payload = payloads[task.run_id]
            known = ends[task.id]
            found[task.id] = _input(payload, task.version, task.step.index, known, triggers.get(task.id, {}))
            run = self._runs.get(task.run_id)
            if run is not None and run.payload is None:
                self._runs.keep_payload(run, payload)
        return found

    async def _ends(self, tenant_id: str, flights: Sequence[Flight]) -> dict[str, dict[int, TaskEnd]]:
        """How the tasks above each ended: from memory, from rows, or decided anew where a row is not there yet."""
        found: dict[str, dict[int, TaskEnd]] = {}
        unknown: list[Flight] = []
        short: list[Flight] = []
        for flight in flights:
            run = self._runs.get(flight.task.run_id or "")
            known = _known_ends(run, flight.task.step.index) if run is not None else None
            if known is not None:
                found[flight.task.id] = known
            elif _is_on_failure(flight):
                # It may start while others run again whose earlier ends are no longer true.
                short.append(flight)
            else:
                unknown.append(flight)
        above = {flight.task.id: _ancestors(flight) for flight in unknown}
        wanted = list({task_id for ids in above.values() for _, task_id in ids})
        rows = await task_outputs(self._database, tenant_id, wanted) if wanted else {}
        for task_id, ids in above.items():
            found[task_id] = {index: rows[above_id] for index, above_id in ids if above_id in rows}
        short += [flight for flight in unknown if len(found[flight.task.id]) < len(above[flight.task.id])]
        run_ids = list({flight.task.run_id for flight in short if flight.task.run_id is not None})
        loaded = {run.row.id: run for run in await self._run_facts.load(tenant_id, run_ids)} if run_ids else {}
        for flight in short:
            run_read = loaded[flight.task.run_id or ""]
            ends = {index: run_read.end(index) for index, _ in _ancestors(flight)}
            found[flight.task.id] = {index: end for index, end in ends.items() if end is not None}
        return found

    async def _triggers(self, tenant_id: str, flights: Sequence[Flight]) -> dict[str, dict[str, str]]:
        """The data of the conditions that held when each task was queued (C-5.13)."""
        if not flights:
            return {}
        unsure = list({run_id for flight in flights if (run_id := flight.task.run_id) and not self._met(flight)})
        loaded = {run.row.id: run for run in await self._run_facts.load(tenant_id, unsure)} if unsure else {}
        matches = await task_matches(self._database, tenant_id, [flight.task.id for flight in flights])
        found: dict[str, dict[str, str]] = {}
        for flight in flights:
            task = flight.task
            met = self._met(flight)
            if met is None:
                run = loaded.get(task.run_id or "")
                met = run.state.decide(task.step.index, flight.assigned_at).met if run is not None else ()
            # The newest: an older one is that of an attempt before a replay.
            known = sorted(matches.get(task.id, ()), key=lambda match: match.attempt)
            data = {match.condition: match.data for match in known}
            found[task.id] = _trigger_data(flight, met, data)
        return found

    def _met(self, flight: Flight) -> tuple[int, ...] | None:
        run = self._runs.get(flight.task.run_id or "")
        return None if run is None else run.met.get(flight.task.step.index)


def _is_on_failure(flight: Flight) -> bool:
    return flight.task.step.index == flight.task.version.graph.on_failure


def _has_conditions(flight: Flight) -> bool:
    return bool(flight.task.step.definition.conditions)


def _trigger_data(flight: Flight, met: Sequence[int], matched: Mapping[int, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    conditions = flight.task.step.definition.conditions
    for number in met:
        condition = conditions[number]
        if condition.kind is Kind.SLEEP:
            data = orjson.dumps({"sleep_duration": condition.sleep_for}).decode()
        elif condition.kind is Kind.EVENT and number in matched:
            data = matched[number]
        else:
            continue
        found.setdefault(condition.data_key, data)
    return found


def _ancestors(flight: Flight) -> list[tuple[int, str]]:
    task = flight.task
    assert task.run_id is not None
    ids = task_ids(task.run_id, len(task.version.tasks))
    return [(index, ids[index]) for index in task.version.graph.ancestors(task.step.index)]


def _known_ends(run: OpenRun, index: int) -> dict[int, TaskEnd] | None:
    """How the tasks above ended; None when memory does not have all of it."""
    if run.ends is None:
        return None
    ends: dict[int, TaskEnd] = {}
    for above in run.version.graph.ancestors(index):
        end = run.ends[above]
        if end is not None:
            ends[above] = end
        elif run.state.tasks[above].outcome is not None or index != run.version.graph.on_failure:
            # Not kept, or opened again by a replay while this one runs on with what it was given.
            return None
    return ends


def _input(
    payload: TaskPayload, version: StoredVersion, index: int, ends: Mapping[int, TaskEnd], triggers: Mapping[str, str]
) -> Input:
    names = [task.definition.readable_id for task in version.tasks]
    parents = {names[above]: end for above, end in ends.items()}
    errors = None
    if index == version.graph.on_failure:
        errors = {name: end.error or "" for name, end in parents.items() if end.outcome.status is RunStatus.FAILED}
    return Input(payload, run_action_payload(payload.input, parents, triggers, errors, payload.filter_payload))
