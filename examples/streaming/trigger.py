"""Run the task of worker.py and print the pieces of its answer as they come. The worker must be running."""

import asyncio

from worker import Question, answer, hatchet


async def main() -> None:
    run = await answer.aio_run(Question(text="for the answer"), wait_for_result=False)
    async for piece in hatchet.runs.subscribe_to_stream(run.workflow_run_id):
        print(piece, end="", flush=True)
    print()
    print(await run.aio_result())


if __name__ == "__main__":
    asyncio.run(main())
