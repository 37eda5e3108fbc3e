"""Guests that only forward calls: a test's call of an export becomes a call of an import, through the guest's memory.

``forwarder(version, interfaces)`` exports a function for each function of these interfaces of WASI. Handles of
resources, streams and futures stay in the guest and are numbers in the test. All other values have their WIT types. So
a test has the view of a guest, including the Canonical ABI, and controls the guest from Python.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from importlib import resources

import wasmtime

from wasi_trio.component import _types as t
from wasi_trio.component import abi, wit
from wasi_trio.component._names import FunctionKind, parse_function_name

_ROOT = resources.files("wasi_trio.wasi") / "wit"
_NAMED = (t.Record, t.Variant, t.Enum, t.Flags)
#: The addresses for results in memory and for data read from streams, and the size of the latter.
_RESULT, _BUFFER, _BUFFER_SIZE = 1024, 1 << 20, 1 << 20


@functools.cache
def described(version: str) -> wit.Wit:
    """Return the WIT of WASI ``p2`` or ``p3``, or of ``proposals``."""
    return wit.load([_ROOT / version], ("cli-exit-with-code", "network-error-code"))


def export_name(function: str) -> str:
    """Return the exported name: ``descriptor-read-via-stream`` for ``[method]descriptor.read-via-stream``."""
    name = parse_function_name(function)
    if name.kind is FunctionKind.CONSTRUCTOR:
        return f"new-{name.resource}"
    return name.name if name.resource is None else f"{name.resource}-{name.name}"


class Declarations:
    """A growing text with the imports of a component, and the names of their types in it."""

    def __init__(self, version: str, release: str | None = None) -> None:
        self.wit = described(version)
        self.version = {"p2": "0.2.12", "p3": "0.3.0"}.get(version, release)
        #: The release of WASI that the component declares.
        self.release = release or self.version
        self.lines: list[str] = []
        #: The names of imported types and resources in the component.
        self.names: dict[t.ValType | t.ResourceType, str] = {}
        self.imported: set[str] = set()

    # ---- imports ----------------------------------------------------------------------------------------------

    def interface(self, name: str, functions: Sequence[str]) -> None:
        """Import an interface, after the interfaces whose types it uses."""
        if name in self.imported:
            return
        self.imported.add(name)
        interface = self.wit.interface(f"{name}@{self.version}")
        inner: list[str] = []
        known: dict[t.ValType | t.ResourceType, str] = {}
        aliases: list[tuple[str, t.ValType | t.ResourceType]] = []
        own = {type_: type_name for type_name, type_ in interface.types.items()}

        def need(type_: t.ValType | t.ResourceType) -> None:
            """Ensure that a named type has a name inside the instance type."""
            if type_ in known:
                return
            if isinstance(type_, t.ResourceType):
                origin, resource = self.wit.origin(type_)
                known[type_] = f"${resource}"
                if origin == name:
                    inner.append(f'(export "{resource}" (type ${resource} (sub resource)))')
                    aliases.append((resource, type_))
                else:
                    self.interface(origin, ())
                    inner.append(f"(alias outer 1 {self.names[type_]} (type ${resource}'))")
                    inner.append(f'(export "{resource}" (type ${resource} (eq ${resource}\')))')
                return
            for child in _children(type_):
                need(child)
            if isinstance(type_, _NAMED):
                type_name = own.get(type_) or self.foreign(type_)
                known[type_] = f"${type_name}"
                if type_ in self.names:
                    inner.append(f"(alias outer 1 {self.names[type_]} (type ${type_name}'))")
                else:
                    inner.append(f"(type ${type_name}' {self.body(type_, known)})")
                    aliases.append((type_name, type_))
                inner.append(f'(export "{type_name}" (type ${type_name} (eq ${type_name}\')))')

        for type_ in interface.types.values():
            if isinstance(type_, (t.ResourceType, *_NAMED)):
                need(type_)
        for function in functions:
            type_ = interface.functions[function]
            for of in (*(param for _, param in type_.params), type_.result):
                if of is not None:
                    need(of)
            inner.append(f'(export "{function}" {self.function(type_, known)})')
        label = self.label(name)
        self.lines.append(f'(import "{name}@{self.release}" (instance {label}\n  ' + "\n  ".join(inner) + "))")
        for type_name, type_ in aliases:
            self.names[type_] = f"{label}.{type_name}"
            self.lines.append(f'(alias export {label} "{type_name}" (type {label}.{type_name}))')

    @staticmethod
    def label(interface: str) -> str:
        """Return an interface's label: ``$filesystem.types`` for ``wasi:filesystem/types``."""
        return "$" + interface.partition(":")[2].replace("/", ".")

    def foreign(self, type_: t.ValType) -> str:
        """Return the name of a type that another interface defines."""
        for package in self.wit.packages.values():
            for interface in package.interfaces.values():
                for name, of in interface.types.items():
                    if of == type_:
                        return name
        raise LookupError(f"{type_} has no name")

    def function(self, type_: t.FuncType, names: dict[t.ValType | t.ResourceType, str]) -> str:
        params = "".join(f' (param "{name}" {self.ref(of, names)})' for name, of in type_.params)
        result = "" if type_.result is None else f" (result {self.ref(type_.result, names)})"
        return f"(func{' async' if type_.is_async else ''}{params}{result})"

    def ref(self, type_: t.ValType, names: dict[t.ValType | t.ResourceType, str]) -> str:
        """Return a reference to a type."""
        if isinstance(type_, _NAMED):
            return names[type_]
        return self.body(type_, names)

    def body(self, type_: t.ValType, names: dict[t.ValType | t.ResourceType, str]) -> str:
        ref = functools.partial(self.ref, names=names)
        match type_:
            case t.Primitive(name=name):
                return name
            case t.List(element=element):
                return f"(list {ref(element)})"
            case t.Tuple(types=types):
                return f"(tuple {' '.join(map(ref, types))})"
            case t.Option(type=inner):
                return f"(option {ref(inner)})"
            case t.Result(ok=ok, err=err):
                parts = ["" if ok is None else f" {ref(ok)}", "" if err is None else f" (error {ref(err)})"]
                return f"(result{''.join(parts)})"
            case t.Record(fields=fields):
                return "(record " + " ".join(f'(field "{name}" {ref(of)})' for name, of in fields) + ")"
            case t.Variant(cases=cases):
                return (
                    "(variant "
                    + " ".join(f'(case "{name}"{"" if of is None else " " + ref(of)})' for name, of in cases)
                    + ")"
                )
            case t.Enum(names=labels):
                return "(enum " + " ".join(f'"{label}"' for label in labels) + ")"
            case t.Flags(names=labels):
                return "(flags " + " ".join(f'"{label}"' for label in labels) + ")"
            case t.Own(resource=resource):
                return f"(own {names[resource]})"
            case t.Borrow(resource=resource):
                return f"(borrow {names[resource]})"
            case t.Stream(element=element):
                return "(stream)" if element is None else f"(stream {ref(element)})"
            case t.Future(element=inner):
                return "(future)" if inner is None else f"(future {ref(inner)})"
        raise TypeError(type_)


