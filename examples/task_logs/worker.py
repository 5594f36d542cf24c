"""A task that writes to the log of its run: with the context, and with Python's own loggers."""

import logging

from pydantic import BaseModel

from hatchet_sdk import Context, Hatchet

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
logger = logging.getLogger("my-application")

hatchet = Hatchet()


class File(BaseModel):
    name: str
    rows: int


@hatchet.task(name="import-file", input_validator=File)
async def import_file(input: File, ctx: Context) -> dict[str, int]:
    ctx.log(f"importing {input.name}")
    # What any logger says inside a task goes to its run as well, with its level.
    if input.rows == 0:
        logger.warning("%s is empty", input.name)
    ctx.log({"file": input.name, "rows": input.rows})
    return {"rows": input.rows}


if __name__ == "__main__":
    hatchet.worker("task-logs-worker", workflows=[import_file]).start()
