"""A workflow whose second task waits for an event, or for some time when nobody pushes one."""

from datetime import timedelta

from pydantic import BaseModel

from hatchet_sdk import Context, Hatchet, SleepCondition, UserEventCondition, or_

hatchet = Hatchet()


class Draft(BaseModel):
    id: str


publication = hatchet.workflow(name="publication", input_validator=Draft)


@publication.task()
async def write(input: Draft, ctx: Context) -> dict[str, str]:
    return {"text": f"draft {input.id}"}


@publication.task(
    parents=[write],
    wait_for=[
        or_(
            UserEventCondition("draft:approved", expression="input.pages > 0"),
            SleepCondition(timedelta(seconds=3)),
        )
    ],
)
async def publish(input: Draft, ctx: Context) -> dict[str, str]:
    # What ended the wait, by its name: the event's payload, or how long the sleep was.
    approval = ctx.trigger_data.get("draft:approved")
    return {"because": f"approved by {approval['by']}" if approval else "nobody objected for 3 seconds"}


if __name__ == "__main__":
    hatchet.worker("wait-for-event-worker", workflows=[publication]).start()
