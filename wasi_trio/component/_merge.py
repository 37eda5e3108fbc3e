"""Several core modules of a component as one, so that an instance needs one core instantiation instead of a dozen.

A toolchain builds a component from several core modules: the program, its libraries, and modules that only hold tables.
The component wires them together, item by item. The wiring is the same for every instance. But wasmtime sees one module
at a time. So it resolves thousands of imports for each instance of a Python guest, and fills tables one function at a
time. In a merged module the imports are gone, tables and memories are filled from images that are prepared
with the code, and calls between the modules are direct.

Two passes over the steps of a plan find the groups of modules (``groups``) and make the merged modules (``merge``). A
group consists of consecutive steps of one part. A module joins a group if

* nothing else instantiates it, so no code is compiled twice;
* it has no start function. A start function could see later modules of its group initialized already, and could call
  a host function whose options name an export of the group, of which the host has no instance yet;
* it uses the plain part of WebAssembly: no objects, exceptions or type groups, and one memory in the whole group;
* it has no debugging information, which names positions in the code.

Every module must be valid by itself: an index out of range could be in range in a merged module.

https://webassembly.github.io/spec/core/binary/modules.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from wasi_trio.component._core_types import skip_limits
from wasi_trio.component._definitions import Sort
from wasi_trio.component._errors import MalformedComponent
from wasi_trio.component._instructions import ALIGNMENT, LEB, LEB64, codes, vectors
from wasi_trio.component._plan import CoreExport, CoreInstance, CoreItem, InstantiateModule, Plan
from wasi_trio.component._reader import Reader
from wasi_trio.component._wasm import name as encode_name
from wasi_trio.component._wasm import read_unsigned, section, sections, unsigned
from wasi_trio.lazy import Pattern

_PREAMBLE = b"\0asm\1\0\0\0"
_CUSTOM, _TYPE, _IMPORT, _FUNCTION, _TABLE, _MEMORY, _GLOBAL, _EXPORT = range(8)
_START, _ELEMENT, _CODE, _DATA, _DATA_COUNT = 8, 9, 10, 11, 12
_KNOWN_SECTIONS = frozenset(range(13))
_FUNCTION_NAMES = 1

#: The kinds of imports and exports, by their codes.
_KINDS = (Sort.CORE_FUNC, Sort.CORE_TABLE, Sort.CORE_MEMORY, Sort.CORE_GLOBAL)
_FUNC, _TAB, _MEM, _GLOB = range(4)

#: Maximum number of characters of a module's name before the index of a function without a name.
_MAX_NAME = 100
#: The merged module's only import module.
_OUTSIDE = "outside"

#: Numbers, vectors, and references to functions or to the host's objects.
_VALUE_TYPES = frozenset((0x7F, 0x7E, 0x7D, 0x7C, 0x7B, 0x70, 0x6F))
_REFERENCE_TYPES = frozenset((0x70, 0x6F))


class _Unmergeable(Exception):
    """A module uses a part of WebAssembly that is not merged."""


# ---- instructions ----------------------------------------------------------------------------------------

_PLAIN_VALUE = rb"[\x6f\x70\x7b-\x7f]"
_MEMARG = ALIGNMENT + LEB64
#: Instructions that are the same in a merged module.
_KEPT = (
    rb"[\x0c\x0d\x20-\x22\x41]" + LEB,
    rb"[\x00\x01\x05\x0b\x0f\x1a\x1b\x45-\xc4\xd1]",
    rb"[\x28-\x3e]" + _MEMARG,
    rb"[\x02-\x04](?:\x40|" + _PLAIN_VALUE + rb")",
    rb"[\x3f\x40]\x00",
    rb"\x42" + LEB64,
    rb"\x43[\x00-\xff]{4}",
    rb"\x44[\x00-\xff]{8}",
    rb"\x1c\x01" + _PLAIN_VALUE,
    rb"\xd0[\x6f\x70]",
    rb"\xfc" + codes((0x00, 0x07), (0x13, 0x16)),
    rb"\xfc" + codes(0x0A) + rb"\x00\x00",
    rb"\xfc" + codes(0x0B) + rb"\x00",
    *vectors(_MEMARG),
)
#: Instructions that refer to an item by index.
_INDEXED = (
    rb"[\x10\x12\xd2\x23-\x26]" + LEB,
    rb"[\x11\x13]" + LEB + LEB,
    rb"[\x02-\x04](?:[\x00-\x3f]|[\x80-\xff]{1,4}+[\x00-\x3f])",
    rb"\xfc" + codes(0x08) + LEB + rb"\x00",
    rb"\xfc" + codes(0x09, 0x0D, (0x0F, 0x11)) + LEB,
    rb"\xfc" + codes(0x0C, 0x0E) + LEB + LEB,
)
#: Matches at most 500 instructions that stay, and one that changes. See ``_bulk`` for why the repetition is bounded.
_RUN = Pattern(rb"(?:" + rb"|".join(_KEPT) + rb"){0,500}(" + rb"|".join(_INDEXED) + rb")?")
_BR_TABLE = 0x0E
_REF_FUNC = 0xD2


class _Instructions(dict[bytes, bytes]):
    """Maps a module's instructions with an index to the same instructions in the merged module."""

    def __init__(self, module: _Module, referenced: set[int]) -> None:
        self._module = module
        self._referenced = referenced

    def __missing__(self, instruction: bytes) -> bytes:
        made = self[instruction] = self._renumbered(memoryview(instruction))
        return made

    def _renumbered(self, instruction: memoryview) -> bytes:
        module = self._module
        opcode = instruction[0]
        head = bytes((opcode,))
        code, at = 0, 1
        if opcode == 0xFC:
            code, at = read_unsigned(instruction, 1)
            head += bytes((code,))
        first, at = read_unsigned(instruction, at)
        second = read_unsigned(instruction, at)[0] if at < len(instruction) else 0
        if opcode in (0x10, 0x12, _REF_FUNC):
            index = module.maps[_FUNC][first]
            if opcode == _REF_FUNC:
                self._referenced.add(index)
            return head + unsigned(index)
        if opcode in (0x23, 0x24):
            return head + unsigned(module.maps[_GLOB][first])
        if opcode in (0x25, 0x26) or code in (0x0F, 0x10, 0x11):
            return head + unsigned(module.maps[_TAB][first])
        if opcode in (0x11, 0x13):
            return head + unsigned(module.types + first) + unsigned(module.maps[_TAB][second])
        if opcode in (0x02, 0x03, 0x04):
            return head + _signed(module.types + first)
        if code == 0x08:
            return head + unsigned(module.data + first) + b"\x00"
        if code == 0x09:
            return head + unsigned(module.data + first)
        if code == 0x0D:
            return head + unsigned(module.elements + first)
        if code == 0x0C:
            return head + unsigned(module.elements + first) + unsigned(module.maps[_TAB][second])
        return head + unsigned(module.maps[_TAB][first]) + unsigned(module.maps[_TAB][second])


