"""Triggering runs and awaiting their results."""
