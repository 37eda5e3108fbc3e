"""The functions of a component: its exports, and the core functions of its canonical definitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wasi_trio.component import _types as t
from wasi_trio.component._binding import Binding
from wasi_trio.component._errors import LinkError
from wasi_trio.component._plan import (
    AsyncBuiltin,
    Canon,
    CanonFunc,
    CoreItem,
    HostFunc,
    Lifted,
    Lower,
    Options,
    Plan,
    ResourceBuiltin,
)
from wasi_trio.component._sorts import StringEncoding
from wasi_trio.component._values import Ok
from wasi_trio.component.concurrency._lifted import LiftedFunction
from wasi_trio.component.concurrency._subtasks import Lowering
from wasi_trio.runtime._calls import Export, call_export, destructor
from wasi_trio.runtime._concurrent import (
    BoundHostFunction,
    builtin_trampoline,
    drop_trampoline,
    guest_callee,
    is_concurrent,
    lowering_trampoline,
)
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._keyboard import interruptible
from wasi_trio.runtime._store import Store
from wasi_trio.runtime._trampolines import Bound, Callee, Method, Trampoline, lower_trampoline, resource_trampoline

if TYPE_CHECKING:
    from wasi_trio.component._bindings import TypedInterface

#: the package whose host functions never block
_OURS = __name__.partition(".")[0]

_NO_OPTIONS = Options(StringEncoding.UTF8, None, None, None)


class Functions:
    """Creates the functions of one component whose imports are bound.

    ``concurrent`` is true if a pump has to run the component's instances (WASI 0.3).
    """

    def __init__(self, engine: Engine, plan: Plan, binding: Binding) -> None:
        self.concurrent = is_concurrent(plan)
        self._engine = engine
        self._plan = plan
        self._binding = binding
        self._exports: dict[Lifted, Export] = {}
        self._functions: dict[Lifted, LiftedFunction] = {}
        #: The options of calls whose stream and future ends are not wrapped, by the component's own options.
        self._unwrapped: dict[Options, Options] = {}
        self._destructors: dict[t.ResourceType, Export | LiftedFunction] = {}
        self._typed: dict[TypedInterface, dict[str, Export | LiftedFunction]] = {}

    def export(self, lifted: Lifted) -> Export:
        export = self._exports.get(lifted)
        if export is None:
            export = self._exports[lifted] = Export(lifted)
        return export

    def function(self, lifted: Lifted) -> LiftedFunction:
        """Return a function for the concurrency layer."""
        found = self._functions.get(lifted)
        if found is None:
            found = self._functions[lifted] = LiftedFunction(lifted)
        return found

    def typed(self, interface: TypedInterface) -> dict[str, Export | LiftedFunction]:
        """Return the functions of an exported interface, whose results have the classes of the bindings.

        Raises LinkError if the component lacks one, or declares it with another type than the WIT of the bindings.
        """
        found = self._typed.get(interface)
        if found is None:
            found = self._typed[interface] = dict(self._typed_exports(interface))
        return found

    def _typed_exports(self, interface: TypedInterface) -> Iterator[tuple[str, Export | LiftedFunction]]:
        names = self._plan.resource_names()
        for name, ours in interface.interface.functions.items():
            path = f"{interface.name} {name}".strip()
            lifted = self._plan.find_typed_export(interface.name, name)
            if lifted is None:
                raise LinkError(f"the component does not export {path}", missing=(path,))
            difference = interface.difference(name, lifted.type, names)
            if difference is not None:
                line = f"{path}: {difference}"
                raise LinkError(f"the component exports another function than the bindings have: {line}", (), (line,))
            result = interface.typing.maybe(lifted.type.result, ours.result)
            yield name, (LiftedFunction if self.concurrent else Export)(lifted, result)

    def destructor(self, resource: t.ResourceType) -> Export | LiftedFunction | None:
        """Return the destructor of a guest's resource, which takes its representation, or None."""
        core = self._plan.destructors.get(resource)
        if core is None or resource.owner is None:
            return None
        found = self._destructors.get(resource)
        if found is None:
            lifted = Lifted(resource.owner, core, t.FuncType((("rep", t.U32),)), _NO_OPTIONS)
            found = self._destructors[resource] = (LiftedFunction if self.concurrent else Export)(lifted)
        return found

    # ---- canonical definitions -----------------------------------------------------------------------------

    def trampoline(self, canon: Canon) -> Trampoline:
        """Return the core function of a canonical definition."""
        if isinstance(canon, AsyncBuiltin):
            return builtin_trampoline(self._engine, canon)
        if self.concurrent:
            made = self._concurrent_trampoline(canon)
            if made is not None:
                return made
        if isinstance(canon, Lower):
            if isinstance(canon.func, Lifted):
                call = _guest(self.export(canon.func))
                return lower_trampoline(self._engine, canon, call, waits=True, runs_guest=True)
            users = self._is_users(canon.func)
            callee, waits = self._host_callee(canon.func) if users else self._bound(canon.func)
            return lower_trampoline(
                self._engine,
                self._as_taken(canon, canon.func),
                callee,
                waits,
                interruptible=users,
                typed=self._binding.typed.get(canon.func),
            )
        destroy, waits = destructor(self._plan, canon)
        return resource_trampoline(self._engine, canon, destroy, waits)

    def _concurrent_trampoline(self, canon: Lower | ResourceBuiltin) -> Trampoline | None:
        """Return a trampoline whose answer may come from another component or a host task, or None for others."""
        if isinstance(canon, ResourceBuiltin):
            core = self._plan.destructors.get(canon.resource)
            elsewhere = canon.name == "resource.drop" and canon.resource.owner not in (None, canon.part)
            return drop_trampoline(self._engine, canon, core) if elsewhere and core is not None else None
        if isinstance(canon.func, Lifted):
            return lowering_trampoline(self._engine, Lowering(canon, guest_callee(self.function(canon.func))))
        if canon.options.is_async or canon.func.type.is_async:
            call, _ = self._host_callee(canon.func)
            users = self._is_users(canon.func)
            callee = BoundHostFunction(self._engine, call, canon.func, interruptible=users)
            lowering = Lowering(canon, callee, self._binding.typed.get(canon.func))
            return lowering_trampoline(self._engine, lowering)
        return None

    def _as_taken(self, lower: Lower, func: HostFunc) -> Lower:
        """Return ``lower`` with the options for the host's function. One that ``_takes_ends`` gets unwrapped ends."""
        provider = self._binding.provider(func.interface)
        if provider is None or not getattr(provider.implementation, "_takes_ends", False):
            return lower
        options = self._unwrapped.get(lower.options)
        if options is None:
            options = self._unwrapped[lower.options] = replace(lower.options, adopts=False)
        return replace(lower, options=options)

    def _is_users(self, func: HostFunc) -> bool:
        """Return whether a host function is a user's and not ours."""
        provider = self._binding.provider(func.interface)
        assert provider is not None
        implementation = provider.implementation
        class_ = implementation if isinstance(implementation, type) else type(implementation)
        return class_.__module__.partition(".")[0] != _OURS

    def _host_callee(self, func: HostFunc) -> tuple[Callee, bool]:
        """Return a host function as a Python function, and whether it may wait."""
        bound, waits = self._bound(func)
        callee = _method(bound.name) if isinstance(bound, Method) else _function(func, bound.find)
        # The call of a function that waits only creates its coroutine, whose steps are interruptible instead.
        return (interruptible(callee) if not waits and self._is_users(func) else callee), waits

    def _bound(self, func: HostFunc) -> tuple[Method | Bound, bool]:
        """Return the way to call a host function, and whether it may wait."""
        call = self._binding.calls[func]
        if call.receiver:
            (attribute,) = call.path
            return Method(attribute), call.waits
        provider = self._binding.provider(func.interface)
        assert provider is not None
        fallible_constructor = isinstance(func.type.result, t.Result) and func.name.startswith("[constructor]")

        def find(store: Store) -> Callable[..., Any]:
            bound = store.root.host_object(provider)
            for attribute in call.path:
                bound = getattr(bound, attribute)
            if fallible_constructor:
                bound = _fallible(bound)
            store.root.bound[func] = bound
            return bound  # type: ignore[no-any-return]

        return Bound(find), call.waits


