"""A workflow with a task for the case that another one fails, and one for the case that all complete."""

from pydantic import BaseModel

from hatchet_sdk import Context, Hatchet

hatchet = Hatchet()


class Payment(BaseModel):
    amount: int


payment = hatchet.workflow(name="payment", input_validator=Payment)


@payment.task()
async def reserve(input: Payment, ctx: Context) -> dict[str, int]:
    return {"reserved": input.amount}


@payment.task(parents=[reserve])
async def charge(input: Payment, ctx: Context) -> dict[str, int]:
    if input.amount > 1000:
        raise ValueError(f"{input.amount} is above the limit")
    return {"charged": input.amount}


@payment.on_failure_task()
async def refund(input: Payment, ctx: Context) -> dict[str, object]:
    error = ctx.get_task_run_error(charge)
    return {"failed": list(ctx.task_run_errors), "because": error.exc if error else None}


@payment.on_success_task()
async def receipt(input: Payment, ctx: Context) -> dict[str, str]:
    return {"text": f"paid {ctx.task_output(charge)['charged']}"}


if __name__ == "__main__":
    hatchet.worker("on-failure-worker", workflows=[payment]).start()
