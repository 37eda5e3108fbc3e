"""Compares the parameters of a host's Python function with those in WIT when linking, before any call."""

from __future__ import annotations

import inspect
from types import FunctionType, MethodType
from typing import Any, NamedTuple

from wasi_trio.component._names import FunctionKind, parse_function_name
from wasi_trio.component._types import FuncType
from wasi_trio.component._values import pascal_case, snake_case


class _Callable(NamedTuple):
    """A Python function, and the number of its arguments that do not come from WIT."""

    function: Any
    bound: int


def arity_difference(implementation: Any, name: str, type_: FuncType) -> str | None:
    """Return how the parameters of the function that implements the WIT function ``name`` differ, or None.

    Only plain Python functions are compared, because the parameters of other callables are unknown.
    """
    kind, resource, plain = parse_function_name(name)
    owner = implementation if resource is None else getattr(implementation, pascal_case(resource))
    params = [param for param, _ in type_.params]
    if kind is FunctionKind.CONSTRUCTOR:
        found = _constructor(owner)
        label = owner.__qualname__ if isinstance(owner, type) else pascal_case(resource or "")
    else:
        found = _method(owner, snake_case(plain), binds=kind is not FunctionKind.STATIC)
        label = f"{(owner if isinstance(owner, type) else type(owner)).__qualname__}.{snake_case(plain)}"
        if kind is FunctionKind.METHOD:
            params = params[1:]
    if found is None:
        return None
    fewest, most = _takes(found)
    if fewest <= len(params) <= most:
        return None
    takes = str(fewest) if fewest == most else f"at least {fewest}" if len(params) < fewest else f"at most {most:g}"
    names = f" ({', '.join(params)})" if params else ""
    given = f"{len(params)} argument{'' if len(params) == 1 else 's'}{names}"
    return f"{label} takes {takes} where WIT has {given}"


def takes_context(class_: type[Any]) -> bool:
    """Return whether an interface's class takes a context. A class whose constructor has no parameters takes none."""
    found = _constructor(class_)
    return found is None or _takes(found)[1] != 0


def context_difference(implementation: Any) -> str | None:
    """Return how the constructor of an interface's class differs from one that takes at most a context, or None."""
    found = _constructor(implementation) if isinstance(implementation, type) else None
    fewest = 0 if found is None else _takes(found)[0]
    if fewest <= 1:
        return None
    return f"{implementation.__qualname__}() takes {fewest} arguments, and the host passes one: the instance's context"


def _constructor(class_: Any) -> _Callable | None:
    init = getattr(class_, "__init__", None)
    if isinstance(init, FunctionType):
        return _Callable(init, 1)
    if init is object.__init__ and class_.__new__ is object.__new__:
        return _Callable(_nothing, 0)
    return None


def _nothing() -> None:
    """Stands for the constructor of a class without one. It takes no arguments."""


def _method(owner: Any, attribute: str, binds: bool) -> _Callable | None:
    found = getattr(owner, attribute)
    if isinstance(found, MethodType) and isinstance(found.__func__, FunctionType):
        return _Callable(found.__func__, 1)
    if not isinstance(found, FunctionType):
        return None
    # A class yields the bare function. Looking it up on the object binds it later, unless the method is static.
    bare = isinstance(owner, type) and not isinstance(inspect.getattr_static(owner, attribute), staticmethod)
    return _Callable(found, 1 if bare and binds else 0)


def _takes(found: _Callable) -> tuple[int, float]:
    """Return the minimum and the maximum number of arguments, without those that are bound."""
    function, bound = found
    code = function.__code__
    required = code.co_argcount - len(function.__defaults__ or ())
    missing = code.co_kwonlyargcount - len(function.__kwdefaults__ or ())
    most = float("inf") if code.co_flags & inspect.CO_VARARGS else code.co_argcount - bound
    return max(required - bound, 0) + missing, most if not missing else -1
