"""Results of host functions, and handles that are passed to a guest."""

from __future__ import annotations

import struct
from typing import Any, cast

import pytest

from tests.component.abi.test_abi_lower import GUESTS, UTF8, flats, stored
from tests.component.abi.world import Converting, Guest, Slots
from wasi_trio.component import _types as t
from wasi_trio.component import abi
from wasi_trio.component._errors import HostError, Trap
from wasi_trio.component._handles import ResourceHandle
from wasi_trio.component._values import GuestResource

# ---- results of host functions ---------------------------------------------------------------------------


def test_result_of_a_host_function() -> None:
    guest = Guest()
    slots = Slots([])
    abi.lower_results(t.S32, UTF8, stride=2)(guest.cx, slots, 0, -1)
    assert slots == {0: 2**32 - 1}
    abi.lower_results(t.S64, UTF8, stride=2)(guest.cx, slots, 0, -1)
    assert slots == {0: 2**64 - 1}
    abi.lower_results(None, UTF8)(guest.cx, slots, 0, None)
    with pytest.raises(HostError, match="without a result returned a Python int"):
        abi.lower_results(None, UTF8)(guest.cx, slots, 0, 0)


def test_result_in_memory() -> None:
    size = 1 << 16
    guest = Guest(size, stale=size // 2)
    lower = abi.lower_results(t.STRING, UTF8, stride=2)
    slots = Slots([])
    lower(guest.cx, slots, size - 8 | 0xABCD << 32, "abc")
    pointer, length = struct.unpack_from("<II", guest.memory.view, size - 8)
    assert bytes(guest.memory.view[pointer : pointer + length]) == b"abc"
    assert not slots
    for bad in (1, 2, size - 7, 2**32 - 1):
        with pytest.raises(Trap, match="unaligned pointer"):
            lower(guest.cx, slots, bad, "abc")
    for bad in (size - 4, size, 2**32 - 4):
        with pytest.raises(Trap, match="pointer out of bounds of memory"):
            lower(guest.cx, slots, bad, "abc")
    guest.check_window()


def test_every_result_of_an_asynchronous_call_is_in_memory() -> None:
    guest = Guest()
    abi.lower_results(t.U8, UTF8, max_flat=0)(guest.cx, Slots([]), 64, 7)
    assert guest.memory.view[64] == 7


def test_number_of_arguments() -> None:
    lower = abi.lower_values((t.U8, t.U8), UTF8, 16)
    for arguments in ((), (1,), (1, 2, 3)):
        with pytest.raises(HostError, match=f"2 arguments are required, {len(arguments)} were given"):
            lower(Guest().cx, arguments)


# ---- handles ---------------------------------------------------------------------------------------------


def test_host_resources() -> None:
    class File:
        pass

    class Special(File):
        pass

    anything, files = t.ResourceType("anything"), t.ResourceType("file", python_class=File)
    guest = Guest()
    for type_, value in ((t.Own(anything), "x"), (t.Own(files), File()), (t.Borrow(files), Special())):
        (index,) = flats(type_, value, guest)
        handle = guest.handles.get(index)
        assert isinstance(handle, ResourceHandle)
        assert handle.rep is value
        assert handle.own is isinstance(type_, t.Own)
        assert handle.resource is type_.resource
    assert guest.cx.scope is not None
    assert guest.cx.scope.borrows == 1
    for type_, text in ((t.Own(files), "own<file>"), (t.Borrow(files), "borrow<file>")):
        with pytest.raises(HostError, match=f"{text} cannot be made from a Python str"):
            flats(type_, "x", guest)


def test_guest_resources() -> None:
    guest = Guest()
    resource = GuestResource(GUESTS, 17)
    (index,) = flats(t.Borrow(GUESTS), resource, guest)
    handle = guest.handles.get(index)
    assert (handle.rep, handle.own, handle.scope) == (17, False, guest.cx.scope)
    (index,) = flats(t.Own(GUESTS), resource, guest)
    handle = guest.handles.get(index)
    assert (handle.rep, handle.own) == (17, True)
    assert resource.rep is None
    for type_ in (t.Own(GUESTS), t.Borrow(GUESTS)):
        with pytest.raises(HostError, match=r"counter> cannot be made .* transferred earlier"):
            flats(type_, resource, guest)
        with pytest.raises(HostError, match=r"counter> cannot be made .* of another kind"):
            flats(type_, GuestResource(t.ResourceType("counter", owner=3), 17), guest)
        with pytest.raises(HostError, match="counter> cannot be made from a Python int"):
            flats(type_, 17, guest)


def test_borrows_of_its_own_resources_are_bare() -> None:
    guest = Guest()
    resource = GuestResource(GUESTS, 17)
    assert abi.lower_values((t.Borrow(GUESTS),), UTF8, 16, instance_index=3)(guest.cx, (resource,)) == [17]
    assert len(guest.handles) == 0
    values = [resource] * 2
    lower = abi.lower_values((t.List(t.Borrow(GUESTS)),), UTF8, 16, instance_index=3)
    pointer, _ = lower(guest.cx, (values,))
    assert struct.unpack_from("<II", guest.memory.view, pointer) == (17, 17)
    abi.lower_values((t.Borrow(GUESTS),), UTF8, 16, instance_index=4)(guest.cx, (resource,))
    abi.lower_values((t.Own(GUESTS),), UTF8, 16, instance_index=3)(guest.cx, (resource,))
    assert len(guest.handles) == 2


def test_the_context_converts_asynchronous_values() -> None:
    class Context(Converting):
        def lower_stream(self, value: Any, element: t.ValType | None) -> int:
            assert (value, element) == ("stream", t.U8)
            return 11

        def lower_future(self, value: Any, element: t.ValType | None) -> int:
            assert (value, element) == ("future", None)
            return 12

        def lower_error_context(self, value: Any) -> int:
            assert value == "error"
            return 13

    guest = Guest()
    guest.cx = cast(Any, Context(guest))
    types = (t.Stream(t.U8), t.Future(None), t.ERROR_CONTEXT)
    values = ("stream", "future", "error")
    assert abi.lower_values(types, UTF8, 16)(guest.cx, values) == [11, 12, 13]
    assert stored(t.Tuple(types), values, guest) == struct.pack("<III", 11, 12, 13)
