"""A running component in a test: its output, its instances, and its end."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from time import perf_counter
from typing import TypeVar

import trio

from wasi_trio.component._imports import Imports
from wasi_trio.runtime._component import LinkedComponent
from wasi_trio.runtime._engine import Engine
from wasi_trio.serve._loading import link_http
from wasi_trio.serve._middleware import Chain
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.testing import _cache as cache
from wasi_trio.testing import _standstill as standstill
from wasi_trio.testing._outgoing import Outgoing, Tape
from wasi_trio.testing._output_text import OutputText
from wasi_trio.testing._pool import InstanceRecord, Pools
from wasi_trio.testing._recording import Watch, leaks, record
from wasi_trio.testing._settings import GuestSettings, Settings, features_of, handler_options, imports_of, wasi_options
from wasi_trio.testing._sources import Source, read
from wasi_trio.testing._usage import USAGE
from wasi_trio.wasi._arguments import parse_profile
from wasi_trio.wasi._context import WasiOptions
from wasi_trio.wasi._loading import EngineOptions, compile_component
from wasi_trio.wasi._stdio import CapturedOutput

H = TypeVar("H", bound=Iterable[ProxyHandler])

#: Maximum number of bytes kept of each output. Beyond that, the guest finds the output closed.
CAPTURED = 16 << 20
#: Maximum time for a guest to return after its response, in seconds.
RETURN_SECONDS = 0.5
#: Maximum number of instances listed for a failed test.
LISTED = 20


class Failable:
    """A block of a test that concurrent code can end: ``fail`` cancels the block, which then raises the error."""

    def __init__(self) -> None:
        self._scope = trio.CancelScope()
        self._error: BaseException | None = None

    @property
    def failed(self) -> bool:
        return self._error is not None

    def fail(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
            self._scope.cancel()

    @contextmanager
    def block(self) -> Iterator[None]:
        __tracebackhide__ = True
        try:
            with self._scope:
                yield
        finally:
            if self._error is not None:
                raise self._error


class Outputs(OutputText):
    """The output of guests."""

    def __init__(self) -> None:
        self._stdout = CapturedOutput(CAPTURED)
        self._stderr = CapturedOutput(CAPTURED)
        self._tape: Tape | None = None

    @property
    def stdout_bytes(self) -> bytes:
        return self._stdout.getvalue()

    @property
    def stderr_bytes(self) -> bytes:
        return self._stderr.getvalue()

    def _wasi(self, settings: GuestSettings, base: WasiOptions, fail: Callable[[BaseException], None]) -> WasiOptions:
        """Return the options of guests whose output is stored here."""
        handler = settings.get("outgoing")
        if isinstance(handler, Tape):
            self._tape = handler
        return wasi_options(settings, base, self._stdout, self._stderr, Outgoing(handler, fail))

    def _save_tape(self) -> None:
        """Save the recorded requests, if any, after the block has ended without failure. Raises CassetteError."""
        if self._tape is not None:
            self._tape.save()


def written(title: str, by: OutputText) -> list[tuple[str, str]]:
    """Return the titles and texts that show the output."""
    outputs = (("stdout", by.stdout), ("stderr", by.stderr))
    return [(f"{title}: {name}", text) for name, text in outputs if text]


class Running(Outputs):
    """Running components in a test: one, or several in a chain."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = list(names)
        self._pools = Pools()
        #: The leak check; None after the test has abandoned a request.
        self._watched = leaks.get()
        self._usage = USAGE.get()
        self._block = Failable()

    @property
    def instances(self) -> list[InstanceRecord]:
        """All instances so far, of all the components, in the order of their start."""
        return list(self._pools.instances)

    @property
    def started(self) -> int:
        """The number of instances so far."""
        return len(self._pools.instances)

    @property
    def live(self) -> int:
        """The number of instances that have not ended."""
        return self._pools.live

    async def idle(self) -> None:
        """Return when no request is in progress: guests have returned, and their work after responses has ended.

        Instances that are kept for further requests may remain.
        """
        await self._pools.idle()

    async def settled(self) -> None:
        """Return when, in addition, all instances have ended. Those kept for reuse end after their idle timeout."""
        await self._pools.settled()

    def report(self) -> list[tuple[str, str]]:
        """Return the titles and texts for the report of a failed test."""
        title = f"wasi_trio: {', '.join(self.names)}"
        sections = []
        instances = self._pools.instances
        if instances:
            lines = [f"{instance}\n" for instance in instances[:LISTED]]
            if len(instances) > LISTED:
                lines.append(f"and {len(instances) - LISTED} more\n")
            sections.append((f"{title}: instances", "".join(lines)))
        wrote = [instance for instance in instances if instance.stdout_bytes or instance.stderr_bytes]
        if len(wrote) > 1:
            wrote.sort(key=lambda instance: not instance.failed)
            for instance in wrote[:LISTED]:
                sections += written(f"wasi_trio: {instance.name}", instance)
            if len(wrote) > LISTED:
                sections.append((title, f"{len(wrote) - LISTED} more instances wrote something\n"))
        else:
            sections += written(title, self)
        return sections

    def _linked(self) -> list[LinkedComponent]:
        """Return the components, each linked."""
        return [handler.component for handler in self._pools.handlers]

    def _fail(self, error: BaseException) -> None:
        """End the block with an error of the test's own code that runs concurrently."""
        self._block.fail(error)

    def _options(self, settings: GuestSettings, options: HandlerOptions) -> HandlerOptions:
        """Return the options of handlers for the guests of this test."""
        wasi = self._wasi(settings, settings.get("wasi", options.wasi), self._fail)
        if options.max_cpu_time is None and "max_cpu_time" not in settings and standstill.clock_may_stand_still():
            options = replace(options, max_cpu_time=standstill.LIMIT)
        if self._usage is not None and options.tracer is None:
            # The handler counts processor time only with a limit.
            limit = math.inf if options.max_cpu_time is None else options.max_cpu_time
            options = replace(options, tracer=self._usage, max_cpu_time=limit)
        return replace(options, wasi=wasi, listeners=[*options.listeners, self._pools.listen])

    @asynccontextmanager
    async def _open(self, chain: Chain, settings: Settings) -> AsyncIterator[ProxyHandler]:
        """Run the components, as ``_run`` does."""
        __tracebackhide__ = True
        async with self._run(chain.open(self._options(settings, handler_options(settings))), chain.engine) as handlers:
            yield handlers[0]

    async def _note_lingering(self, watched: Watch) -> None:
        """Note the guests that still work after their responses. A guest gets a short time to return."""
        until = perf_counter() + RETURN_SECONDS
        while (instances := self._pools.lingering()) and perf_counter() < until:
            await trio.lowlevel.checkpoint()
        for instance in instances:
            watched.worked_on(instance)

    @asynccontextmanager
    async def _run(self, running: AbstractAsyncContextManager[H], engine: Engine) -> AsyncIterator[H]:
        """Run handlers. In the end, all work in progress is dropped.

        The block's exception is raised unchanged. It bypasses the nurseries of the handlers, which would put it into
        groups.
        """
        __tracebackhide__ = True
        record(self)
        raised: BaseException | None = None
        with trio.CancelScope() as everything:
            async with running as handlers:
                self._pools.handlers = handlers
                try:
                    with self._block.block():
                        yield handlers
                    self._save_tape()
                    if self._watched is not None:
                        await self._note_lingering(self._watched)
                except BaseException as error:
                    raised = error
                everything.cancel()
        if self._usage is not None:
            self._usage.instances.update(instance.component for instance in self._pools.instances)
        if engine.profiler is not None:  # No other test uses this engine.
            engine.close()
        if raised is not None:
            raise raised


def load(sources: Sequence[Source], settings: Settings) -> tuple[list[str], Chain]:
    """Return the names and the chain of a test's components. Raises LoadError."""
    if not sources:
        raise TypeError("a component is missing: pass a path, bytes or text")
    named = read(sources)
    data = dict(named)
    features = features_of(settings)

    def link(engine: Engine, name: str | None, imports: Imports) -> LinkedComponent:
        assert name is not None
        if engine is own:
            return link_http(compile_component(engine, data[name], name), name, imports)
        return link_http(cache.compiled(data[name], name, features), name, imports)

    names = [name for name, _ in named]
    base = settings.get("wasi", settings.get("options", HandlerOptions()).wasi)
    own = None
    if "profile" in settings:
        own = EngineOptions(cache.engine(features).compiler.features, profile=parse_profile(settings["profile"])).open()
    try:
        return names, Chain(own or cache.engine(features), names, imports_of(settings, base), link)
    except BaseException:
        if own is not None:
            own.close()
        raise
