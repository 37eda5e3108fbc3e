"""Writes types in the text format of components."""

from __future__ import annotations

from wasi_trio.component import _types as t


class TypeDefinitions:
    """Type definitions in the text format, each with one name."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.exports: list[str] = []

    def ref(self, type_: t.ValType) -> str:
        if isinstance(type_, t.Primitive):
            return type_.name
        text = self.define(type_)
        name = f"$t{len(self.lines)}"
        self.lines.append(f"(type {name}_ {text})")
        self.lines.append(f'(import "{name[1:]}" (type {name} (eq {name}_)))')
        return name

    def define(self, type_: t.ValType) -> str:
        match type_:
            case t.List(element):
                return f"(list {self.ref(element)})"
            case t.Tuple(ts):
                return f"(tuple {' '.join(map(self.ref, ts))})"
            case t.Record(fields):
                return f"(record {' '.join(f'(field {name!r} {self.ref(f)})' for name, f in fields)})".replace("'", '"')
            case t.Variant(cases):
                parts = [f"(case {name!r}{'' if c is None else ' ' + self.ref(c)})" for name, c in cases]
                return f"(variant {' '.join(parts)})".replace("'", '"')
            case t.Enum(names):
                return "(enum " + " ".join(f'"{name}"' for name in names) + ")"
            case t.Flags(names):
                return "(flags " + " ".join(f'"{name}"' for name in names) + ")"
            case t.Option(inner):
                return f"(option {self.ref(inner)})"
            case t.Map(key, value):
                return f"(map {self.ref(key)} {self.ref(value)})"
            case t.Result(ok, err):
                first = "" if ok is None else f" {self.ref(ok)}"
                return f"(result{first}{'' if err is None else f' (error {self.ref(err)})'})"
        raise AssertionError(type_)


def echo(type_: t.ValType, encoding: str = "utf8") -> str:
    """Return the text of a component whose function ``echo`` returns its argument, which must pass in memory."""
    definitions = TypeDefinitions()
    ref = definitions.ref(type_)
    return f"""(component
      {" ".join(definitions.lines)}
      (core module $M
        (memory (export "memory") 64)
        (global $next (mut i32) (i32.const 16))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
          (local $at i32)
          (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
          (global.set $next (i32.add (local.get $at) (local.get 3)))
          (local.get $at))
        (func (export "echo") (param i32) (result i32) (local.get 0)))
      (core instance $m (instantiate $M))
      (func (export "echo") (param "value" {ref}) (result {ref})
        (canon lift (core func $m "echo") string-encoding={encoding}
          (memory (core memory $m "memory")) (realloc (core func $m "realloc")))))"""


def is_gated(type_: t.ValType) -> bool:
    """Return whether a type contains a type that wasmtime's default features exclude."""
    return t.contains(type_, t.Map) or any(
        isinstance(inner, t.List) and inner.length is not None for inner in _walk(type_)
    )


def _walk(type_: t.ValType) -> list[t.ValType]:
    return [type_, *(inner for child in t.children(type_) for inner in _walk(child))]
