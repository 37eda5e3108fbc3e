"""A soak: servers under mixed load for minutes, and what is left of it afterwards. ``python -m tests.soak``."""
