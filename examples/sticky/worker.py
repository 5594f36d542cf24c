"""A workflow that stays on the worker on which it began, with what is in memory there, and takes its child along."""

from typing import Any

from pydantic import BaseModel

from hatchet_sdk import Context, Hatchet, StickyStrategy

hatchet = Hatchet()

LOADED: dict[str, str] = {}
"""What only this process has."""


class Model(BaseModel):
    name: str


# SOFT: another worker takes over when this one is gone. HARD would wait for it.
ask = hatchet.workflow(name="ask", input_validator=Model, sticky=StickyStrategy.SOFT)
answer = hatchet.workflow(name="answer-from-model", input_validator=Model, sticky=StickyStrategy.SOFT)


@ask.task()
async def load(input: Model, ctx: Context) -> dict[str, str]:
    LOADED[input.name] = f"the model {input.name}"
    return {"worker": ctx.worker_id}


@ask.task(parents=[load])
async def use(input: Model, ctx: Context) -> dict[str, Any]:
    child = await answer.aio_run(input, sticky=True)
    same = {ctx.task_output(load)["worker"], ctx.worker_id, child["speak"]["worker"]}
    return {"found": LOADED[input.name], "child_found": child["speak"]["found"], "workers": len(same)}


@answer.task()
async def speak(input: Model, ctx: Context) -> dict[str, str]:
    return {"found": LOADED[input.name], "worker": ctx.worker_id}


if __name__ == "__main__":
    hatchet.worker("sticky-worker", workflows=[ask, answer]).start()
