"""Runs a script's directives in order and reports whether each held."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
import wasmtime

from tests.spec import script as s
from tests.spec.core import CoreModules
from tests.spec.sexpr import ScriptError
from tests.spec.values import component_value, core_value, same
from tests.spec.wording import says
from wasi_trio.component._errors import ComponentError, LinkError, MalformedComponent, Trap
from wasi_trio.component._imports import Imports
from wasi_trio.runtime._component import Component
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._instance import Instance
from wasi_trio.runtime._wasmtime import WasmtimeError, validate_component
from wasi_trio.wasi._context import WasiContext


class Failed(Exception):
    """A directive did not hold. The message is the reason."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A directive that did not hold, with its line."""

    line: int
    keyword: str
    reason: str


@dataclass(frozen=True, slots=True)
class FileResult:
    """The result of a file: all failures in order, and the number of directives."""

    path: Path
    failures: tuple[Failure, ...]
    directives: int


async def run_file(engine: Engine, path: Path, seconds: float) -> FileResult:
    """Run the script in a file for at most ``seconds``. Continue after failed directives.

    The content of the file never causes an exception.
    """
    try:
        steps = s.parse(await trio.Path(path).read_text(encoding="utf-8"))
    except (ScriptError, UnicodeDecodeError) as error:
        line = error.line if isinstance(error, ScriptError) else 1
        return FileResult(path, (Failure(line, "script", str(error)),), 0)
    failures = []
    with contextlib.ExitStack() as after:  # closes instances after everything that runs them
        async with trio.open_nursery() as nursery:
            runner = Runner(engine, nursery)
            after.callback(runner.close)
            deadline = trio.current_time() + seconds
            for step in steps:
                with trio.CancelScope(deadline=deadline) as scope:
                    reason = await _reason(runner, step)
                if scope.cancelled_caught:
                    reason = f"did not end within the {seconds:g} s that its file has"
                if reason is not None:
                    failures.append(Failure(step.line, step.keyword, reason))
                if scope.cancelled_caught:
                    break
            nursery.cancel_scope.cancel()
    return FileResult(path, tuple(failures), len(steps))


async def _reason(runner: Runner, step: s.Step) -> str | None:
    """Return the reason why a directive failed, or None if it held."""
    try:
        await runner.run(step.directive)
    except Failed as failed:
        return str(failed)
    except ScriptError as error:
        return f"line {error.line}: {error}"
    except ComponentError as error:
        return _describe(error)
    except Exception as error:  # a bug of wasi_trio fails one file and must not end the run
        return f"internal error: {type(error).__name__}: {error}"
    return None


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