def _children(type_: t.ValType) -> Iterable[t.ValType | t.ResourceType]:
    if isinstance(type_, (t.Own, t.Borrow)):
        yield type_.resource
    yield from t.children(type_)


def _plain(type_: t.ValType) -> t.ValType:
    """Return the type with each handle replaced by a number, which has the same layout in memory."""
    match type_:
        case t.Own() | t.Borrow() | t.Stream() | t.Future():
            return t.U32
        case t.List(element=element):
            return t.List(_plain(element))
        case t.Tuple(types=types):
            return t.Tuple(tuple(map(_plain, types)))
        case t.Option(type=inner):
            return t.Option(_plain(inner))
        case t.Result(ok=ok, err=err):
            return t.Result(None if ok is None else _plain(ok), None if err is None else _plain(err))
        case t.Variant(cases=cases):
            return t.Variant(tuple((name, None if of is None else _plain(of)) for name, of in cases))
    return type_


_MEMORY = """
(core module $Memory
  (memory (export "memory") 128)
  (global $heap (mut i32) (i32.const 0x200000))
  (func (export "realloc") (param i32 i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    ;; what a call leaves is of no use to the next: there is room for a call of 2 MiB wherever this begins anew
    (if (i32.gt_u (global.get $heap) (i32.const 0x500000)) (then (global.set $heap (i32.const 0x200000))))
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
                            (i32.sub (i32.const 0) (local.get $align))))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (local.get $at)))
(core instance $memory (instantiate $Memory))
(alias core export $memory "memory" (core memory $mem))
(alias core export $memory "realloc" (core func $realloc))"""


def _core(params: Sequence[str], results: Sequence[str]) -> str:
    return "".join(f" (param {kind})" for kind in params) + "".join(f" (result {kind})" for kind in results)


