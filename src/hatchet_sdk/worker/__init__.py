"""The worker: receives assignments over one connection, runs the functions, reports how they ended.

Two threads share the work. The connection thread owns everything that talks to the engine (`connection`, `reports`)
and the table of attempts (`attempts`); the thread of `Worker.start()`, the main loop, runs async tasks (`executor`),
and a pool runs sync ones. What crosses between them goes through a `mailbox`. So code of a task that blocks the main
loop delays other async tasks of this worker, but no heartbeat, no report and no sync task.
"""
