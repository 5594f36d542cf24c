"""``hatchet loadtest``: a worker and a producer against the configured server, and what became of every run.

``plan`` (what was asked), ``tasks`` (what is run), ``worker`` (the process that runs it), ``producer`` (who triggers
and waits), ``figures`` and ``summary`` (what is said about it), ``chart`` (the same as files), ``run`` (all of it).
"""

from hatchet.cli.loadtest.command import register

__all__ = ["register"]
