"""Watches host calls that block the event loop, and interrupts one from another thread without touching other code.

``engine.host_call`` identifies the guest's host function that runs on the loop's thread: a new tuple for each call, or
None. Code that runs a host function does the following, which ``running`` writes around the user's code::

    engine.host_call = (func, store, interruptible)
    try:
        ...                             # the user's code
    finally:
        engine.host_call = None
        if engine.interruption is not None:
            settle(engine)

If that raises, the code calls ``after_failure``. The other thread first announces its intent, then checks that the call
still runs, and only then interrupts it (``interrupt``). So one of the two threads always sees the other. Either the
interrupting thread finds that the call has ended and does nothing. Or the end of the call finds the announcement, waits
a few bytecodes for the other thread, and takes back an exception that is not yet delivered. So the exception is raised
between the first and the last of the lines above, or not at all.

A signal interrupts the main thread, because it also wakes the thread from system calls (``time.sleep``, a socket's
``recv``). The signal's handler runs on that thread and checks the flag, so a late signal has no effect. In any other
thread, CPython raises the exception at the next bytecode. That ends a loop in Python, but a call in C first returns.
However an interrupted call ends, the guest traps.
"""

from __future__ import annotations

import ctypes
import signal
import threading
import time
import types
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from types import CoroutineType, FrameType
from typing import TYPE_CHECKING, Any

import trio

from wasi_trio.component._errors import Trap
from wasi_trio.component._values import Err
from wasi_trio.component.abi._codegen import Source, write_function
from wasi_trio.runtime._containment import contained
from wasi_trio.runtime._coroutines import abandon, resume
from wasi_trio.runtime._keyboard import interruptible
from wasi_trio.runtime._running import Interruption, Running
from wasi_trio.runtime._trio_internals import trap_of

if TYPE_CHECKING:
    from wasi_trio.component._context import Context
    from wasi_trio.component._handles import ResourceHandle
    from wasi_trio.runtime._origins import Origin
    from wasi_trio.runtime._running import HostCall

#: Ignored by default, so a stray signal is harmless, and rarely sent by other programs.
SIGNAL = signal.SIGURG


#: Means that a coroutine has not started.
_START = object()


class HostCallInterrupted(BaseException):
    """Raised in the middle of a host function that has blocked the event loop for too long."""


_set_async_exc = ctypes.pythonapi["PyThreadState_SetAsyncExc"]
_set_async_exc.argtypes = (ctypes.c_ulong, ctypes.c_void_p)
_set_async_exc.restype = ctypes.c_int
_EXCEPTION = id(HostCallInterrupted)


class Interrupter:
    """Interrupts an engine's host calls on one thread from other threads.

    Calls of ``attach`` and ``detach`` on that thread must enclose all host calls. They nest. On the main thread they
    install a handler for ``SIGNAL``, unless it has another handler.
    """

    def __init__(self, engine: Running) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._users = 0
        self._signals = False
        #: The thread of the event loop.
        self.thread = 0

    def attach(self) -> None:
        self._users += 1
        if self._users > 1:
            return
        self.thread = threading.get_ident()
        if threading.current_thread() is threading.main_thread() and signal.getsignal(SIGNAL) == signal.SIG_DFL:
            signal.signal(SIGNAL, self._on_signal)
            self._signals = True

    def detach(self) -> None:
        self._users -= 1
        if not self._users and self._signals:
            self._signals = False
            if signal.getsignal(SIGNAL) == self._on_signal:
                signal.signal(SIGNAL, signal.SIG_DFL)

    def interrupt(self, call: HostCall) -> bool:
        """Interrupt a host call and return whether it was still running. May be repeated if the call does not end."""
        engine = self._engine
        with self._lock:
            before = engine.interruption
            again = before is not None and before.call is call and before.sent
            interruption = engine.interruption = Interruption(call, again)
            try:
                if engine.host_call is call:
                    interruption.sent = True
                    if self._signals:
                        signal.pthread_kill(self.thread, SIGNAL)
                    else:
                        _set_async_exc(self.thread, _EXCEPTION)
                    return True
                engine.interruption = None
                return False
            finally:
                interruption.decided = True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        interruption = self._engine.interruption
        if interruption is not None and interruption.call is self._engine.host_call:
            raise HostCallInterrupted


class _TakenBack(BaseException):
    """Replaces an exception that is on its way to this thread."""


def _take_back() -> None:
    """Remove the exception that is on its way to this thread.

    The unwanted exception is replaced by another, which is raised and caught here. Otherwise CPython before 3.13 would
    check for an exception at each function call during the rest of the process. In 3.12 each call took two thirds
    longer, and in 3.11 programs under a profiler came to a halt.
    """
    try:
        # From 3.12 on the garbage collector runs just before CPython raises such an exception. A finalizer may then
        # receive the exception, and CPython drops it there. So one exception is not enough.
        while True:
            _set_async_exc(threading.get_ident(), id(_TakenBack))
    except _TakenBack:
        pass


def settle(engine: Running) -> None:
    """End a host call. Raise HostCallInterrupted if it was interrupted. No interruption of this call can follow.

    The pending exception may also be raised inside this function. Then none remains, and ``after_failure`` does the
    rest.
    """
    interruption = engine.interruption
    while interruption is not None and not interruption.decided:
        time.sleep(0)  # lets the other thread run the few bytecodes that it still needs
        interruption = engine.interruption
    if interruption is None:
        return
    if interruption.sent:
        _take_back()
    engine.interruption = None
    if interruption.sent:
        raise HostCallInterrupted


