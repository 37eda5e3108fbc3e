"""Host calls that hold up the event loop, and how another thread interrupts one without touching anything else.

``engine.host_call`` says which host function of a guest's runs on the loop's thread, if any: a tuple of its own for
each call. Whoever runs one does this, which ``running`` writes around the user's code::

    engine.host_call = (func, store, interruptible)
    try:
        ...                             # the user's code
    finally:
        engine.host_call = None
        if engine.interruption is not None:
            settle(engine)

and, once that has raised whatever it raised, ``after_failure``. The other thread announces what it is about to do,
then looks whether the call still runs, and only then does it: ``interrupt``. One of the two is bound to see the other:
either the thread that interrupts finds the call over and does nothing, or the call's end finds the announcement, waits
for the other to be done (a few bytecodes) and takes back an exception that was not delivered yet. So it is raised
between the first line and the last of those above or not at all.

The main thread is interrupted by a signal, which wakes it from system calls too (``time.sleep``, a socket's ``recv``).
The signal's handler runs on that thread and looks at the flag itself, so a late signal does nothing. In any other
thread CPython raises the exception at the next bytecode: it ends a loop in Python, while a call in C is not left
before it returns. However a call ends that was interrupted, the guest traps.
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

if TYPE_CHECKING:
    from wasi_trio.component._context import Context
    from wasi_trio.component._handles import ResourceHandle
    from wasi_trio.runtime._origins import Origin
    from wasi_trio.runtime._running import HostCall

#: ignored by default, so that a stray one does no harm, and sent by hardly anything
SIGNAL = signal.SIGURG


#: where a coroutine has not been begun
_START = object()


class HostCallInterrupted(BaseException):
    """Raised in the middle of a host function that has held up the event loop for too long."""


_set_async_exc = ctypes.pythonapi["PyThreadState_SetAsyncExc"]
_set_async_exc.argtypes = (ctypes.c_ulong, ctypes.c_void_p)
_set_async_exc.restype = ctypes.c_int
_EXCEPTION = id(HostCallInterrupted)


class Interrupter:
    """Interrupts host calls of an engine that run on one thread, from others.

    ``attach`` is to be called on that thread before, ``detach`` after; they nest. On the main thread they put a
    handler in place for ``SIGNAL``, unless somebody else has.
    """

    def __init__(self, engine: Running) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._users = 0
        self._signals = False
        #: the loop's
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
        """Interrupt a host call; whether it was still running. May be repeated if the call does not end."""
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
    """Comes in the place of an exception that is on its way to this thread."""


def _take_back() -> None:
    """Have no exception on its way to this thread any more.

    One that is not wanted any more is replaced, and the other raised and caught right here. CPython before 3.13 would
    else go on looking for one at each call of a function, for as long as the process lives: each took two thirds longer
    with 3.12, and programs under a profiler came to a halt with 3.11.
    """
    try:
        _set_async_exc(threading.get_ident(), id(_TakenBack))
        while True:
            pass
    except _TakenBack:
        pass


def settle(engine: Running) -> None:
    """At the end of a host call: raise HostCallInterrupted if it was interrupted; nothing comes after that.

    The exception under way may strike in here as well. Then there is none any more, and ``after_failure`` does the
    rest.
    """
    interruption = engine.interruption
    while interruption is not None and not interruption.decided:
        time.sleep(0)  # lets the other thread have the interpreter, for the bytecodes that it still needs
        interruption = engine.interruption
    if interruption is None:
        return
    if interruption.sent:
        _take_back()
    engine.interruption = None
    if interruption.sent:
        raise HostCallInterrupted


def leave(engine: Running) -> None:
    """Guest code is about to run inside a host call: it is not to be interrupted meanwhile."""
    engine.host_call = None
    if engine.interruption is not None:
        settle(engine)


def after_failure(engine: Running, error: BaseException) -> BaseException:
    """What the guest's caller gets of an exception that came out of a host call."""
    if engine.interruption is not None:
        try:
            settle(engine)
        except HostCallInterrupted as interrupted:
            error = interrupted
    if isinstance(error, HostCallInterrupted):
        return Trap("a host function was interrupted because it held up the event loop")
    return contained(error)


