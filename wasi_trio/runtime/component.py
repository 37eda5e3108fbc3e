"""Components: compiled once, linked once with a host's imports, instantiated many times."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import wasmtime

from wasi_trio.component import definitions as d
from wasi_trio.component import types as t
from wasi_trio.component.binary import decode
from wasi_trio.component.binding import bind
from wasi_trio.component.concurrency.subtasks import Lowering
from wasi_trio.component.concurrency.tasks import LiftedFunction
from wasi_trio.component.errors import LinkError, Trap
from wasi_trio.component.imports import Imports, resource_class
from wasi_trio.component.plan import (
    AsyncBuiltin,
    Canon,
    CanonFunc,
    CoreExport,
    CoreItem,
    HostFunc,
    Lifted,
    Lower,
    Plan,
    ResourceBuiltin,
    plan,
)
from wasi_trio.component.relink import CANON, Relinked, relink, slot_name
from wasi_trio.component.values import Ok
from wasi_trio.component.wit import Wit
from wasi_trio.runtime import ffi
from wasi_trio.runtime.adapters import adapter_module
from wasi_trio.runtime.calls import Export, call_export, deeper, destructor
from wasi_trio.runtime.concurrent import (
    BoundHostFunction,
    builtin_trampoline,
    drop_trampoline,
    guest_callee,
    is_concurrent,
    lowering_trampoline,
)
from wasi_trio.runtime.engine import Engine, as_pointer
from wasi_trio.runtime.store import Store
from wasi_trio.runtime.trampolines import Callee, Trampoline, lower_trampoline, resource_trampoline

#: is told how many bytes of core modules are compiled, and of how many
Progress = Callable[[int, int], None]


class Component:
    """A component, checked and compiled.

    ``Component.compile(engine, data)`` takes its bytes, ``Component.load(engine, path)`` a file. Raises
    MalformedComponent or Unsupported. Compiling a large component takes seconds the first time on a machine; run
    it in a thread (``trio.to_thread.run_sync``) where a loop must not stall. ``progress`` is called before each core
    module, and when all are compiled.
    """

    def __init__(self, engine: Engine, plan: Plan, relinked: list[Relinked], modules: list[wasmtime.Module]) -> None:
        self.engine = engine
        self.plan = plan
        #: for each step of the plan its module, before and after it was compiled
        self.relinked = relinked
        self.modules = modules

    @classmethod
    def compile(cls, engine: Engine, data: bytes, progress: Progress | None = None) -> Component:
        definitions = decode(data)  # before wasmtime, for its messages about what is no component at all
        engine.validate(data)
        made = plan(definitions)
        relinked = relink(made)
        used = set(map(id, made.modules))
        # A module that nothing instantiates must be valid too, and to be compiled checks it.
        unused = [bytes(code) for code in _core_modules(definitions) if id(code) not in used]
        codes = list(dict.fromkeys([*(step.code for step in relinked), *unused]))
        compiled: dict[bytes, wasmtime.Module] = {}
        total = sum(map(len, codes))
        done = 0
        for code in codes:
            if progress is not None:
                progress(done, total)
            compiled[code] = engine.compile(code)
            done += len(code)
        if progress is not None:
            progress(done, total)
        return cls(engine, made, relinked, [compiled[step.code] for step in relinked])

    @classmethod
    def load(cls, engine: Engine, path: str | os.PathLike[str]) -> Component:
        return cls.compile(engine, Path(path).read_bytes())

    @property
    def imports(self) -> list[str]:
        """The names of the interfaces (and root functions) the component imports functions of, in order."""
        return self.plan.imports

    @property
    def exports(self) -> list[str]:
        """The names of what the component exports."""
        return list(self.plan.exports)

    def link(self, imports: Imports, wit: Wit | None = None) -> LinkedComponent:
        """Bind every import to the host's function for it; LinkError lists what is missing.

        The functions of interfaces that ``wit`` has must be declared by the component as they are there.
        """
        return LinkedComponent(self, imports, wit)


class LinkedComponent:
    """A component with everything bound that does not belong to a single instance.

    ``providers`` are the interfaces it uses; an instance makes its own object of each at the first call.
    """

    def __init__(self, component: Component, imports: Imports, wit: Wit | None) -> None:
        self.component = component
        #: what to call it in messages
        self.name = "the component"
        self.engine = component.engine
        self.plan = component.plan
        self.imports = imports
        #: whether a pump has to run its instances (WASI 0.3)
        self.concurrent = is_concurrent(self.plan)
        self._exports: dict[Lifted, Export] = {}
        self._functions: dict[Lifted, LiftedFunction] = {}
        self._binding = binding = bind(self.plan, imports, wit)
        binding.check()
        self._name_resources()
        self.trampolines = [self._trampoline(canon) for canon in self.plan.canons]
        #: the canonical definitions whose functions may wait, or are called from outside wasm
        self.adapted = _called_canons(self.plan)
        self.adapted |= {index for index, made in enumerate(self.trampolines) if made.finish is not None}
        self.adapters: list[Adapter | None] = [self._adapter(part) for part in range(self.plan.parts)]
        self.linkers = [BaseLinker(self, part) for part in range(self.plan.parts)]
        self.steps = [CoreStep(self, index) for index in range(len(self.plan.steps))]
        #: parts that have built-ins to be called, and nothing else
        self.without_modules = sorted(
            {part for part, adapter in enumerate(self.adapters) if adapter} - {step.part for step in self.steps}
        )

    # ---- binding host functions ----------------------------------------------------------------------------

    def _name_resources(self) -> None:
        for interface, resource in self.plan.resources:
            provider = self._binding.provider(interface)
            if provider is not None:
                resource.python_class = resource_class(provider.implementation, resource.name)

    def _host_callee(self, func: HostFunc) -> tuple[Callee, bool]:
        call = self._binding.calls[func]
        if call.receiver:
            (attribute,) = call.path

            def method(store: Store, receiver: Any, *arguments: Any) -> Any:
                return getattr(receiver, attribute)(*arguments)

            return method, call.waits
        fallible_constructor = isinstance(func.type.result, t.Result) and func.name.startswith("[constructor]")
        key = func  # the bound function is looked up once for each instance
        provider = self._binding.provider(func.interface)
        assert provider is not None

        def function(store: Store, *arguments: Any) -> Any:
            bound = store.root.bound.get(key)
            if bound is None:
                bound = store.root.host_object(provider)
                for attribute in call.path:
                    bound = getattr(bound, attribute)
                store.root.bound[key] = bound
            # A class called gives its object; that it can fail shows only when it raises Err.
            return Ok(bound(*arguments)) if fallible_constructor else bound(*arguments)

        return function, call.waits

    # ---- exports -------------------------------------------------------------------------------------------

    def export(self, lifted: Lifted) -> Export:
        export = self._exports.get(lifted)
        if export is None:
            export = self._exports[lifted] = Export(lifted)
        return export

    def function(self, lifted: Lifted) -> LiftedFunction:
        """A function as the concurrency layer wants it."""
        found = self._functions.get(lifted)
        if found is None:
            found = self._functions[lifted] = LiftedFunction(lifted)
        return found

    def find_export(self, name: str, function: str | None = None) -> Export | LiftedFunction | None:
        """An exported function, or the function of an exported interface; None if there is none such.

        An interface named without a version is found in whatever version it is exported.
        """
        lifted = self.plan.find_export(name, function)
        if lifted is None:
            return None
        return self.function(lifted) if self.concurrent else self.export(lifted)

    # ---- canonical definitions -----------------------------------------------------------------------------

    def _trampoline(self, canon: Canon) -> Trampoline:
        if isinstance(canon, AsyncBuiltin):
            return builtin_trampoline(self.engine, canon)
        if self.concurrent:
            made = self._concurrent_trampoline(canon)
            if made is not None:
                return made
        if isinstance(canon, Lower):
            if isinstance(canon.func, Lifted):
                call = _guest_callee(self.plan, canon.part, self.export(canon.func))
                return lower_trampoline(self.engine, canon, call, waits=True, runs_guest=True)
            callee, waits = self._host_callee(canon.func)
            return lower_trampoline(self.engine, canon, callee, waits)
        destroy, waits = destructor(self.plan, canon)
        return resource_trampoline(self.engine, canon, destroy, waits)

    def _concurrent_trampoline(self, canon: Lower | ResourceBuiltin) -> Trampoline | None:
        """Those that another component or a task of the host's may have to answer; None for the rest."""
        if isinstance(canon, ResourceBuiltin):
            core = self.plan.destructors.get(canon.resource)
            elsewhere = canon.name == "resource.drop" and canon.resource.owner not in (None, canon.part)
            return drop_trampoline(self.engine, canon, core) if elsewhere and core is not None else None
        if isinstance(canon.func, Lifted):
            return lowering_trampoline(self.engine, Lowering(canon, guest_callee(self.function(canon.func))))
        if canon.options.is_async or canon.func.type.is_async:
            call, _ = self._host_callee(canon.func)
            return lowering_trampoline(self.engine, Lowering(canon, BoundHostFunction(call, canon.func)))
        return None

    def _adapter(self, part: int) -> Adapter | None:
        """The adapter module of a part, if it needs one."""
        adapted = {
            index: self.trampolines[index]
            for index, canon in enumerate(self.plan.canons)
            if canon.part == part and index in self.adapted
        }
        return Adapter(self.engine, adapted) if adapted else None