def leave(engine: Running) -> None:
    """Suspend a host call, because guest code is about to run inside it and must not be interrupted."""
    engine.host_call = None
    if engine.interruption is not None:
        settle(engine)


def after_failure(engine: Running, error: BaseException) -> BaseException:
    """Return the exception that the guest's caller gets for an exception of a host call."""
    if engine.interruption is not None:
        try:
            settle(engine)
        except HostCallInterrupted as interrupted:
            error = interrupted
    if isinstance(error, HostCallInterrupted):
        return Trap("a host function was interrupted because it blocked the event loop")
    return contained(error)


# ---- code around the user's code -------------------------------------------------------------------------


@contextmanager
def running(source: Source, call: str) -> Iterator[None]:
    """Put the lines added inside around the user's code. ``call`` is the expression for the watchdog's host call."""
    source.line(f"engine.host_call = {call}")
    with source.block("try:"):
        yield
    with source.block("finally:"):
        source.line("engine.host_call = None")
        with source.block("if engine.interruption is not None:"):
            source.line(f"{source.use(settle)}(engine)")


def _write_step(source: Source) -> None:
    with running(source, "(call[0], call[1], call[2])"):
        step = f"({source.use(_interruptible_go_on)} if call[2] else {source.use(_go_on)})"
        source.line(f"return {step}(coroutine, answers, thrown)")


def _go_on(coroutine: CoroutineType[Any, Any, Any], answers: list[Any], thrown: list[BaseException]) -> Any:
    return coroutine.throw(thrown.pop()) if thrown else coroutine.send(answers.pop())


_interruptible_go_on = interruptible(_go_on)


#: Takes one step of a host function's coroutine.
_step: Callable[..., Any] = write_function(
    "host call: step", ("engine", "call", "coroutine", "answers", "thrown"), _write_step
)


# ---- host functions that wait ----------------------------------------------------------------------------


@types.coroutine
def steps(
    engine: Running, call: HostCall, coroutine: CoroutineType[Any, Any, Any], trap: Any = _START
) -> Generator[Any, Any, Any]:
    """Run a host function's coroutine with each step marked as a host call.

    ``trap`` is the yield of the first step, if that has been taken. Raises Trap if a step was interrupted.
    """
    ticker = engine.ticker
    # The next input of the coroutine. No variable refers to it while the coroutine runs. The input may be or contain an
    # exception whose traceback refers to this frame, which would form a reference cycle.
    answers: list[Any] = [None] if trap is _START else []
    thrown: list[BaseException] = []
    closed = False
    while True:
        if trap is not _START:
            try:
                answers.append((yield trap))
            except BaseException as error:  # an exception that trio throws in belongs to the coroutine
                closed = isinstance(error, GeneratorExit)
                thrown.append(error)
        ticker.runs += 1
        before, ticker.running = ticker.running, True
        if ticker.asleep:
            ticker.wake()
        try:
            try:
                trap = _step(engine, call, coroutine, answers, thrown)
            finally:
                ticker.running = before
        except StopIteration as stop:
            return stop.value
        except BaseException as error:
            if closed and isinstance(error, GeneratorExit):
                raise  # the coroutine ends as requested
            failure = after_failure(engine, error)
            try:
                if coroutine.cr_suspended:
                    yield from abandon(coroutine, trap_of(coroutine))
                raise failure from failure.__cause__
            finally:
                del failure  # its traceback refers to this frame


class Pending:
    """A host call that must wait: the rest of its coroutine, and the way of its result into the guest."""

    __slots__ = ("call", "context", "coroutine", "fallible", "lenders", "lower", "return_pointer", "trap", "value")

    def __init__(
        self,
        coroutine: CoroutineType[Any, Any, Any],
        trap: Any,
        lower: Callable[..., None],
        context: Context,
        return_pointer: int,
        lenders: Iterable[ResourceHandle],
        fallible: bool,
        call: HostCall | None,
    ) -> None:
        self.coroutine = coroutine
        #: The yield of the coroutine's first step to trio.
        self.trap = trap
        self.lower = lower
        self.context = context
        self.return_pointer = return_pointer
        #: Handles that are lent until the call ends.
        self.lenders = lenders
        #: Whether the function's result is a ``result``, so that it may raise ``Err``.
        self.fallible = fallible
        #: The watchdog's host call, or None if the coroutine runs guest code.
        self.call = call
        self.value: Any = None

    def rest(self, engine: Running) -> Awaitable[Any]:
        """Return the rest of the coroutine for a task to await. ``failed`` converts its Err to a value."""
        if self.call is None:
            return resume(self.coroutine, self.trap)
        return steps(engine, self.call, self.coroutine, self.trap)

    def failed(self, error: Err[Any]) -> Err[Any]:
        """Return the value for an Err from ``rest``. Raises the Err if the function's result is not a ``result``."""
        if not self.fallible:
            raise error
        return error.with_traceback(None)


def wait_for(pending: Pending, engine: Running, origin: Origin | None) -> Awaitable[Any]:
    """Return ``Pending.rest``, with a notification for ``origin`` if the guest runs for one."""
    if origin is None or pending.call is None:
        return pending.rest(engine)
    return _followed(pending, engine, pending.call, origin)


async def _followed(pending: Pending, engine: Running, call: HostCall, origin: Origin) -> Any:
    began = trio.current_time()
    try:
        return await pending.rest(engine)
    finally:
        origin.waited(call[0], began)
