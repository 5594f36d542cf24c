"""Start many runs of worker.py with one call each way. The worker must be running."""

from worker import Number, square

from hatchet_sdk import Priority, WorkflowRunTriggerConfig


def run_of(n: int) -> WorkflowRunTriggerConfig:
    return square.create_bulk_run_item(Number(n=n), additional_metadata={"batch": "one"}, priority=Priority.HIGH)


if __name__ == "__main__":
    # All results, in the order of the items.
    results = square.run_many([run_of(n) for n in range(500)])
    print("the sum of 500 squares:", sum(result["square"] for result in results))
    print("the last one:", results[-1])

    # Only references: the program may end now, the runs go on.
    runs = square.run_many([run_of(n) for n in range(500)], wait_for_result=False)
    print("started:", len({run.workflow_run_id for run in runs}), "and the eighth says", runs[7].result()["square"])

    # A failure in the place of its result, instead of an exception for all.
    for outcome in square.run_many([run_of(-1), run_of(2)], return_exceptions=True):
        print("failed:" if isinstance(outcome, Exception) else "fine:", type(outcome).__name__)
