"""An interface as described by generated bindings: its WIT, and the Python classes of its types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, get_args

from wasi_trio.component._names import compatible, parse_import_name
from wasi_trio.component._signatures import mismatch
from wasi_trio.component._typed import Classes, Typing
from wasi_trio.component._types import FuncType, ResourceType, ValType, Variant
from wasi_trio.component.wit import Interface, Wit, parse

#: The name of the interface and of the type for each of a component's resources.
ResourceNames = Mapping[ResourceType, tuple[str, str]]


class WitText:
    """The WIT that bindings were generated from. It is parsed at its first use."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def wit(self) -> Wit:
        return parse(self._text, "the WIT of the bindings")


class TypedInterface:
    """An imported or exported interface and its Python classes.

    ``name`` is the interface's name in components, "" for the world itself. ``classes`` maps the WIT name of each type
    that the interface defines to its class; for a variant this is the union of the case classes. ``uses`` are the
    interfaces whose types this one uses. ``within`` is the interface's name in ``text``, if it differs from ``name``.
    """

    def __init__(
        self,
        name: str,
        text: WitText,
        classes: Mapping[str, Any],
        uses: Sequence[TypedInterface] = (),
        within: str | None = None,
    ) -> None:
        self.name = name
        self._text = text
        self._within = name if within is None else within
        self._own = classes
        self._uses = uses

    def __repr__(self) -> str:
        return f"<TypedInterface {self.name or 'of the world'}>"

    @cached_property
    def interface(self) -> Interface:
        return self._text.wit.interface(self._within)

    @cached_property
    def typing(self) -> Typing:
        return Typing({key: class_ for other in self._all() for key, class_ in other._by_identity()})

    def function(self, name: str) -> FuncType:
        """Return the WIT function of this name. Raises KeyError."""
        return self.interface.functions[name]

    def type(self, name: str) -> ValType:
        """Return the WIT type of this name. Raises KeyError."""
        found = self.interface.types[name]
        assert not isinstance(found, ResourceType), f"{name} is a resource"
        return found

    def difference(self, function: str, declared: FuncType, names: ResourceNames) -> str | None:
        """Return one line on how a component's function differs from the one in WIT, or None."""
        ours = self.interface.functions.get(function)
        if ours is None:
            return "the WIT of the bindings has no such function"

        def same(theirs: ResourceType, our: ResourceType) -> bool:
            name, resource = names.get(theirs, ("", ""))
            return any(other.interface.types.get(resource) is our for other in self._all() if other._is(name))

        return mismatch(declared, ours, same)

    def _is(self, name: str) -> bool:
        if not name or not self.name:
            return name == self.name
        (theirs, version), (ours, our_version) = parse_import_name(name), parse_import_name(self.name)
        return theirs == ours and compatible(version, our_version)

    def _all(self) -> Iterator[TypedInterface]:
        """Return this interface and all interfaces that it uses, directly or indirectly."""
        seen: dict[int, TypedInterface] = {}
        waiting = [self]
        while waiting:
            one = waiting.pop()
            if id(one) not in seen:
                seen[id(one)] = one
                waiting += one._uses
        return iter(seen.values())

    def _by_identity(self) -> Iterator[tuple[int, Classes]]:
        for name, class_ in self._own.items():
            type_ = self.interface.types[name]
            if isinstance(type_, Variant):
                yield id(type_), get_args(class_) or (class_,)
            else:
                yield id(type_), class_
