"""Guests that forward calls: they export each function that they import, and call the import with their arguments.

So a test calls a host function as a guest does, through the Canonical ABI and wasm, and sees the values in Python.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence

import wasmtime

from wasi_trio.component import _types as t
from wasi_trio.component.abi import core_signature, flatten
from wasi_trio.component.wit import Interface

_NAMED = (t.Record, t.Variant, t.Enum, t.Flags)


def export_name(interface: str, function: str) -> str:
    """Return the name of a forwarded function: ``tcp-tcp-socket-bind`` for ``[method]tcp-socket.bind``."""
    plain = re.sub(r"\[[a-z]+\]", "", function).replace(".", "-")
    return f"{interface.rpartition('/')[2]}-{plain}"


def passing(interfaces: Sequence[tuple[Interface, Iterable[str]]]) -> bytes:
    """Return a component that forwards these functions. An interface must follow those whose types it uses."""
    return bytes(wasmtime.wat2wasm(_Text(interfaces).text()))


class _Text:
    def __init__(self, interfaces: Sequence[tuple[Interface, Iterable[str]]]) -> None:
        self.lines: list[str] = []
        #: The component's own names of types.
        self.outer: dict[t.ResourceType | t.ValType, str] = {}
        self.funcs: list[tuple[str, str, t.FuncType]] = []
        for interface, functions in interfaces:
            self.imported(interface, [*functions])

    # ---- imports -----------------------------------------------------------------------------------------

    def imported(self, interface: Interface, functions: list[str]) -> None:
        label = "$" + interface.name.replace("wasi:", "").replace("/", ".")
        inner: dict[t.ResourceType | t.ValType, str] = {}
        self.lines.append(f'(import "{interface.name}@{interface.version}" (instance {label}')
        aliases = []
        for name, type_ in interface.types.items():
            if not isinstance(type_, (t.ResourceType, *_NAMED)):
                continue
            if type_ in self.outer:
                self.lines.append(f"  (alias outer 1 {self.outer[type_]} (type ${name}'))")
            elif not isinstance(type_, t.ResourceType):
                self.lines.append(f"  (type ${name}' {self.value(type_, inner, itself=True)})")
            if isinstance(type_, t.ResourceType) and type_ not in self.outer:
                self.lines.append(f'  (export "{name}" (type ${name} (sub resource)))')
            else:
                self.lines.append(f'  (export "{name}" (type ${name} (eq ${name}\')))')
            if type_ not in self.outer:
                self.outer[type_] = f"{label}.{name}"
                aliases.append(name)
            inner[type_] = f"${name}"
        for function in functions:
            type_ = interface.functions[function]
            self.lines += self.streams(type_, inner)
            self.lines.append(f'  (export "{function}" (func {self.function(type_, inner)}))')
            self.funcs.append((label, function, type_))
        self.lines.append("))")
        self.lines += [f'(alias export {label} "{name}" (type {label}.{name}))' for name in aliases]

    def streams(self, type_: t.FuncType, names: dict[t.ResourceType | t.ValType, str]) -> list[str]:
        """Return definitions of stream types, which the text format does not allow inside a result."""
        match type_.result:
            case t.Result(t.Stream() as stream, _) if stream not in names:
                line = f"(type $stream{len(names)} {self.value(stream, names)})"
                names[stream] = f"$stream{len(names)}"
                return [line]
        return []

    def function(self, type_: t.FuncType, names: dict[t.ResourceType | t.ValType, str]) -> str:
        params = "".join(f' (param "{name}" {self.value(param, names)})' for name, param in type_.params)
        result = "" if type_.result is None else f" (result {self.value(type_.result, names)})"
        return ("async" if type_.is_async else "") + params + result

    def value(self, type_: t.ValType, names: dict[t.ResourceType | t.ValType, str], *, itself: bool = False) -> str:
        value = functools.partial(self.value, names=names)
        if not itself and type_ in names:
            return names[type_]
        match type_:
            case t.Primitive(name):
                return name
            case t.List(element):
                return f"(list {value(element)})"
            case t.Option(of):
                return f"(option {value(of)})"
            case t.Tuple(types):
                return f"(tuple {' '.join(map(value, types))})"
            case t.Result(ok, err):
                parts = ("" if ok is None else " " + value(ok)) + ("" if err is None else f" (error {value(err)})")
                return f"(result{parts})"
            case t.Own(resource) | t.Borrow(resource):
                return f"({type(type_).__name__.lower()} {names[resource]})"
            case t.Stream(maybe) | t.Future(maybe):
                return f"({type(type_).__name__.lower()}{'' if maybe is None else ' ' + value(maybe)})"
            case t.Record(fields):
                return "(record" + "".join(f' (field "{name}" {value(field)})' for name, field in fields) + ")"
            case t.Variant(cases):
                of = (f' (case "{name}"{"" if case is None else " " + value(case)})' for name, case in cases)
                return f"(variant{''.join(of)})"
            case t.Enum(labels):
                return "(enum" + "".join(f' "{label}"' for label in labels) + ")"
            case _:
                raise NotImplementedError(type_)

    # ---- passing on --------------------------------------------------------------------------------------

    def text(self) -> str:
        resources = [name for type_, name in self.outer.items() if isinstance(type_, t.ResourceType)]
        before, core, given, after = [], [], [], []
        for name in resources:
            before.append(f"(core func {name}.drop (canon resource.drop {name}))")
            core.append(f'(import "drop" "{name}" (func {name}.drop (param i32)))')
            given.append(f'(export "{name}" (func {name}.drop))')
        calls, functions = [], []
        for label, function, type_ in self.funcs:
            name = export_name(label.replace(".", "/"), function)
            before.append(
                f'(core func ${name}.lowered (canon lower (func {label} "{function}")'
                " (memory $memory) (realloc $realloc)))"
            )
            calls.append(f'(export "{name}" (func ${name}.lowered))')
            core.append(self.core_import(name, type_))
            after += [
                *self.streams(type_, self.outer),
                f"(func ${name} {self.function(type_, self.outer)}",
                f'  (canon lift (core func $main "{name}") (memory $memory) (realloc $realloc)))',
                f'(export "{name}" (func ${name}))',
            ]
        core += [
            self.core_function(export_name(label.replace(".", "/"), name), type_) for label, name, type_ in self.funcs
        ]
        return "\n".join(
            [
                "(component",
                _MEMORY,
                *self.lines,
                *before,
                '(core module $Main (import "memory" "memory" (memory 1))',
                *core,
                *functions,
                ")",
                '(core instance $main (instantiate $Main (with "memory" (instance $mem))',
                f'(with "drop" (instance {" ".join(given)}))',
                f'(with "call" (instance {" ".join(calls)}))))',
                *after,
                ")",
            ]
        )

    def core_import(self, name: str, type_: t.FuncType) -> str:
        params, results = core_signature(type_, "lower")
        return f'(import "call" "{name}" (func ${name}.call {_core("param", params)} {_core("result", results)}))'

    def core_function(self, name: str, type_: t.FuncType) -> str:
        """Return a function that calls the import with its parameters, drops borrows and returns the result."""
        params, results = core_signature(type_, "lift")
        lowered, _ = core_signature(type_, "lower")
        arguments = " ".join(f"(local.get {index})" for index in range(len(params)))
        through_memory = len(lowered) > len(params)
        call = f"(call ${name}.call {arguments}{' (i32.const 64)' if through_memory else ''})"
        drops, position = [], 0
        for _, param in type_.params:
            if isinstance(param, t.Borrow):
                drops.append(f"(call {self.outer[param.resource]}.drop (local.get {position}))")
            position += len(flatten(param))
        result = " (i32.const 64)" if through_memory else ""
        return (
            f'(func (export "{name}") {_core("param", params)} {_core("result", results)}'
            f" {call} {' '.join(drops)}{result})"
        )


def _core(what: str, types: Iterable[str]) -> str:
    joined = " ".join(types)
    return f"({what} {joined})" if joined else ""


#: Results are at 64. Memory for values is never freed, because these guests are short-lived.
_MEMORY = """
  (core module $Memory
    (memory (export "memory") 32)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (block $there
        (br_if $there (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
        (drop (memory.grow (i32.add (i32.shr_u (local.get 3) (i32.const 16)) (i32.const 1)))))
      (local.get $at)))
  (core instance $mem (instantiate $Memory))
  (alias core export $mem "memory" (core memory $memory))
  (alias core export $mem "realloc" (core func $realloc))
"""
