"""A task for many runs at once, which tells what its run was started with."""

from pydantic import BaseModel

from hatchet_sdk import Context, Hatchet

hatchet = Hatchet()


class Number(BaseModel):
    n: int


@hatchet.task(name="square", input_validator=Number, default_additional_metadata={"source": "example"})
async def square(input: Number, ctx: Context) -> dict[str, object]:
    if input.n < 0:
        raise ValueError(f"{input.n} is negative")
    return {"square": input.n**2, "metadata": ctx.additional_metadata}


if __name__ == "__main__":
    hatchet.worker("bulk-worker", workflows=[square]).start()
