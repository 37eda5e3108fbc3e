"""Components: compiled once, linked once with a host's imports, instantiated many times."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from wasi_trio.component._binding import bind
from wasi_trio.component._imports import Imports, resource_class
from wasi_trio.component._plan import CoreExport
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
    """A component, checked and compiled.

    ``Component.compile(engine, data)`` takes its bytes, ``Component.load(engine, path)`` a file. Raises
    MalformedComponent or Unsupported, and CompilationFailed where the engine's ``compile_limits`` do not do. Compiling
    a large component takes seconds the first time on a machine; run it in a thread (``trio.to_thread.run_sync``) where
    a loop must not stall: in a process of its own it ends with the task that waits for it. ``progress`` is called
    before each core module, and when all are compiled. A component that is ``trusted`` is compiled in this process,
    with no limits.
    """

    def __init__(self, engine: Engine, compiled: Compiled) -> None:
        self.engine = engine
        self.plan = compiled.plan
        #: those of the plan with their modules, in order
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
        self._binding = binding = bind(self.plan, imports, wit)
        binding.check()
        self._name_resources()
        self._functions = Functions(self.engine, self.plan, binding)
        #: whether a pump has to run its instances (WASI 0.3)
        self.concurrent = self._functions.concurrent
        #: bytes that an instance may be expected to make the host hold: about what the last ones did
        self.instance_size = 0
        #: kept, because what wasm calls has to live as long as its callers
        self.trampolines = [self._functions.trampoline(canon) for canon in self.plan.canons]
        # The canonical definitions whose functions may wait, or are called from outside wasm.
        adapted = called_canons(self.plan)
        adapted |= {index for index, made in enumerate(self.trampolines) if made.finish is not None}
        plain: list[dict[int, Trampoline]] = [{} for _ in range(self.plan.parts)]
        waiting: list[dict[int, Trampoline]] = [{} for _ in range(self.plan.parts)]
        for index, (canon, made) in enumerate(zip(self.plan.canons, self.trampolines, strict=True)):
            (waiting if index in adapted else plain)[canon.part][index] = made
        #: of each part the module through which it calls what may wait, if there is any such
        self.adapters = [Adapter(self.engine, functions) if functions else None for functions in waiting]
        #: of each part what never waits
        self.linkers = [BaseLinker(self.engine, functions) for functions in plain]
        imported = {
            item.slot for step in component.steps for item in step.wiring.imports if isinstance(item, CoreExport)
        }
        self.steps = [
            CoreStep(step, compiled, step.slot in imported, self.linkers[step.part], adapted)
            for step, compiled in zip(self.plan.steps, component.steps, strict=True)
        ]
        #: parts that have built-ins to be called, and nothing else
        self.without_modules = sorted(
            {part for part, adapter in enumerate(self.adapters) if adapter} - {step.part for step in self.steps}
        )

    def _name_resources(self) -> None:
        for interface, resource in self.plan.resources:
            provider = self._binding.provider(interface)
            if provider is not None:
                resource.python_class = resource_class(provider.implementation, resource.name)

    def note_size(self, size: int) -> None:
        """An instance has ended, which held so many bytes."""
        self.instance_size += (size - self.instance_size) // (4 if self.instance_size else 1)

    def find_export(self, name: str, function: str | None = None) -> Export | LiftedFunction | None:
        """An exported function, or the function of an exported interface; None if there is none such.

        An interface named without a version is found in whatever version it is exported.
        """
        lifted = self.plan.find_export(name, function)
        if lifted is None:
            return None
        return self._functions.function(lifted) if self.concurrent else self._functions.export(lifted)

    def destructor(self, resource: ResourceType) -> Export | LiftedFunction | None:
        """The function that ends a resource which the component implements; None where it has none."""
        return self._functions.destructor(resource)

    def typed_exports(self, interface: TypedInterface) -> Mapping[str, Export | LiftedFunction]:
        """The functions of an exported interface for a client that ``wasi_trio bindgen`` has made.

        Raises LinkError where the component lacks one, or has it with another type than the bindings.
        """
        return self._functions.typed(interface)
