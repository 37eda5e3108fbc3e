"""The Component Model's concurrency with no I/O: tasks, subtasks, waitables, streams and futures."""
