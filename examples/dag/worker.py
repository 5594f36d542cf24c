"""A workflow of four tasks: two run side by side, the last one reads what both returned."""

from pydantic import BaseModel

from hatchet_sdk import Context, Hatchet

hatchet = Hatchet()


class Text(BaseModel):
    text: str


class Words(BaseModel):
    words: list[str]


class Count(BaseModel):
    count: int


report = hatchet.workflow(name="report", input_validator=Text)


@report.task()
async def split(input: Text, ctx: Context) -> Words:
    return Words(words=input.text.lower().split())


@report.task(parents=[split])
async def count(input: Text, ctx: Context) -> Count:
    return Count(count=len(ctx.task_output(split).words))


@report.task(parents=[split])
def longest(input: Text, ctx: Context) -> dict[str, str]:
    return {"word": max(ctx.task_output(split).words, key=len)}


@report.task(parents=[count, longest])
async def summary(input: Text, ctx: Context) -> dict[str, str]:
    words, word = ctx.task_output(count).count, ctx.task_output(longest)["word"]
    return {"text": f"{words} words, the longest is {word}"}


if __name__ == "__main__":
    hatchet.worker("dag-worker", workflows=[report]).start()
