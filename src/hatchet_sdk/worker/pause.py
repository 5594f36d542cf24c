"""Tells the engine over REST that the worker wants no new tasks (C-2.37, C-2.38)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hatchet_sdk.config import ClientConfig

logger = logging.getLogger("hatchet.worker")

PAUSE_SECONDS = 3.0


def pause_worker(config: ClientConfig, worker_id: str) -> bool:
    """Pauses the worker; blocks for up to three seconds. False, with a log line, if that did not work."""
    # Here, not above: the REST client takes a tenth of a second to import, and only the end of a worker needs it.
    import httpx2

    url = f"{config.server_url.rstrip('/')}/api/v1/workers/{worker_id}"
    try:
        answer = httpx2.patch(
            url,
            json={"isPaused": True},
            headers={"Authorization": f"Bearer {config.token}"},
            timeout=PAUSE_SECONDS,
        )
        answer.raise_for_status()
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        logger.warning("could not pause the worker at %s (%s); leaving the assignment at once instead", url, error)
        return False
    return True