def _method(name: str) -> Callee:
    def method(store: Store, receiver: Any, *arguments: Any) -> Any:
        return getattr(receiver, name)(*arguments)

    return method


def _function(func: HostFunc, find: Callable[[Store], Callable[..., Any]]) -> Callee:
    def function(store: Store, *arguments: Any) -> Any:
        return (store.root.bound.get(func) or find(store))(*arguments)

    return function


def _fallible(class_: Callable[..., Any]) -> Callable[..., Ok[Any]]:
    """Return a fallible constructor. Calling a class returns its object, so it can fail only by raising Err."""

    def construct(*arguments: Any) -> Ok[Any]:
        return Ok(class_(*arguments))

    return construct


def called_canons(plan: Plan) -> set[int]:
    """Return the indices of canonical definitions that are called as guest functions, for example by lifting them."""
    items: list[CoreItem | None] = [*plan.destructors.values()]
    for lifted in plan.lifted:
        options = lifted.options
        items += (lifted.core, options.realloc, options.post_return, options.callback)
    items += [canon.options.realloc for canon in plan.canons if not isinstance(canon, ResourceBuiltin)]
    return {item.index for item in items if isinstance(item, CanonFunc)}


def _guest(export: Export) -> Callee:
    """Return a callee in another component. Its call is a coroutine, like that of a host function that may wait."""

    def call(store: Store, *arguments: Any) -> Any:
        return call_export(store.root.stores[export.part], export, arguments, store)

    return call
