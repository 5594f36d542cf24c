"""A task that hands out its answer in pieces while it runs."""

from pydantic import BaseModel

from hatchet_sdk import Context, Hatchet

hatchet = Hatchet()


class Question(BaseModel):
    text: str


@hatchet.task(name="answer", input_validator=Question)
async def answer(input: Question, ctx: Context) -> dict[str, int]:
    words = f"You asked {input.text} and the answer is 42".split()
    for word in words:
        await ctx.aio_put_stream(f"{word} ")
    return {"words": len(words)}


if __name__ == "__main__":
    hatchet.worker("streaming-worker", workflows=[answer]).start()