def _core_modules(component: d.Component) -> Iterator[memoryview]:
    """The code of every core module in a component and those nested in it."""
    for definition in component.definitions:
        if isinstance(definition, d.CoreModule):
            yield definition.code
        elif isinstance(definition, d.Component):
            yield from _core_modules(definition)


def _called_canons(plan: Plan) -> set[int]:
    """The canonical definitions whose functions are called as functions of the guest: by lifting them, for one."""
    items: list[CoreItem | None] = [*plan.destructors.values()]
    for lifted in plan.lifted:
        options = lifted.options
        items += (lifted.core, options.realloc, options.post_return, options.callback)
    items += [canon.options.realloc for canon in plan.canons if not isinstance(canon, ResourceBuiltin)]
    return {item.index for item in items if isinstance(item, CanonFunc)}


def _guest_callee(plan: Plan, part: int, export: Export) -> Callee:
    """Another component of the composition; its call is a coroutine like any host function's that may wait."""
    if plan.encloses(part, export.part) or plan.encloses(export.part, part):

        def refuse(store: Store, *arguments: Any) -> Any:
            raise Trap("wasm trap: cannot enter component instance")

        return refuse

    def call(store: Store, *arguments: Any) -> Any:
        return call_export(deeper(store, export.part), export, arguments)

    return call


