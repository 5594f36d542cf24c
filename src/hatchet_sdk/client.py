"""What belongs to one configuration: the connection, and what triggers runs over it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from hatchet_sdk.wire.connection import Connection

if TYPE_CHECKING:
    from hatchet_sdk.config import ClientConfig
    from hatchet_sdk.run.trigger import Runner


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

    async def engine_version(self) -> str:
        """The engine's version text. On the connection thread."""
        return await self.connection.calls().get_version()