def _signed(value: int) -> bytes:
    """Return a non-negative number as a signed LEB128, as in block types."""
    out = bytearray()
    while value > 0x3F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _body(content: bytes, at: int, end: int, known: _Instructions) -> bytes:
    """Return the body of a function in the merged module."""
    out: list[bytes] = []
    start = at
    groups, at = _number(content, at)
    for _ in range(groups):
        _, at = _number(content, at)
        if content[at] not in _VALUE_TYPES:
            raise _Unmergeable
        at += 1
    out.append(content[start:at])
    match = _RUN.match
    while at < end:
        found = match(content, at, end)
        assert found is not None, "the pattern matches the empty string"
        instruction = found[1]
        if instruction is not None:
            out += (content[at : found.start(1)], known[instruction])
            at = found.end()
        elif found.end() > at:
            out.append(content[at : found.end()])
            at = found.end()
        elif content[at] == _BR_TABLE:
            start = at
            labels, at = _number(content, at + 1)
            for _ in range(labels + 1):
                _, at = _number(content, at)
            out.append(content[start:at])
        else:
            raise _Unmergeable
    return b"".join(out)


def _number(content: bytes, at: int) -> tuple[int, int]:
    byte = content[at]
    return (byte, at + 1) if byte < 0x80 else read_unsigned(memoryview(content), at)


# ---- constant expressions --------------------------------------------------------------------------------

