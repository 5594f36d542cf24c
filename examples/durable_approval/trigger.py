"""Hand in three expenses and decide about one of them. The worker must be running."""

import time

from worker import DECIDED, Expense, approve, hatchet

from hatchet_sdk import RunStatus

if __name__ == "__main__":
    small = approve.run(Expense(id="A", amount=20), wait_for_result=False)
    large = approve.run(Expense(id="B", amount=500), wait_for_result=False)
    forgotten = approve.run(Expense(id="C", amount=500), wait_for_result=False)
    # An event counts from the moment on at which the task waits for it, so push until it was seen.
    while hatchet.runs.get_details(large.workflow_run_id).status is not RunStatus.COMPLETED:
        hatchet.event.push(DECIDED, {"id": "B", "verdict": "approved", "by": "Ada"})
        time.sleep(0.2)
    for name, run in (("A", small), ("B", large), ("C", forgotten)):
        print(f"{name} -> {run.result().text}")
