"""The WIT of the WASI interfaces that this host implements."""

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

#: the ``@unstable`` features whose functions the host implements
FEATURES = ("informational-outbound-responses", "network-error-code")
#: the file that ``host_wit`` reads; ``python -m wasi_trio.wasi.wit`` generates it from the WIT files
PACKED = "packed.json"


@functools.cache
def host_wit() -> Wit:
    """Return the WIT of WASI 0.2, 0.3 and proposals.

    It was parsed in advance, because parsing takes 40 ms, which is long for a small command. All calls return the same
    object.
    """
    return unpack(json.loads(Path(__file__).with_name(PACKED).read_bytes()))


def extended_wit(paths: Iterable[Path | Traversable]) -> Wit:
    """Return WIT from files or directories, together with that of WASI 0.2, 0.3 and proposals, which it may use.

    Raises WitError, and OSError for an unreadable file.
    """
    # Imported late, because the WIT parsed in advance does not need it.
    from importlib.resources import files

    from wasi_trio.component.wit import load

    return load([*(files(__name__) / folder for folder in ("p2", "p3", "proposals")), *paths], FEATURES)