_END = b"\x0b"
_FOLDED: dict[int, tuple[int, Callable[[int, int], int]]] = {
    0x6A: (32, int.__add__), 0x6B: (32, int.__sub__), 0x6C: (32, int.__mul__),
    0x7C: (64, int.__add__), 0x7D: (64, int.__sub__), 0x7E: (64, int.__mul__),
}  # fmt: skip


def _signed_number(data: bytes, at: int, bits: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    if byte & 0x40:
        value -= 1 << shift
    return value, at


def _encoded(value: int, bits: int) -> bytes:
    """Return a constant of ``bits`` bits as an instruction."""
    value &= (1 << bits) - 1
    if value >> bits - 1:
        value -= 1 << bits
    out = bytearray((0x41 if bits == 32 else 0x42,))
    while not -0x40 <= value < 0x40:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value & 0x7F)
    return bytes(out)


def _constant(reader: Reader, module: _Module, merged: _Merged) -> bytes:
    """Read a constant expression. Return the same expression for the merged module, without its end.

    The value of another module's constant global replaces the reference, and arithmetic on such values is done here. So
    the positions of segments are plain numbers if possible, because wasmtime prepares memories and tables from segments
    at known positions.
    """
    parts: list[bytes] = []
    #: The value of each part that is a number.
    numbers: list[tuple[int, int] | None] = []
    data = reader.data
    while True:
        start = reader.position
        opcode = reader.byte("instruction")
        if opcode == 0x0B:
            return b"".join(parts)
        if opcode in (0x41, 0x42):
            bits = 32 if opcode == 0x41 else 64
            value, reader.position = _signed_number(data, reader.position, bits)
            parts.append(_encoded(value, bits))
            numbers.append((bits, value))
        elif opcode == 0x23:
            expression = merged.values[module.maps[_GLOB][reader.u32("global index")]]
            if expression is None:
                raise _Unmergeable
            parts.append(expression)
            number = expression[:1] in (b"\x41", b"\x42") and len(_only(expression)) == len(expression)
            bits = 32 if expression[:1] == b"\x41" else 64
            numbers.append((bits, _signed_number(expression, 1, bits)[0]) if number else None)
        elif opcode in _FOLDED and len(numbers) > 1 and numbers[-1] is not None and numbers[-2] is not None:
            bits, act = _FOLDED[opcode]
            value = act(numbers[-2][1], numbers[-1][1]) % (1 << bits)
            parts[-2:] = [_encoded(value, bits)]
            numbers[-2:] = [(bits, value)]
        elif opcode in _FOLDED:
            raise _Unmergeable
        elif opcode in (0x43, 0x44):
            reader.position += 4 if opcode == 0x43 else 8
            parts.append(data[start : reader.position])
            numbers.append(None)
        elif opcode == 0xFD and reader.u32("vector instruction") == 0x0C:
            reader.position += 16
            parts.append(data[start : reader.position])
            numbers.append(None)
        elif opcode == 0xD0 and reader.byte("heap type") in _REFERENCE_TYPES:
            parts.append(data[start : reader.position])
            numbers.append(None)
        elif opcode == _REF_FUNC:
            index = module.maps[_FUNC][reader.u32("function index")]
            merged.referenced.add(index)
            parts.append(bytes((_REF_FUNC,)) + unsigned(index))
            numbers.append(None)
        else:
            raise _Unmergeable


def _only(expression: bytes) -> bytes:
    """Return the first instruction of an expression that begins with a constant number."""
    return expression[: _signed_number(expression, 1, 64)[1]]


# ---- modules ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Module:
    """A module of a group.

    ``maps`` has, for each kind of item, the merged module's index for each index of the module's own. ``types``,
    ``elements`` and ``data`` are the offsets to add to the module's own indices of these.
    """

    step: InstantiateModule
    parts: list[tuple[int, memoryview]]
    maps: tuple[list[int], list[int], list[int], list[int]] = field(default_factory=lambda: ([], [], [], []))
    exports: dict[str, tuple[int, int]] = field(default_factory=dict)
    types: int = 0
    elements: int = 0
    data: int = 0

    def reader(self, identifier: int) -> Reader | None:
        """Return a reader of a section's content, or None if the module lacks the section."""
        content = self.content(identifier)
        return None if content is None else Reader(content)

    def content(self, identifier: int) -> bytes | None:
        return next((bytes(content) for found, content in self.parts if found == identifier), None)


