"""Several processes that serve on the same sockets, and the one that watches over them.

The supervisor listens, and starts workers that inherit the sockets: so a worker that ends takes no waiting connection
with it, and the next one serves it. It talks to each over a pair of sockets, by single bytes
(``serve.process._worker_process`` is the other side), because a signal may come to a worker from elsewhere as well,
from a terminal or a service manager, and must not count twice.
"""

from __future__ import annotations

import math
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import trio

from wasi_trio._texts import get_logger
from wasi_trio.runtime._profile_options import GuestProfile
from wasi_trio.serve._listening import Listener
from wasi_trio.serve._signals import profiles_on_signal
from wasi_trio.serve.process._orders import Orders
from wasi_trio.serve.process._reloading import Reloading
from wasi_trio.serve.routing._versions import Loader, RouteVersion
from wasi_trio.serve.settings._settings import Settings

if TYPE_CHECKING:
    from wasi_trio.serve.process._reports import Totals

logger = get_logger("wasi_trio.serve")

#: what a supervisor tells a worker: to finish what is under way, and to leave at once
DRAIN, LEAVE, WRITE_PROFILES = b"D", b"L", b"P"
#: and to serve what comes behind this and its length
RELOAD = b"R"
#: what a worker tells: that it serves, that its event loop turns, and that it serves what it was told to last
SERVING, BEAT, TAKEN_OVER = b"S", b".", b"T"
#: beats of which a worker must miss this many in a row until it counts as held up
BEATS = 4
#: seconds that a worker has to leave at once, and to say where it is held up
PATIENCE = 1.0
LAST_WORDS = 5.0
#: seconds that a worker has to take over what the supervisor has checked
TAKEOVER = 60.0
#: seconds before a worker is replaced that served for less than ``STEADY`` seconds, at first and at most
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 15.0
STEADY = 10.0


class Supervisor:
    """Keeps ``workers`` processes that serve on ``listeners``, which it closes, and on ``admin_socket`` if given.

    A worker that ends is replaced; at once, or after a pause that grows while they end soon after their start. One
    whose event loop stands still for longer than the setting ``stall-kill-limit`` is ended by SIGABRT, at which it
    writes its stack to standard error, and replaced.

    What ``reloading`` finds changed is checked here, and then told to all workers. One that does not take it over is
    replaced, so that all come to serve the same, ``versions`` in the beginning.
    """

    def __init__(
        self,
        orders: Orders,
        versions: Sequence[RouteVersion],
        workers: int,
        listeners: Sequence[Listener],
        admin_socket: socket.socket | None = None,
        reloading: Reloading | None = None,
    ) -> None:
        self._orders = orders
        self._versions = versions
        self._reloading = reloading
        self._workers = workers
        self._listeners = listeners
        self._admin_socket = admin_socket
        limit = orders.settings["stall-kill-limit"]
        #: seconds between two beats, and two looks whether there was one
        self._interval: float | None = None if limit is None else min(limit / BEATS, 1.0)
        self._limit = math.inf if limit is None else limit
        self._sockets = [(listener.sock.fileno(), listener.secure) for listener in listeners]
        self._inherited = [descriptor for descriptor, _ in self._sockets]
        self._profiled = isinstance(orders.settings["profile"], GuestProfile)
        self._running: set[_Worker] = set()
        #: set when one of them serves
        self._serving = trio.Event()
        #: what workers report, where somebody may ask for it
        self._totals: Totals | None = None
        if admin_socket is not None:
            # Here, because prometheus-client is slow to import and most servers go without.
            from wasi_trio.serve.process._reports import Totals

            self._totals = Totals()
        #: held while a process is started, for which the sockets have to be open
        self._starting = trio.Lock()

    async def run(self, stop: trio.Event, ready: Callable[[], object] | None = None) -> None:
        """Serve until ``stop`` is set, and what is under way then to its end.

        ``ready`` is called when the first worker accepts requests. Cancelling this ends it at once.
        """
        async with trio.open_nursery() as beside:
            if ready is not None:
                beside.start_soon(self._tell_ready, ready)
            if self._profiled:
                beside.start_soon(profiles_on_signal, self._have_profiles_written)
            if self._admin_socket is not None and self._totals is not None:
                from wasi_trio.serve.process._admin import serve_site

                beside.start_soon(serve_site, self._admin_socket, self._totals)
            if self._reloading is not None:
                beside.start_soon(self._reloading.run, self._orders, self._versions, self._adopt, self._count)
            async with trio.open_nursery() as nursery:
                for number in range(1, self._workers + 1):
                    nursery.start_soon(self._keep, number, stop)
                await stop.wait()
                if self._totals is not None:
                    self._totals.draining = True
                # The workers close theirs; connections are refused once all are closed.
                async with self._starting:
                    for listener in self._listeners:
                        listener.sock.close()
            beside.cancel_scope.cancel()

    async def _tell_ready(self, ready: Callable[[], object]) -> None:
        await self._serving.wait()
        ready()

    async def _have_profiles_written(self) -> None:
        async with trio.open_nursery() as nursery:
            for worker in self._running:
                nursery.start_soon(worker.write_profiles)

    @property
    def _share(self) -> bytes:
        """What a worker is to serve, and how. It has the contents of all files, which may be others now."""
        return pickle.dumps((self._orders, self._versions, self._sockets, self._interval))

    async def _adopt(self, orders: Orders, versions: Sequence[RouteVersion]) -> None:
        """Have all workers serve these routes; raises LoadError or SettingError where they cannot be served."""
        changed = [version for version in versions if version not in self._versions]
        await trio.to_thread.run_sync(_check, orders.settings, changed)
        self._orders, self._versions = orders, versions
        order = RELOAD + _with_length(pickle.dumps((orders, versions)))
        async with trio.open_nursery() as nursery:
            for worker in list(self._running):
                nursery.start_soon(worker.reload, order)

    def _count(self, successful: bool) -> None:
        if self._totals is not None:
            self._totals.reloads["ok" if successful else "failed"] += 1

    async def _keep(self, number: int, stop: trio.Event) -> None:
        pause = 0.0
        for life in count():
            if stop.is_set():
                return
            worker = _Worker(number, life, stop, self._serving, self._interval, self._limit, self._totals)
            began = trio.current_time()
            self._running.add(worker)
            try:
                ended = await worker.run(lambda: self._share, self._inherited, self._starting)
            finally:
                self._running.discard(worker)
                if self._totals is not None:
                    self._totals.ended(number)
            if worker.given_up and not stop.is_set():
                continue
            if stop.is_set():
                if worker.code:
                    logger.error("%s ended with %s", worker, ended)
                return
            steady = worker.serving and trio.current_time() - began >= STEADY
            pause = 0.0 if steady else min(2 * pause or FIRST_PAUSE, LONGEST_PAUSE)
            when = f"in {pause:g} s" if pause else "now"
            logger.error("%s ended with %s, and is replaced %s", worker, ended, when)
            with trio.move_on_after(pause):
                await stop.wait()


