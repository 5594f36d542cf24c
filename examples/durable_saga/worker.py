"""A saga: several bookings that must all succeed; when one fails, those before it are undone in reverse order.

Because the saga is a durable task, it finishes what it began: a worker that dies half-way leaves no booking behind
without its counterpart, since the next worker knows from the log which bookings there are.
"""

from pydantic import BaseModel

from hatchet_sdk import Context, DurableContext, FailedTaskRunExceptionGroup, Hatchet, NonRetryableException

hatchet = Hatchet()


class Trip(BaseModel):
    to: str


class Booking(BaseModel):
    what: str
    to: str


class Booked(BaseModel):
    code: str


@hatchet.task(name="book", input_validator=Booking, retries=2)
async def book(input: Booking, ctx: Context) -> Booked:
    if input.what == "car" and input.to == "Venice":
        raise NonRetryableException("there are no cars in Venice")
    return Booked(code=f"{input.what}-{input.to}".lower())


@hatchet.task(name="cancel-booking", input_validator=Booked, retries=5)
async def cancel(input: Booked, ctx: Context) -> dict[str, str]:
    return {"cancelled": input.code}


@hatchet.durable_task(name="plan-trip", input_validator=Trip)
async def plan_trip(input: Trip, ctx: DurableContext) -> dict[str, list[str] | str]:
    booked: list[Booked] = []
    try:
        for what in ("flight", "hotel", "car"):
            # One by one: when the next booking fails, this list says what is to be undone.
            booking = await book.aio_run(Booking(what=what, to=input.to))
            booked.append(booking)
    except FailedTaskRunExceptionGroup as failed:
        undone = [await cancel.aio_run(booking) for booking in reversed(booked)]
        return {"because": failed.exceptions[0].exc, "undone": [one["cancelled"] for one in undone]}
    return {"booked": [one.code for one in booked]}


if __name__ == "__main__":
    hatchet.worker("durable-saga-worker", workflows=[plan_trip, book, cancel]).start()
