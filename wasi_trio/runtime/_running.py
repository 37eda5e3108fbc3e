"""The state of running code. Each engine has one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from wasi_trio.runtime._ticker import Ticker

if TYPE_CHECKING:
    from wasi_trio.component._plan import HostFunc, Lifted


class Guest(Protocol):
    """The interface of the runtime's ``Store`` for other modules: the instance for which a host function runs."""

    flag_address: int
    #: The ``Instance`` that contains it.
    root: Any

    def epoch(self) -> str | None:
        """Decide at an epoch tick: None to continue, "" to yield, or the message of a trap."""


if TYPE_CHECKING:
    #: A running host call, and whether Ctrl-C may interrupt it.
    HostCall = tuple[HostFunc | Lifted, Guest, bool]


class Interruption:
    """An attempt to interrupt a call. ``decided`` is set when ``sent`` is final."""

    __slots__ = ("call", "decided", "sent")

    def __init__(self, call: HostCall, sent: bool) -> None:
        self.call = call
        self.sent = sent
        self.decided = False


class Running:
    """The running guest, and the host function that runs for it.

    While a guest runs, ``current`` is its store, where host functions find the calling instance. ``nested`` is true
    while the innermost guest call comes from a host function, so it cannot be suspended. ``non_preemptible_since`` is
    the time, in the ticker's seconds, at which a guest made an asynchronous call into another component, or None. Until
    the callee first waits, it cannot be interrupted. ``host_call`` is the host function that runs for a guest.
    ``interruption`` is an attempt to interrupt it. See ``runtime._host_calls``.
    """

    def __init__(self, ticker: Ticker) -> None:
        self.ticker = ticker
        self.current: Guest | None = None
        self.nested = False
        self.non_preemptible_since: float | None = None
        self.host_call: HostCall | None = None
        self.interruption: Interruption | None = None
        #: Coroutines that waited in a place that does not allow it, each with its yield to trio.
        self.orphans: list[tuple[Any, Any]] = []
