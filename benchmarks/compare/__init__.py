"""The same work on other PostgreSQL queues, in an environment of their own (``.venv-bench``)."""
