"""The interfaces that a host provides to components, found by name and version."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from wasi_trio.component._arity import takes_context
from wasi_trio.component._names import FunctionKind, compatible, parse_function_name, parse_import_name
from wasi_trio.component._values import pascal_case, snake_case
from wasi_trio.lazy import Located

if TYPE_CHECKING:
    from wasi_trio.component._bindings import TypedInterface

#: Calls a host function with the guest instance's host objects and the lifted arguments.
Call = Callable[..., Any]


class Provider:
    """One implementation of an interface.

    ``implementation`` is a class or an object. A class is called with a guest instance's context, or without it if its
    constructor has no parameters, and returns the object for that instance. An object is shared by all instances.
    ``version`` is the implemented version, None for any.
    """

    __slots__ = ("_implementation", "_takes_context", "interface", "typed", "version")

    def __init__(
        self, interface: str, version: str | None, implementation: Any, typed: TypedInterface | None = None
    ) -> None:
        self.interface = interface
        self.version = version
        self._implementation = implementation
        #: Whether the class takes a context; None before its first object.
        self._takes_context: bool | None = None
        #: The description of the interface's types by generated bindings.
        self.typed = typed

    @property
    def implementation(self) -> Any:
        """The implementation. A ``Located`` one is imported at the first use."""
        if type(self._implementation) is Located:
            self._implementation = self._implementation.load()
        return self._implementation

    @property
    def per_instance(self) -> bool:
        return isinstance(self.implementation, type)

    def make(self, context: Any) -> Any:
        """Return the object for one guest instance."""
        if not self.per_instance:
            return self.implementation
        if self._takes_context is None:
            self._takes_context = takes_context(self.implementation)
        return self.implementation(context) if self._takes_context else self.implementation()


class HostCall(NamedTuple):
    """The way to call one host function.

    ``path`` is looked up on the interface's object if ``receiver`` is false. It is looked up on the first argument, the
    object behind the guest's handle, if ``receiver`` is true. The path of a static function has two names, others one.
    """

    path: tuple[str, ...]
    receiver: bool
    waits: bool


class Imports:
    """The interfaces that a host provides.

    ``add("acme:kv/store@1.2.0", Store)`` creates a ``Store(context)`` for each guest instance.
    ``add("acme:kv/store", store)`` shares one object among all instances. A name without a version matches any version.
    """

    def __init__(self, interfaces: dict[str, Any] | None = None) -> None:
        self._providers: dict[str, list[Provider]] = {}
        for name, implementation in (interfaces or {}).items():
            self.add(name, implementation)

    def add(self, name: str, implementation: Any, typed: TypedInterface | None = None) -> None:
        """Provide an interface, in place of an earlier one of the same name and version.

        A ``Located`` implementation is imported when a component first imports the interface. The name "" stands for
        functions and resources that a component imports outside any interface. ``typed`` is the ``INTERFACE`` of a
        generated module; then arguments are instances of that module's classes.
        """
        interface, version = parse_import_name(name) if name else ("", None)
        self._put(Provider(interface, version, implementation, typed))

    def _put(self, provider: Provider) -> None:
        others = [p for p in self._providers.get(provider.interface, []) if p.version != provider.version]
        self._providers[provider.interface] = [provider, *others]

    def update(self, other: Imports) -> None:
        """Add all interfaces of another set."""
        for providers in other._providers.values():
            for provider in reversed(providers):
                self._put(provider)

    def find(self, name: str) -> Provider | None:
        """Return the provider for an import's name, by semantic version, or None."""
        interface, version = parse_import_name(name) if name else ("", None)
        for provider in self._providers.get(interface, []):
            if provider.version is None or compatible(version, provider.version):
                return provider
        return None

    def versions(self, name: str) -> Iterable[str]:
        """Return the provided versions of the interface ``name``, for messages."""
        interface, _ = parse_import_name(name) if name else ("", None)
        return [p.version for p in self._providers.get(interface, []) if p.version is not None]


def host_call(implementation: Any, function: str) -> HostCall | None:
    """Return how to call ``implementation`` for the WIT function ``function``, or None if it does not implement it."""
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
    """Return an attribute, or None if it is missing or only declared by a Protocol."""
    found = getattr(owner, attribute, None)
    if found is not None:
        for class_ in (owner if isinstance(owner, type) else type(owner)).__mro__:
            if attribute in vars(class_):
                return None if getattr(class_, "_is_protocol", False) else found
    return found


def resource_class(implementation: Any, resource: str) -> type[Any] | None:
    """Return the Python class of an interface's resource, or None if the interface has none."""
    class_ = getattr(implementation, pascal_case(resource), None)
    return class_ if isinstance(class_, type) else None


def _waits(function: Any) -> bool:
    return inspect.iscoroutinefunction(function)
