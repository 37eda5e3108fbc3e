"""A soak test: servers under mixed load for minutes, and a check for leaks. ``python -m tests.soak``."""