def define_callback(
    linker: int, module: bytes, name: bytes, params: tuple[str, ...], results: tuple[str, ...], callback: Any
) -> None:
    """Define a host function on raw values. The caller keeps ``callback`` alive as long as the linker's modules."""
    type_ = _func_type(params, results)
    error = ffi.linker_define_func_unchecked(
        linker, module, len(module), name, len(name), as_pointer(type_.ptr()), callback, None, None
    )
    if error:
        raise LinkError(ffi.take_error(error))


def _func_type(params: tuple[str, ...], results: tuple[str, ...]) -> wasmtime.FuncType:
    kinds = {
        "i32": wasmtime.ValType.i32,
        "i64": wasmtime.ValType.i64,
        "f32": wasmtime.ValType.f32,
        "f64": wasmtime.ValType.f64,
    }
    return wasmtime.FuncType([kinds[p]() for p in params], [kinds[r]() for r in results])


def _instance_pre(linker: int, module: wasmtime.Module) -> int:
    pre = ctypes.c_void_p()
    error = ffi.linker_instantiate_pre(linker, as_pointer(module.ptr()), ctypes.byref(pre))
    if error:
        raise LinkError(ffi.take_error(error))
    assert pre.value is not None
    return pre.value


class Adapter:
    """The module through which one part's waiting imports are called, ready to be instantiated."""

    def __init__(self, engine: Engine, adapted: dict[int, Trampoline]) -> None:
        #: which export each canonical definition's function is
        self.position = {index: position for position, index in enumerate(adapted)}
        signatures = {index: (made.params, made.results, made.finish is not None) for index, made in adapted.items()}
        self.module = engine.compile(adapter_module(signatures))
        linker = ffi.linker_new(engine.pointer)
        try:
            self._suspend = _suspend_callback(engine)
            nothing = _func_type((), ())
            error = ffi.linker_define_async_func(
                linker, b"", 0, b"suspend", 7, as_pointer(nothing.ptr()), self._suspend, None, None
            )
            if error:
                raise LinkError(ffi.take_error(error))
            for number, made in adapted.items():
                started = made.results if made.finish is None else (*made.results, "i32")
                define_callback(linker, b"", b"start%d" % number, made.params, started, made.start)
                if made.finish is not None:
                    define_callback(linker, b"", b"finish%d" % number, (), made.results, made.finish)
            self.pre = _instance_pre(linker, self.module)
        finally:
            ffi.linker_delete(linker)

    def __del__(self) -> None:
        if hasattr(self, "pre"):
            ffi.instance_pre_delete(self.pre)


