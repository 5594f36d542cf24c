"""The feature clients as attributes of `Hatchet`; each is imported and made at its first use."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hatchet_sdk.client import Client
    from hatchet_sdk.features.cel import CELClient
    from hatchet_sdk.features.cron import CronClient
    from hatchet_sdk.features.events import EventClient
    from hatchet_sdk.features.filters import FiltersClient
    from hatchet_sdk.features.rate_limits import RateLimitsClient
    from hatchet_sdk.features.runs import RunsClient
    from hatchet_sdk.features.scheduled import ScheduledClient


class FeatureClients:
    """What an application asks of the engine beside triggering runs."""

    if TYPE_CHECKING:
        client: Client

    @cached_property
    def event(self) -> EventClient:
        """Push events."""
        from hatchet_sdk.features.events import EventClient

        return EventClient(self.client)

    @cached_property
    def runs(self) -> RunsClient:
        """Listen to runs, look them up, cancel them, run them again."""
        from hatchet_sdk.features.runs import RunsClient

        return RunsClient(self.client)

    @cached_property
    def rate_limits(self) -> RateLimitsClient:
        """Set rate limits, pause and list them."""
        from hatchet_sdk.features.rate_limits import RateLimitsClient

        return RateLimitsClient(self.client)

    @cached_property
    def cron(self) -> CronClient:
        """Create, list and delete cron triggers."""
        from hatchet_sdk.features.cron import CronClient

        return CronClient(self.client)

    @cached_property
    def scheduled(self) -> ScheduledClient:
        """Create, list, reschedule and delete scheduled runs."""
        from hatchet_sdk.features.scheduled import ScheduledClient

        return ScheduledClient(self.client)

    @cached_property
    def filters(self) -> FiltersClient:
        """Create, list, change and delete filters of events."""
        from hatchet_sdk.features.filters import FiltersClient

        return FiltersClient(self.client)

    @cached_property
    def cel(self) -> CELClient:
        """Try out CEL expressions."""
        from hatchet_sdk.features.cel import CELClient

        return CELClient(self.client)
