"""The binary format of components (Binary.md of the Component Model)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from wasi_trio.component._definitions import (
    CanonBuiltin,
    CanonLift,
    CanonLower,
    CanonOptions,
    Component,
    CoreInlineInstance,
    CoreInstantiate,
    CoreModule,
    Definition,
    Export,
    Import,
    InlineInstance,
    Instantiate,
)
from wasi_trio.component._errors import MalformedComponent
from wasi_trio.component._sorts import Sort, StringEncoding
from wasi_trio.component._type_reader import CORE_I32, CORE_I64, CORE_INSTANCE_SORTS, TypeReader

MAGIC = b"\0asm"
COMPONENT_PREAMBLE = MAGIC + b"\x0d\0\x01\0"
MODULE_PREAMBLE = MAGIC + b"\x01\0\0\0"

ENCODINGS = (StringEncoding.UTF8, StringEncoding.UTF16, StringEncoding.LATIN1_UTF16)

#: Canonical built-ins by opcode, grouped by the immediates after the opcode.
PLAIN_BUILTINS = {
    0x05: "task.cancel",
    0x0D: "subtask.drop",
    0x1E: "error-context.drop",
    0x1F: "waitable-set.new",
    0x22: "waitable-set.drop",
    0x23: "waitable.join",
    0x24: "backpressure.inc",
    0x25: "backpressure.dec",
}
FLAG_BUILTINS = {0x06: "subtask.cancel"}
THREAD_YIELD = 0x0C
#: Its place in the binary format remains, but it must be zero.
_CANCELLABLE = "the former option `cancellable`"
TYPE_BUILTINS = {
    0x02: "resource.new",
    0x03: "resource.drop",
    0x04: "resource.rep",
    0x0E: "stream.new",
    0x13: "stream.drop-readable",
    0x14: "stream.drop-writable",
    0x15: "future.new",
    0x1A: "future.drop-readable",
    0x1B: "future.drop-writable",
}
TYPE_AND_FLAG_BUILTINS = {
    0x11: "stream.cancel-read",
    0x12: "stream.cancel-write",
    0x18: "future.cancel-read",
    0x19: "future.cancel-write",
}
TYPE_AND_OPTIONS_BUILTINS = {
    0x0F: "stream.read",
    0x10: "stream.write",
    0x16: "future.read",
    0x17: "future.write",
}
OPTIONS_BUILTINS = {0x1C: "error-context.new", 0x1D: "error-context.debug-message"}
CONTEXT_BUILTINS = {0x0A: "context.get", 0x0B: "context.set"}
WAIT_BUILTINS = {0x20: "waitable-set.wait", 0x21: "waitable-set.poll"}
TASK_RETURN = 0x09
#: Built-ins that the specification gates or has removed.
UNSUPPORTED_BUILTINS = {
    0x07: "resource.drop async",
    0x08: "backpressure.set",
    0x26: "thread.index",
    0x27: "thread.new-indirect",
    0x28: "thread.resume-later",
    0x29: "thread.suspend",
    0x2A: "thread.suspend-then-resume",
    0x2B: "thread.yield-then-resume",
    0x2C: "thread.suspend-then-promote",
    0x2D: "thread.yield-then-promote",
    0x2E: "stream.forward",
    0x2F: "future.forward",
    0x40: "thread.spawn-ref",
    0x41: "thread.spawn-indirect",
    0x42: "thread.available-parallelism",
}
CORE_TYPE_NAMES = {CORE_I32: "i32", CORE_I64: "i64"}


def decode(data: bytes) -> Component:
    """Decode a component's binary into its definitions.

    Core modules in the result are views of ``data`` and not copies. All indices are in range of their index spaces.
    wasmtime's validation checks whether the definitions behind them fit, and whether names are well formed and unique.

    Raises ``MalformedComponent`` with one line that says what is wrong at which offset, also if ``data`` is no
    component. Raises ``Unsupported`` for a component feature that this host does not run.
    """
    _check_is_component(data)
    return _ComponentReader(data).component()


def _check_is_component(data: bytes) -> None:
    """Raise an error that identifies common inputs that are not components."""
    if data.startswith(COMPONENT_PREAMBLE):
        return
    start = data[:64].lstrip()
    if not data:
        problem = "the input is empty, but a WebAssembly component is required"
    elif data.startswith(MODULE_PREAMBLE):
        problem = "this is a core module, not a component; convert it to one, e.g. with `wasm-tools component new`"
    elif start.startswith((b"(", b";;")):
        problem = "this is WebAssembly text, not binary; assemble it first, e.g. with `wasm-tools parse`"
    elif MAGIC.startswith(data[:4]) and len(data) < len(COMPONENT_PREAMBLE):
        problem = f"malformed component: cut off after {len(data)} bytes (at offset {len(data):#x})"
    elif data.startswith(MAGIC):
        problem = (
            f"WebAssembly binary of an unknown version, {data[4:8].hex(' ')} instead of 0d 00 01 00 (at offset 0x4)"
        )
    else:
        problem = f"this is not WebAssembly: it starts with the bytes {data[:4].hex(' ')} (at offset 0x0)"
    raise MalformedComponent(problem)


class _ComponentReader(TypeReader):
    __slots__ = ("sections",)

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.sections: dict[int, tuple[str, Callable[[], Iterable[Definition]]]] = {
            0: ("custom section", self.custom),
            1: ("core module", self.core_module),
            2: ("core instance section", lambda: self.vector("core instances", self.core_instance)),
            3: ("core type section", self.core_type_section),
            4: ("nested component", self.nested_component),
            5: ("instance section", lambda: self.vector("instances", self.instance)),
            6: ("alias section", lambda: self.vector("aliases", self.alias)),
            7: ("type section", lambda: self.vector("types", self.type_definition)),
            8: ("canonical section", lambda: self.vector("canonical definitions", self.canon)),
            10: ("import section", lambda: self.vector("imports", self.import_)),
            11: ("export section", lambda: self.vector("exports", self.export)),
        }

    # ---- sections ----------------------------------------------------------------------------------------

    def component(self) -> Component:
        """Read a component that extends to ``end``."""
        self.preamble(COMPONENT_PREAMBLE, "nested component")
        definitions: list[Definition] = []
        while self.position < self.end:
            start = self.position
            id_ = self.byte("section id")
            if id_ == 9:
                raise self.unsupported("a component-level start function", start)
            if id_ == 12:
                raise self.unsupported("component-level values", start)
            if id_ not in self.sections:
                raise self.malformed(f"unknown section {id_}", start)
            what, content = self.sections[id_]
            with self.section(what):
                definitions.extend(content())
        return Component(tuple(definitions))

    def preamble(self, expected: bytes, what: str) -> None:
        found = self.data[self.position : min(self.position + len(expected), self.end)]
        if found != expected:
            raise self.malformed(f"{what} starts with {found.hex(' ')} instead of {expected.hex(' ')}")
        self.position += len(expected)

    def custom(self) -> tuple[Definition, ...]:
        self.raw_name("name of a custom section")
        self.position = self.end
        return ()

    def core_module(self) -> tuple[Definition, ...]:
        start = self.position
        self.preamble(MODULE_PREAMBLE, "core module")
        self.position = self.end
        self.define(Sort.CORE_MODULE)
        return (CoreModule(memoryview(self.data)[start : self.end]),)

    def core_type_section(self) -> list[Definition]:
        return [type_ for group in self.vector("core types", self.core_types) for type_ in group]

    def nested_component(self) -> tuple[Definition, ...]:
        with self.nested_scope():
            component = self.component()
        self.define(Sort.COMPONENT)
        return (component,)

    # ---- instances ---------------------------------------------------------------------------------------

    def core_instance(self) -> Definition:
        instance: Definition
        if self.flag("kind of a core instance"):
            instance = CoreInlineInstance(self.vector("core exports", self.core_inline_export))
        else:
            instance = CoreInstantiate(self.index(Sort.CORE_MODULE), self.vector("core arguments", self.core_argument))
        self.define(Sort.CORE_INSTANCE)
        return instance

    def core_argument(self) -> tuple[str, int]:
        name = self.raw_name("argument name")
        self.expect(0x12, "sort of a core argument")
        return name, self.index(Sort.CORE_INSTANCE)

    def core_inline_export(self) -> tuple[str, Sort, int]:
        name = self.raw_name("core export name")
        start = self.position
        sort = self.core_sort()
        if sort not in CORE_INSTANCE_SORTS:
            raise self.malformed(f"a core instance cannot export a {sort.value}", start)
        return name, sort, self.index(sort)

    def instance(self) -> Definition:
        instance: Definition
        if self.flag("kind of an instance"):
            instance = InlineInstance(self.vector("inline exports", self.inline_export))
        else:
            instance = Instantiate(self.index(Sort.COMPONENT), self.vector("arguments", self.argument))
        self.define(Sort.INSTANCE)
        return instance

    def argument(self) -> tuple[str, Sort, int]:
        return (self.raw_name("argument name"), *self.sort_index())

    def inline_export(self) -> tuple[str, Sort, int]:
        return (self.extern_name(), *self.sort_index())

    # ---- imports and exports -----------------------------------------------------------------------------

    def import_(self) -> Import:
        name, implements = self.attributed_name()
        return Import(name, self.declared(), implements)

    def export(self) -> Export:
        name = self.extern_name()
        sort, index = self.sort_index()
        type_ = self.optional("type of an export", self.extern_type)
        self.define(sort)
        return Export(name, sort, index, type_)

    # ---- canonical definitions ---------------------------------------------------------------------------

    def canon(self) -> Definition:
        start = self.position
        code = self.byte("canonical definition")
        if code == 0x00:
            self.expect(0x00, "sort of a lift")
            lift = CanonLift(self.index(Sort.CORE_FUNC), self.options(), self.index(Sort.TYPE))
            self.define(Sort.FUNC)
            return lift
        function: Definition
        if code == 0x01:
            self.expect(0x00, "sort of a lower")
            function = CanonLower(self.index(Sort.FUNC), self.options())
        else:
            function = self.builtin(code, start)
        self.define(Sort.CORE_FUNC)
        return function

    def builtin(self, code: int, start: int) -> CanonBuiltin:
        if code in PLAIN_BUILTINS:
            return CanonBuiltin(PLAIN_BUILTINS[code])
        if code in TYPE_BUILTINS:
            return CanonBuiltin(TYPE_BUILTINS[code], type=self.index(Sort.TYPE))
        if code in FLAG_BUILTINS:
            return CanonBuiltin(FLAG_BUILTINS[code], flag=self.flag("immediate"))
        if code in TYPE_AND_FLAG_BUILTINS:
            return CanonBuiltin(TYPE_AND_FLAG_BUILTINS[code], type=self.index(Sort.TYPE), flag=self.flag("immediate"))
        if code in TYPE_AND_OPTIONS_BUILTINS:
            return CanonBuiltin(TYPE_AND_OPTIONS_BUILTINS[code], type=self.index(Sort.TYPE), options=self.options())
        if code in OPTIONS_BUILTINS:
            return CanonBuiltin(OPTIONS_BUILTINS[code], options=self.options())
        if code in CONTEXT_BUILTINS:
            return CanonBuiltin(CONTEXT_BUILTINS[code], core_type=self.core_type(), immediate=self.u32("context slot"))
        if code in WAIT_BUILTINS:
            self.expect(0x00, _CANCELLABLE)
            return CanonBuiltin(WAIT_BUILTINS[code], memory=self.index(Sort.CORE_MEMORY))
        if code == THREAD_YIELD:
            self.expect(0x00, _CANCELLABLE)
            return CanonBuiltin("thread.yield")
        if code == TASK_RETURN:
            return CanonBuiltin("task.return", result=self.result_list(), options=self.options())
        if code in UNSUPPORTED_BUILTINS:
            raise self.unsupported(f"the built-in {UNSUPPORTED_BUILTINS[code]}", start)
        raise self.malformed(f"unknown canonical definition {code:#04x}", start)

    def core_type(self) -> str:
        start = self.position
        code = self.byte("core value type")
        if code not in CORE_TYPE_NAMES:
            raise self.malformed(f"core value type is {code:#04x} instead of i32 or i64", start)
        return CORE_TYPE_NAMES[code]

    def options(self) -> CanonOptions:
        encoding = StringEncoding.UTF8
        is_async = False
        indices: dict[int, int] = {}
        seen = set()
        for _ in range(self.count("canonical options")):
            start = self.position
            code = self.byte("canonical option")
            # A component may choose only one of the three encodings.
            option = 0x00 if code <= 0x02 else code
            if option in seen:
                raise self.malformed(f"canonical option {code:#04x} repeats or contradicts one before it", start)
            seen.add(option)
            if code <= 0x02:
                encoding = ENCODINGS[code]
            elif code == 0x03:
                indices[code] = self.index(Sort.CORE_MEMORY)
            elif code in (0x04, 0x05, 0x07):
                indices[code] = self.index(Sort.CORE_FUNC)
            elif code == 0x06:
                is_async = True
            elif code in (0x08, 0x09):
                raise self.unsupported("the canonical options of garbage-collected memory", start)
            else:
                raise self.malformed(f"unknown canonical option {code:#04x}", start)
        return CanonOptions(
            encoding=encoding,
            memory=indices.get(0x03),
            realloc=indices.get(0x04),
            post_return=indices.get(0x05),
            is_async=is_async,
            callback=indices.get(0x07),
        )
