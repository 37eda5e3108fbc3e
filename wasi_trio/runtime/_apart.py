"""Compiling in a process of its own, so that no component takes this one along.

A component of a kilobyte can keep wasmtime's validator busy for seconds, and have it take gigabytes; a fault in the
compiler would end the process it is in. So a process is started for each component (``_compiler_process.py``), with
limits of time and memory, and does all that is done to load it: what this process does afterwards with the component's
bytes was done there before, and wasmtime's validator and compiler see them only there.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import trio

from wasi_trio.component._errors import CompilationFailed, ComponentError, LinkError, MalformedComponent, Unsupported
from wasi_trio.runtime._compile_limits import CompileLimits
from wasi_trio.runtime._compiler import Compiler, Progress, assemble
from wasi_trio.runtime._compiler_process import (
    ASSEMBLE,
    BROKEN,
    COMPILE,
    DIGEST,
    DONE,
    FAULT,
    HEADER,
    MEMORY,
    MODULE,
    PROGRESS,
    VALIDATE,
)
from wasi_trio.runtime._verdicts import Verdicts

#: seconds between two looks whether whoever waits for this has been cancelled
_GLANCE = 0.1
#: bytes of the process's standard error that are kept
_LAST_WORDS = 4096
#: bytes in which a compiled component has to come where its memory has no limit
_MOST = 4 << 30
#: The search path comes from here, as for a fork, and not from the environment or the working directory.
_PROGRAM = (
    "import sys; sys.path[:] = eval(sys.argv[2]); "
    "from wasi_trio.runtime._compiler_process import main; main(sys.argv[1])"
)
#: what wasmtime says where it gets no memory, or no thread for want of memory
_out_of_memory = re.compile(
    r"memory allocation|out of memory|cannot allocate|temporarily unavailable|os error 1[12]", re.IGNORECASE
)
_failed_allocation = re.compile(rb"memory allocation of \d+ bytes failed")
_FAULTS: dict[str, type[ComponentError]] = {"MalformedComponent": MalformedComponent, "Unsupported": Unsupported}


def compile_apart(
    compiler: Compiler, data: bytes, limits: CompileLimits, progress: Progress | None = None
) -> Mapping[bytes, bytes]:
    """Compile a component in a process of its own; gives its modules, serialized, by the digest of their code.

    Raises what ``compile_component`` raises, and CompilationFailed where it does not stay within the limits, or ends
    that process. In a thread of trio's this ends when its task is cancelled.
    """
    return _Job(COMPILE, data, limits, compiler, progress).run()


def validate_apart(compiler: Compiler, data: bytes, limits: CompileLimits) -> None:
    """Check a component, but for its code, in a process of its own; raises as ``compile_apart`` does."""
    _Job(VALIDATE, data, limits, compiler).run()


def assemble_apart(text: bytes, limits: CompileLimits) -> bytes:
    """The binary of WebAssembly text, which is read in a process of its own unless it is known from before.

    Raises MalformedComponent with all that is wrong, in several lines, or CompilationFailed.
    """
    verdicts = Verdicts((), kept=True)
    name = verdicts.name(text)
    if verdicts.has(name):
        return assemble(text)
    (binary,) = _Job(ASSEMBLE, text, limits).run().values()
    verdicts.add(name)
    return binary


class _Job:
    def __init__(
        self,
        job: str,
        data: bytes,
        limits: CompileLimits,
        compiler: Compiler | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.data = data
        self.limits = limits
        self.progress = progress
        self.orders: dict[str, Any] = {"job": job, "memory": limits.memory}
        if compiler is not None:
            self.orders |= {
                "cache": compiler.cache,
                "features": sorted(compiler.features),
                "reservation": compiler.reservation,
            }
        self.modules: dict[bytes, bytes] = {}
        self.most = limits.memory or _MOST
        #: what has come and is no whole frame yet
        self.received = bytearray()
        self.last_words = b""
        self.done = False

    def run(self) -> dict[bytes, bytes]:
        if not sys.executable:
            raise CompilationFailed("there is no Python to compile it with: sys.executable is empty")
        with _file(json.dumps(self.orders).encode() + b"\n", self.data) as orders:
            try:
                process = subprocess.Popen(
                    [sys.executable, "-c", _PROGRAM, str(orders.fileno()), repr(list(map(str, sys.path)))],
                    stdin=subprocess.PIPE,
                    pass_fds=[orders.fileno()],
                    env={**os.environ, "RUST_BACKTRACE": "0"},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
            except OSError as error:
                raise CompilationFailed(f"the process to compile it in cannot be started: {error.strerror}") from None
        with process:
            try:
                self._listen(process)
                code = process.wait()
            finally:
                process.kill()
        if not self.done:
            raise self._ended(code)
        return self.modules

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """Read what the process writes until it ends."""
        assert process.stdout is not None
        assert process.stderr is not None
        check_cancelled = _cancellation()
        seconds = math.inf if self.limits.seconds is None else self.limits.seconds
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ, self._take)
            selector.register(process.stderr, selectors.EVENT_READ, self._note)
            while selector.get_map():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise CompilationFailed(
                        f"compiling it takes longer than {seconds:g} s; --compile-timeout gives it more"
                    )
                check_cancelled()
                for key, _ in selector.select(min(_GLANCE, left)):
                    some = os.read(key.fd, 1 << 20)
                    if some:
                        key.data(some)
                    else:
                        selector.unregister(key.fileobj)

    def _note(self, some: bytes) -> None:
        self.last_words = (self.last_words + some)[-_LAST_WORDS:]
        if _failed_allocation.search(self.last_words) and self.limits.memory is not None:
            # It may not come to its end, as it wants memory for that, too.
            raise self._too_large()

    def _take(self, some: bytes) -> None:
        self.received += some
        while len(self.received) >= HEADER.size:
            letter, size = HEADER.unpack_from(self.received)
            if size > self.most:
                raise CompilationFailed(f"its compiled code has more than {self.most} bytes")
            if len(self.received) - HEADER.size < size:
                return
            content = bytes(self.received[HEADER.size : HEADER.size + size])
            del self.received[: HEADER.size + size]
            self._obey(letter, content)

    def _obey(self, letter: bytes, content: bytes) -> None:
        match letter:
            case _ if letter == PROGRESS:
                if self.progress is not None:
                    self.progress(*json.loads(content))
            case _ if letter == MODULE:
                self.most -= len(content)
                self.modules[content[:DIGEST]] = content[DIGEST:]
            case _ if letter == DONE:
                self.done = True
            case _ if letter == FAULT:
                name, message, missing, mismatched = json.loads(content)
                if _out_of_memory.search(message):
                    raise self._too_large()
                if name == "LinkError":
                    raise LinkError(message, tuple(missing), tuple(mismatched))
                raise _FAULTS.get(name, ComponentError)(message)
            case _ if letter == MEMORY:
                raise self._too_large()
            case _ if letter == BROKEN:
                text = content.decode("utf-8", "replace")
                failed = CompilationFailed(f"compiling it failed: {text.strip().splitlines()[-1]}")
                failed.add_note(text)
                raise failed
            case _:
                raise AssertionError(f"a frame {letter!r} of the compiler's process")

    def _ended(self, code: int) -> CompilationFailed:
        """What to say of a process that ended by itself with nothing said."""
        words = self.last_words.decode("utf-8", "replace")
        if _out_of_memory.search(words) and self.limits.memory is not None:
            return self._too_large()
        how = f"exit code {code}" if code >= 0 else _signal_name(-code)
        failed = CompilationFailed(f"compiling it ended the process that did it, with {how}")
        failed.add_note(words)
        return failed

    def _too_large(self) -> CompilationFailed:
        limit = self.limits.memory
        if limit is None:
            return CompilationFailed("compiling it takes more memory than there is")
        return CompilationFailed(
            f"compiling it takes more than {limit / (1 << 20):g} MiB of memory; --compile-memory gives it more"
        )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _cancellation() -> Callable[[], None]:
    """What raises Cancelled when this runs in a thread of trio's, and its task has been cancelled."""
    try:
        trio.from_thread.check_cancelled()
    except RuntimeError:
        return lambda: None
    return trio.from_thread.check_cancelled


def _file(*parts: bytes) -> BinaryIO:
    """A file that is nowhere, with this in it, at its start."""
    if hasattr(os, "memfd_create"):
        file: BinaryIO = open(os.memfd_create("wasi_trio"), "w+b")  # noqa: SIM115
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115
    with contextlib.ExitStack() as stack:
        stack.enter_context(file)
        for part in parts:
            file.write(part)
        file.flush()
        file.seek(0)
        stack.pop_all()
    return file
