"""Records behave like frozen dataclasses, without generated code."""

from __future__ import annotations

import pytest

from wasi_trio.component._record import record


@record
class Point:
    """Two numbers."""

    x: int
    y: int = 0

    @property
    def sum(self) -> int:
        return self.x + self.y


@record
class Other:
    x: int
    y: int = 0


@record
class Nothing:
    pass


def test_fields() -> None:
    point = Point(1, y=2)
    assert (point.x, point.y, point.sum) == (1, 2, 3)
    assert Point(1) == Point(x=1, y=0) == Point(1, 0)
    assert repr(point) == "Point(x=1, y=2)"
    assert Point.__doc__ == "Two numbers."
    assert Nothing() == Nothing()
    match point:
        case Point(x, 2):
            assert x == 1
        case _:
            raise AssertionError(point)


def test_equality_is_of_class_and_fields() -> None:
    assert Point(1, 2) != Point(2, 1)
    assert Point(1, 2) != Other(1, 2)
    assert len({Point(1), Point(1), Other(1)}) == 2


def test_it_is_immutable() -> None:
    point = Point(1)
    with pytest.raises(AttributeError, match="immutable"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError, match="immutable"):
        del point.x
    with pytest.raises(AttributeError):
        point.z = 2  # type: ignore[attr-defined]


def test_wrong_fields() -> None:
    with pytest.raises(TypeError, match="requires a value for 'x'"):
        Point(y=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="has only the fields x, y"):
        Point(1, z=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="has only the fields x, y"):
        Point(1, 2, 3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="has only the fields x, y"):
        Point(1, x=1)  # type: ignore[misc]
