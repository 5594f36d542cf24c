"""What belongs to one configuration: the connection, and what triggers runs over it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from hatchet_sdk.wire.connection import Connection

if TYPE_CHECKING:
    from hatchet_sdk.config import ClientConfig
    from hatchet_sdk.run.trigger import Runner
    from hatchet_sdk.wire.rest import Rest


class Client:
    """Opens nothing until it is used."""

    def __init__(self, config: ClientConfig, debug: bool = False) -> None:
        self.config = config
        self.debug = debug
        self.connection = Connection(config)

    @cached_property
    def runner(self) -> Runner:
        # Imported with the first run: grpc and the messages cost most of the import time.
        from hatchet_sdk.run.trigger import Runner

        return Runner(self.connection)

    @cached_property
    def rest(self) -> Rest:
        # The HTTP library takes a tenth of a second to import, and most programs never call the REST API.
        from hatchet_sdk.wire.rest import Rest

        return Rest(self.config)

    async def engine_version(self) -> str:
        """The engine's version text. On the connection thread."""
        return await self.connection.calls().get_version()
