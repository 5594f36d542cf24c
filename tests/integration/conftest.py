"""Fixtures of the engine's tests; what they give is in ``engine_fixture``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from engine_fixture import Instance, World


@pytest_asyncio.fixture
async def world(dsn: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Engines on a fresh database, whose watch turns ten times as often as in production."""
    # Imported here: the other integration tests do not need the whole server.
    from engine_fixture import a_world

    from hatchet.engine import watch

    monkeypatch.setattr(watch, "TURN_SECONDS", 0.05)
    async with a_world(dsn) as made:
        yield made


@pytest_asyncio.fixture
async def one(world: World) -> Instance:
    """One engine that owns the tenant."""
    return await world.engine()
