"""A task of which each user has one run at a time; who has many waiting does not delay the others."""

import asyncio

from pydantic import BaseModel

from hatchet_sdk import ConcurrencyExpression, ConcurrencyLimitStrategy, Context, Hatchet

hatchet = Hatchet()


class Report(BaseModel):
    user: str
    page: int


@hatchet.task(
    name="print-report",
    input_validator=Report,
    concurrency=ConcurrencyExpression(
        expression="input.user",
        max_runs=1,
        # What has no room waits. CANCEL_NEWEST would cancel it, CANCEL_IN_PROGRESS would cancel what runs.
        limit_strategy=ConcurrencyLimitStrategy.GROUP_ROUND_ROBIN,
    ),
)
async def print_report(input: Report, ctx: Context) -> dict[str, float]:
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(0.3)
    return {"began": began, "ended": asyncio.get_running_loop().time()}


if __name__ == "__main__":
    hatchet.worker("concurrency-worker", workflows=[print_report]).start()
