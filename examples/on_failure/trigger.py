"""Run the workflow of worker.py once with success and once without. The worker must be running."""

from worker import Payment, hatchet, payment

from hatchet_sdk import FailedTaskRunExceptionGroup

if __name__ == "__main__":
    print("50   ->", payment.run(Payment(amount=50))["receipt-on-success"]["text"])

    run = payment.run(Payment(amount=5000), wait_for_result=False)
    try:
        run.result()
    except FailedTaskRunExceptionGroup as failed:
        print("5000 ->", [f"{error.exc_type}: {error.exc}" for error in failed.exceptions])
    # The result comes when everything has ended, the on-failure task included.
    print("        ", hatchet.runs.get_details(run.workflow_run_id).task_runs["refund-on-failure"].output)
