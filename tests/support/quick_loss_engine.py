"""The engine, except that a silent worker is lost after TEST_LOST_SECONDS instead of 30."""

import os

from hatchet.cli import engine
from hatchet.engine import watch

if __name__ == "__main__":
    watch.LOST_SECONDS = float(os.environ["TEST_LOST_SECONDS"])
    engine.main()