@functools.cache
def forwarder(
    version: str,
    interfaces: tuple[str, ...],
    stream_elements: tuple[tuple[str, str], ...] = (),
    release: str | None = None,
) -> bytes:
    """Return a component that forwards calls of all functions of these interfaces, made for ``release`` of WASI.

    ``drop-RESOURCE(handle)`` drops a resource. In 0.3 the component also reads and writes streams and futures:
    ``stream-new() -> (readable, writable)``, ``stream-write(writable, bytes) -> code``, ``stream-read(readable, size)
    -> (code, bytes)``, ``stream-drop(readable)``, ``stream-end(writable)``. For each pair of an interface and a type in
    ``stream_elements`` it exports ``TYPE-read`` and ``TYPE-drop``. ``outcome-read(future)`` reads a ``result<_,
    error-code>`` of the first interface. Codes are those of the built-ins.
    """
    text = Declarations(version, release)
    functions: list[tuple[str, str, t.FuncType]] = []
    for name in interfaces:
        found = text.wit.interface(f"{name}@{text.version}").functions
        text.interface(name, list(found))
        functions += [(name, function, type_) for function, type_ in found.items()]
    text.lines.append(_MEMORY)
    core_imports: list[str] = []
    core_functions: list[str] = []
    lifted: list[str] = []
    given: list[str] = []

    def lowered(label: str, definition: str, params: Sequence[str], results: Sequence[str]) -> None:
        text.lines.append(f"(core func ${label} {definition})")
        core_imports.append(f'(import "host" "{label}" (func ${label}{_core(params, results)}))')
        given.append(f'(export "{label}" (func ${label}))')

    def exported(name: str, type_: t.FuncType) -> None:
        lifted.append(
            f'(func $e.{name} {text.function(type_, text.names)[5:-1]} (canon lift (core func $main "{name}")'
            " (memory $mem) (realloc $realloc)))"
        )

    def call(interface: str, function: str, type_: t.FuncType) -> None:
        label = f"{interface.partition('/')[2]}.{export_name(function)}"
        name = export_name(function)
        params, results = abi.core_signature(type_, "lower")
        lowered(
            label,
            f'(canon lower (func {text.label(interface)} "{function}") (memory $mem) (realloc $realloc))',
            params,
            results,
        )
        spilled = type_.result is not None and not results
        own = params[:-1] if spilled else params
        arguments = " ".join(f"(local.get {index})" for index in range(len(own)))
        call = (
            f"(call ${label} {arguments} (i32.const {_RESULT})) (i32.const {_RESULT})"
            if spilled
            else (f"(call ${label} {arguments})")
        )
        core_functions.append(f'(func (export "{name}"){_core(own, ("i32",) if spilled else results)} {call})')
        plain = t.FuncType(
            tuple((param, _plain(of)) for param, of in type_.params),
            None if type_.result is None else _plain(type_.result),
            version == "p3",
        )
        exported(name, plain)

    for type_, name in list(text.names.items()):
        if isinstance(type_, t.Variant) and _plain(type_) != type_:
            plain_name = f"plain-{name.rpartition('.')[2]}"
            text.lines.append(f"(type ${plain_name}' {text.body(_plain(type_), text.names)})")
            text.lines.append(f'(export ${plain_name} "{plain_name}" (type ${plain_name}\'))')
            text.names[_plain(type_)] = f"${plain_name}"
    for interface, function, type_ in functions:
        call(interface, function, type_)
    for type_, name in list(text.names.items()):
        if isinstance(type_, t.ResourceType):
            label = f"drop-{name.rpartition('.')[2]}"
            lowered(label, f"(canon resource.drop {name})", ("i32",), ())
            core_functions.append(f'(func (export "{label}") (param i32) (call ${label} (local.get 0)))')
            exported(label, t.FuncType((("handle", t.U32),), None, version == "p3"))
    if version == "p3":
        _add_streams(text, interfaces[0], stream_elements, lowered, core_functions, exported)
    main = "\n  ".join(['(import "memory" "memory" (memory 1))', *core_imports, *core_functions])
    body = [
        *text.lines,
        f"(core module $Main\n  {main})",
        '(core instance $main (instantiate $Main (with "memory" (instance $memory))',
        f'  (with "host" (instance {" ".join(given)}))))',
        *lifted,
        *(f'(export "{line.split()[1][3:]}" (func {line.split()[1]}))' for line in lifted),
    ]
    return bytes(wasmtime.wat2wasm("(component\n" + "\n".join(body) + "\n)"))


#: Waits for an operation of a stream or future and returns its code.
_SETTLED = """(func $settled (param $end i32) (param $code i32) (result i32) (local $set i32)
    (if (i32.ne (local.get $code) (i32.const -1)) (then (return (local.get $code))))
    (local.set $set (call $set.new))
    (call $join (local.get $end) (local.get $set))
    (drop (call $set.wait (local.get $set) (i32.const 512)))
    (call $join (local.get $end) (i32.const 0))
    (call $set.drop (local.get $set))
    (i32.load (i32.const 516)))"""


