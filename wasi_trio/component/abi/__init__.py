"""The Canonical ABI's lifting and lowering, as functions generated for each type.

A function is generated and compiled at its first call, and cached by type. So creating one is cheap, and a component
that imports two hundred functions pays only for those it calls.
"""

from __future__ import annotations

from wasi_trio.component.abi._fit import Fit, fit, fit_arguments
from wasi_trio.component.abi._layout import (
    MAX_BYTE_LENGTH,
    MAX_FLAT_ASYNC_PARAMS,
    MAX_FLAT_PARAMS,
    MAX_FLAT_RESULTS,
    CoreType,
    alignment,
    core_signature,
    flat_count,
    flatten,
    needs_lends,
    size,
)
from wasi_trio.component.abi._lift import Flats, Lift, LoadList, lift_values, load_list, write_lift
from wasi_trio.component.abi._lower import (
    LowerResults,
    LowerValues,
    MutableFlats,
    StoreList,
    lower_results,
    lower_values,
    store_list,
    write_results,
)

__all__ = [
    "MAX_BYTE_LENGTH",
    "MAX_FLAT_ASYNC_PARAMS",
    "MAX_FLAT_PARAMS",
    "MAX_FLAT_RESULTS",
    "CoreType",
    "Fit",
    "Flats",
    "Lift",
    "LoadList",
    "LowerResults",
    "LowerValues",
    "MutableFlats",
    "StoreList",
    "alignment",
    "core_signature",
    "fit",
    "fit_arguments",
    "flat_count",
    "flatten",
    "lift_values",
    "load_list",
    "lower_results",
    "lower_values",
    "needs_lends",
    "size",
    "store_list",
    "write_lift",
    "write_results",
]
