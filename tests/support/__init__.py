"""Helpers of the tests that run whole programs: engines and workers as processes that can be killed."""
