"""Plan two trips, of which one cannot be made. The worker must be running."""

from worker import Trip, plan_trip

if __name__ == "__main__":
    for place in ("Vienna", "Venice"):
        print(place, "->", plan_trip.run(Trip(to=place)))
