"""The process that compiles what is not trusted: it reads a component and writes what became of it.

``_apart.py`` starts it, ends it when it takes too long, and reads what it writes: frames of one letter, eight bytes of
length, and so many bytes. This imports no event loop and nothing of the runtime's: it has to start quickly.
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

# To validate takes it, and memory may be too short by then to import it.
import wasmtime.component  # noqa: F401

from wasi_trio.component._errors import ComponentError, LinkError
from wasi_trio.runtime._compiler import Compiler, assemble, compile_component, digest, validate_component

#: what there is to do
COMPILE, VALIDATE, ASSEMBLE = "compile", "validate", "assemble"
#: the letters of frames: how far it is, a compiled module or what text was assembled to, that all is well, that the
#: component is at fault, that the memory did not do, that we are at fault
PROGRESS, MODULE, DONE, FAULT, MEMORY, BROKEN = b"p", b"m", b"d", b"f", b"o", b"b"
HEADER = struct.Struct(">cQ")
#: bytes of the digest that comes before a module
DIGEST = 32


def main(descriptor: str) -> NoReturn:
    """Do what the first line of the file ``descriptor`` says, in JSON, with the component behind it; ends the process.

    Standard input has nothing to read and ends when whoever started this ends, which ends this as well.
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
    # Not by way of the interpreter's end: there is nothing to clean up, and much to free.
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

    for name, module in compile_component(compiler, data, progress).modules.items():
        send(MODULE, name, module.serialize())


def _end_with_parent() -> NoReturn:
    os.read(0, 1)
    os._exit(1)


def _limit_memory(memory: int | None) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory is not None:
        # What is written to counts, and not address space, of which threads and allocators reserve more than they use.
        # Systems other than Linux may count nothing of it.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


def _as_json(error: ComponentError) -> bytes:
    missing, mismatched = (error.missing, error.mismatched) if isinstance(error, LinkError) else ((), ())
    return json.dumps([type(error).__name__, str(error), missing, mismatched]).encode()


if __name__ == "__main__":
    sys.exit("this is started by wasi_trio")
