"""Core modules in scripts. wasi_trio runs components, so wasmtime runs these."""

from __future__ import annotations

import wasmtime

from tests.wheel import wheel_engine
from wasi_trio.component._errors import LinkError, MalformedComponent, Trap
from wasi_trio.runtime._engine import Engine

#: Epochs until a core module traps: practically never.
_NEVER = 1 << 60


class CoreModules:
    """The core modules and instances of one script. Raises the same errors as wasi_trio does for components."""

    def __init__(self, engine: Engine) -> None:
        self.engine = wheel_engine(engine.compiler.wasmtime)
        self.store = wasmtime.Store(self.engine)
        self.store.set_epoch_deadline(_NEVER)
        self.linker = wasmtime.Linker(self.engine)
        self.linker.allow_shadowing = True

    def compile(self, code: bytes) -> wasmtime.Module:
        """Compile a module. Raises MalformedComponent."""
        try:
            return wasmtime.Module(self.engine, code)
        except wasmtime.WasmtimeError as error:
            raise MalformedComponent(str(error)) from None

    def instantiate(self, module: wasmtime.Module) -> wasmtime.Instance:
        """Instantiate a module. Raises LinkError, or Trap from the start function."""
        try:
            return self.linker.instantiate(self.store, module)
        except wasmtime.Trap as trap:
            raise Trap(str(trap)) from None
        except wasmtime.WasmtimeError as error:
            raise LinkError(str(error)) from None

    def register(self, name: str, instance: wasmtime.Instance) -> None:
        """Let later modules import the instance's exports under a name."""
        self.linker.define_instance(self.store, name, instance)

    def invoke(self, instance: wasmtime.Instance, function: str, arguments: list[int | float]) -> list[object]:
        """Call an exported function. Raises Trap, or LinkError if it does not exist."""
        func = instance.exports(self.store).get(function)
        if not isinstance(func, wasmtime.Func):
            raise LinkError(f"the module does not export a function {function}")
        try:
            results = func(self.store, *arguments)
        except wasmtime.Trap as trap:
            raise Trap(str(trap)) from None
        return [] if results is None else list(results) if isinstance(results, (list, tuple)) else [results]

    def get(self, instance: wasmtime.Instance, name: str) -> object:
        """Return the value of an exported global. Raises LinkError if it does not exist."""
        found = instance.exports(self.store).get(name)
        if not isinstance(found, wasmtime.Global):
            raise LinkError(f"the module does not export a global {name}")
        return found.value(self.store)

    def close(self) -> None:
        self.linker.close()
        self.store.close()
