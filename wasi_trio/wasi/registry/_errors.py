"""Why there is no component where a reference says."""

from __future__ import annotations


class RegistryError(Exception):
    """A component cannot be had from a registry or a layout; the message is one line."""
