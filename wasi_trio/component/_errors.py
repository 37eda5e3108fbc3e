"""The errors of components."""

from __future__ import annotations


class ComponentError(Exception):
    """Base class of all errors that concern a component itself."""


class MalformedComponent(ComponentError):
    """The bytes are not a component that this host can decode.

    ``str(error)`` is one line that says what is wrong and at which offset.
    """


class Unsupported(ComponentError):
    """The component uses a feature that this host recognizes but does not run."""


class CompilationFailed(ComponentError):
    """Validating or compiling the component exceeded its time or memory limit, or crashed the compiler process."""


class LinkError(ComponentError):
    """The host cannot satisfy the imports of a component.

    ``missing`` has one line for each import without a provider. ``mismatched`` has one line for each import whose
    provider has another type.
    """

    def __init__(self, message: str, missing: tuple[str, ...] = (), mismatched: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.missing = missing
        self.mismatched = mismatched


class Trap(ComponentError):
    """The guest broke a rule, or its code ended in a WebAssembly trap.

    The instance cannot be entered again. The first line of ``str(trap)`` is the reason. If the engine raised the trap,
    the following lines are the wasm backtrace.
    """


class HostError(ComponentError):
    """A value of the host does not fit its WIT type: an argument, a host function's result, or a stream's element.

    This is a fault of the embedder and not of the guest. An argument of a call fails that call only. A result ends the
    guest's call, because the guest has no value to continue with.
    """
