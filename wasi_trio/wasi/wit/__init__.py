"""The interfaces of WASI that this host implements, as their WIT describes them."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from wasi_trio.component.wit import Wit
from wasi_trio.component.wit._packed import unpack

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

#: those ``@unstable`` features whose functions the host has all the same
FEATURES = ("informational-outbound-responses", "network-error-code")
#: what ``host_wit`` reads; ``python -m wasi_trio.wasi.wit`` makes it of the texts beside it
PACKED = "packed.json"


@functools.cache
def host_wit() -> Wit:
    """The WIT of WASI 0.2, 0.3 and proposals beside this module.

    It was parsed beforehand: to read the texts takes forty milliseconds, which is long for a program that runs a small
    command. The same object is returned by each call.
    """
    return unpack(json.loads(Path(__file__).with_name(PACKED).read_bytes()))


def extended_wit(paths: Iterable[Path | Traversable]) -> Wit:
    """WIT of your own, in files or folders, together with that of WASI 0.2, 0.3 and proposals, which it may use.

    Raises WitError, or OSError for a file that cannot be read.
    """
    # Here, because what is parsed beforehand has no need of it.
    from importlib.resources import files

    from wasi_trio.component.wit import load

    return load([*(files(__name__) / folder for folder in ("p2", "p3", "proposals")), *paths], FEATURES)
