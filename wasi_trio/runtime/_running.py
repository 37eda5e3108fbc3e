"""The state of what runs at this moment, which an engine has one of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from wasi_trio.runtime._ticker import Ticker

if TYPE_CHECKING:
    from wasi_trio.component._plan import HostFunc, Lifted


class Guest(Protocol):
    """The instance that a host function acts for, as far as others than the runtime's ``Store`` look at it."""

    flag_address: int
    #: the ``Instance`` that it is a part of
    root: Any

    def epoch(self) -> str | None:
        """The verdict on the guest at an epoch tick: None to go on, "" to give way, any other string is a trap's."""


if TYPE_CHECKING:
    #: a host call that runs, and whether it may be interrupted from the keyboard
    HostCall = tuple[HostFunc | Lifted, Guest, bool]


class Interruption:
    """An attempt to interrupt a call: ``decided`` once it is known whether it was ``sent``."""

    __slots__ = ("call", "decided", "sent")

    def __init__(self, call: HostCall, sent: bool) -> None:
        self.call = call
        self.sent = sent
        self.decided = False


class Running:
    """Which guest runs, and which host function for it.

    While a guest runs, ``current`` is its store: host functions find the instance that called them there.
    ``nested`` is true while the innermost guest call was made out of a host function, so cannot be suspended.
    ``non_preemptible_since`` is the time, in the ticker's seconds, at which a guest made an asynchronous call into
    another component, or None. Until the callee first waits it cannot be interrupted. ``host_call`` is the host
    function that runs for a guest and ``interruption`` an attempt to interrupt it: see ``runtime._host_calls``.
    """

    def __init__(self, ticker: Ticker) -> None:
        self.ticker = ticker
        self.current: Guest | None = None
        self.nested = False
        self.non_preemptible_since: float | None = None
        self.host_call: HostCall | None = None
        self.interruption: Interruption | None = None
        #: coroutines that began to wait where none may, with what they asked of trio
        self.orphans: list[tuple[Any, Any]] = []
