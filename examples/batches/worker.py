"""A task that is given many runs at once, and another one that gives all of them the same output."""

from datetime import timedelta

from pydantic import BaseModel

from hatchet_sdk import Context, Hatchet

hatchet = Hatchet()


class Row(BaseModel):
    table: str
    value: int


@hatchet.batch_task(
    name="insert",
    input_validator=Row,
    # A batch starts when it is full, or so long after its first run came. It has rows of one table only.
    batch_max_size=10,
    batch_max_interval=timedelta(seconds=1),
    batch_group_key="input.table",
)
async def insert(rows: dict[str, Row], ctx: Context) -> dict[str, dict[str, str]]:
    # Each run gets what stands under its id.
    return {run: {"inserted": f"{row.value} as one of {len(rows)} in {row.table}"} for run, row in rows.items()}


@hatchet.batch_task(name="add-up", input_validator=Row, batch_max_size=4, broadcast_output=True)
async def add_up(rows: dict[str, Row], ctx: Context) -> dict[str, int]:
    return {"sum": sum(row.value for row in rows.values())}


if __name__ == "__main__":
    hatchet.worker("batches-worker", workflows=[insert, add_up]).start()
