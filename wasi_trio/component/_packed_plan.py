"""Packs a plan and the wiring of its steps into plain data for JSON, and unpacks it.

The data is a list of objects, and an object is a list of its kind and its parts. A part is a scalar, or a one-element
list with the index of an earlier object. Shared objects stay shared, because resource types, options and functions are
compared by identity. Unpacking creates only the kinds named here, so a hostile file cannot create anything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wasi_trio.component import _plan as p
from wasi_trio.component import _types as t
from wasi_trio.component._sorts import Sort, StringEncoding
from wasi_trio.component._wiring import Wiring

_CLASSES: tuple[type[Any], ...] = (
    t.List, t.Record, t.Tuple, t.Variant, t.Enum, t.Flags, t.Option, t.Result, t.Map, t.Own, t.Borrow, t.Stream,
    t.Future, t.ResourceType, t.FuncType,
    p.CoreExport, p.CanonFunc, p.Options, p.Lifted, p.HostFunc, p.Lower, p.ResourceBuiltin, p.AsyncBuiltin, p.Instance,
    p.InstantiateModule, p.Plan, Wiring,
)  # fmt: skip
_BY_NAME = {class_.__name__: class_ for class_ in _CLASSES}
_PRIMITIVES = {value.name: value for value in vars(t).values() if isinstance(value, t.Primitive)}
_ENUMS = {class_.__name__: class_ for class_ in (Sort, StringEncoding)}
_SCALARS = (str, int, bool, type(None))


def pack(plan: p.Plan, wiring: Sequence[Wiring]) -> list[Any]:
    """Pack a plan and its wiring for ``unpack``.

    The packed plan has no modules and no arguments of steps, because only relinking needs them. An export that no host
    uses, such as a component, becomes None. Raises RecursionError for types that are nested too deeply.
    """
    packer = _Packer()
    steps = [p.InstantiateModule(step.slot, step.part, step.module, {}) for step in plan.steps]
    fields = {name: getattr(plan, name) for name in p.Plan.__match_args__}
    packer.part((p.Plan(**fields | {"modules": [], "steps": steps}), tuple(wiring)))
    return packer.objects


def unpack(objects: Any) -> tuple[p.Plan, tuple[Wiring, ...]]:
    """Unpack a plan and its wiring. Raises ValueError for any other data."""
    made: list[Any] = []

    def part(value: Any) -> Any:
        return made[value[0]] if value.__class__ is list else value

    try:
        for kind, *parts in objects:
            if kind == "tuple":
                made.append(tuple(map(part, parts)))
            elif kind in _BY_NAME:
                made.append(_BY_NAME[kind](*map(part, parts)))
            elif kind == "list":
                made.append(list(map(part, parts)))
            elif kind == "dict":
                made.append(dict(zip(map(part, parts[::2]), map(part, parts[1::2]), strict=True)))
            elif kind == "primitive":
                made.append(_PRIMITIVES[parts[0]])
            elif kind == "bytes":
                made.append(parts[0].encode())
            else:
                made.append(_ENUMS[kind](parts[0]))
        plan, wiring = made[-1]
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(f"not a packed plan: {error!r}") from None
    if not isinstance(plan, p.Plan) or len(plan.steps) != len(wiring):
        raise ValueError("not a packed plan")
    return plan, wiring


class _Packer:
    def __init__(self) -> None:
        self.objects: list[list[Any]] = []
        #: The known objects by id. They are kept alive, so that no other object gets the same id.
        self._known: dict[int, tuple[Any, list[int]]] = {}

    def part(self, value: Any) -> Any:
        if isinstance(value, _SCALARS):
            return value
        known = self._known.get(id(value))
        if known is None:
            packed = self._packed(value)
            if packed is None:
                return None
            self.objects.append(packed)
            known = self._known[id(value)] = value, [len(self.objects) - 1]
        return known[1]

    def _packed(self, value: Any) -> list[Any] | None:
        match value:
            case t.Primitive(name):
                return ["primitive", name]
            case tuple() | list():
                return [type(value).__name__, *map(self.part, value)]
            case dict():
                return ["dict", *(self.part(part) for pair in value.items() for part in pair)]
            case bytes():
                return ["bytes", value.decode()]
            case Sort() | StringEncoding():
                return [type(value).__name__, value.value]
            case t.ResourceType(name, owner):
                return ["ResourceType", name, owner]  # linking finds the host's class
            case _ if type(value) in _CLASSES:
                return [type(value).__name__, *(self.part(getattr(value, name)) for name in value.__match_args__)]
        return None