def _add_streams(text, main, elements, lowered, core_functions, exported) -> None:  # type: ignore[no-untyped-def]
    error = text.wit.interface(f"{main}@{text.version}").types["error-code"]
    outcome = t.Result(None, error)
    text.lines.append("(type $bytes (stream u8))")
    text.lines.append(f"(type $outcome (future {text.ref(outcome, text.names)}))")
    for label, builtin, params, results in (
        ("set.new", "waitable-set.new", (), ("i32",)),
        ("set.wait", "waitable-set.wait (memory $mem)", ("i32", "i32"), ("i32",)),
        ("set.drop", "waitable-set.drop", ("i32",), ()),
        ("join", "waitable.join", ("i32", "i32"), ()),
    ):
        lowered(label, f"(canon {builtin})", params, results)
    core_functions.append(_SETTLED)
    lowered("stream.new", "(canon stream.new $bytes)", (), ("i64",))
    core_functions.append(
        f'(func (export "stream-new") (result i32) (i64.store (i32.const {_RESULT}) (call $stream.new))'
        f" (i32.const {_RESULT}))"
    )
    exported("stream-new", t.FuncType((), t.Tuple((t.U32, t.U32)), True))
    lowered("stream.write", "(canon stream.write $bytes async (memory $mem))", ("i32", "i32", "i32"), ("i32",))
    core_functions.append(
        '(func (export "stream-write") (param i32 i32 i32) (result i32)'
        " (call $settled (local.get 0) (call $stream.write (local.get 0) (local.get 1) (local.get 2))))"
    )
    exported("stream-write", t.FuncType((("end", t.U32), ("data", t.List(t.U8))), t.U32, True))
    for label, builtin in (("stream-drop", "stream.drop-readable"), ("stream-end", "stream.drop-writable")):
        lowered(label, f"(canon {builtin} $bytes)", ("i32",), ())
        core_functions.append(f'(func (export "{label}") (param i32) (call ${label} (local.get 0)))')
        exported(label, t.FuncType((("end", t.U32),), None, True))
    readable: list[tuple[str, str, t.ValType, str]] = [("stream", "$bytes", t.U8, "")]
    for interface, name in elements:
        type_ = text.wit.interface(f"{interface}@{text.version}").types[name]
        text.lines.append(f"(type ${name}s (stream {text.names[type_]}))")
        readable.append((name, f"${name}s", type_, " (realloc $realloc)"))
        lowered(f"{name}-drop", f"(canon stream.drop-readable ${name}s)", ("i32",), ())
        core_functions.append(f'(func (export "{name}-drop") (param i32) (call ${name}-drop (local.get 0)))')
        exported(f"{name}-drop", t.FuncType((("end", t.U32),), None, True))
    for name, of, type_, options in readable:
        lowered(
            f"{name}.read", f"(canon stream.read {of} async (memory $mem){options})", ("i32", "i32", "i32"), ("i32",)
        )
        core_functions.append(
            f'(func (export "{name}-read") (param i32 i32) (result i32) (local $code i32)'
            f" (local.set $code (call $settled (local.get 0)"
            f" (call ${name}.read (local.get 0) (i32.const {_BUFFER}) (local.get 1))))"
            f" (i32.store (i32.const {_RESULT}) (local.get $code))"
            f" (i32.store offset=4 (i32.const {_RESULT}) (i32.const {_BUFFER}))"
            f" (i32.store offset=8 (i32.const {_RESULT}) (i32.shr_u (local.get $code) (i32.const 4)))"
            f" (i32.const {_RESULT}))"
        )
        exported(
            f"{name}-read",
            t.FuncType((("end", t.U32), ("size", t.U32)), t.Tuple((t.U32, t.List(type_))), True),
        )
    lowered(
        "outcome.read", "(canon future.read $outcome async (memory $mem) (realloc $realloc))", ("i32", "i32"), ("i32",)
    )
    lowered("outcome.drop", "(canon future.drop-readable $outcome)", ("i32",), ())
    core_functions.append(
        '(func (export "outcome-read") (param i32) (result i32)'
        f" (drop (call $settled (local.get 0) (call $outcome.read (local.get 0) (i32.const {_RESULT}))))"
        f" (call $outcome.drop (local.get 0)) (i32.const {_RESULT}))"
    )
    exported("outcome-read", t.FuncType((("future", t.U32),), outcome, True))