# ---- what is written around the user's code --------------------------------------------------------------


@contextmanager
def running(source: Source, call: str) -> Iterator[None]:
    """Lines added inside run the user's code; ``call`` is an expression for what it is to the watchdog."""
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


def _write_run(source: Source) -> None:
    with running(source, "call"):
        source.line("return act()")


#: one step of a host function's coroutine
_step: Callable[..., Any] = write_function(
    "host call: step", ("engine", "call", "coroutine", "answers", "thrown"), _write_step
)
#: run a function of the host's as the host call ``call``; for what is called too seldom to have code of its own
run: Callable[[Running, HostCall, Callable[[], object]], Any] = write_function(
    "host call: run", ("engine", "call", "act"), _write_run
)


# ---- host functions that wait ----------------------------------------------------------------------------


@types.coroutine
def steps(
    engine: Running, call: HostCall, coroutine: CoroutineType[Any, Any, Any], trap: Any = _START
) -> Generator[Any, Any, Any]:
    """Run a host function's coroutine, each of its steps marked; ``trap`` is what the first asked for, if it was taken.

    Raises Trap where one was interrupted.
    """
    ticker = engine.ticker
    # What the coroutine is to be given next. No name has it when that goes on: where it is, or has in it, an exception,
    # the traceback of that leads back here, and the two would keep each other until garbage is collected.
    answers: list[Any] = [None] if trap is _START else []
    thrown: list[BaseException] = []
    closed = False
    while True:
        if trap is not _START:
            try:
                answers.append((yield trap))
            except BaseException as error:  # whatever trio throws in belongs to the coroutine
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
                raise  # the coroutine ends as it was told to
            failure = after_failure(engine, error)
            try:
                if coroutine.cr_suspended:
                    yield from abandon(coroutine, suspended_at(coroutine))
                if failure is error:
                    raise
                raise failure from failure.__cause__
            finally:
                del failure  # its traceback leads back here, as above


class Pending:
    """A host call that has to wait: the rest of its coroutine, and how its result gets back into the guest."""

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
        #: what the coroutine's first step asked of trio
        self.trap = trap
        self.lower = lower
        self.context = context
        self.return_pointer = return_pointer
        #: handles lent to the call until it is over
        self.lenders = lenders
        #: the function's result is a ``result``, so that it may raise ``Err``
        self.fallible = fallible
        #: what it is to the watchdog; None if it is a guest's code in its turn
        self.call = call
        self.value: Any = None

    def rest(self, engine: Running) -> Awaitable[Any]:
        """What remains of the coroutine, for a task to wait for; ``failed`` makes an Err out of it a value."""
        if self.call is None:
            return resume(self.coroutine, self.trap)
        return steps(engine, self.call, self.coroutine, self.trap)

    def failed(self, error: Err[Any]) -> Err[Any]:
        """The value that an Err out of ``rest`` is; raises it if the function's result is no ``result``."""
        if not self.fallible:
            raise error
        return error.with_traceback(None)


def wait_for(pending: Pending, engine: Running, origin: Origin | None) -> Awaitable[Any]:
    """``Pending.rest``, of which ``origin`` is told if the guest runs on behalf of one."""
    if origin is None or pending.call is None:
        return pending.rest(engine)
    return _followed(pending, engine, pending.call, origin)


async def _followed(pending: Pending, engine: Running, call: HostCall, origin: Origin) -> Any:
    began = trio.current_time()
    try:
        return await pending.rest(engine)
    finally:
        origin.waited(call[0], began)


def suspended_at(coroutine: CoroutineType[Any, Any, Any]) -> Any:
    """What a suspended coroutine asked of trio when it was suspended.

    For the case that the interruption struck just between that and whoever was to be told.
    """
    innermost: Any = coroutine
    while True:
        inner = getattr(innermost, "cr_await", None) or getattr(innermost, "gi_yieldfrom", None)
        if inner is None:
            return innermost.gi_frame.f_locals["obj"]  # of trio's one function that has a yield of its own
        innermost = inner
