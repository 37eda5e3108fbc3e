"""Objects created by imports are excluded from garbage collection. Later objects are not."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from wasi_trio.cli._collector import excluded_from_collection


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """Undo the exclusion, so that objects of other tests can be collected."""
    yield
    gc.unfreeze()
    gc.enable()


class Ring:
    def __init__(self) -> None:
        self.itself = self


def rings() -> int:
    gc.collect()
    return sum(type(one) is Ring for one in gc.get_objects())


def test_objects_created_in_the_block_are_not_visited() -> None:
    with excluded_from_collection():
        assert not gc.isenabled()
        Ring()
    assert gc.isenabled()
    assert gc.get_freeze_count()
    gc.collect()
    gc.unfreeze()
    assert any(type(one) is Ring for one in gc.get_objects()), "it was kept until now"


def test_objects_created_later_are_collected() -> None:
    with excluded_from_collection():
        pass
    Ring()
    assert rings() == 0


def test_a_disabled_collector_stays_disabled() -> None:
    gc.disable()
    with pytest.raises(ImportError), excluded_from_collection():
        raise ImportError
    assert not gc.isenabled()
