"""A task of which one run exists at a time for each customer, and another one that is not repeated for a while."""

import asyncio
from datetime import timedelta

from pydantic import BaseModel

from hatchet_sdk import Context, Hatchet, StatusBasedIdempotencyConfig, TTLBasedIdempotencyConfig

hatchet = Hatchet()


class Customer(BaseModel):
    id: str


@hatchet.task(
    name="sync-customer",
    input_validator=Customer,
    # The key is free again when the run has ended. Keys count across tasks, so they begin with a name of their own.
    idempotency=StatusBasedIdempotencyConfig(key_expression="'sync:' + input.id", fallback_ttl=timedelta(minutes=5)),
)
async def sync_customer(input: Customer, ctx: Context) -> dict[str, str]:
    await asyncio.sleep(1)
    return {"synced": input.id}


@hatchet.task(
    name="greet-customer",
    input_validator=Customer,
    idempotency=TTLBasedIdempotencyConfig(key_expression="'greet:' + input.id", ttl=timedelta(hours=1)),
)
async def greet_customer(input: Customer, ctx: Context) -> dict[str, str]:
    return {"greeted": input.id}


if __name__ == "__main__":
    hatchet.worker("idempotency-worker", workflows=[sync_customer, greet_customer]).start()
