"""Ctrl-C while guests run."""
