"""Run the workflow of worker.py once for each branch. The worker must be running."""

from worker import Order, order

if __name__ == "__main__":
    for total in (80, 800):
        result = order.run(Order(total=total))
        print(result["confirm"]["text"])
        print("  skipped:", [task for task, output in result.items() if output == {"skipped": True}])
