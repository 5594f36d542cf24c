"""What a task sees of its own run: `Context`, `WorkerContext`, and the context variable that finds the present one."""