def _suspend_callback(engine: Engine) -> Any:
    def suspend(
        env: int, caller: int, args: int, nargs: int, results: int, nresults: int, trap: int, continuation: int
    ) -> None:
        store = engine.current
        assert store is not None
        fields = (ctypes.c_uint64 * 3).from_address(continuation)
        fields[0], fields[1], fields[2] = ffi.STRLEN, store.flag_address, 0

    return ffi.AsyncCallback(suspend)


class CoreStep:
    """One core instantiation, prepared as far as the component alone allows.

    A module whose imports are all host functions that never wait is instantiated from ``pre``. Any other comes out
    of the instance's own linker, which has what the core instances before it export.
    """

    def __init__(self, linked: LinkedComponent, index: int) -> None:
        step = linked.plan.steps[index]
        self.slot = step.slot
        self.part = step.part
        self.name = slot_name(step.slot).encode()
        self.module = linked.component.modules[index]
        self.module_pointer = as_pointer(self.module.ptr())
        imports = linked.component.relinked[index].imports
        #: whether a later step imports something of this one
        self.imported = any(
            isinstance(item, CoreExport) and item.slot == step.slot
            for later in linked.component.relinked[index + 1 :]
            for item in later.imports
        )
        base = linked.linkers[step.part]
        plain = all(isinstance(item, CanonFunc) and item.index not in linked.adapted for item in imports)
        self.pre = _instance_pre(base.pointer, self.module) if plain else None

    def __del__(self) -> None:
        if getattr(self, "pre", None):
            ffi.instance_pre_delete(self.pre)


class BaseLinker:
    """The host functions of one part that never wait, under the names that its modules import them by."""

    def __init__(self, linked: LinkedComponent, part: int) -> None:
        self.pointer: int = ffi.linker_new(linked.engine.pointer)
        for index, canon in enumerate(linked.plan.canons):
            if canon.part == part and index not in linked.adapted:
                made = linked.trampolines[index]
                name = b"%d" % index
                define_callback(self.pointer, CANON.encode(), name, made.params, made.results, made.start)

    def __del__(self) -> None:
        if hasattr(self, "pointer"):
            ffi.linker_delete(self.pointer)
