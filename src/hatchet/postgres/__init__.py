"""The embedded PostgreSQL server: a child of ours, private to its data directory, gone when we are gone."""

from hatchet.postgres.server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres"]
