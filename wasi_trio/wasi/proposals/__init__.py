"""WASI interfaces that are proposals, in the versions that engines implement: their classes by name.

``CONFIG`` and ``KEYVALUE`` depend on the ``State`` of guests. ``LOGGING`` is for all guests.
"""

from __future__ import annotations

from wasi_trio.lazy import located

__all__ = ["CONFIG", "KEYVALUE", "LOGGING"]

CONFIG = located(__name__, {"wasi:config/store@0.2.0-rc.1": "_config.ConfigStore"})

#: wasmtime implements -draft; -draft2 adds compare-and-swap
KEYVALUE = located(
    __name__,
    {
        "wasi:keyvalue/store@0.2.0-draft": "_keyvalue.Store",
        "wasi:keyvalue/atomics@0.2.0-draft": "_keyvalue.Atomics",
        "wasi:keyvalue/batch@0.2.0-draft": "_keyvalue.Batch",
        "wasi:keyvalue/store@0.2.0-draft2": "_keyvalue.Draft2Store",
        "wasi:keyvalue/atomics@0.2.0-draft2": "_keyvalue.Draft2Atomics",
        "wasi:keyvalue/batch@0.2.0-draft2": "_keyvalue.Batch",
    },
)

LOGGING = located(__name__, {"wasi:logging/logging@0.1.0-draft": "_logging.Logging"})
