"""Guests that tests and benchmarks run."""
