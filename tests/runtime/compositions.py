"""Common text for compositions: components that contain others and connect them."""

from __future__ import annotations

#: A core module with a memory and an allocator that never frees, instantiated as $memory.
MEMORY = """
  (core module $Memory
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and
        (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get 2))))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
"""


def relay(name: str, type_: str, flat: int, encoding: str, definitions: str = "") -> str:
    """Return a component that passes the argument of its ``f`` to the ``f`` that it imports, and returns the result.

    ``type_`` is the parameter and the result. ``flat`` is the number of its core values, all of them i32.
    """
    options = f"(memory $mem) (realloc $realloc) string-encoding={encoding}"
    params = " ".join(["i32"] * flat)
    gets = " ".join(f"(local.get {i})" for i in range(flat))
    return f"""
  (component ${name}
    {definitions}
    (import "f" (func $f (param "x" {type_}) (result {type_})))
    {MEMORY}
    (core func $lowered (canon lower (func $f) {options}))
    (core module $Main
      (import "" "f" (func $f (param {params} i32)))
      (func (export "f") (param {params}) (result i32)
        (call $f {gets} (i32.const 1024))
        (i32.const 1024)))
    (core instance $main (instantiate $Main (with "" (instance (export "f" (func $lowered))))))
    (func (export "f") (param "x" {type_}) (result {type_}) (canon lift (core func $main "f") {options})))
"""


def chain(type_: str, flat: int, encodings: list[str], definitions: str = "") -> str:
    """Return a component whose ``f`` passes through one relay for each encoding to the host's ``f``."""
    relays = "".join(relay(f"C{i}", type_, flat, encoding, definitions) for i, encoding in enumerate(encodings))
    instances = '(instance $i0 (instantiate $C0 (with "f" (func $host "f"))))'
    for i in range(1, len(encodings)):
        instances += f'\n  (instance $i{i} (instantiate $C{i} (with "f" (func $i{i - 1} "f"))))'
    return f"""(component
  {definitions}
  (import "test:host/end" (instance $host (export "f" (func (param "x" {type_}) (result {type_})))))
  {relays}
  {instances}
  (export "f" (func $i{len(encodings) - 1} "f")))
"""


def counters(run: str, *, dtor: str = "", provider: str = "", host: str = "") -> str:
    """Return a composition of a provider of the resource ``counter`` and a consumer whose ``run`` is the given text.

    A counter's rep is ten times the number with which it was created. The consumer can call ``$make``, ``$get`` (takes
    a borrow), ``$twice`` (two borrows), ``$spend`` (takes ownership), ``$drop``, and ``$dropped`` (returns the sum of
    the destroyed reps). ``dtor`` is inserted before the end of the destructor. ``provider`` is inserted in the
    provider's ``get``, where ``$tick`` is the host's ``tick``.
    """
    return f"""(component
  (import "test:host/clock" (instance $clock (export "tick" (func (param "n" u32)))))
  (component $Provider
    (import "tick" (func $tick (param "n" u32)))
    (core func $tick (canon lower (func $tick)))
    (core module $State
      (import "" "tick" (func $tick (param i32)))
      (global $dropped (mut i32) (i32.const 0))
      (func (export "dtor") (param $rep i32)
        (global.set $dropped (i32.add (global.get $dropped) (local.get $rep)))
        {dtor})
      (func (export "dropped") (result i32) (global.get $dropped)))
    (core instance $state (instantiate $State (with "" (instance (export "tick" (func $tick))))))
    (type $counter' (resource (rep i32) (dtor (core func $state "dtor"))))
    (core func $new (canon resource.new $counter'))
    (core func $rep (canon resource.rep $counter'))
    (core func $drop (canon resource.drop $counter'))
    (core module $Main
      (import "" "new" (func $new (param i32) (result i32)))
      (import "" "rep" (func $rep (param i32) (result i32)))
      (import "" "drop" (func $drop (param i32)))
      (import "" "tick" (func $tick (param i32)))
      (func (export "make") (param $n i32) (result i32)
        (call $new (i32.mul (local.get $n) (i32.const 10))))
      ;; what implements a resource gets a borrow as the rep itself
      (func (export "get") (param $rep i32) (result i32) {provider} (local.get $rep))
      (func (export "twice") (param $a i32) (param $b i32) (result i32) (i32.add (local.get $a) (local.get $b)))
      (func (export "spend") (param $handle i32) (result i32)
        (local $rep i32)
        (local.set $rep (call $rep (local.get $handle)))
        (call $drop (local.get $handle))
        (i32.add (local.get $rep) (i32.const 1))))
    (core instance $main (instantiate $Main (with "" (instance
      (export "new" (func $new)) (export "rep" (func $rep)) (export "drop" (func $drop))
      (export "tick" (func $tick))))))
    (export $counter "counter" (type $counter'))
    (func (export "make") (param "n" u32) (result (own $counter)) (canon lift (core func $main "make")))
    (func (export "get") (param "c" (borrow $counter)) (result u32) (canon lift (core func $main "get")))
    (func (export "twice") (param "a" (borrow $counter)) (param "b" (borrow $counter)) (result u32)
      (canon lift (core func $main "twice")))
    (func (export "spend") (param "c" (own $counter)) (result u32) (canon lift (core func $main "spend")))
    (func (export "dropped") (result u32) (canon lift (core func $state "dropped"))))
  (component $Consumer
    (import "p" (instance $p
      (export "counter" (type $counter (sub resource)))
      (export "make" (func (param "n" u32) (result (own $counter))))
      (export "get" (func (param "c" (borrow $counter)) (result u32)))
      (export "twice" (func (param "a" (borrow $counter)) (param "b" (borrow $counter)) (result u32)))
      (export "spend" (func (param "c" (own $counter)) (result u32)))
      (export "dropped" (func (result u32)))))
    (alias export $p "counter" (type $counter))
    (core func $make (canon lower (func $p "make")))
    (core func $get (canon lower (func $p "get")))
    (core func $twice (canon lower (func $p "twice")))
    (core func $spend (canon lower (func $p "spend")))
    (core func $dropped (canon lower (func $p "dropped")))
    (core func $drop (canon resource.drop $counter))
    (core module $Main
      (import "" "make" (func $make (param i32) (result i32)))
      (import "" "get" (func $get (param i32) (result i32)))
      (import "" "twice" (func $twice (param i32 i32) (result i32)))
      (import "" "spend" (func $spend (param i32) (result i32)))
      (import "" "dropped" (func $dropped (result i32)))
      (import "" "drop" (func $drop (param i32)))
      (func (export "run") (param $n i32) (result i32) (local $a i32) (local $b i32)
        {run}))
    (core instance $main (instantiate $Main (with "" (instance
      (export "make" (func $make)) (export "get" (func $get)) (export "twice" (func $twice))
      (export "spend" (func $spend)) (export "dropped" (func $dropped)) (export "drop" (func $drop))))))
    (func (export "run") (param "n" u32) (result u32) (canon lift (core func $main "run"))))
  (instance $provider (instantiate $Provider (with "tick" (func $clock "tick"))))
  (instance $consumer (instantiate $Consumer (with "p" (instance $provider))))
  (export "provider" (instance $provider))
  (export "run" (func $consumer "run")))
"""
