"""Decorators that turn methods that raise OSError into host functions with a ``result``."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from wasi_trio.component._values import Err, Ok

P = ParamSpec("P")
T = TypeVar("T")


class Answers:
    """Decorators for the error codes of one WASI version."""

    def __init__(self, name: Callable[[OSError], Any]) -> None:
        self.name = name

    def now(self, method: Callable[P, T]) -> Callable[P, Ok[T] | Err[Any]]:
        """Decorate a method that is called inline."""

        @functools.wraps(method)
        def answer(*args: P.args, **kwargs: P.kwargs) -> Ok[T] | Err[Any]:
            try:
                return Ok(method(*args, **kwargs))
            except OSError as error:
                return Err(self.name(error))

        return answer

    def later(self, method: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[Ok[T] | Err[Any]]]:
        """Decorate a method that may wait."""

        @functools.wraps(method)
        async def answer(*args: P.args, **kwargs: P.kwargs) -> Ok[T] | Err[Any]:
            try:
                return Ok(await method(*args, **kwargs))
            except OSError as error:
                return Err(self.name(error))

        return answer
