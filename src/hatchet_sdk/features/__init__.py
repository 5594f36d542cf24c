"""The feature clients of `Hatchet`: what an application asks about its runs, beside triggering them."""