@dataclass(slots=True)
class _Merged:
    """The sections of the merged module, as lists of their entries."""

    types: list[bytes] = field(default_factory=list)
    imports: list[bytes] = field(default_factory=list)
    functions: list[bytes] = field(default_factory=list)
    tables: list[bytes] = field(default_factory=list)
    memories: list[bytes] = field(default_factory=list)
    globals: list[bytes] = field(default_factory=list)
    exports: list[bytes] = field(default_factory=list)
    elements: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    names: dict[int, bytes] = field(default_factory=dict)
    module_name: str = ""
    #: The value of each global as a constant expression, or None for a variable.
    values: list[bytes | None] = field(default_factory=list)
    #: The functions to which a reference is taken.
    referenced: set[int] = field(default_factory=set)

    def code(self) -> bytes:
        if self.referenced:
            listed = b"".join(map(unsigned, sorted(self.referenced)))
            self.elements.append(b"\x03\x00" + unsigned(len(self.referenced)) + listed)
        vectors = (
            (_TYPE, self.types), (_IMPORT, self.imports), (_FUNCTION, self.functions), (_TABLE, self.tables),
            (_MEMORY, self.memories), (_GLOBAL, self.globals), (_EXPORT, self.exports),
        )  # fmt: skip
        parts = [_PREAMBLE, *(_vector(identifier, entries) for identifier, entries in vectors)]
        parts.append(_vector(_ELEMENT, self.elements))
        if self.data:
            parts.append(section(_DATA_COUNT, unsigned(len(self.data))))
        parts += (_vector(_CODE, self.bodies), _vector(_DATA, self.data), self._names())
        return b"".join(parts)

    def _names(self) -> bytes:
        functions = b"".join(unsigned(index) + named for index, named in sorted(self.names.items()))
        content = section(0, encode_name(self.module_name)) if self.module_name else b""
        if self.names:
            content += section(_FUNCTION_NAMES, unsigned(len(self.names)) + functions)
        return section(_CUSTOM, encode_name("name") + content) if content else b""


def _vector(identifier: int, entries: Sequence[bytes]) -> bytes:
    return section(identifier, unsigned(len(entries)) + b"".join(entries)) if entries else b""


# ---- groups ----------------------------------------------------------------------------------------------

#: The location of an original core instance's exports: the slot of the merged one, and the prefix of their names.
Places = Mapping[int, tuple[int, str]]


def groups(plan: Plan) -> list[list[InstantiateModule]]:
    """Return the steps of a plan whose modules can be merged, in groups of at least two."""
    uses = Counter(step.module for step in plan.steps)
    found: list[list[InstantiateModule]] = []
    group: list[InstantiateModule] = []
    memories = 0
    for step in plan.steps:
        traits = _traits(plan, step) if uses[step.module] == 1 else None
        outside = set() if traits is None else traits.outside(group)
        joins = (
            traits is not None
            and bool(group)
            and group[0].part == step.part
            and memories + traits.memories + len(outside) <= 1
        )
        if not joins:
            found.append(group)
            group, memories = [], 0
        if traits is None:
            continue
        group.append(step)
        memories += traits.memories + len(traits.outside(group[:-1]))
    found.append(group)
    return [group for group in found if len(group) > 1]


def places(found: Iterable[Sequence[InstantiateModule]]) -> Places:
    """Return the future locations of the exports of the core instances in these groups."""
    return {step.slot: (group[0].slot, f"{step.slot}:") for group in found for step in group}


@dataclass(frozen=True, slots=True)
class _Traits:
    """The properties that decide whether a module may join a group."""

    memories: int
    #: The memories that it imports.
    imported: frozenset[CoreItem]

    def outside(self, group: Sequence[InstantiateModule]) -> set[CoreItem]:
        slots = {step.slot for step in group}
        return {item for item in self.imported if not isinstance(item, CoreExport) or item.slot not in slots}


