"""Plans as plain data: unpacking returns the plan, and can create nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.component.binaries import assemble
from tests.guests.wat import load, names
from wasi_trio.component import _types as t
from wasi_trio.component._binary import decode
from wasi_trio.component._packed_plan import pack, unpack
from wasi_trio.component._plan import Instance, Plan
from wasi_trio.component._planning import plan
from wasi_trio.component._relink import relink
from wasi_trio.component._wiring import Wiring

#: A composition whose inner component has a resource, with values of all kinds.
COMPOSED = """
    (component $inner
        (core module $m (func (export "f") (param i32) (result i32) (local.get 0)) (func (export "d") (param i32)))
        (core instance $i (instantiate $m))
        (core func $d (alias core export $i "d"))
        (type $r' (resource (rep i32) (dtor (core func $d))))
        (export $r "r" (type $r'))
        (core func $new (canon resource.new $r'))
        (func $make (param "x" u32) (result (own $r)) (canon lift (core func $new)))
        (export "make" (func $make)))
    (instance $made (instantiate $inner))
    (instance $other (instantiate $inner))
    (export "one" (instance $made))
    (export "other" (instance $other))
    (export "inner" (component $inner))"""


def made(data: bytes) -> tuple[Plan, tuple[Wiring, ...]]:
    planned = plan(decode(data))
    return planned, tuple(step.wiring for step in relink(planned))


def read_back(planned: Plan, wiring: tuple[Wiring, ...]) -> tuple[Plan, tuple[Wiring, ...]]:
    return unpack(json.loads(json.dumps(pack(planned, wiring))))


class Shape:
    """An object with all its parts, in a comparable form.

    Objects that compare by identity are numbered in the order of their occurrence. So two plans have equal shapes only
    if the same places refer to the same objects.
    """

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}
        self.seen: list[Any] = []

    def of(self, value: Any) -> Any:
        if isinstance(value, tuple | list):
            return [self.of(part) for part in value]
        if isinstance(value, dict):
            return [[self.of(key), self.of(part)] for key, part in value.items()]
        names = getattr(value, "__match_args__", None)
        if names is None:
            return value
        if id(value) in self.numbers:
            return self.numbers[id(value)]
        self.seen.append(value)
        if type(value).__eq__ is object.__eq__:
            self.numbers[id(value)] = len(self.numbers)
        return [type(value).__name__, *(self.of(getattr(value, name)) for name in names)]


def shape(planned: Plan, wiring: tuple[Wiring, ...]) -> Any:
    parts = [getattr(planned, name) for name in Plan.__match_args__ if name not in ("modules", "steps")]
    steps = [(step.slot, step.part, step.module) for step in planned.steps]
    return Shape().of([parts, steps, wiring])


@pytest.mark.parametrize("name", names())
def test_a_plan_survives_packing(name: str) -> None:
    before = made(load(name))
    after = read_back(*before)
    assert shape(*after) == shape(*before)
    assert not after[0].modules
    assert all(not step.args for step in after[0].steps)


def test_resource_types_stay_distinct() -> None:
    """The types of the two instances have one name but are different. Each is one object wherever it occurs."""
    planned, _ = read_back(*made(assemble(COMPOSED)))
    found = {}
    for name in ("one", "other"):
        instance = planned.exports[name][1]
        assert isinstance(instance, Instance)
        result = instance.exports["make"][1].type.result
        assert isinstance(result, t.Own)
        assert instance.exports["r"][1] is result.resource
        assert result.resource in planned.destructors
        found[name] = result.resource
    assert found["one"] is not found["other"]
    assert found["one"] == found["one"] != found["other"]


def test_exports_that_no_host_uses_are_omitted() -> None:
    planned, _ = read_back(*made(assemble(COMPOSED)))
    assert list(planned.exports) == ["one", "other", "inner"]
    assert planned.exports["inner"][1] is None


@pytest.mark.parametrize(
    "objects",
    [
        None,
        17,
        [],
        [17],
        [["Plan"]],
        [["tuple", [0]]],
        [["tuple", 1, 2]],
        [["no such kind"]],
        [["Popen", "true"]],
        [["__import__", "os"]],
        [["primitive", "u128"]],
        [["Sort", "no such sort"]],
        [["ResourceType", 1, 2, 3, 4, 5]],
        [["Plan"], ["list"], ["tuple", [0], [1], [1]]],
        [["dict", "a"]],
    ],
)
def test_other_data_is_refused(objects: Any) -> None:
    with pytest.raises(ValueError):
        unpack(objects)
