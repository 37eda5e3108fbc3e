"""The context that the interfaces of one guest instance share."""

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
    """Options that all guest instances share.

    ``random`` returns the requested number of bytes. ``random.Random(seed).randbytes`` makes a guest reproducible in a
    test. ``wall_clock`` returns nanoseconds since 1970. The default is the machine's clock even under trio's MockClock,
    because guests use it for the outside world: dates, certificates, cookies. :func:`trio_wall_clock` makes a wall
    clock that follows trio's clock. The monotonic clock is always trio's.

    ``http`` configures outgoing requests. ``network`` configures sockets and the destinations of both. ``preopens`` are
    the directories for guests. An instance can have at most ``max_descriptors`` open files. ``state`` holds the
    variables and buckets for guests; ``opened`` opens the buckets.
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
    """The state that the interfaces of one guest instance share.

    ``nursery`` runs tasks that end with the instance. None disables features that need a task. ``stdin``, ``stdout``
    and ``stderr`` default to those of the options. ``connections`` keeps connections for outgoing requests; without it,
    each request opens a new one. ``about`` holds fields that identify the guest in its log lines.
    """

    __slots__ = ("_network", "_seed", "about", "files", "http", "options", "own_nursery", "stderr", "stdin", "stdout")

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
        #: The nursery, or None.
        self.own_nursery = nursery
        self.http = HttpContext(options.http, options.network.destinations, connections)
        self.files = Files(options.preopens, options.max_descriptors)
        self._network: NetworkContext | None = None
        self.stdin = options.stdin if stdin is None else stdin
        self.stdout = options.stdout if stdout is None else stdout
        self.stderr = options.stderr if stderr is None else stderr
        self._seed: tuple[int, int] | None = None

    @property
    def nursery(self) -> trio.Nursery:
        """The nursery for tasks that end with the instance. Raises RuntimeError without one."""
        if self.own_nursery is None:
            raise RuntimeError("this context has no nursery: use open_instance, or WasiContext(nursery=...)")
        return self.own_nursery

    @property
    def insecure_seed(self) -> tuple[int, int]:
        """A random seed of 128 bits for hash maps. It is constant for the life of the instance."""
        if self._seed is None:
            seed = self.options.random(16)
            self._seed = int.from_bytes(seed[:8], "little"), int.from_bytes(seed[8:], "little")
        return self._seed

    @property
    def network(self) -> NetworkContext:
        """The sockets of the instance, created at the first use, because most instances have none."""
        if self._network is None:
            self._network = NetworkContext(self.options.network, self.own_nursery)
        return self._network

    def finish(self) -> None:
        """End the instance: close its files, and write what its output streams hold back."""
        self.files.close()
        self.stdout.finish()
        self.stderr.finish()


def trio_wall_clock(start: int | None = None) -> Callable[[], int]:
    """Return a wall clock that follows trio's clock, and reads ``start`` now.

    ``start`` is in nanoseconds since 1970. The default is the real time.
    """
    origin = (time.time_ns() if start is None else start) - trio_nanoseconds()
    return lambda: origin + trio_nanoseconds()


def trio_nanoseconds() -> int:
    """Return trio's time in nanoseconds.

    The value is rounded, not truncated. A float of seconds of this size is exact to a fraction of a nanosecond. So a
    guest that waited for an instant never reads an earlier one.
    """
    return round(trio.current_time() * 1e9)