def _traits(plan: Plan, step: InstantiateModule) -> _Traits | None:
    """Return the properties of a module, or None if it cannot be merged, as far as known without its code."""
    memories = 0
    imported: set[CoreItem] = set()
    try:
        for identifier, content in sections(plan.modules[step.module][len(_PREAMBLE) :]):
            if identifier not in _KNOWN_SECTIONS or identifier == _START:
                return None
            if identifier == _CUSTOM and Reader(bytes(content[:64])).raw_name("name").startswith(".debug_"):
                return None
            if identifier == _MEMORY:
                memories += Reader(bytes(content)).count("memories")
            elif identifier == _IMPORT:
                reader = Reader(bytes(content))
                for _ in range(reader.count("imports")):
                    module, name = reader.raw_name("import module name"), reader.raw_name("import name")
                    kind, _ = _described(reader)
                    if kind == _MEM:
                        imported.add(step.args[module].item(name, Sort.CORE_MEMORY))
    except (MalformedComponent, _Unmergeable):
        return None
    return _Traits(memories, frozenset(imported))


def _described(reader: Reader) -> tuple[int, bytes]:
    """Return the kind of an import, and the bytes that describe its type."""
    kind = reader.byte("kind of an import")
    start = reader.position
    if kind == _FUNC:
        reader.u32("type index")
    elif kind == _TAB:
        if reader.byte("reference type") not in _REFERENCE_TYPES:
            raise _Unmergeable
        skip_limits(reader)
    elif kind == _MEM:
        skip_limits(reader)
    elif kind == _GLOB:
        if reader.byte("value type") not in _VALUE_TYPES:
            raise _Unmergeable
        reader.byte("mutability")
    else:
        raise _Unmergeable
    return kind, reader.data[start : reader.position]


# ---- merging ---------------------------------------------------------------------------------------------


def merge(plan: Plan, found: Sequence[Sequence[InstantiateModule]]) -> bool:
    """Replace each group's steps by one with the merged module. Return whether that was possible.

    ``plan`` must have been made with the ``places`` of these groups. All of their modules must be valid.
    """
    merged: dict[int, InstantiateModule] = {}
    modules = list(plan.modules)
    by_slot = {step.slot: step for step in plan.steps}
    try:
        for group in found:
            code, items = _merge([by_slot[step.slot] for step in group], plan.modules)
            first = group[0]
            arguments = {str(number): (kind, item) for number, (kind, item) in enumerate(items)}
            given = {_OUTSIDE: CoreInstance(None, arguments)}
            merged[first.slot] = InstantiateModule(first.slot, first.part, len(modules), given)
            modules.append(memoryview(code))
    except (_Unmergeable, MalformedComponent):
        return False
    gone = {step.slot for group in found for step in group[1:]}
    plan.steps[:] = [merged.get(step.slot, step) for step in plan.steps if step.slot not in gone]
    # A merged module's parts are compiled only as parts of it.
    kept = {step.module: number for number, step in enumerate({step.module: step for step in plan.steps}.values())}
    plan.modules[:] = [modules[module] for module in kept]
    plan.steps[:] = [InstantiateModule(s.slot, s.part, kept[s.module], s.args) for s in plan.steps]
    return True


def _merge(
    group: Sequence[InstantiateModule], codes: Sequence[memoryview]
) -> tuple[bytes, list[tuple[Sort, CoreItem]]]:
    """Return a group's merged module and its imports, in order."""
    merged = _Merged()
    modules = [_Module(step, sections(codes[step.module][len(_PREAMBLE) :])) for step in group]
    merged.module_name = _module_name(max(modules, key=lambda module: len(codes[module.step.module])))
    outside = _number_items(modules, merged)
    for module in modules:
        _add_definitions(module, merged)
    for module in modules:
        _add_segments(module, merged)
    for module in modules:
        _add_code(module, merged)
        _add_names(module, merged)
    return merged.code(), outside


