"""Errors of registries and layouts."""

from __future__ import annotations


class RegistryError(Exception):
    """A component cannot be fetched from a registry or a layout. The message is one line."""
