"""A task that a cron starts every night, and at any time that somebody schedules."""

from pydantic import BaseModel

from hatchet_sdk import Context, Hatchet

hatchet = Hatchet()


class Backup(BaseModel):
    of: str = "everything"


# Times are in UTC. Six fields instead of five begin with the seconds.
@hatchet.task(
    name="back-up",
    input_validator=Backup,
    on_crons=["30 3 * * *"],
    cron_input=Backup(of="the day"),
)
async def back_up(input: Backup, ctx: Context) -> dict[str, str]:
    print(f"a backup of {input.of}", flush=True)
    return {"of": input.of}


if __name__ == "__main__":
    hatchet.worker("schedules-worker", workflows=[back_up]).start()
