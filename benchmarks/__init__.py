"""``make bench``: how fast, how quick and how costly the engine is, as one JSON result and a table with the goals.

Worker and client are processes of their own on our SDK; the engine is a process of its own on a PostgreSQL server with
fsync on. ``python -m benchmarks --help`` says what can be chosen.
"""
