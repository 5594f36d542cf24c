"""Run the workflow of worker.py twice: push an event for the first run, leave the second alone."""

import time

from worker import Draft, hatchet, publication

from hatchet_sdk import RunStatus

if __name__ == "__main__":
    run = publication.run(Draft(id="A"), wait_for_result=False)
    # An event counts from the moment on at which the parents have ended, so push until it was seen.
    while hatchet.runs.get_details(run.workflow_run_id).status is not RunStatus.COMPLETED:
        hatchet.event.push("draft:approved", {"by": "Ada", "pages": 3})
        time.sleep(0.2)
    print("A ->", run.result()["publish"]["because"])
    print("B ->", publication.run(Draft(id="B"))["publish"]["because"])
