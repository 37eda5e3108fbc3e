"""What can go wrong in a component, in the words of the specification and of its users."""

from __future__ import annotations


class ComponentError(Exception):
    """Base of every error this package raises about a component itself."""


class MalformedComponent(ComponentError):
    """The bytes are not a component this host can decode.

    ``str(error)`` is one line that says what was found and where.
    """


class Unsupported(ComponentError):
    """The component uses a feature that this host names but does not run."""


class CompilationFailed(ComponentError):
    """To check or compile the component took more time or memory than it may, or ended the process that did it."""


class LinkError(ComponentError):
    """The imports of a component cannot be met.

    ``missing`` holds one line for each import that nothing provides, ``mismatched`` one for each that
    something provides with another type.
    """

    def __init__(self, message: str, missing: tuple[str, ...] = (), mismatched: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.missing = missing
        self.mismatched = mismatched


class Trap(ComponentError):
    """The guest broke a rule, or its code ended in a WebAssembly trap.

    The instance it happened in cannot be entered again. ``str(trap)`` is the reason on its first line; for
    a trap raised by the engine the following lines are the wasm backtrace.
    """


class HostError(ComponentError):
    """A host function gave back something that its WIT type does not admit.

    The fault is the embedder's, not the guest's.
    """
