"""Compiles components in a separate process, to protect this one.

A component of one kilobyte can occupy wasmtime's validator for seconds and make it allocate gigabytes. A fault in the
compiler would end its process. So each component gets a process (``_compiler_process.py``) with limits of
time and memory. That process performs all steps of loading. This process repeats only steps that succeeded there, and
never runs wasmtime's validator and compiler on the component's bytes.
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
    LINKING,
    MEMORY,
    MODULE,
    PROGRESS,
    VALIDATE,
)
from wasi_trio.runtime._verdicts import Verdicts

#: Interval in seconds between checks for the cancellation of the waiting task.
_CHECK_INTERVAL = 0.1
#: Maximum number of bytes kept of the process's standard error.
_MAX_STDERR = 4096
#: Maximum size in bytes of a compiled component if its memory has no limit.
_MAX_RESULT = 4 << 30
#: The module search path comes from this process, as in a fork, and not from the environment or the working directory.
_PROGRAM = (
    "import sys; sys.path[:] = eval(sys.argv[2]); "
    "from wasi_trio.runtime._compiler_process import main; main(sys.argv[1])"
)
#: wasmtime's messages if it gets no memory, or no thread because of that.
_out_of_memory = re.compile(
    r"memory allocation|out of memory|cannot allocate|temporarily unavailable|os error 1[12]", re.IGNORECASE
)
_failed_allocation = re.compile(rb"memory allocation of \d+ bytes failed")
_FAULTS: dict[str, type[ComponentError]] = {"MalformedComponent": MalformedComponent, "Unsupported": Unsupported}


def compile_apart(
    compiler: Compiler, data: bytes, limits: CompileLimits, progress: Progress | None = None
) -> tuple[Mapping[bytes, bytes], Mapping[str, Any] | None]:
    """Compile a component in a separate process.

    Return its serialized modules by the digest of their code, and its ``_linking`` description with these modules in
    order. The description is None if the component's types are nested too deeply.

    Raises the errors of ``compile_component``. Raises CompilationFailed if the process exceeds its limits or crashes.
    In a trio worker thread, cancellation of the waiting task ends the process.
    """
    job = _Job(COMPILE, data, limits, compiler, progress)
    return job.run(), job.linking


def validate_apart(compiler: Compiler, data: bytes, limits: CompileLimits) -> None:
    """Validate a component without its code in a separate process. Raises the errors of ``compile_apart``."""
    _Job(VALIDATE, data, limits, compiler).run()


def assemble_apart(text: bytes, limits: CompileLimits) -> bytes:
    """Assemble WebAssembly text to a binary, in a separate process unless an earlier run has accepted the text.

    Raises CompilationFailed, or MalformedComponent whose message lists all faults in several lines.
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
        self.linking: Mapping[str, Any] | None = None
        self.remaining = limits.memory or _MAX_RESULT
        #: The received bytes that do not form a complete frame yet.
        self.received = bytearray()
        self.stderr = b""
        self.done = False

    def run(self) -> dict[bytes, bytes]:
        if not sys.executable:
            raise CompilationFailed("it cannot be compiled without a Python executable: sys.executable is empty")
        with _anonymous_file(json.dumps(self.orders).encode() + b"\n", self.data) as orders:
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
                raise CompilationFailed(f"the process to compile it cannot be started: {error.strerror}") from None
        with process:
            try:
                self._read_output(process)
                code = process.wait()
            finally:
                process.kill()
        if not self.done:
            raise self._crash(code)
        return self.modules

    def _read_output(self, process: subprocess.Popen[bytes]) -> None:
        """Read the process's output until it ends."""
        assert process.stdout is not None
        assert process.stderr is not None
        check_cancelled = _cancellation_check()
        seconds = math.inf if self.limits.seconds is None else self.limits.seconds
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ, self._on_stdout)
            selector.register(process.stderr, selectors.EVENT_READ, self._on_stderr)
            while selector.get_map():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise CompilationFailed(f"compiling it takes longer than {seconds:g} s; increase --compile-timeout")
                check_cancelled()
                for key, _ in selector.select(min(_CHECK_INTERVAL, left)):
                    chunk = os.read(key.fd, 1 << 20)
                    if chunk:
                        key.data(chunk)
                    else:
                        selector.unregister(key.fileobj)

    def _on_stderr(self, chunk: bytes) -> None:
        self.stderr = (self.stderr + chunk)[-_MAX_STDERR:]
        if _failed_allocation.search(self.stderr) and self.limits.memory is not None:
            # The process may hang, because ending it needs memory too.
            raise self._too_large()

    def _on_stdout(self, chunk: bytes) -> None:
        self.received += chunk
        while len(self.received) >= HEADER.size:
            letter, size = HEADER.unpack_from(self.received)
            if size > self.remaining:
                raise CompilationFailed(f"its compiled code has more than {self.remaining} bytes")
            if len(self.received) - HEADER.size < size:
                return
            content = bytes(self.received[HEADER.size : HEADER.size + size])
            del self.received[: HEADER.size + size]
            self._handle(letter, content)

    def _handle(self, letter: bytes, content: bytes) -> None:
        match letter:
            case _ if letter == PROGRESS:
                if self.progress is not None:
                    self.progress(*json.loads(content))
            case _ if letter == MODULE:
                self.remaining -= len(content)
                self.modules[content[:DIGEST]] = content[DIGEST:]
            case _ if letter == LINKING:
                self.linking = json.loads(content)
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
                raise AssertionError(f"unknown frame {letter!r} from the compiler process")

    def _crash(self, code: int) -> CompilationFailed:
        """Return the error for a process that ended without reporting a result."""
        words = self.stderr.decode("utf-8", "replace")
        if _out_of_memory.search(words) and self.limits.memory is not None:
            return self._too_large()
        how = f"exit code {code}" if code >= 0 else _signal_name(-code)
        failed = CompilationFailed(f"compiling it crashed the compiler process with {how}")
        failed.add_note(words)
        return failed

    def _too_large(self) -> CompilationFailed:
        limit = self.limits.memory
        if limit is None:
            return CompilationFailed("compiling it takes more memory than is available")
        return CompilationFailed(
            f"compiling it takes more than {limit / (1 << 20):g} MiB of memory; increase --compile-memory"
        )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _cancellation_check() -> Callable[[], None]:
    """Return a function that raises Cancelled if this is a trio worker thread whose task has been cancelled."""
    try:
        trio.from_thread.check_cancelled()
    except RuntimeError:
        return lambda: None
    return trio.from_thread.check_cancelled


def _anonymous_file(*parts: bytes) -> BinaryIO:
    """Return an anonymous file with this content, positioned at its start."""
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
