"""A durable task that waits for a person, and decides by itself when the deadline passes.

While it waits it costs nothing: after a second it is taken off the worker, and a worker gets it again when the wait is
over. It goes on where it was, also when all workers were restarted meanwhile.
"""

from datetime import timedelta

from pydantic import BaseModel

from hatchet_sdk import DurableContext, EvictionPolicy, Hatchet, SleepCondition, UserEventCondition, or_

hatchet = Hatchet()

DECIDED = "expense:decided"


class Expense(BaseModel):
    id: str
    amount: int


class Answer(BaseModel):
    text: str


@hatchet.durable_task(
    name="approve-expense", input_validator=Expense, eviction_policy=EvictionPolicy(ttl=timedelta(seconds=1))
)
async def approve(input: Expense, ctx: DurableContext) -> Answer:
    if input.amount < 50:
        return Answer(text="approved by the rules")
    # Whichever comes first. The deadline counts from the first time that this line is reached.
    decided = await ctx.aio_wait_for(
        "decision",
        or_(
            UserEventCondition(DECIDED, expression=f"input.id == '{input.id}'"),
            SleepCondition(timedelta(seconds=4)),
        ),
        label=f"a decision about expense {input.id}",
    )
    event = decided["CREATE"].get(DECIDED)
    if event is None:
        return Answer(text="refused, as nobody decided in time")
    return Answer(text=f"{event[0]['verdict']} by {event[0]['by']}")


if __name__ == "__main__":
    hatchet.worker("durable-approval-worker", workflows=[approve]).start()
