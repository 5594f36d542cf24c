"""Run the workflow of worker.py and print what each of its tasks returned. The worker must be running."""

from worker import Text, report

if __name__ == "__main__":
    result = report.run(Text(text="Tasks that depend on each other"))
    for task, output in result.items():
        print(f"{task:8} -> {output}")
