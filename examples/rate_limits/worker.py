"""A task that each user may run twice a second, and another one that takes units of a limit that all share."""

import time

from pydantic import BaseModel

from hatchet_sdk import Context, Hatchet, RateLimit, RateLimitDuration

hatchet = Hatchet()

MAILS = "mails"


class Search(BaseModel):
    user: str
    text: str = ""


class Mail(BaseModel):
    to: list[str]


@hatchet.task(
    name="search",
    input_validator=Search,
    # The key is made from the input, so nobody has to create the limits beforehand.
    rate_limits=[RateLimit(dynamic_key="'search:' + input.user", limit=2, duration=RateLimitDuration.SECOND)],
)
async def search(input: Search, ctx: Context) -> dict[str, float]:
    return {"began": time.time()}


@hatchet.task(
    name="send-mail",
    input_validator=Mail,
    # A mail to three people takes three units of the limit that trigger.py puts.
    rate_limits=[RateLimit(static_key=MAILS, units="size(input.to)")],
)
async def send_mail(input: Mail, ctx: Context) -> dict[str, int]:
    return {"sent": len(input.to)}


if __name__ == "__main__":
    hatchet.worker("rate-limits-worker", workflows=[search, send_mail]).start()
