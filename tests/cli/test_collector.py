"""What imports make is kept from the garbage collector; what comes after is not."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from wasi_trio.cli._collector import lasting


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """As it was before: the objects of other tests are to be collected."""
    yield
    gc.unfreeze()
    gc.enable()


class Ring:
    def __init__(self) -> None:
        self.itself = self


def rings() -> int:
    gc.collect()
    return sum(type(one) is Ring for one in gc.get_objects())


def test_what_is_made_in_there_is_not_looked_at_again() -> None:
    with lasting():
        assert not gc.isenabled()
        Ring()
    assert gc.isenabled()
    assert gc.get_freeze_count()
    gc.collect()
    gc.unfreeze()
    assert any(type(one) is Ring for one in gc.get_objects()), "it was kept until now"


def test_what_is_made_afterwards_is_collected() -> None:
    with lasting():
        pass
    Ring()
    assert rings() == 0


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with pytest.raises(ImportError), lasting():
        raise ImportError
    assert not gc.isenabled()