def _number_items(modules: Sequence[_Module], merged: _Merged) -> list[tuple[Sort, CoreItem]]:
    """Fill the modules' maps and exports, and the merged types and imports."""
    slot = modules[0].step.slot
    outside: dict[tuple[int, CoreItem], int] = {}
    listed: list[tuple[Sort, CoreItem]] = []
    counts = [0, 0, 0, 0]
    #: The imports of each module: the number of an import from outside, or an export of another module.
    found: list[list[tuple[int, int | CoreExport]]] = []
    for module in modules:
        module.types = len(merged.types)
        merged.types += _types(module)
        imports: list[tuple[int, int | CoreExport]] = []
        found.append(imports)
        reader = module.reader(_IMPORT)
        for _ in range(0 if reader is None else reader.count("imports")):
            assert reader is not None
            source, name = reader.raw_name("import module name"), reader.raw_name("import name")
            kind, type_ = _described(reader)
            item = module.step.args[source].item(name, _KINDS[kind])
            if isinstance(item, CoreExport) and item.slot == slot:
                imports.append((kind, item))
                continue
            index = outside.get((kind, item))
            if index is None:
                index = outside[kind, item] = counts[kind]
                counts[kind] += 1
                if kind == _FUNC:
                    type_ = unsigned(module.types + read_unsigned(memoryview(type_), 0)[0])
                elif kind == _GLOB:
                    constant = type_[1] == 0
                    merged.values.append(b"\x23" + unsigned(index) if constant else None)
                name = str(len(listed))
                merged.imports.append(encode_name(_OUTSIDE) + encode_name(name) + bytes((kind,)) + type_)
                listed.append((_KINDS[kind], item))
            imports.append((kind, index))
    exported: dict[str, tuple[int, int]] = {}
    for module, imports in zip(modules, found, strict=True):
        for kind, import_ in imports:
            if isinstance(import_, CoreExport):
                import_kind, index = exported[import_.name]
                assert import_kind == kind
                module.maps[kind].append(index)
            else:
                module.maps[kind].append(import_)
        for kind, identifier in ((_FUNC, _FUNCTION), (_TAB, _TABLE), (_MEM, _MEMORY), (_GLOB, _GLOBAL)):
            reader = module.reader(identifier)
            count = 0 if reader is None else reader.count("definitions")
            module.maps[kind].extend(range(counts[kind], counts[kind] + count))
            counts[kind] += count
        reader = module.reader(_EXPORT)
        for _ in range(0 if reader is None else reader.count("exports")):
            assert reader is not None
            name = reader.raw_name("export name")
            kind, index = reader.byte("kind of an export"), reader.u32("index")
            exported[f"{module.step.slot}:{name}"] = kind, module.maps[kind][index]
    merged.exports = [encode_name(name) + bytes((kind,)) + unsigned(index) for name, (kind, index) in exported.items()]
    return listed


def _types(module: _Module) -> list[bytes]:
    reader = module.reader(_TYPE)
    types = []
    for _ in range(0 if reader is None else reader.count("types")):
        assert reader is not None
        start = reader.position
        if reader.byte("type") != 0x60:
            raise _Unmergeable
        for _ in range(2):
            for _ in range(reader.count("value types")):
                if reader.byte("value type") not in _VALUE_TYPES:
                    raise _Unmergeable
        types.append(reader.data[start : reader.position])
    return types


def _add_definitions(module: _Module, merged: _Merged) -> None:
    reader = module.reader(_FUNCTION)
    if reader is not None:
        for _ in range(reader.count("functions")):
            merged.functions.append(unsigned(module.types + reader.u32("type index")))
    for identifier, entries in ((_TABLE, merged.tables), (_MEMORY, merged.memories)):
        reader = module.reader(identifier)
        for _ in range(0 if reader is None else reader.count("definitions")):
            assert reader is not None
            start = reader.position
            if identifier == _TABLE and reader.byte("reference type") not in _REFERENCE_TYPES:
                raise _Unmergeable
            skip_limits(reader)
            entries.append(reader.data[start : reader.position])
    reader = module.reader(_GLOBAL)
    if reader is not None:
        for _ in range(reader.count("globals")):
            start = reader.position
            if reader.byte("value type") not in _VALUE_TYPES:
                raise _Unmergeable
            constant = reader.byte("mutability") == 0
            type_ = reader.data[start : reader.position]
            expression = _constant(reader, module, merged)
            merged.values.append(expression if constant else None)
            merged.globals.append(type_ + expression + _END)


