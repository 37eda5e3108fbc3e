"""Base classes of generated clients, which are typed views of an instance's exports."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from wasi_trio.component._types import ResourceType
from wasi_trio.component._values import GuestResource

if TYPE_CHECKING:
    from wasi_trio.component._bindings import TypedInterface
    from wasi_trio.component._context import Context
    from wasi_trio.component.concurrency._lifted import LiftedFunction
    from wasi_trio.runtime._calls import Export
    from wasi_trio.runtime._instance import Instance


T = TypeVar("T")


class InterfaceClient:
    """An exported interface of an instance. Raises LinkError if the component does not export it as in its WIT."""

    INTERFACE: ClassVar[TypedInterface]

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._exports: Mapping[str, Export | LiftedFunction] = instance.linked.typed_exports(self.INTERFACE)

    def _call(self, name: str, *arguments: Any) -> Coroutine[Any, Any, T]:
        """Call an export. The caller's annotation determines the type of the result."""
        return self._instance.call_export(self._exports[name], arguments)

    def _do(self, name: str, *arguments: Any) -> Coroutine[Any, Any, None]:
        """Call an export without a result."""
        return self._instance.call_export(self._exports[name], arguments)


class ExportedResource(GuestResource):
    """A resource that a component implements, as seen by the component's client.

    ``async with`` drops it at the end of the block, unless its ownership was transferred earlier.
    """

    __slots__ = ("_exports", "_instance")

    INTERFACE: ClassVar[TypedInterface]

    def __init__(self, resource: ResourceType, rep: int, context: Context) -> None:
        super().__init__(resource, rep)
        instance: Any = context.instance
        self._instance: Instance = instance.root
        self._exports = self._instance.linked.typed_exports(self.INTERFACE)

    def _call(self, name: str, *arguments: Any) -> Coroutine[Any, Any, T]:
        return self._instance.call_export(self._exports[name], arguments)

    def _do(self, name: str, *arguments: Any) -> Coroutine[Any, Any, None]:
        return self._instance.call_export(self._exports[name], arguments)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.rep is not None and self._instance.dead is None:
            await self._instance.drop(self)


async def drop(resource: ExportedResource) -> None:
    """Drop a resource that a component implements, and run its destructor, as ``Instance.drop`` does."""
    await resource._instance.drop(resource)
