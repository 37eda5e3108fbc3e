"""Runs the specification's own tests (``.wast`` scripts) against this package: see docs/spec-tests.md."""
