"""Run both tasks of examples/worker.py once and print what they return. The worker must be running."""

from worker import Greeting, count_letters, greet

if __name__ == "__main__":
    print("greet         ->", greet.run(Greeting(name="World")))
    print("count-letters ->", count_letters.run(Greeting(name="World")))
