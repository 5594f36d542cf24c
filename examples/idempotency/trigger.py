"""Start runs of worker.py whose keys collide, and see which ones are refused. The worker must be running."""

import uuid

from worker import Customer, greet_customer, sync_customer

from hatchet_sdk import BulkTriggerIdempotencyCollisionError, IdempotencyCollisionError

if __name__ == "__main__":
    customer = Customer(id=str(uuid.uuid4()))

    first = sync_customer.run(customer, wait_for_result=False)
    try:
        sync_customer.run(customer)
    except IdempotencyCollisionError as collision:
        print("refused while the first run goes on:", collision.existing_run_external_id == first.workflow_run_id)
    first.result()
    print("taken after its end:", sync_customer.run(customer)["synced"] == customer.id)

    greetings = [greet_customer.create_bulk_run_item(input=customer) for _ in range(3)]
    try:
        greet_customer.run_many(greetings)
    except BulkTriggerIdempotencyCollisionError as collision:
        created, refused = collision.successful_workflow_run_external_ids, collision.collisions
        print(f"of three in bulk: {len(created)} created, {len(refused)} refused")
        print("the created one completes:", greet_customer.get_result(created[0])["greeted"] == customer.id)
