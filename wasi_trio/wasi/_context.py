"""What the interfaces of one guest instance are constructed with."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import trio

from wasi_trio.wasi._state import NO_STATE, State
from wasi_trio.wasi._stdio import BytesSource, NullSink, StdinSource, StdoutSink
from wasi_trio.wasi.filesystem._opened import MAX_DESCRIPTORS, Files
from wasi_trio.wasi.filesystem._preopens import Preopen
from wasi_trio.wasi.http._connections import Connections
from wasi_trio.wasi.http._context import DEFAULT_HTTP_OPTIONS, HttpContext, HttpOptions
from wasi_trio.wasi.sockets._context import NetworkContext, NetworkOptions


@dataclass(frozen=True, slots=True)
class WasiOptions:
    """What stays the same from one guest instance to the next.

    ``random`` gives that many bytes; ``random.Random(seed).randbytes`` makes a guest repeatable in a test.
    ``wall_clock`` gives nanoseconds since 1970. By default that is the machine's clock even under trio's
    MockClock, since what a guest does with it (dates, certificates, cookies) is about the world outside;
    :func:`trio_wall_clock` makes one that follows trio's clock. The monotonic clock always is trio's.

    ``http`` answers the requests that guests make, and ``network`` says what their sockets may do, and where both may
    go.
    ``preopens`` are the directories that guests find; an instance may have ``max_descriptors`` files open.
    ``state`` has the variables and the buckets that guests find; these are open within ``opened``.
    """

    args: Sequence[str] = ()
    env: Sequence[tuple[str, str]] = ()
    initial_cwd: str | None = None
    stdin: StdinSource = field(default_factory=BytesSource)
    stdout: StdoutSink = field(default_factory=NullSink)
    stderr: StdoutSink = field(default_factory=NullSink)
    random: Callable[[int], bytes] = os.urandom
    wall_clock: Callable[[], int] = time.time_ns
    http: HttpOptions = DEFAULT_HTTP_OPTIONS
    network: NetworkOptions = field(default_factory=NetworkOptions)
    preopens: Sequence[Preopen] = ()
    max_descriptors: int = MAX_DESCRIPTORS
    state: State = NO_STATE


DEFAULT_OPTIONS = WasiOptions()


class WasiContext:
    """The state of one guest instance that its interfaces share.

    ``nursery`` is where an interface may start tasks that are to end with the instance; None where the guest
    is given no such thing. Streams default to those of the options. ``connections`` keeps those of outgoing requests;
    without, each request has one of its own. ``about`` is what the log lines of the guest are about, by field.
    """

    __slots__ = ("_network", "_seed", "about", "files", "http", "nursery", "options", "stderr", "stdin", "stdout")

    def __init__(
        self,
        options: WasiOptions = DEFAULT_OPTIONS,
        *,
        nursery: trio.Nursery | None = None,
        stdin: StdinSource | None = None,
        stdout: StdoutSink | None = None,
        stderr: StdoutSink | None = None,
        connections: Connections | None = None,
        about: Mapping[str, str] | None = None,
    ) -> None:
        self.options = options
        self.about: Mapping[str, str] = about or {}
        self.nursery = nursery
        self.http = HttpContext(options.http, options.network.destinations, connections)
        self.files = Files(options.preopens, options.max_descriptors)
        self._network: NetworkContext | None = None
        self.stdin = options.stdin if stdin is None else stdin
        self.stdout = options.stdout if stdout is None else stdout
        self.stderr = options.stderr if stderr is None else stderr
        self._seed: tuple[int, int] | None = None

    @property
    def insecure_seed(self) -> tuple[int, int]:
        """128 bits for a guest's hash maps, which stay the same as long as it lives."""
        if self._seed is None:
            seed = self.options.random(16)
            self._seed = int.from_bytes(seed[:8], "little"), int.from_bytes(seed[8:], "little")
        return self._seed

    @property
    def network(self) -> NetworkContext:
        """The instance's sockets, of which most have none."""
        if self._network is None:
            self._network = NetworkContext(self.options.network, self.nursery)
        return self._network

    def finish(self) -> None:
        """The instance is gone: close its files, and write out what its output streams kept back."""
        self.files.close()
        self.stdout.finish()
        self.stderr.finish()


def trio_wall_clock(start: int | None = None) -> Callable[[], int]:
    """A wall clock that reads ``start`` (nanoseconds since 1970; by default the real time) now, and follows trio's."""
    origin = (time.time_ns() if start is None else start) - trio_nanoseconds()
    return lambda: origin + trio_nanoseconds()


def trio_nanoseconds() -> int:
    """trio's clock in whole nanoseconds.

    Rounded, not cut off: a float of seconds this small is right to a fraction of a nanosecond, so that the
    instant a guest waited for is never read as the one before.
    """
    return round(trio.current_time() * 1e9)