def _add_segments(module: _Module, merged: _Merged) -> None:
    module.elements, module.data = len(merged.elements), len(merged.data)
    reader = module.reader(_ELEMENT)
    if reader is not None:
        merged.elements += [_element_segment(reader, module, merged) for _ in range(reader.count("segments"))]
    reader = module.reader(_DATA)
    if reader is not None:
        for _ in range(reader.count("segments")):
            kind = reader.byte("kind of a segment")
            if kind == 2 and reader.u32("memory index") != 0:
                raise _Unmergeable
            place = b"\x01" if kind == 1 else b"\x00" + _constant(reader, module, merged) + _END
            size = reader.u32("size of a segment")
            start = reader.position
            reader.position += size
            merged.data.append(place + unsigned(size) + reader.data[start : reader.position])


def _element_segment(reader: Reader, module: _Module, merged: _Merged) -> bytes:
    kind = reader.byte("kind of a segment")
    if kind > 7:
        raise _Unmergeable
    as_expressions, explicit, inactive = kind & 4, kind & 2, kind & 1
    head = b""
    if not inactive:
        table = module.maps[_TAB][reader.u32("table index") if explicit else 0]
        head = unsigned(table) + _constant(reader, module, merged) + _END
    type_ = 0x70
    if explicit or inactive:
        given = reader.byte("type of a segment's elements")
        type_ = given if as_expressions else 0x70
        if type_ not in _REFERENCE_TYPES:
            raise _Unmergeable
    count = reader.count("elements")
    form = bytes((inactive if inactive and not explicit else 2 | inactive,))
    if not as_expressions:
        functions = [unsigned(module.maps[_FUNC][reader.u32("function index")]) for _ in range(count)]
    else:
        expressions = [_constant(reader, module, merged) for _ in range(count)]
        # wasmtime prepares tables only from segments that list functions.
        if type_ != 0x70 or not all(expression[0] == _REF_FUNC for expression in expressions):
            form = bytes((form[0] | 4,))
            return form + head + bytes((type_,)) + unsigned(count) + b"".join(e + _END for e in expressions)
        functions = [expression[1:] for expression in expressions]
    return form + head + b"\x00" + unsigned(count) + b"".join(functions)


def _add_code(module: _Module, merged: _Merged) -> None:
    content = module.content(_CODE)
    if content is None:
        return
    known = _Instructions(module, merged.referenced)
    count, at = _number(content, 0)
    for _ in range(count):
        size, at = _number(content, at)
        body = _body(content, at, at + size, known)
        merged.bodies.append(unsigned(len(body)) + body)
        at += size


def _subsections(module: _Module) -> list[tuple[int, memoryview]]:
    """Return the subsections of the name section, or none if it is malformed."""
    for identifier, content in module.parts:
        if identifier == _CUSTOM and bytes(content[:5]) == b"\x04name":
            try:
                return sections(content[5:])
            except MalformedComponent:
                return []
    return []


def _module_name(module: _Module) -> str:
    """Return the module's own name, or an empty string."""
    for identifier, content in _subsections(module):
        if identifier == 0:
            try:
                return Reader(bytes(content)).raw_name("module name")
            except MalformedComponent:
                return ""
    return ""


def _add_names(module: _Module, merged: _Merged) -> None:
    """Add the names of a module's functions. An unnamed function gets its module's name and its index there."""
    functions = module.maps[_FUNC]
    for index, name in _function_names(module):
        if index < len(functions):
            merged.names.setdefault(functions[index], encode_name(name))
    own = _module_name(module)[:_MAX_NAME]
    prefix = f"{own}!" if own != merged.module_name[:_MAX_NAME] else ""
    content = module.content(_FUNCTION)
    defined = 0 if content is None else _number(content, 0)[0]
    for index in range(len(functions) - defined, len(functions)):
        if functions[index] not in merged.names:
            merged.names[functions[index]] = encode_name(f"{prefix}<wasm function {index}>")


def _function_names(module: _Module) -> list[tuple[int, str]]:
    for identifier, content in _subsections(module):
        if identifier == _FUNCTION_NAMES:
            reader = Reader(bytes(content))
            try:
                return [(reader.u32("function index"), reader.raw_name("name")) for _ in range(reader.count("names"))]
            except MalformedComponent:
                return []  # wasmtime ignores malformed names, too
    return []
