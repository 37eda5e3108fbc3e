"""Names in Python for names in WIT."""

from __future__ import annotations

import keyword

from wasi_trio.component._values import pascal_case, snake_case


class Names:
    """The names of one module or class; each is given to one thing alone."""

    def __init__(self, reserved: set[str] | None = None) -> None:
        self._taken = set(reserved or ())

    def new(self, wanted: str) -> str:
        """The name that is wanted, with underscores behind it until nothing else has it."""
        name = wanted
        while name in self._taken or keyword.iskeyword(name):
            name += "_"
        self._taken.add(name)
        return name

    def class_(self, wit_name: str) -> str:
        return self.new(pascal_case(wit_name))

    def function(self, wit_name: str) -> str:
        return self.new(snake_case(wit_name))


def constant_case(wit_name: str) -> str:
    """The name of a member of an enum: ``no-such-product`` is ``NO_SUCH_PRODUCT``."""
    return wit_name.replace("-", "_").upper()


def parameter_names(wit_names: list[str]) -> list[str]:
    """Names for a function's parameters, beside ``self``."""
    names = Names({"self"})
    return [names.function(name) for name in wit_names]
