"""What happened in the last seconds to runs that nobody follows: cheap to note, read only when somebody comes.

Most runs are never followed, and every task goes through here three times: a note costs a fraction of what an event
costs in a :class:`~hatchet.engine.run_stream.RunStream`.
"""

from __future__ import annotations

from collections import deque

from hatchet.core.run_events import RunEvent, RunEventKind

MOST_CHARACTERS = 24_000_000
NOTE_SIZE = 300
"""What a note takes besides its payload, roughly."""

Key = tuple[str, str]
Note = tuple[float, str | None, RunEventKind, float, str, int | None, int | None]
"""When it was noted by the event loop's clock, then the fields of :class:`RunEvent` from ``task_id`` on."""


class RunJournal:
    """Notes by tenant and run. ``now`` is the event loop's clock, in seconds."""

    def __init__(self, *, kept: float, kept_after_end: float) -> None:
        self._kept = kept
        self._kept_after_end = kept_after_end
        self._runs: dict[Key, list[Note]] = {}
        self._ended: deque[tuple[float, Key]] = deque()
        self.size = 0

    def __contains__(self, key: Key) -> bool:
        return key in self._runs

    def __len__(self) -> int:
        return len(self._runs)

    def keys_of(self, tenant_id: str) -> list[Key]:
        """The tenant's runs that have notes."""
        return [key for key in self._runs if key[0] == tenant_id]

    def note(self, key: Key, note: Note) -> None:
        """Remember what happened to a run for a moment; a note without task is the run's end."""
        notes = self._runs.get(key)
        if notes is None:
            self._runs[key] = [note]
        else:
            notes.append(note)
        self.size += len(note[4]) + NOTE_SIZE
        if note[1] is None:
            self._ended.append((note[0] + self._kept_after_end, key))
        while self.size > MOST_CHARACTERS:
            self._pop(next(iter(self._runs)))

    def take(self, key: Key, now: float) -> list[tuple[float, RunEvent]]:
        """The events of a run with the times at which they were noted, and forget them here."""
        run_id = key[1]
        fresh = now - self._kept
        notes = self._pop(key)
        while any(note[1] is None for note in notes[:-1]):
            # The run was replayed after this end.
            del notes[0]
        return [(note[0], RunEvent(run_id, *note[1:])) for note in notes if note[0] > fresh]

    def has_over(self, now: float) -> bool:
        """Whether :meth:`expire` would tell of a run that is over."""
        return bool(self._ended) and self._ended[0][0] <= now

    def expire(self, now: float) -> list[Key]:
        """Forget what is old; the runs that ended, whose moment is over."""
        over: list[Key] = []
        while self._ended and self._ended[0][0] <= now:
            key = self._ended.popleft()[1]
            notes = self._runs.get(key)
            if notes is not None and notes[-1][1] is None:
                self._pop(key)
                over.append(key)
        fresh = now - self._kept
        while self._runs:
            key = next(iter(self._runs))
            if self._runs[key][0][0] > fresh:
                break
            for note in self._pop(key):
                if note[0] > fresh:
                    self._runs.setdefault(key, []).append(note)
                    self.size += len(note[4]) + NOTE_SIZE
        return over

    def _pop(self, key: Key) -> list[Note]:
        notes = self._runs.pop(key, [])
        self.size -= sum(len(note[4]) + NOTE_SIZE for note in notes)
        return notes
