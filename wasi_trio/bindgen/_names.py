"""Python names for WIT names."""

from __future__ import annotations

import keyword

from wasi_trio.component._values import pascal_case, snake_case


class Names:
    """The names of one module or class. Each is used once."""

    def __init__(self, reserved: set[str] | None = None) -> None:
        self._taken = set(reserved or ())

    def new(self, wanted: str) -> str:
        """Return the wanted name, with underscores appended until it is unique."""
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
    """Return the name of an enum member: ``NO_SUCH_PRODUCT`` for ``no-such-product``."""
    return wit_name.replace("-", "_").upper()


def parameter_names(wit_names: list[str]) -> list[str]:
    """Return names for the parameters of a method."""
    names = Names({"self"})
    return [names.function(name) for name in wit_names]
