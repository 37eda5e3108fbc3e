"""Components: compiled once, linked once with a host's imports, and instantiated many times."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from wasi_trio.component._binding import bind
from wasi_trio.component._imports import Imports, resource_class
from wasi_trio.component._plan import AsyncBuiltin, CoreExport
from wasi_trio.component._types import ResourceType
from wasi_trio.component.concurrency._lifted import LiftedFunction
from wasi_trio.component.wit import Wit
from wasi_trio.runtime._calls import Export
from wasi_trio.runtime._compiler import Compiled, Progress
from wasi_trio.runtime._core_linking import Adapter, BaseLinker, CoreStep
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._functions import Functions, called_canons
from wasi_trio.runtime._trampolines import Trampoline

if TYPE_CHECKING:
    from wasi_trio.component._bindings import TypedInterface


class Component:
    """A validated and compiled component.

    ``Component.compile(engine, data)`` takes its bytes, and ``Component.load(engine, path)`` reads a file. They raise
    MalformedComponent or Unsupported, and CompilationFailed beyond the engine's ``compile_limits``.

    Compiling a large component takes seconds the first time on a machine. If an event loop must not wait, call this in
    a worker thread (``trio.to_thread.run_sync``). The separate compiler process ends if the waiting task is cancelled.
    ``progress`` is called before each core module and after the last. A ``trusted`` component is compiled in this
    process, without limits.
    """

    def __init__(self, engine: Engine, compiled: Compiled) -> None:
        self.engine = engine
        self.plan = compiled.plan
        #: The plan's steps with their modules, in order.
        self.steps = compiled.steps

    @classmethod
    def compile(
        cls, engine: Engine, data: bytes, progress: Progress | None = None, *, trusted: bool = False
    ) -> Component:
        return cls(engine, engine.compile_component(data, progress, trusted=trusted))

    @classmethod
    def load(cls, engine: Engine, path: str | os.PathLike[str], *, trusted: bool = False) -> Component:
        return cls.compile(engine, Path(path).read_bytes(), trusted=trusted)

    @property
    def imports(self) -> list[str]:
        """The names of the imported interfaces and root functions, in order."""
        return self.plan.imports

    @property
    def exports(self) -> list[str]:
        """The names of the component's exports."""
        return list(self.plan.exports)

    def link(self, imports: Imports, wit: Wit | None = None) -> LinkedComponent:
        """Bind every import to a function of the host. Raises LinkError that lists the missing ones.

        If ``wit`` contains an interface, the component must declare its functions with the same types.
        """
        return LinkedComponent(self, imports, wit)


class LinkedComponent:
    """A component with all bindings that its instances share.

    ``providers`` are the interfaces that it uses. An instance creates its own object of each at the first call.
    """

    def __init__(self, component: Component, imports: Imports, wit: Wit | None) -> None:
        self.component = component
        #: The component's name in messages.
        self.name = "the component"
        self.engine = component.engine
        self.plan = component.plan
        self.imports = imports
        self._binding = binding = bind(self.plan, imports, wit)
        binding.check()
        self._name_resources()
        self._functions = Functions(self.engine, self.plan, binding)
        #: Whether a pump has to run its instances (WASI 0.3).
        self.concurrent = self._functions.concurrent
        #: The component instances with the built-in ``task.cancel``; None before the first cancellation.
        self._cancellable: frozenset[int] | None = None
        #: The expected memory use of an instance in bytes, an average over the last instances.
        self.instance_size = 0
        #: Kept alive, because wasm calls them by address.
        self.trampolines = [self._functions.trampoline(canon) for canon in self.plan.canons]
        # The canonical definitions whose functions may wait or are called from outside wasm.
        adapted = called_canons(self.plan)
        adapted |= {index for index, made in enumerate(self.trampolines) if made.finish is not None}
        plain: list[dict[int, Trampoline]] = [{} for _ in range(self.plan.parts)]
        waiting: list[dict[int, Trampoline]] = [{} for _ in range(self.plan.parts)]
        for index, (canon, made) in enumerate(zip(self.plan.canons, self.trampolines, strict=True)):
            (waiting if index in adapted else plain)[canon.part][index] = made
        #: The module of each part through which it calls functions that may wait, or None.
        self.adapters = [Adapter(self.engine, functions) if functions else None for functions in waiting]
        #: The functions of each part that never wait.
        self.linkers = [BaseLinker(self.engine, functions) for functions in plain]
        imported = {
            item.slot for step in component.steps for item in step.wiring.imports if isinstance(item, CoreExport)
        }
        self.steps = [
            CoreStep(step, compiled, step.slot in imported, self.linkers[step.part], adapted)
            for step, compiled in zip(self.plan.steps, component.steps, strict=True)
        ]
        #: Parts that have only built-ins.
        self.without_modules = sorted(
            {part for part, adapter in enumerate(self.adapters) if adapter} - {step.part for step in self.steps}
        )

    def _name_resources(self) -> None:
        for interface, resource in self.plan.resources:
            provider = self._binding.provider(interface)
            if provider is not None:
                resource.python_class = resource_class(provider.implementation, resource.name)

    def note_size(self, size: int) -> None:
        """Record the memory use in bytes of an instance that has ended."""
        self.instance_size += (size - self.instance_size) // (4 if self.instance_size else 1)

    def find_export(self, name: str, function: str | None = None) -> Export | LiftedFunction | None:
        """Return an exported function, or the function of an exported interface, or None.

        A name without a version matches any exported version of the interface.
        """
        lifted = self.plan.find_export(name, function)
        if lifted is None:
            return None
        return self._functions.function(lifted) if self.concurrent else self._functions.export(lifted)

    def takes_cancellation(self, part: int) -> bool:
        """Return whether a component instance can acknowledge the cancellation of a call: it has ``task.cancel``.

        Toolchains without support for cancellation trap at the event.
        """
        if self._cancellable is None:
            self._cancellable = frozenset(
                canon.part
                for canon in self.plan.canons
                if isinstance(canon, AsyncBuiltin) and canon.name == "task.cancel"
            )
        return part in self._cancellable

    def destructor(self, resource: ResourceType) -> Export | LiftedFunction | None:
        """Return the destructor of a resource that the component implements, or None."""
        return self._functions.destructor(resource)

    def typed_exports(self, interface: TypedInterface) -> Mapping[str, Export | LiftedFunction]:
        """Return the functions of an exported interface for a client from ``wasi_trio bindgen``.

        Raises LinkError if the component lacks one, or declares it with another type than the bindings.
        """
        return self._functions.typed(interface)
