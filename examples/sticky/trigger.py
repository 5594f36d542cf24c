"""Run the workflow of worker.py. Start it twice to see that each run stays where it began."""

from worker import Model, ask

if __name__ == "__main__":
    for name in ("small", "large"):
        print(ask.run(Model(name=name))["use"])
