"""The interfaces of WASI 0.3 compared with their WIT files."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import resources
from typing import Any

import pytest

from wasi_trio.component import wit
from wasi_trio.component._names import FunctionKind, parse_function_name
from wasi_trio.component._types import U8, Future, Own, ResourceType, Stream, Tuple
from wasi_trio.component._values import pascal_case, snake_case
from wasi_trio.wasi._context import WasiContext
from wasi_trio.wasi.p3 import INTERFACES, VERSION
from wasi_trio.wasi.p3 import _filesystem as filesystem
from wasi_trio.wasi.p3 import _filesystem_types as filesystem_types
from wasi_trio.wasi.p3 import _http_types as http_types
from wasi_trio.wasi.p3 import _sockets as sockets
from wasi_trio.wasi.p3 import _stdio as stdio

#: exports for the host; a middleware also imports the handler, if its host provides one
EXPORTED = {"wasi:cli/run", "wasi:http/handler"}

WIT = wit.load([resources.files("wasi_trio.wasi") / "wit" / "p3"])
DESCRIBED = {
    f"{package.name}/{name}": interface
    for package in WIT.packages.values()
    for name, interface in package.interfaces.items()
    if interface.functions or interface.types
}
FUNCTIONS = [(name, function) for name in INTERFACES for function in DESCRIBED[name].functions]
#: interfaces whose async functions may return at once, so that a coroutine is not required
IMMEDIATE = ("wasi:filesystem",)


def counterpart(interface: type, function: str) -> Callable[..., Any]:
    kind, resource, name = parse_function_name(function)
    owner = interface if resource is None else getattr(interface, pascal_case(resource))
    found: Callable[..., Any] = owner if kind is FunctionKind.CONSTRUCTOR else getattr(owner, snake_case(name))
    return found


def test_every_interface_is_there() -> None:
    assert INTERFACES.keys() == DESCRIBED.keys() - EXPORTED
    assert {interface.version for interface in DESCRIBED.values()} == {VERSION}


@pytest.mark.parametrize(("name", "function"), FUNCTIONS)
def test_every_function_is_there(name: str, function: str) -> None:
    found = counterpart(INTERFACES[name], function)
    type_ = DESCRIBED[name].functions[function]
    arguments = [param for param, _ in type_.params]
    if parse_function_name(function).kind is FunctionKind.FREE:
        arguments.insert(0, "self")
    signature = inspect.signature(found)
    signature.bind(*arguments)
    assert [*signature.parameters][: len(arguments)] == [snake_case(argument) for argument in arguments]
    if not type_.is_async:
        assert not inspect.iscoroutinefunction(found)
        assert "Awaitable" not in str(signature.return_annotation)
    elif not name.startswith(IMMEDIATE):
        assert inspect.iscoroutinefunction(found) or "Awaitable" in str(signature.return_annotation)


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


def test_the_types_of_the_host_s_futures() -> None:
    http, cli = DESCRIBED["wasi:http/types"], DESCRIBED["wasi:cli/types"]
    assert http.types["error-code"] == http_types.ERROR_CODE
    made = Tuple((Own(resource("response")), Future(http_types.RESULT)))
    assert http.functions["[static]response.new"].result == made
    consumed = Tuple((Stream(U8), Future(http_types.TRAILERS)))
    assert http.functions["[static]request.consume-body"].result == consumed
    assert http.functions["[static]response.consume-body"].result == consumed
    assert cli.types["error-code"] == stdio.ERROR_CODE
    assert DESCRIBED["wasi:sockets/types"].types["error-code"] == sockets.ERROR_CODE
    files = DESCRIBED["wasi:filesystem/types"]
    assert files.types["error-code"] == filesystem_types.ERROR_CODE
    assert files.types["directory-entry"] == filesystem_types.DIRECTORY_ENTRY
    listed = Tuple((Stream(filesystem_types.DIRECTORY_ENTRY), Future(filesystem_types.RESULT)))
    assert files.functions["[method]descriptor.read-directory"].result == listed
    read = DESCRIBED["wasi:cli/stdin"].functions["read-via-stream"]
    assert read.result == Tuple((Stream(U8), Future(stdio.RESULT)))


def resource(name: str) -> ResourceType:
    found = DESCRIBED["wasi:http/types"].types[name]
    assert isinstance(found, ResourceType)
    return found


def test_there_are_no_directories() -> None:
    assert list(filesystem.Preopens(WasiContext()).get_directories()) == []
