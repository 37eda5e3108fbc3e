#!/usr/bin/env bash
# With wasmtime 50.0.1 for Python, a host function of type result<option<u32>, string> cannot return an error.
#
# The bindings represent a result by its bare payload if the Python types of its two payloads are disjoint, and by
# Variant("ok", ...) or Variant("err", ...) otherwise. Here the payloads are None or int, and str.
#
# Expected: a host function returns 5, None or "bad", or else it may return Variant("err", "bad").
# Actual: both forms of the error raise ValueError, and the guest's call traps. The bindings test the ok case first, and
# isinstance(value, object) stands for the none of the option, so that each value belongs to the ok case. A result<string,
# option<u32>> works, because its ok case is narrow. In a result<u32, bool>, the error True arrives as ok(1) without any
# exception, because a bool is an int for isinstance.
#
# The type of wasi:keyvalue's get, result<option<list<u8>>, error>, is among these types: a store on these bindings can
# only trap its guest. A host must convert such values on its own.
#
# Requires python3 and PyPI. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check wasmtime==50.0.1 >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
"$folder/venv/bin/python" - <<'PYTHON'
from wasmtime import Engine, Store, wat2wasm
from wasmtime.component import Component, Linker, Variant

#: a guest that calls the host function "of", and returns its result
GUEST = """
(component
  %s
  (import "of" (func $of (result $t)))
  (core module $library
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $library (instantiate $library))
  (alias core export $library "memory" (core memory $memory))
  (alias core export $library "realloc" (core func $realloc))
  (core func $lowered (canon lower (func $of) (memory $memory) (realloc $realloc)))
  (core module $program
    (import "" "of" (func $of (param i32)))
    (func (export "run") (result i32) (call $of (i32.const 64)) (i32.const 64)))
  (core instance $program (instantiate $program (with "" (instance (export "of" (func $lowered))))))
  (func (export "run") (result $t) (canon lift (core func $program "run") (memory $memory))))
"""
engine = Engine()


def through_guest(type, value):
    store, linker = Store(engine), Linker(engine)
    with linker.root() as root:
        root.add_func("of", lambda store: value)
    run = linker.instantiate(store, Component(engine, wat2wasm(GUEST % type))).get_func(store, "run")
    try:
        returned = run(store)
    except ValueError as error:
        returned = error
    print(f"{type.split('$t ')[1][:-1]}: the host function returns {value!r}, the guest gets {returned!r}")
    return returned


def fails(type, value):
    return isinstance(through_guest(type, value), ValueError)


OPTION_FIRST = "(type $t (result (option u32) (error string)))"
OPTION_LAST = "(type $t (result string (error (option u32))))"
BOOL_LAST = "(type $t (result u32 (error bool)))"
#: the type of get in wasi:keyvalue
KEYVALUE = """
  (type $cases (variant (case "no-such-store") (case "access-denied") (case "other" string)))
  (import "error" (type $error (eq $cases)))
  (type $t (result (option (list u8)) (error $error)))"""
assert through_guest(OPTION_FIRST, 5) == 5
assert through_guest(OPTION_FIRST, None) is None
assert fails(OPTION_FIRST, "bad")
assert fails(OPTION_FIRST, Variant("err", "bad"))
assert through_guest(KEYVALUE, b"value") == b"value"
assert fails(KEYVALUE, Variant("access-denied"))
assert through_guest(OPTION_LAST, "good") == "good"
assert through_guest(OPTION_LAST, 5) == 5
true = through_guest(BOOL_LAST, True)
assert type(true) is int and true == 1  # ok(1): an error would be True
PYTHON
