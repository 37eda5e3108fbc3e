"""Runs the specification's own tests (``.wast`` scripts) against this package. See docs/spec-tests.md."""