class Runner:
    """The modules, components and instances of one script."""

    def __init__(self, engine: Engine, nursery: trio.Nursery) -> None:
        self.engine = engine
        self.nursery = nursery
        self.core = CoreModules(engine)
        self._definitions: dict[str | None, Component | wasmtime.Module | LinkError] = {}
        self._instances: dict[str | None, Instance | wasmtime.Instance] = {}
        self._open: list[Instance] = []

    def close(self) -> None:
        for instance in self._open:
            instance.close()
        self.core.close()

    async def run(self, directive: s.Directive) -> None:
        """Execute a directive. Raises Failed, or the error of an operation that should succeed."""
        match directive:
            case s.Define(binary):
                try:
                    definition: Component | wasmtime.Module | LinkError = self._compile(binary)
                except LinkError as error:
                    definition = error  # valid, although no host could instantiate it
                self._definitions[None] = self._definitions[binary.name] = definition
            case s.Register(name, instance):
                found = self._instance(instance)
                if isinstance(found, Instance):
                    raise Failed("component instances cannot be registered, only those of core modules")
                self.core.register(name, found)
            case s.AssertReturn(action, results):
                await self._assert_return(action, results)
            case s.AssertTrap(action, message):
                await self._assert_trap(action, message)
            case s.AssertRefused(binary, message):
                self._assert_refused(binary, message)
            case s.AssertUnlinkable(binary, message):
                await self._assert_unlinkable(binary, message)
            case action:
                await self._execute(action)

    # ---- definitions and instances -------------------------------------------------------------------------

    def _compile(self, binary: s.Binary) -> Component | wasmtime.Module:
        data = assemble(binary)
        return Component.compile(self.engine, data) if binary.component else self.core.compile(data)

    async def _instantiate(self, definition: Component | wasmtime.Module, *names: str | None) -> None:
        """Create the latest instance, which also gets ``names``."""
        if isinstance(definition, Component):
            context = WasiContext(nursery=self.nursery)
            instance: Any = await Instance.instantiate(definition.link(Imports()), context)
            if instance.pump is not None:
                self.nursery.start_soon(instance.pump.run)
            self._open.append(instance)
        else:
            instance = self.core.instantiate(definition)
        for name in (None, *names):
            self._instances[name] = instance

    def _instance(self, name: str | None) -> Instance | wasmtime.Instance:
        try:
            return self._instances[name]
        except KeyError:
            raise Failed(f"unknown instance {name or '(none yet)'}") from None

    # ---- running -------------------------------------------------------------------------------------------

    async def _execute(self, action: s.Execute) -> tuple[Any, Any]:
        """Execute an action. Return a function's result, and the result's type for a component's function."""
        if isinstance(action, s.Instantiate | s.InstantiateDefinition):
            self._instances.pop(None, None)  # after a failure, later actions must not run in the previous instance
        match action:
            case s.Instantiate(binary):
                await self._instantiate(self._compile(binary), binary.name)
                return None, None
            case s.InstantiateDefinition(name, definition):
                if definition not in self._definitions:
                    raise Failed(f"unknown definition {definition or '(none yet)'}")
                found = self._definitions[definition]
                if isinstance(found, LinkError):
                    raise found
                await self._instantiate(found, name)
                return None, None
            case s.Get(name, item):
                instance = self._instance(name)
                if isinstance(instance, Instance):
                    raise Failed("a component instance has no globals")
                return [self.core.get(instance, item)], None
            case s.Invoke(name, function, constants):
                instance = self._instance(name)
                if not isinstance(instance, Instance):
                    return self.core.invoke(instance, function, list(map(core_value, constants))), None
                export = instance.linked.find_export(function)
                if export is None:
                    raise Failed(f"the component does not export a function {function}")
                params = export.type.params
                if len(params) != len(constants):
                    raise Failed(f"{function} takes {len(params)} arguments, {len(constants)} are given")
                arguments = [component_value(c, type_) for c, (_, type_) in zip(constants, params, strict=True)]
                return await instance.call_export(export, arguments), export.type.result
        raise AssertionError(action)

    # ---- assertions ----------------------------------------------------------------------------------------

    async def _assert_return(self, action: s.Execute, results: tuple[Any, ...]) -> None:
        actual, type_ = await self._execute(action)
        if isinstance(actual, list) and type_ is None:
            expected: Any = list(map(core_value, results))
        elif type_ is not None and len(results) == 1:
            expected = component_value(results[0], type_)
        elif type_ is None and not results:
            expected = None
        else:
            raise Failed(f"expected {len(results)} results, the function has {int(type_ is not None)}")
        if not same(expected, actual):
            raise Failed(f"expected {expected!r}, got {actual!r}")

    async def _assert_trap(self, action: s.Execute, message: str) -> None:
        try:
            result, _ = await self._execute(action)
        except Trap as trap:
            if not says(str(trap), message):
                raise Failed(f"expected the trap {message!r}, got {_describe(trap)}") from None
        else:
            raise Failed(f"expected the trap {message!r}, got {result!r}")

    async def _assert_unlinkable(self, binary: s.Binary, message: str) -> None:
        try:
            await self._instantiate(self._compile(binary))
        except LinkError as error:
            if not says(str(error), message):
                raise Failed(f"expected {message!r}, got {_describe(error)}") from None
        else:
            raise Failed(f"linked, expected {message!r}")

    def _assert_refused(self, binary: s.Binary, message: str) -> None:
        """Check that ``binary`` is refused because of the fault that the script names.

        An error about an unsupported feature does not count. If our decoder has its own message for a fault, wasmtime's
        message for the same bytes shows whether the fault is the expected one.
        """
        try:
            self._compile(binary)
        except MalformedComponent as error:
            if says(str(error), message) or self._agrees(binary, message):
                return
            raise Failed(f"expected {message!r}, got {_describe(error)}") from None
        except ComponentError as error:
            raise Failed(f"expected {message!r}, got {_describe(error)}") from None
        raise Failed(f"accepted, expected {message!r}")

    def _agrees(self, binary: s.Binary, message: str) -> bool:
        """Return whether wasmtime finds this fault in the bytes of a component."""
        if not binary.component:
            return False
        try:
            validate_component(self.engine.compiler.wasmtime, assemble(binary))
        except MalformedComponent:
            return False
        except WasmtimeError as error:
            return says(str(error), message)
        return False


def assemble(binary: s.Binary) -> bytes:
    """Return the bytes of a module or component. Raises MalformedComponent with the fault in its text."""
    if binary.assembled:
        return binary.code
    try:
        return bytes(wasmtime.wat2wasm(binary.code))
    except wasmtime.WasmtimeError as error:
        raise MalformedComponent(f"in the text: {one_line(error)}") from None


def one_line(error: wasmtime.WasmtimeError) -> str:
    """Return the message without its excerpt of the text."""
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip()[:1] not in "-|0123456789")
