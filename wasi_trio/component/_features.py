"""The features of WebAssembly and the component model that are off unless they are enabled.

Guests of the common toolchains (Rust, C, Go, TinyGo, componentize-py, jco) use none of them in their core modules. Each
feature exposes more code of the compiler and the runtime to hostile guests. So each must be enabled explicitly.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Feature(NamedTuple):
    """``name`` is wasmtime's name, ``risk`` the reason why the feature is off, ``implies`` the features it requires."""

    name: str
    risk: str
    implies: tuple[str, ...] = ()


#: The features of core modules.
CORE = (
    Feature(
        "gc",
        "Garbage-collected objects (Kotlin, OCaml, Hoot). This is the newest and largest part of wasmtime's runtime. "
        "A fault in it can let guests end the process.",
        ("function-references", "gc-support"),
    ),
    Feature(
        "gc-support",
        "References to host objects (externref). Each instance gets a garbage-collected heap.",
    ),
    Feature(
        "exceptions",
        "Exceptions of C++, Kotlin and .NET, setjmp of C. Their values are in that heap, and unwinding is new code.",
        ("gc-support",),
    ),
    Feature("function-references", "Typed references to functions, used with gc.", ("gc-support",)),
    Feature("tail-call", "Calls that replace the caller's frame (OCaml, Hoot). Their calling convention differs."),
    Feature("threads", "Atomic instructions. An instance with a shared memory fails in any case."),
    Feature("memory64", "Memories beyond 4 GiB. Code and not the processor checks each access."),
    Feature("multi-memory", "Several memories in one module. Each takes address space, and has its own limits."),
    Feature("custom-page-sizes", "Memories of unusual sizes. The code that checks their accesses is rarely used."),
    Feature("wide-arithmetic", "128-bit arithmetic. Few compilers emit these instructions."),
    Feature(
        "relaxed-simd", "Vector instructions with results that depend on the processor. They identify it to guests."
    ),
)
#: The features of the component model. wasmtime's command line puts PREFIX before their names.
MODEL = (
    Feature("map", "The type map of WASI 0.3.1."),
    Feature("implements", "Plain names for imports that declare the interface they implement, from WASI 0.3.1."),
    Feature(
        "more-async-builtins",
        "Synchronous stream and future operations and cancellations. Their design is not finished.",
    ),
    Feature("async-stackful", "Async functions without a callback. Not finished. A store has several live calls."),
)
PREFIX = "component-model-"

BY_NAME = {feature.name: feature for feature in (*CORE, *MODEL)}
_MODEL_NAMES = frozenset(feature.name for feature in MODEL)

#: The features that the command line, the ASGI application and the harness enable by default: the parts of WASI 0.3.1.
USUAL = frozenset({"map", "implements"})


def closure(names: Iterable[str]) -> frozenset[str]:
    """Return the features with all features that they require. Raises ValueError for an unknown name."""
    found: set[str] = set()
    wanted = list(names)
    while wanted:
        name = wanted.pop()
        if name not in BY_NAME:
            raise ValueError(f"unknown feature {name!r}; the features are {', '.join(sorted(BY_NAME))}")
        if name not in found:
            found.add(name)
            wanted += BY_NAME[name].implies
    return frozenset(found)


def option_name(name: str) -> str:
    """Return a feature's name on the command line, which is the same as on wasmtime's."""
    return PREFIX + name if name in _MODEL_NAMES else name


def parse(text: str) -> tuple[tuple[str, bool], ...]:
    """Parse ``NAME[=y|n],...`` as in wasmtime's ``-W``: features, and whether each is enabled. Raises ValueError."""
    found = []
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        plain = name.removeprefix(PREFIX)
        if plain not in BY_NAME or option_name(plain) != name:
            known = ", ".join(option_name(feature) for feature in BY_NAME)
            raise ValueError(f"{name!r} is not a feature that can be switched; the features are {known}")
        if equals and value not in _SWITCH:
            raise ValueError(f"{name} must be y or n, not {value!r}")
        found.append((plain, not equals or _SWITCH[value]))
    return tuple(found)


_SWITCH = {"y": True, "yes": True, "true": True, "n": False, "no": False, "false": False}


def chosen(switched: Iterable[tuple[str, bool]]) -> frozenset[str]:
    """Return the usual features, changed by switching features on and off in order."""
    names = set(USUAL)
    for name, on in switched:
        if on:
            names.add(name)
        else:
            names.discard(name)
    return frozenset(names)


def listing() -> str:
    """Return a paragraph for each feature: its name on the command line, whether it is on there, and its risk."""
    return "".join(
        f"  -W {option_name(feature.name)}[=y|n]{' (on)' if feature.name in USUAL else ''}\n      {feature.risk}\n"
        for feature in BY_NAME.values()
    )


def refusal(missing: Iterable[str]) -> str:
    """Return the message about a component that uses features that are off."""
    names = [option_name(name) for name in missing]
    listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    what, are, them = ("feature", "is", "it") if len(names) == 1 else ("features", "are", "them")
    return (
        f"it uses the WebAssembly {what} {listed}, which {are} off; the option -W {','.join(names)} enables {them} "
        f"(in a program: Engine(features=...))"
    )
