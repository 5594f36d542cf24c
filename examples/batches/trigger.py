"""Run the tasks of worker.py. Who calls need not know that they are batches. The worker must be running."""

from worker import Row, add_up, insert

if __name__ == "__main__":
    rows = [Row(table="orders", value=n) for n in range(10)] + [Row(table="people", value=n) for n in range(2)]
    results = insert.run_many([insert.create_bulk_run_item(input=row) for row in rows])
    for result in (results[0], results[9], results[10]):
        print(result["inserted"])

    print(add_up.run_many([add_up.create_bulk_run_item(input=row) for row in rows[:4]]))
