"""A workflow with two branches, of which one is skipped; which one, the output of a parent decides."""

from pydantic import BaseModel

from hatchet_sdk import Context, Hatchet, ParentCondition

hatchet = Hatchet()


class Order(BaseModel):
    total: int


class Rating(BaseModel):
    risk: int


class Decision(BaseModel):
    by: str


order = hatchet.workflow(name="order", input_validator=Order)


@order.task()
async def rate(input: Order, ctx: Context) -> Rating:
    return Rating(risk=input.total // 100)


@order.task(parents=[rate], skip_if=[ParentCondition(rate, "output.risk > 5")])
async def accept(input: Order, ctx: Context) -> Decision:
    return Decision(by="a machine")


@order.task(parents=[rate], skip_if=[ParentCondition(rate, "output.risk <= 5")])
async def review(input: Order, ctx: Context) -> Decision:
    return Decision(by="a person")


@order.task(parents=[accept, review])
async def confirm(input: Order, ctx: Context) -> dict[str, str]:
    decision = ctx.task_output(review if ctx.was_skipped(accept) else accept)
    return {"text": f"an order of {input.total} was accepted by {decision.by}"}


if __name__ == "__main__":
    hatchet.worker("branching-worker", workflows=[order]).start()
