"""Functions that components implement ("canon lift" of the Canonical ABI)."""

from __future__ import annotations

from wasi_trio.component import abi
from wasi_trio.component._plan import Lifted
from wasi_trio.component._types import ValType


class LiftedFunction:
    """A function that a component implements, with its lifting and lowering code. One exists per linked component."""

    __slots__ = (
        "callback",
        "check",
        "core",
        "is_async",
        "lift",
        "lower",
        "options",
        "params",
        "part",
        "post_return",
        "results",
        "stackful",
        "type",
        "typed",
    )

    def __init__(self, lifted: Lifted, typed: ValType | None = None) -> None:
        """``typed`` is the type of the result with Python classes."""
        type_, options = lifted.type, lifted.options
        result = () if type_.result is None else (typed or type_.result,)
        self.type = type_
        self.typed = typed
        self.part = lifted.part
        self.options = options
        self.core = lifted.core
        self.callback = options.callback
        self.post_return = options.post_return
        #: The canonical option of that name, whereas ``type.is_async`` is WIT's.
        self.is_async = options.is_async
        self.stackful = options.is_async and options.callback is None
        self.params, self.results = abi.core_signature(type_, "lift", options.is_async, options.callback is not None)
        params = tuple(type_ for _, type_ in type_.params)
        #: Checks a host's arguments before they are lowered, unless None.
        self.check = abi.fit_arguments(params, lifted.part)
        self.lower = abi.lower_values(params, options.encoding, abi.MAX_FLAT_PARAMS, instance_index=lifted.part)
        self.lift = abi.lift_values(result, options.encoding, abi.MAX_FLAT_RESULTS) if result else None
