"""The interfaces of WASI that this host implements, as their WIT describes them."""

from __future__ import annotations

import functools
from importlib.resources import files

from wasi_trio.component.wit import Wit, load

#: those ``@unstable`` features whose functions the host has all the same
FEATURES = ("cli-exit-with-code", "informational-outbound-responses", "network-error-code")


@functools.lru_cache(maxsize=1)
def host_wit() -> Wit:
    """The WIT of WASI 0.2 beside this module, read at the first call (some 25 ms) and the same object ever after."""
    return load([files(__name__) / "p2"], FEATURES)
