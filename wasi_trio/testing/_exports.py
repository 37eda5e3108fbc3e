"""Calls the exports of a component through the client that ``wasi_trio bindgen`` generates."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast, overload

from wasi_trio.component._sorts import Sort
from wasi_trio.component._values import snake_case
from wasi_trio.runtime._instance import Instance
from wasi_trio.testing import _cache as cache
from wasi_trio.testing import _standstill as standstill
from wasi_trio.testing._recording import record
from wasi_trio.testing._running import Failable, Outputs, written
from wasi_trio.testing._settings import GuestSettings, features_of, imports_of
from wasi_trio.testing._sources import Source, read
from wasi_trio.testing._usage import metered
from wasi_trio.wasi._context import WasiOptions
from wasi_trio.wasi._instances import open_instance
from wasi_trio.wasi._loading import link_compiled

if TYPE_CHECKING:
    from typing import Unpack

    from wasi_trio.component.concurrency._lifted import LiftedFunction
    from wasi_trio.runtime._calls import Export
    from wasi_trio.runtime._component import LinkedComponent

T = TypeVar("T")
#: The name of an export, and of the function in it if the export is an interface.
_Place: TypeAlias = "tuple[str, str | None]"


class _Called(Outputs):
    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    @asynccontextmanager
    async def open(self, linked: LinkedComponent, settings: GuestSettings) -> AsyncIterator[Instance]:
        __tracebackhide__ = True
        block = Failable()
        options = self._wasi(settings, settings.get("wasi", WasiOptions()), block.fail)
        with metered(self._name, standstill.meter()) as meter:
            async with open_instance(linked, options, meter=meter) as instance:
                with block.block():
                    yield instance
                self._save_tape()

    def report(self) -> list[tuple[str, str]]:
        """Return the titles and texts for the report of a failed test."""
        return written(f"wasi_trio: {self._name}", self)


class Exports:
    """The exports of an instance, called by name, for a component without bindings."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._found: dict[str, Export | LiftedFunction] = {}

    async def call(self, function: str, *arguments: Any) -> Any:
        """Call a function: ``call("run")``, or ``call("acme:math/math.add", 1, 2)`` for one of an interface.

        The version of an interface may be omitted. Its package, or all of its name, may be omitted if the rest is
        unique. Raises ValueError for a name that the component does not export, Trap, and any exception of a host
        function.
        """
        __tracebackhide__ = True
        if function not in self._found:
            self._found[function] = _find(self._instance, function)
        return await self._instance.call_export(self._found[function], arguments)


def _find(instance: Instance, function: str) -> Export | LiftedFunction:
    interface, _, name = function.rpartition(".")
    own: list[_Place] = []
    others: list[_Place] = []
    for exported, (sort, item) in instance.linked.plan.exports.items():
        if sort is Sort.FUNC and not interface:
            own.append((exported, None))
        elif sort is Sort.INSTANCE and (not interface or interface in _names_of(exported)):
            others += [(exported, inner) for inner, (kind, _) in item.exports.items() if kind is Sort.FUNC]
    places = [place for place in own if _is_called(place, name)] or [
        place for place in others if _is_called(place, name)
    ]
    if len(places) > 1:
        listed = ", ".join(map(_spelled, places))
        raise ValueError(f"{instance.linked.name} exports several functions {function}: {listed}")
    found = instance.linked.find_export(*places[0]) if places else None
    if found is None:
        known = ", ".join(map(_spelled, [*own, *others])) or ", ".join(instance.linked.plan.exports) or "no exports"
        raise ValueError(f"{instance.linked.name} does not export {function}; it has {known}")
    return found


def _is_called(place: _Place, name: str) -> bool:
    own = place[1] or place[0]
    return name in (own, snake_case(own))


def _spelled(place: _Place) -> str:
    return place[0] if place[1] is None else f"{place[0]}.{place[1]}"


def _names_of(exported: str) -> tuple[str, ...]:
    full = exported.partition("@")[0]
    return exported, full, full.rpartition("/")[2]


@overload
def exports(source: Source, /, **settings: Unpack[GuestSettings]) -> AbstractAsyncContextManager[Exports]: ...


@overload
def exports(
    client: Callable[[Instance], T], source: Source, **settings: Unpack[GuestSettings]
) -> AbstractAsyncContextManager[T]: ...


@asynccontextmanager
async def exports(
    client: Callable[[Instance], Any] | Source, source: Source | None = None, **settings: Unpack[GuestSettings]
) -> AsyncIterator[Any]:
    """Create an instance, whose exports are called through ``client``, the class ``Client`` of its bindings.

    Without bindings, ``exports("math.wasm")`` calls functions by name, as ``Exports`` does.

    The instance ends with the block. For the settings see ``GuestSettings``. Raises LoadError, LinkError if the
    component does not export the functions of its bindings, Trap, and any exception of a host function.
    """
    __tracebackhide__ = True
    if source is None:
        client, source = Exports, cast(Source, client)
    assert callable(client)
    ((name, data),) = read([source])
    base = settings.get("wasi", WasiOptions())
    if settings.keys().isdisjoint(("imports", "config", "keyvalue", "wasi")):
        linked = cache.linked_with_wasi(data, name, features_of(settings))
    else:
        linked = link_compiled(cache.compiled(data, name, features_of(settings)), name, imports_of(settings, base))
    called = _Called(name)
    record(called)
    async with called.open(linked, settings) as instance:
        yield client(instance)
