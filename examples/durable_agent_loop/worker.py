"""An agent: a loop in which a model chooses a tool, the tool runs, and the model sees what came of it.

The loop is a durable task. What the model said is remembered as a memo and every tool is a child run, so a crash in the
middle repeats neither: the next worker finds all of it in the log and goes on with the step that was missing. The model
here is a few lines that always say the same; a real one says something else each time, so it has to be a memo.
"""

from typing import Any

from pydantic import BaseModel

from hatchet_sdk import Context, DurableContext, Hatchet

hatchet = Hatchet()

HEIGHTS = {"Everest": 8849, "Mont Blanc": 4806}


class Question(BaseModel):
    mountains: list[str]


class Place(BaseModel):
    name: str


class Numbers(BaseModel):
    values: list[int]


class Step(BaseModel):
    """What the model wants next."""

    tool: str
    argument: Any


@hatchet.task(name="look-up-height", input_validator=Place)
async def look_up(input: Place, ctx: Context) -> dict[str, int]:
    return {"result": HEIGHTS[input.name]}


@hatchet.task(name="subtract", input_validator=Numbers)
async def subtract(input: Numbers, ctx: Context) -> dict[str, int]:
    return {"result": input.values[0] - input.values[1]}


async def ask_model(mountains: list[str], notes: list[int]) -> Step:
    if len(notes) < len(mountains):
        return Step(tool="look-up-height", argument=mountains[len(notes)])
    if len(notes) == len(mountains):
        return Step(tool="subtract", argument=notes)
    return Step(tool="answer", argument=f"{mountains[0]} is {notes[-1]} m higher than {mountains[1]}")


@hatchet.durable_task(name="agent", input_validator=Question)
async def agent(input: Question, ctx: DurableContext) -> dict[str, Any]:
    notes: list[int] = []
    used: list[str] = []
    while True:
        step = await ctx.aio_memo(ask_model, input.mountains, notes)
        if step.tool == "answer":
            return {"answer": step.argument, "used": used}
        used.append(step.tool)
        if step.tool == "look-up-height":
            found = await look_up.aio_run(Place(name=step.argument))
        else:
            found = await subtract.aio_run(Numbers(values=step.argument))
        notes.append(found["result"])


if __name__ == "__main__":
    hatchet.worker("durable-agent-loop-worker", workflows=[agent, look_up, subtract]).start()
