"""Tasks that events start: one by every event whose key fits, one only by those that a filter lets through."""

from pydantic import BaseModel

from hatchet_sdk import Context, DefaultFilter, Hatchet

hatchet = Hatchet()


class Order(BaseModel):
    id: str
    total: int = 0


@hatchet.task(name="record", input_validator=Order, on_events=["order:*"])
async def record(input: Order, ctx: Context) -> dict[str, str]:
    print(f"recorded: order {input.id}", flush=True)
    return {"recorded": input.id}


@hatchet.task(
    name="thank",
    input_validator=Order,
    on_events=["order:paid"],
    # Counts for events that are pushed with this scope. More filters can be created at any time; see trigger.py.
    default_filters=[DefaultFilter(scope="shop-1", expression="input.total >= 100", payload={"gift": "a book"})],
)
async def thank(input: Order, ctx: Context) -> dict[str, str]:
    gift = ctx.filter_payload["gift"]
    print(f"thanked: order {input.id} with {gift}", flush=True)
    return {"gift": gift}


if __name__ == "__main__":
    hatchet.worker("events-worker", workflows=[record, thank]).start()