class _Worker:
    """One process."""

    def __init__(
        self,
        number: int,
        life: int,
        stop: trio.Event,
        begun: trio.Event,
        interval: float | None,
        limit: float,
        totals: Totals | None,
    ) -> None:
        self.number = number
        #: what the numbers of its instances begin with
        self.prefix = f"{number}r{life}." if life else f"{number}."
        #: whether it has begun to serve
        self.serving = False
        self.code: int | None = None
        self._stop = stop
        #: set when it serves, or another does
        self._begun = begun
        self._interval = interval
        self._limit = limit
        self._totals = totals
        self._beats = 0
        self._process: trio.Process | None = None
        self._control: trio.SocketStream | None = None
        self._speaking = trio.Lock()
        #: it is told to end, and to be replaced, as it has not taken over what it was told to
        self.given_up = False
        self._told = False
        #: how often it was told to serve something else, and has come to do so
        self._takeovers = self._done = 0
        self._is_over = False
        self._taken_over = trio.Event()
        #: set when all that it had to report was heard
        self._heard = trio.Event()

    def __str__(self) -> str:
        return f"worker {self.number} (process {self._process.pid if self._process else '?'})"

    async def run(self, share: Callable[[], bytes], inherited: Sequence[int], starting: trio.Lock) -> str:
        """Run it to its end; what it ended with, in words. When this is cancelled it is ended."""
        control, theirs = _channel()
        self._control = control
        reports, reporting = (None, None) if self._totals is None else _channel()
        own = [theirs] if reporting is None else [theirs, reporting]
        descriptors = [sock.fileno() for sock in own]
        # Modules are found where this process finds them, and not first in the folder that it was started in.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        module = "wasi_trio.serve.process._worker_process"
        command = [sys.executable, "-P", "-m", module, str(self.number), self.prefix, *map(str, descriptors)]
        start = partial(
            trio.run_process,
            command,
            stdin=subprocess.DEVNULL,
            check=False,
            deliver_cancel=partial(self._end, control),
            pass_fds=(*descriptors, *inherited),
            env=environment,
            # Ctrl-C goes to a terminal's whole foreground group: it is to reach the supervisor alone.
            process_group=0,
        )
        async with control, trio.open_nursery() as nursery:
            try:
                async with starting:
                    if self._stop.is_set():
                        return "nothing"
                    process = self._process = await nursery.start(start)
            finally:
                for sock in own:
                    sock.close()
            nursery.start_soon(self._share, control, share)
            nursery.start_soon(self._hear, control)
            if reports is not None:
                nursery.start_soon(self._take_reports, reports)
            if self._interval is not None:
                nursery.start_soon(self._watch, process, self._interval)
            code: int = await process.wait()
            self.code = code
            if reports is not None:
                with trio.move_on_after(PATIENCE):
                    await self._heard.wait()
            nursery.cancel_scope.cancel()
        return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"

    async def _take_reports(self, channel: trio.SocketStream) -> None:
        assert self._totals is not None
        async with channel:
            await self._totals.hear(self.number, channel)
        self._heard.set()

    async def write_profiles(self) -> None:
        """Have it write the profiles of its instances."""
        # Only of one that has been told what to serve: that comes first.
        if self._control is not None and self.serving:
            await self._say(self._control, WRITE_PROFILES)

    async def reload(self, order: bytes) -> None:
        """Have it serve something else; where it does not come to do so, it is ended when it is done, and replaced."""
        if self._control is None or not self._told:
            return  # it is told what to serve later, and then that is it
        expected = self._takeovers = self._takeovers + 1
        with trio.move_on_after(TAKEOVER):
            await self._say(self._control, order)
            while self._done < expected and not self._is_over:
                await self._taken_over.wait()
        if self._done < expected and not self._is_over and not self._stop.is_set():
            logger.error("%s has not taken over what has changed: it ends, and is replaced", self)
            self.given_up = True
            await self._say(self._control, DRAIN)

    def _notify(self) -> None:
        taken_over, self._taken_over = self._taken_over, trio.Event()
        taken_over.set()

    async def _share(self, control: trio.SocketStream, share: Callable[[], bytes]) -> None:
        # From here on it has to be told of changes.
        self._told = True
        await self._say(control, _with_length(share()))
        await self._stop.wait()
        await self._say(control, DRAIN)

    async def _say(self, control: trio.SocketStream, what: bytes) -> None:
        async with self._speaking:
            try:
                await control.send_all(what)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                logger.debug("%s has ended and cannot be told anything", self)

    async def _hear(self, control: trio.SocketStream) -> None:
        try:
            async for said in control:
                if SERVING in said:
                    self.serving = True
                    self._begun.set()
                    logger.info("%s serves", self)
                if TAKEN_OVER in said:
                    self._done += said.count(TAKEN_OVER)
                    self._notify()
                self._beats += 1
        except trio.BrokenResourceError:
            logger.debug("%s has ended without its last words", self)
        finally:
            self._is_over = True
            self._notify()

    async def _watch(self, process: trio.Process, interval: float) -> None:
        """End it when its loop stands still.

        What is counted are looks at it, not seconds: where all processes were stopped for an hour, this one too has
        looked once in that time.
        """
        seen, missed = 0, 0
        while True:
            await trio.sleep(interval)
            if self._beats != seen or not self.serving:
                seen, missed = self._beats, 0
                continue
            missed += 1
            if missed * interval >= self._limit:
                logger.error(
                    "%s has held up its event loop for %g s: it is ended, and says where it is", self, self._limit
                )
                # One that was stopped could not say anything, nor end. This comes first: of a stopped process any
                # thread may get a signal, and one that tells where another is may crash, as the other goes on.
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGABRT)
                await trio.sleep(LAST_WORDS)
                process.kill()
                return

    async def _end(self, control: trio.SocketStream, process: trio.Process) -> None:
        """End it at once; by force where it does not do so by itself."""
        with trio.move_on_after(PATIENCE):
            await self._say(control, LEAVE)
            await process.wait()
            return
        process.kill()


def _with_length(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


def _check(settings: Settings, versions: Sequence[RouteVersion]) -> None:
    """Load routes, to have them refused here and their code in wasmtime's cache; raises LoadError, SettingError."""
    with settings.engine_options().open() as engine:
        loader = Loader(engine)
        # All are kept until the end, as one may be compiled from the same as the next.
        kept = [loader.load(version, settings) for version in versions]
        del kept


def _channel() -> tuple[trio.SocketStream, socket.socket]:
    """A pair of sockets: ours, and one for a worker."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return trio.SocketStream(trio.socket.from_stdlib_socket(ours)), theirs
