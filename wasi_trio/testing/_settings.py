"""The settings for a component in a test."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict

from wasi_trio.component._features import USUAL
from wasi_trio.component._imports import Imports
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.wasi._context import WasiOptions, trio_wall_clock
from wasi_trio.wasi._imports import state_imports
from wasi_trio.wasi._state import State
from wasi_trio.wasi.filesystem._preopens import Preopen
from wasi_trio.wasi.http._context import DEFAULT_HTTP_OPTIONS

if TYPE_CHECKING:
    from wasi_trio.runtime._engine import Limits
    from wasi_trio.serve.pool._metrics import Metrics
    from wasi_trio.serve.pool._observer import Listener
    from wasi_trio.testing._network import Network
    from wasi_trio.testing._outgoing import Outgoing, OutgoingHandler
    from wasi_trio.wasi._stdio import StdoutSink
    from wasi_trio.wasi.keyvalue._bucket import Store


class GuestSettings(TypedDict, total=False):
    """The settings for any component.

    * ``imports``: host interfaces in Python, as for ``wasi_trio.Imports``.
    * ``env``: the guest's environment.
    * ``outgoing``: answers the guest's outgoing requests. Without it, an outgoing request fails the test.
    * ``network``: the network of the guest's sockets. Without it, they reach only each other.
    * ``seed``: the seed of the guest's random numbers, 0 by default, so they are the same in every run. None makes them
      different in each run.
    * ``preopens``: directories by guest path: pytest's ``tmp_path``, ``scratch_directory()``, or a read-only
      ``Preopen``.
    * ``config``: the variables of wasi:config. Without it, the guest has no such interface.
    * ``keyvalue``: the buckets of wasi:keyvalue by name. Without it, the guest has no such interface. A
      ``MemoryStore()`` is a mapping that a test can fill before and inspect afterwards.
    * ``wasi``: all other options. The settings above override it, except that its own ``http`` is kept, and with it
      access to the network.
    * ``features``: features of WebAssembly to enable beside the usual ones, as in ``Engine``.

    A guest's clocks follow trio's clock, including the wall clock.
    """

    imports: Imports | Mapping[str, Any]
    env: Mapping[str, str]
    outgoing: OutgoingHandler
    network: Network
    seed: int | None
    preopens: Mapping[str, str | os.PathLike[str] | Preopen]
    config: Mapping[str, str]
    keyvalue: Mapping[str, Store]
    wasi: WasiOptions
    features: Collection[str]


class Settings(GuestSettings, total=False):
    """The settings for an HTTP component: those of any component, and the fields of ``HandlerOptions``.

    ``options`` sets all fields of ``HandlerOptions`` at once. ``logging_prefix`` is off by default. ``profile`` has the
    syntax of ``--profile``, such as ``"guest,profile.json,1ms"``. With it, the component is compiled separately.
    """

    options: HandlerOptions
    profile: str
    max_instance_reuse_count: int | None
    max_instance_concurrent_reuse_count: int | None
    idle_instance_timeout: float
    request_timeout: float | None
    max_cpu_time: float | None
    max_concurrent_requests: int | None
    max_queued_requests: int | None
    cancel_grace: float
    post_response_timeout: float | None
    body_timeout: float | None
    drain_timeout: float | None
    stall_limit: float | None
    interrupt_stalls: bool
    total_memory: float | None
    memory_timeout: float
    observed: bool
    instance_prefix: str
    limits: Limits
    logging_prefix: bool
    metrics: Metrics | None
    listeners: Sequence[Callable[[str], Listener]]


def features_of(settings: GuestSettings) -> frozenset[str]:
    """Return the features that a test's component may use."""
    return USUAL | frozenset(settings.get("features", ()))


def imports_of(settings: GuestSettings, base: WasiOptions) -> Imports:
    """Return a test's host interfaces beside WASI, including those for the given state."""
    imports = state_imports(_state(settings, base.state))
    own = settings.get("imports")
    if own is not None:
        imports.update(Imports(dict(own)) if isinstance(own, Mapping) else own)
    return imports


def _state(settings: GuestSettings, base: State) -> State:
    return replace(base, config=settings.get("config", base.config), keyvalue=settings.get("keyvalue", base.keyvalue))


def wasi_options(
    settings: GuestSettings, base: WasiOptions, stdout: StdoutSink, stderr: StdoutSink, outgoing: Outgoing
) -> WasiOptions:
    """Return a guest's options, based on others. Must be called inside trio."""
    options = replace(base, stdout=stdout, stderr=stderr, state=_state(settings, base.state))
    if "env" in settings:
        options = replace(options, env=tuple(settings["env"].items()))
    if "network" in settings:
        options = replace(options, network=settings["network"].options())
    if "preopens" in settings:
        options = replace(options, preopens=tuple(_preopens(settings["preopens"])))
    seed = settings.get("seed", 0)
    if options.random is os.urandom and seed is not None:
        options = replace(options, random=random.Random(seed).randbytes)
    if options.wall_clock is time.time_ns:
        options = replace(options, wall_clock=trio_wall_clock())
    if "outgoing" in settings or options.http is DEFAULT_HTTP_OPTIONS:
        options = replace(options, http=replace(options.http, send=outgoing.send))
    return options


def _preopens(directories: Mapping[str, str | os.PathLike[str] | Preopen]) -> Iterator[Preopen]:
    for guest, directory in directories.items():
        if isinstance(directory, Preopen):
            yield Preopen(directory.host, guest, read_only=directory.read_only)
        else:
            yield Preopen(directory, guest)


def handler_options(settings: Settings) -> HandlerOptions:
    """Return the options of the handlers, except ``wasi``."""
    changes: dict[str, Any] = {name: value for name, value in settings.items() if name in _HANDLER}
    changes.setdefault("logging_prefix", False)
    return replace(settings.get("options", HandlerOptions()), **changes)


_HANDLER = Settings.__optional_keys__ - GuestSettings.__optional_keys__ - {"options", "profile"}
