"""What a host offers to components: implementations of interfaces, found by name and version."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wasi_trio.component._names import FunctionKind, compatible, parse_function_name, parse_import_name
from wasi_trio.component._values import pascal_case, snake_case
from wasi_trio.lazy import Located

if TYPE_CHECKING:
    from wasi_trio.component._bindings import TypedInterface

#: calls a host function: given the guest instance's host objects and the lifted arguments
Call = Callable[..., Any]


class Provider:
    """One implementation of an interface.

    ``implementation`` is either a class, called with a guest instance's context to make the object for that
    instance, or a ready object that all instances share. ``version`` is what it implements, None for any.
    """

    __slots__ = ("_implementation", "interface", "typed", "version")

    def __init__(
        self, interface: str, version: str | None, implementation: Any, typed: TypedInterface | None = None
    ) -> None:
        self.interface = interface
        self.version = version
        self._implementation = implementation
        #: what generated bindings say of the interface's types
        self.typed = typed

    @property
    def implementation(self) -> Any:
        """Imported now where only its place was given, as no component has asked for it before."""
        if type(self._implementation) is Located:
            self._implementation = self._implementation.load()
        return self._implementation

    @property
    def per_instance(self) -> bool:
        return isinstance(self.implementation, type)

    def make(self, context: Any) -> Any:
        """The object for one guest instance."""
        return self.implementation(context) if self.per_instance else self.implementation


@dataclass(frozen=True, slots=True)
class HostCall:
    """How to call one host function.

    ``attribute`` is looked up on the interface's object (``receiver`` false) or on the first argument, the
    object behind the guest's handle (``receiver`` true). A static or a constructor has a path of two or one.
    """

    path: tuple[str, ...]
    receiver: bool
    waits: bool


class Imports:
    """The interfaces a host provides.

    ``add("acme:kv/store@1.2.0", Store)`` gives every guest instance its own ``Store(context)``;
    ``add("acme:kv/store", store)`` shares one object among all. Names without a version meet any version.
    """

    def __init__(self, interfaces: dict[str, Any] | None = None) -> None:
        self._providers: dict[str, list[Provider]] = {}
        for name, implementation in (interfaces or {}).items():
            self.add(name, implementation)

    def add(self, name: str, implementation: Any, typed: TypedInterface | None = None) -> None:
        """Provide an interface; what was provided under the same name and version is replaced.

        A ``Located`` implementation is imported when a component first imports the interface.
        The name "" stands for functions and resources that a component imports outside any interface. ``typed`` is the
        ``INTERFACE`` of a generated module, whose classes arguments then are of.
        """
        interface, version = parse_import_name(name) if name else ("", None)
        self._put(Provider(interface, version, implementation, typed))

    def _put(self, provider: Provider) -> None:
        others = [p for p in self._providers.get(provider.interface, []) if p.version != provider.version]
        self._providers[provider.interface] = [provider, *others]

    def update(self, other: Imports) -> None:
        """Provide what another set provides as well."""
        for providers in other._providers.values():
            for provider in reversed(providers):
                self._put(provider)

    def find(self, name: str) -> Provider | None:
        """The provider for an import's name, by semver; None if there is none."""
        interface, version = parse_import_name(name) if name else ("", None)
        for provider in self._providers.get(interface, []):
            if provider.version is None or compatible(version, provider.version):
                return provider
        return None

    def versions(self, name: str) -> Iterable[str]:
        """The versions provided of the interface that ``name`` names, for messages."""
        interface, _ = parse_import_name(name) if name else ("", None)
        return [p.version for p in self._providers.get(interface, []) if p.version is not None]


def host_call(implementation: Any, function: str) -> HostCall | None:
    """How ``implementation`` answers the WIT function ``function``; None if it does not."""
    name = parse_function_name(function)
    attribute = snake_case(name.name)
    if name.resource is None:
        found = _implemented(implementation, attribute)
        return None if found is None else HostCall((attribute,), False, _waits(found))
    resource = pascal_case(name.resource)
    class_ = getattr(implementation, resource, None)
    if class_ is None:
        return None
    if name.kind is FunctionKind.CONSTRUCTOR:
        return HostCall((resource,), False, _waits(class_))
    found = _implemented(class_, attribute)
    if found is None:
        return None
    if name.kind is FunctionKind.STATIC:
        return HostCall((resource, attribute), False, _waits(found))
    return HostCall((attribute,), True, _waits(found))


def _implemented(owner: Any, attribute: str) -> Any:
    """An attribute; None where there is none, or only what a Protocol says of it."""
    found = getattr(owner, attribute, None)
    if found is not None:
        for class_ in (owner if isinstance(owner, type) else type(owner)).__mro__:
            if attribute in vars(class_):
                return None if getattr(class_, "_is_protocol", False) else found
    return found


def resource_class(implementation: Any, resource: str) -> type[Any] | None:
    """The Python class behind a resource of an interface, if the interface names one."""
    class_ = getattr(implementation, pascal_case(resource), None)
    return class_ if isinstance(class_, type) else None


def _waits(function: Any) -> bool:
    return inspect.iscoroutinefunction(function)
