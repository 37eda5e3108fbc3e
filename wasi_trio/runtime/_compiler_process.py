"""The process that compiles an untrusted component and writes the result.

``_apart.py`` starts it, ends it if it takes too long, and reads its output. The output consists of frames: one letter,
a length of eight bytes, and the content. To start quickly, this module imports no event loop and little of the runtime.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import struct
import sys
import threading
import traceback
from typing import Any, NoReturn

from wasi_trio.component._errors import ComponentError, LinkError
from wasi_trio.runtime._compiler import Compiler, assemble
from wasi_trio.runtime._compiling import compile_component, digest, validate_component
from wasi_trio.runtime._linking import describe

#: The jobs.
COMPILE, VALIDATE, ASSEMBLE = "compile", "validate", "assemble"
#: The letters of frames: progress, a compiled module or assembled text, success, a fault of the component, too little
#: memory, and a fault of wasi_trio.
PROGRESS, MODULE, LINKING, DONE, FAULT, MEMORY, BROKEN = b"p", b"m", b"l", b"d", b"f", b"o", b"b"
HEADER = struct.Struct(">cQ")
#: Size in bytes of the digest before a module.
DIGEST = 32


def main(descriptor: str) -> NoReturn:
    """Do a job and end the process. The file ``descriptor`` has the orders as a line of JSON, then the component.

    Standard input contains no data. It is closed when the parent process ends, which ends this process too.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with open(int(descriptor), "rb") as source, open(1, "wb") as sink:
        orders: dict[str, Any] = json.loads(source.readline())
        _limit_memory(orders["memory"])

        def send(letter: bytes, *parts: bytes) -> None:
            sink.write(HEADER.pack(letter, sum(map(len, parts))))
            for part in parts:
                sink.write(part)
            sink.flush()

        try:
            _work(orders, source.read(), send)
            send(DONE)
        except ComponentError as error:
            send(FAULT, _as_json(error))
        except MemoryError:
            send(MEMORY)
        except Exception:
            send(BROKEN, traceback.format_exc().encode("utf-8", "replace"))
    # This skips the interpreter's shutdown, which would only spend time on freeing memory.
    os._exit(0)


def _work(orders: dict[str, Any], data: bytes, send: Any) -> None:
    if orders["job"] == ASSEMBLE:
        send(MODULE, digest(data), assemble(data))
        return
    compiler = Compiler(orders["cache"], orders["features"], orders["reservation"])
    if orders["job"] == VALIDATE:
        validate_component(compiler, data)
        return

    def progress(done: int, total: int) -> None:
        send(PROGRESS, json.dumps([done, total]).encode())

    compiled = compile_component(compiler, data, progress)
    for name, module in compiled.modules.items():
        send(MODULE, name, module.serialize())
    with contextlib.suppress(RecursionError):  # the other process then repeats all steps but compiling
        send(LINKING, json.dumps(describe(compiled, compiled.modules.values())).encode())


def _end_with_parent() -> NoReturn:
    os.read(0, 1)
    os._exit(1)


def _limit_memory(memory: int | None) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory is not None:
        # RLIMIT_DATA counts written memory. It ignores address space, which threads and allocators reserve beyond their
        # need. Systems other than Linux may not enforce it.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


def _as_json(error: ComponentError) -> bytes:
    missing, mismatched = (error.missing, error.mismatched) if isinstance(error, LinkError) else ((), ())
    return json.dumps([type(error).__name__, str(error), missing, mismatched]).encode()


if __name__ == "__main__":
    sys.exit("this is started by wasi_trio")
