"""The interfaces of WASI that this host implements, as their WIT describes them."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from wasi_trio.component.wit import Wit, load

#: those ``@unstable`` features whose functions the host has all the same
FEATURES = ("informational-outbound-responses", "network-error-code")


@functools.lru_cache(maxsize=2)
def host_wit(p3: bool = False) -> Wit:
    """The WIT of WASI 0.2 beside this module, and with ``p3`` that of 0.3 too.

    It is read at the first call (some 25 ms, 15 more for 0.3) and the same object ever after.
    """
    return extended_wit(()) if p3 else load([files(__name__) / "p2"], FEATURES)


def extended_wit(paths: Iterable[Path | Traversable]) -> Wit:
    """WIT of your own, in files or folders, together with that of WASI 0.2 and 0.3, which it may use.

    Raises WitError, or OSError for a file that cannot be read.
    """
    return load([files(__name__) / "p2", files(__name__) / "p3", *paths], FEATURES)
