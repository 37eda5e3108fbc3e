"""The supervisor of several worker processes that serve on the same sockets.

The supervisor listens, and starts workers that inherit the sockets. So a worker that ends loses no waiting connection:
the next worker accepts it. The supervisor and a worker exchange single bytes over a pair of sockets
(``serve.process._worker_process`` is the other side). Signals would not do, because a terminal or a service manager may
send the same signal to a worker, and it must not count twice.
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
from wasi_trio.serve.process._reloading import Reloading
from wasi_trio.serve.process._server_config import ServerConfig
from wasi_trio.serve.routing._versions import Loader, RouteVersion
from wasi_trio.serve.settings._settings import Settings

if TYPE_CHECKING:
    from wasi_trio.serve.process._reports import Totals

logger = get_logger("wasi_trio.serve")

#: The supervisor's commands to a worker: finish active requests, end at once, and write profiles.
DRAIN, LEAVE, WRITE_PROFILES = b"D", b"L", b"P"
#: The command to serve other routes, followed by their length and their data.
RELOAD = b"R"
#: A worker's messages: it serves, its event loop is running, it serves the routes of the last command.
SERVING, BEAT, TAKEN_OVER = b"S", b".", b"T"
#: The number of successive beats that a worker may miss before it counts as blocked.
BEATS = 4
#: The time for a worker to end at once, and to write its stack, in seconds.
END_TIMEOUT = 1.0
STACK_TIMEOUT = 5.0
#: The time for a worker to load routes that the supervisor has checked, in seconds.
RELOAD_TIMEOUT = 60.0
#: The first and the maximum pause before a worker is replaced that served for less than ``STEADY`` seconds.
FIRST_PAUSE, MAX_PAUSE = 0.25, 15.0
STEADY = 10.0


class Supervisor:
    """Keeps ``workers`` processes running that serve on ``listeners``, and serves ``admin_socket`` if given.

    It closes the listeners. It replaces a worker that ends: at once, or after a pause that grows while workers end soon
    after their start. It kills a worker with SIGABRT when its event loop has been blocked for the setting
    ``stall-kill-limit``. The worker then writes its stack to standard error, and is replaced.

    The supervisor checks the changes that ``reloading`` finds, and sends them to all workers. It replaces a worker that
    does not load them, so that all workers come to serve the same routes. ``versions`` are the initial routes.
    """

    def __init__(
        self,
        config: ServerConfig,
        versions: Sequence[RouteVersion],
        workers: int,
        listeners: Sequence[Listener],
        admin_socket: socket.socket | None = None,
        reloading: Reloading | None = None,
    ) -> None:
        self._config = config
        self._versions = versions
        self._reloading = reloading
        self._workers = workers
        self._listeners = listeners
        self._admin_socket = admin_socket
        limit = config.settings["stall-kill-limit"]
        #: The interval of beats and of checks for them, in seconds.
        self._interval: float | None = None if limit is None else min(limit / BEATS, 1.0)
        self._limit = math.inf if limit is None else limit
        self._sockets = [(listener.sock.fileno(), listener.secure) for listener in listeners]
        self._inherited = [descriptor for descriptor, _ in self._sockets]
        self._profiled = isinstance(config.settings["profile"], GuestProfile)
        self._running: set[_Worker] = set()
        #: Set when the first worker serves.
        self._serving = trio.Event()
        #: The totals of workers' reports, if the server has an admin address.
        self._totals: Totals | None = None
        if admin_socket is not None:
            # Imported here because prometheus-client is slow to import and optional.
            from wasi_trio.serve.process._reports import Totals

            self._totals = Totals()
        #: Held during the start of a process, for which the sockets must be open.
        self._starting = trio.Lock()

    async def run(self, stop: trio.Event, ready: Callable[[], object] | None = None) -> None:
        """Serve until ``stop`` is set, and finish the active requests.

        ``ready`` is called when the first worker accepts requests. Cancellation ends all workers at once.
        """
        async with trio.open_nursery() as background:
            if ready is not None:
                background.start_soon(self._call_when_ready, ready)
            if self._profiled:
                background.start_soon(profiles_on_signal, self._write_profiles)
            if self._admin_socket is not None and self._totals is not None:
                from wasi_trio.serve.process._admin import serve_site

                background.start_soon(serve_site, self._admin_socket, self._totals)
            if self._reloading is not None:
                background.start_soon(self._reloading.run, self._config, self._versions, self._adopt, self._count)
            async with trio.open_nursery() as nursery:
                for number in range(1, self._workers + 1):
                    nursery.start_soon(self._keep_running, number, stop)
                await stop.wait()
                if self._totals is not None:
                    self._totals.draining = True
                # The workers close their copies. Connections are refused once all are closed.
                async with self._starting:
                    for listener in self._listeners:
                        listener.sock.close()
            background.cancel_scope.cancel()

    async def _call_when_ready(self, ready: Callable[[], object]) -> None:
        await self._serving.wait()
        ready()

    async def _write_profiles(self) -> None:
        async with trio.open_nursery() as nursery:
            for worker in self._running:
                nursery.start_soon(worker.write_profiles)

    @property
    def _share(self) -> bytes:
        """The pickled share of a worker, with the contents of all files, which may have changed on disk."""
        return pickle.dumps((self._config, self._versions, self._sockets, self._interval))

    async def _adopt(self, config: ServerConfig, versions: Sequence[RouteVersion]) -> None:
        """Have all workers serve these routes. Raise LoadError or SettingError if they cannot be served."""
        changed = [version for version in versions if version not in self._versions]
        await trio.to_thread.run_sync(_check, config.settings, changed)
        self._config, self._versions = config, versions
        command = RELOAD + _with_length(pickle.dumps((config, versions)))
        async with trio.open_nursery() as nursery:
            for worker in list(self._running):
                nursery.start_soon(worker.reload, command)

    def _count(self, successful: bool) -> None:
        if self._totals is not None:
            self._totals.reloads["ok" if successful else "failed"] += 1

    async def _keep_running(self, number: int, stop: trio.Event) -> None:
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
            pause = 0.0 if steady else min(2 * pause or FIRST_PAUSE, MAX_PAUSE)
            when = f"in {pause:g} s" if pause else "now"
            logger.error("%s ended with %s; its replacement starts %s", worker, ended, when)
            with trio.move_on_after(pause):
                await stop.wait()


class _Worker:
    """One worker process."""

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
        #: The prefix of its instance numbers.
        self.prefix = f"{number}r{life}." if life else f"{number}."
        #: Whether it has begun to serve.
        self.serving = False
        self.code: int | None = None
        self._stop = stop
        #: Set when this worker, or another one, serves.
        self._begun = begun
        self._interval = interval
        self._limit = limit
        self._totals = totals
        self._beats = 0
        self._process: trio.Process | None = None
        self._control: trio.SocketStream | None = None
        self._sending = trio.Lock()
        #: Whether it must end because it did not carry out a reload command.
        self.given_up = False
        self._has_share = False
        #: The numbers of reload commands that were sent and carried out.
        self._reloads_sent = self._reloads_done = 0
        self._is_over = False
        self._reload_done = trio.Event()
        #: Set when all its reports were received.
        self._all_received = trio.Event()

    def __str__(self) -> str:
        return f"worker {self.number} (process {self._process.pid if self._process else '?'})"

    async def run(self, share: Callable[[], bytes], inherited: Sequence[int], starting: trio.Lock) -> str:
        """Run the process to its end. Return a description of its exit. Cancellation ends the process."""
        control, theirs = _channel()
        self._control = control
        reports, reporting = (None, None) if self._totals is None else _channel()
        own = [theirs] if reporting is None else [theirs, reporting]
        descriptors = [sock.fileno() for sock in own]
        # The worker must find the same modules as this process, and none in the current folder before them.
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
            # A terminal sends SIGINT to its whole foreground group. Only the supervisor must receive it.
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
            nursery.start_soon(self._receive, control)
            if reports is not None:
                nursery.start_soon(self._take_reports, reports)
            if self._interval is not None:
                nursery.start_soon(self._watch, process, self._interval)
            code: int = await process.wait()
            self.code = code
            if reports is not None:
                with trio.move_on_after(END_TIMEOUT):
                    await self._all_received.wait()
            nursery.cancel_scope.cancel()
        return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"

    async def _take_reports(self, channel: trio.SocketStream) -> None:
        assert self._totals is not None
        async with channel:
            await self._totals.receive(self.number, channel)
        self._all_received.set()

    async def write_profiles(self) -> None:
        """Make the worker write the profiles of its instances."""
        # Its first message must be its share, so a worker that does not serve yet receives no command.
        if self._control is not None and self.serving:
            await self._send(self._control, WRITE_PROFILES)

    async def reload(self, command: bytes) -> None:
        """Command the worker to serve other routes. If it does not, let it drain, and replace it."""
        if self._control is None or not self._has_share:
            return  # its share will contain the new routes
        expected = self._reloads_sent = self._reloads_sent + 1
        with trio.move_on_after(RELOAD_TIMEOUT):
            await self._send(self._control, command)
            while self._reloads_done < expected and not self._is_over:
                await self._reload_done.wait()
        if self._reloads_done < expected and not self._is_over and not self._stop.is_set():
            logger.error("%s did not load the changes; it drains and is replaced", self)
            self.given_up = True
            await self._send(self._control, DRAIN)

    def _notify(self) -> None:
        reload_done, self._reload_done = self._reload_done, trio.Event()
        reload_done.set()

    async def _share(self, control: trio.SocketStream, share: Callable[[], bytes]) -> None:
        # From here on the worker needs a command for each change.
        self._has_share = True
        await self._send(control, _with_length(share()))
        await self._stop.wait()
        await self._send(control, DRAIN)

    async def _send(self, control: trio.SocketStream, what: bytes) -> None:
        async with self._sending:
            try:
                await control.send_all(what)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                logger.debug("%s has ended and receives no commands", self)

    async def _receive(self, control: trio.SocketStream) -> None:
        try:
            async for messages in control:
                if SERVING in messages:
                    self.serving = True
                    self._begun.set()
                    logger.info("%s serves", self)
                if TAKEN_OVER in messages:
                    self._reloads_done += messages.count(TAKEN_OVER)
                    self._notify()
                self._beats += 1
        except trio.BrokenResourceError:
            logger.debug("%s has ended without closing its connection", self)
        finally:
            self._is_over = True
            self._notify()

    async def _watch(self, process: trio.Process, interval: float) -> None:
        """Kill the worker when its event loop is blocked.

        Checks are counted in place of seconds: if all processes were stopped for an hour, this process made one check
        in that time.
        """
        seen, missed = 0, 0
        while True:
            await trio.sleep(interval)
            if self._beats != seen or not self.serving:
                seen, missed = self._beats, 0
                continue
            missed += 1
            if missed * interval >= self._limit:
                logger.error("%s has blocked its event loop for %g s: killing it after a stack dump", self, self._limit)
                # A stopped process could neither write its stack nor end, so it is continued first. Any thread of a
                # stopped process may receive a signal, and may crash when it writes the stack of a thread that runs.
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGABRT)
                await trio.sleep(STACK_TIMEOUT)
                process.kill()
                return

    async def _end(self, control: trio.SocketStream, process: trio.Process) -> None:
        """End the process at once, and kill it if it does not end by itself."""
        with trio.move_on_after(END_TIMEOUT):
            await self._send(control, LEAVE)
            await process.wait()
            return
        process.kill()


def _with_length(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


def _check(settings: Settings, versions: Sequence[RouteVersion]) -> None:
    """Load routes to check them, and to put their code into wasmtime's cache. Raise LoadError or SettingError."""
    with settings.engine_options().open() as engine:
        loader = Loader(engine)
        # All stay loaded until the end, because the same component may occur in several routes.
        kept = [loader.load(version, settings) for version in versions]
        del kept


def _channel() -> tuple[trio.SocketStream, socket.socket]:
    """Create a pair of sockets: one for the supervisor, and one for a worker."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return trio.SocketStream(trio.socket.from_stdlib_socket(ours)), theirs
