"""Run the outer task of worker.py and print what it made of its children's results. The worker must be running."""

from worker import Book, measure_book

if __name__ == "__main__":
    print(measure_book.run(Book(chapters=["Queues", "Workers", "Slots", "Leases"])))
