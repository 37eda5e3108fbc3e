"""A plan, and the wiring of its steps, as plain data that JSON can have.

It is a list of objects, each after those that it refers to: an object is a list of its kind and its parts, and a part
is a scalar, or the number of an object in a list of its own. What is one object in the plan is one again, since
resource types, options and functions are compared by identity. Only the kinds that are named here are ever made, so
that nothing else can come of a file, whoever wrote it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wasi_trio.component import _plan as p
from wasi_trio.component import _types as t
from wasi_trio.component._definitions import Sort, StringEncoding
from wasi_trio.component._relink import Wiring

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
    """What ``unpack`` makes a plan and its wiring of.

    The plan has no modules then, nor the arguments of its steps, which are for relinking. What it exports that no host
    asks for, a component say, is None. Raises RecursionError for types that are nested too deep.
    """
    packer = _Packer()
    steps = [p.InstantiateModule(step.slot, step.part, step.module, {}) for step in plan.steps]
    fields = {name: getattr(plan, name) for name in p.Plan.__match_args__}
    packer.part((p.Plan(**fields | {"modules": [], "steps": steps}), tuple(wiring)))
    return packer.objects


def unpack(objects: Any) -> tuple[p.Plan, tuple[Wiring, ...]]:
    """What was packed; raises ValueError for anything else."""
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
        raise ValueError(f"no packed plan: {error!r}") from None
    if not isinstance(plan, p.Plan) or len(plan.steps) != len(wiring):
        raise ValueError("no packed plan")
    return plan, wiring


class _Packer:
    def __init__(self) -> None:
        self.objects: list[list[Any]] = []
        #: with the objects themselves, so that no other can come to have their ids
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
                return ["ResourceType", name, owner]  # the host's class is for linking to find
            case _ if type(value) in _CLASSES:
                return [type(value).__name__, *(self.part(getattr(value, name)) for name in value.__match_args__)]
        return None
