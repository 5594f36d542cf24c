"""A worker with two tasks. Start a server (`hatchet server start`), then `python examples/worker.py`."""

from pydantic import BaseModel

from hatchet_sdk import Context, Hatchet

hatchet = Hatchet()


class Greeting(BaseModel):
    name: str


@hatchet.task(name="greet", input_validator=Greeting)
async def greet(input: Greeting, ctx: Context) -> dict[str, str]:
    return {"message": f"Hello, {input.name}!"}


@hatchet.task(name="count-letters", input_validator=Greeting)
def count_letters(input: Greeting, ctx: Context) -> dict[str, int]:
    return {"letters": len(input.name)}


if __name__ == "__main__":
    hatchet.worker("example-worker", slots=10, workflows=[greet, count_letters]).start()
