"""An emitter for generated Python functions, which are compiled at their first call."""

from __future__ import annotations

import builtins
import functools
import linecache
import weakref
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType
from typing import Any


class Source:
    """The body of one function under construction, and the objects that it refers to.

    The code refers to any object that is not a literal by a name from ``use`` or ``constant``.
    """

    def __init__(self, label: str, params: tuple[str, ...]) -> None:
        self.label = label
        self.params = params
        self.lines: list[str] = []
        self.namespace: dict[str, Any] = {}
        self._indent = "    "
        self._temporaries = 0
        self._names: dict[int, str] = {}

    def line(self, text: str) -> None:
        self.lines.append(self._indent + text)

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """Put the lines that are added inside the context into the suite of ``header``."""
        self.line(header)
        before, self._indent = self._indent, self._indent + " "
        start = len(self.lines)
        yield
        if len(self.lines) == start:
            self.line("pass")
        self._indent = before

    def temporary(self, prefix: str = "t") -> str:
        """Return the name of an unused local variable."""
        self._temporaries += 1
        return f"{prefix}{self._temporaries}"

    def constant(self, value: Any, hint: str = "c") -> str:
        """Return the name under which the function finds this object."""
        name = self._names.get(id(value))
        if name is None:
            name = f"{hint}_{len(self._names)}"
            self._names[id(value)] = name
            self.namespace[name] = value
        return name

    def use(self, value: Callable[..., Any]) -> str:
        """Make a function or class available under its own name, and return the name."""
        name = value.__name__
        if name not in self.namespace:
            self.namespace[name] = value
        assert self.namespace[name] is value
        return name

    def text(self) -> str:
        return "\n".join([f"def {FUNCTION_NAME}({', '.join(self.params)}):", *(self.lines or ["    pass"]), ""])


FUNCTION_NAME = "generated"


@functools.lru_cache(maxsize=8192)
def _compile(label: str, text: str) -> CodeType:
    """Return the code of the one function in ``text``. Equal sources share one code object."""
    filename = f"<{label} {zlib.crc32(text.encode()):08x}>"
    # Makes tracebacks through generated code show its lines.
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {}
    exec(compile(text, filename, "exec"), namespace)
    function = namespace[FUNCTION_NAME]
    assert isinstance(function, FunctionType)
    return function.__code__


#: The code of a function until its first call.
_STUB = _compile("not yet written", f"def {FUNCTION_NAME}(*args): return materialize(args)\n")


def lazy_function(
    label: str,
    params: tuple[str, ...],
    build: Callable[[Source], None],
    on_failure: Callable[[BaseException], Any] | None = None,
) -> Callable[..., Any]:
    """Return a function whose body ``build`` writes at the first call.

    The result is the function itself and not a wrapper. Its code is replaced once, so later calls cost nothing extra.
    If the body cannot be written, the first call raises the exception, or returns the result of ``on_failure``.
    """
    namespace: dict[str, Any] = {"__builtins__": builtins}

    def materialize(args: tuple[Any, ...]) -> Any:
        itself = reference()
        assert itself is not None, "it is being called"
        try:
            source = Source(label, params)
            build(source)
            code = _compile(label, source.text())
            namespace.update(source.namespace)
            itself.__code__ = code
        except BaseException as error:
            if on_failure is None:
                raise
            return on_failure(error)
        return itself(*args)

    namespace["materialize"] = materialize
    function = FunctionType(_STUB, namespace, FUNCTION_NAME)
    # A weak reference, because a cycle would keep the objects of a component that is no longer served.
    reference = weakref.ref(function)
    return function


def write_function(label: str, params: tuple[str, ...], build: Callable[[Source], None]) -> Callable[..., Any]:
    """Return a function whose body ``build`` writes immediately.

    This suits a factory of closures: they share one code object and its inline caches. Functions generated from equal
    source with names of their own would not.
    """
    source = Source(label, params)
    build(source)
    namespace = {"__builtins__": builtins, **source.namespace}
    return FunctionType(_compile(label, source.text()), namespace, FUNCTION_NAME)
