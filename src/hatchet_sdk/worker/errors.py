"""Why a worker does not start."""


class WorkerRegistrationError(Exception):
    """The engine refused the worker or one of its workflows, or the worker has nothing to register."""
