"""The cheap dataclasses behave like those of the standard library."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field
from typing import Any

import pytest

from wasi_trio import _dataclasses as cheap


def _make(decorator: Callable[..., Callable[[type[Any]], Any]], **options: Any) -> Any:
    @decorator(slots=True, **options)
    class Point:
        """A point."""

        x: int
        y: int = 2
        names: list[str] = field(default_factory=list)
        secret: str = field(default="s", repr=False)

        @property
        def total(self) -> int:
            return self.x + self.y

    return Point


@cheap.dataclass(frozen=True, slots=True)
class Frozen:
    number: int
    text: str = ""


@cheap.dataclass(slots=True)
class Node:
    children: list[Node] = field(default_factory=list)


OPTIONS: list[dict[str, Any]] = [{}, {"frozen": True}, {"eq": False}, {"frozen": True, "eq": False}]


@pytest.fixture(params=OPTIONS, ids=str)
def both(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """The class made by this package, and the one made by the standard library."""
    return _make(cheap.dataclass, **request.param), _make(dataclasses.dataclass, **request.param)


def test_signature(both: tuple[Any, Any]) -> None:
    ours, theirs = (inspect.signature(class_) for class_ in both)
    assert str(ours) == str(theirs)


def test_values(both: tuple[Any, Any]) -> None:
    ours, theirs = (class_(1, names=["a"]) for class_ in both)
    assert repr(ours) == repr(theirs)
    assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)
    assert ours.total == theirs.total
    assert type(ours).__match_args__ == type(theirs).__match_args__
    assert not hasattr(ours, "__dict__")


def test_invalid_arguments(both: tuple[Any, Any]) -> None:
    for arguments, named in (((), {}), ((1, 2, [], "", 5), {}), ((1,), {"x": 2}), ((1,), {"z": 2})):
        messages = []
        for class_ in both:
            with pytest.raises(TypeError) as caught:
                class_(*arguments, **named)
            messages.append(str(caught.value).rpartition(".")[2])
        assert messages[0] == messages[1]


def test_factories_are_called_for_each_instance(both: tuple[Any, Any]) -> None:
    assert both[0](1).names is not both[0](1).names


def test_comparison(both: tuple[Any, Any]) -> None:
    for class_ in both:
        assert class_(1) != object()
    answers = [(class_(1) == class_(1), class_(1) == class_(1, 3), class_(1) == class_(1).total) for class_ in both]
    assert answers[0] == answers[1]
    hashes = [type(class_.__hash__) for class_ in both]
    assert hashes[0] == hashes[1]


def test_replacement(both: tuple[Any, Any]) -> None:
    ours = dataclasses.replace(both[0](1, 5), x=7)
    assert (ours.x, ours.y) == (7, 5)
    assert [f.name for f in dataclasses.fields(ours)] == ["x", "y", "names", "secret"]


def test_assignment(both: tuple[Any, Any]) -> None:
    results = []
    for class_ in both:
        point = class_(1)
        try:
            point.x = 2
            del point.y
        except FrozenInstanceError as error:
            results.append(str(error))
        else:
            results.append(str(point.x))
    assert results[0] == results[1]


def test_frozen_values_are_hashable_and_copied() -> None:
    value = Frozen(1, "a")
    assert {value: 1}[Frozen(1, "a")] == 1
    assert pickle.loads(pickle.dumps(value)) == copy.copy(value) == copy.deepcopy(value) == value
    with pytest.raises(FrozenInstanceError):
        del value.text  # type: ignore[misc]


def test_recursive_values() -> None:
    node = Node()
    node.children.append(node)
    assert repr(node) == "Node(children=[...])"


def test_own_methods_stay() -> None:
    @cheap.dataclass(frozen=True, slots=True)
    class Own:
        number: int

        def __hash__(self) -> int:
            return 7

        def __repr__(self) -> str:
            return "own"

    assert hash(Own(1)) == 7
    assert repr(Own(1)) == "own"
    assert Own(1) == Own(1)


def test_initialization_continues_in_the_class() -> None:
    @cheap.dataclass(slots=True)
    class Doubled:
        number: int

        def __post_init__(self) -> None:
            self.number *= 2

    assert Doubled(2).number == 4


def test_methods_are_generated_at_their_first_use() -> None:
    class_ = _make(cheap.dataclass, frozen=True)
    assert not inspect.isfunction(vars(class_)["__init__"])
    class_(1)
    assert inspect.isfunction(vars(class_)["__init__"])
