"""The interfaces of WASI that this host implements, as their WIT describes them."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from wasi_trio.component.wit import Wit, load

#: those ``@unstable`` features whose functions the host has all the same
FEATURES = ("cli-exit-with-code", "informational-outbound-responses", "network-error-code")


@functools.lru_cache(maxsize=1)
def host_wit() -> Wit:
    """The WIT of WASI 0.2 beside this module, read at the first call (some 25 ms) and the same object ever after."""
    return extended_wit(())


def extended_wit(paths: Iterable[Path | Traversable]) -> Wit:
    """WIT of your own, in files or folders, together with that of WASI, which it may use.

    Raises WitError, or OSError for a file that can not be read.
    """
    return load([files(__name__) / "p2", *paths], FEATURES)
