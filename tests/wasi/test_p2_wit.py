"""The interfaces of WASI 0.2 compared with their WIT files."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import resources
from typing import Any

import pytest

from wasi_trio.component import wit
from wasi_trio.component._names import FunctionKind, parse_function_name
from wasi_trio.component._types import ResourceType
from wasi_trio.component._values import pascal_case, snake_case
from wasi_trio.wasi._context import WasiContext
from wasi_trio.wasi.p2 import INTERFACES, VERSION
from wasi_trio.wasi.p2 import _filesystem as filesystem
from wasi_trio.wasi.p2._io import Error

#: the unstable features that are implemented (``clocks-timezone`` is not)
FEATURES = ("network-error-code",)
#: exports for the host
EXPORTED = {"wasi:cli/run", "wasi:http/incoming-handler"}

WIT = wit.load([resources.files("wasi_trio.wasi") / "wit" / "p2"], FEATURES)
DESCRIBED = {
    f"{package.name}/{name}": interface
    for package in WIT.packages.values()
    for name, interface in package.interfaces.items()
    if interface.functions or interface.types
}
FUNCTIONS = [(name, function) for name in INTERFACES for function in DESCRIBED[name].functions]


def counterpart(interface: type, function: str) -> Callable[..., Any]:
    kind, resource, name = parse_function_name(function)
    owner = interface if resource is None else getattr(interface, pascal_case(resource))
    found: Callable[..., Any] = owner if kind is FunctionKind.CONSTRUCTOR else getattr(owner, snake_case(name))
    return found


def test_every_interface_is_there() -> None:
    assert len(DESCRIBED) == 31
    assert INTERFACES.keys() == DESCRIBED.keys() - EXPORTED
    assert {interface.version for interface in DESCRIBED.values()} == {VERSION}


@pytest.mark.parametrize(("name", "function"), FUNCTIONS)
def test_every_function_is_there(name: str, function: str) -> None:
    found = counterpart(INTERFACES[name], function)
    arguments = [param for param, _ in DESCRIBED[name].functions[function].params]
    if parse_function_name(function).kind is FunctionKind.FREE:
        arguments.insert(0, "self")
    signature = inspect.signature(found)
    signature.bind(*arguments)
    assert [*signature.parameters][: len(arguments)] == [snake_case(argument) for argument in arguments]
    blocks = any(part in function for part in ("blocking-", ".block")) or function == "poll"
    assert not blocks or inspect.iscoroutinefunction(found)


@pytest.mark.parametrize("name", INTERFACES)
def test_no_additional_names(name: str) -> None:
    """An additional public name would be misspelt."""
    interface = DESCRIBED[name]
    own = {
        type_name
        for type_name, of in interface.types.items()
        if isinstance(of, ResourceType) and WIT.origin(of) == (name, type_name)
    }
    names = {snake_case(function) for function in interface.functions if not function.startswith("[")}
    names |= {pascal_case(resource) for resource in own}
    assert {attribute for attribute in vars(INTERFACES[name]) if not attribute.startswith("_")} == names
    for resource in own:
        assert isinstance(getattr(INTERFACES[name], pascal_case(resource)), type)


@pytest.mark.parametrize("name", INTERFACES)
def test_every_interface_is_made_from_a_context(name: str) -> None:
    INTERFACES[name](WasiContext())


async def answer(name: str, function: str, resource: object | None) -> object:
    """Call a function with arbitrary arguments."""
    found = counterpart(INTERFACES[name], function)
    arguments: list[object] = [None for _ in DESCRIBED[name].functions[function].params]
    if resource is not None:
        arguments[0] = resource
    else:
        arguments.insert(0, INTERFACES[name](WasiContext()))
    outcome = found(*arguments)
    return await outcome if inspect.isawaitable(outcome) else outcome


def test_there_are_no_directories() -> None:
    assert list(filesystem.Preopens(WasiContext()).get_directories()) == []
    assert filesystem.Types(WasiContext()).filesystem_error_code(Error(OSError())) is None
