"""What a test can say of the component that it runs."""

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
    """What there is to say of any component.

    ``imports`` are host interfaces in Python, as for ``wasi_trio.Imports``. ``env`` is the guest's environment.
    ``outgoing`` answers the requests that it makes; without it they fail the test. ``network`` is what its sockets are
    of; without it they reach each other and nothing else. ``seed`` is that of its random numbers, which are the same in
    every run: by default it is 0, and None makes them different in each. ``preopens`` are the directories that it
    finds, by what it calls them: pytest's ``tmp_path``, ``scratch_directory()``, or a ``Preopen`` that is read-only.
    ``config`` are its variables of wasi:config, and ``keyvalue`` its buckets by name: a ``MemoryStore()`` is a mapping,
    which a test can fill before and look into afterwards. Without them it is given neither interface.
    ``wasi`` is what else there is to set, in whose place the others go; its ``http`` is kept if it is given, and with
    it the network. A guest's clocks, the wall clock included, follow trio's.
    ``features`` are those of WebAssembly that it may use beside the usual ones, as of ``Engine``.
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
    """What there is to say of an HTTP component: that, and the fields of ``HandlerOptions``, or these as ``options``.

    ``logging_prefix`` is off unless it is asked for here. ``profile`` is what ``--profile`` takes, such as
    ``"guest,profile.json,1ms"``; the component is compiled for itself then.
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
    """The features that a test's component may use."""
    return USUAL | frozenset(settings.get("features", ()))


def imports_of(settings: GuestSettings, base: WasiOptions) -> Imports:
    """The host interfaces of a test beside WASI, those of the state that it gives included."""
    imports = state_imports(_state(settings, base.state))
    given = settings.get("imports")
    if given is not None:
        imports.update(Imports(dict(given)) if isinstance(given, Mapping) else given)
    return imports


def _state(settings: GuestSettings, base: State) -> State:
    return replace(base, config=settings.get("config", base.config), keyvalue=settings.get("keyvalue", base.keyvalue))


def wasi_options(
    settings: GuestSettings, base: WasiOptions, stdout: StdoutSink, stderr: StdoutSink, outgoing: Outgoing
) -> WasiOptions:
    """The options of a guest, made of others. To be called inside trio."""
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
    """The options of the handlers, but for their ``wasi``."""
    changes: dict[str, Any] = {name: value for name, value in settings.items() if name in _HANDLER}
    changes.setdefault("logging_prefix", False)
    return replace(settings.get("options", HandlerOptions()), **changes)


_HANDLER = Settings.__optional_keys__ - GuestSettings.__optional_keys__ - {"options", "profile"}
