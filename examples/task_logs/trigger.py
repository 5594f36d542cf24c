"""Run the task of worker.py. What it logs appears where the worker runs, and is kept with the run by the server."""

from worker import File, import_file

if __name__ == "__main__":
    for file in (File(name="orders.csv", rows=12), File(name="returns.csv", rows=0)):
        print(f"{file.name} ->", import_file.run(file))
