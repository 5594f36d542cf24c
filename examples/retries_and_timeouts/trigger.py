"""Run every task of worker.py and print how it ended. The worker must be running."""

import time

from worker import Job, asks_for_time, can_be_cancelled, flaky, hatchet, too_slow, waits_for_a_partner

from hatchet_sdk import CancelledRunError, FailedTaskRunExceptionGroup, RunStatus

if __name__ == "__main__":
    print("flaky ->", flaky.run(Job(name="a job")))

    for task, name in ((flaky, "hopeless"), (too_slow, "a job")):
        try:
            task.run(Job(name=name))
        except FailedTaskRunExceptionGroup as failed:
            print(f"{task.name} ->", failed.exceptions[0].exc)

    print("asks-for-time ->", asks_for_time.run(Job(name="a job")))

    began = time.monotonic()
    partners = [waits_for_a_partner.create_bulk_run_item(input=Job(name=f"job {n}")) for n in range(20)]
    results = waits_for_a_partner.run_many(partners)
    side_by_side = time.monotonic() - began < 5
    print(f"waits-for-a-partner -> {len(results)} finished, on two slots side by side: {side_by_side}")

    run = can_be_cancelled.run(Job(name="a job"), wait_for_result=False)
    while hatchet.runs.get_details(run.workflow_run_id).status is RunStatus.QUEUED:
        time.sleep(0.05)
    hatchet.runs.cancel(run.workflow_run_id)
    try:
        run.result()
    except CancelledRunError as cancelled:
        print("can-be-cancelled ->", str(cancelled).replace(run.workflow_run_id, "…"))
