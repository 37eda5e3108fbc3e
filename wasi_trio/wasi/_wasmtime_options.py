"""wasmtime's options that are named by letters, such as ``-S cli``: the counterpart of each here.

The names are those of ``crates/cli-flags`` in wasmtime 49. docs/comparison.md has the same in a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_SOCKETS: Final = "sockets are denied by default; --inherit-network opens all, and --allow-outbound single destinations"
_PYTHON: Final = "provide such an interface in Python (see the page 'Host functions')"
_MODULES: Final = "it concerns core modules, and this host runs components"
_DEFAULTS: Final = "wasmtime compiles and allocates with its defaults here"
_NO_PROPOSAL: Final = "this host runs no components with that feature"
_BACKTRACE: Final = (
    "the log line about a trap has the wasm backtrace. It includes source lines if the component has DWARF and "
    "WASMTIME_BACKTRACE_DETAILS=1 is set"
)
_PER_INSTANCE: Final = "the limit applies to each component instance, and programs set it: Limits({}=)"

#: The switches that have no effect, because they are on in any case.
ALWAYS_ON: Final[Mapping[str, frozenset[str]]] = {
    "S": frozenset(
        {
            "cli",
            "cli-exit-with-code",
            "common",
            "http",
            "inherit-stderr",
            "inherit-stdin",
            "inherit-stdout",
            "network-error-code",
            "p3",
            "preview2",
        }
    ),
    "W": frozenset(
        {
            "bulk-memory",
            "component-model",
            "component-model-async",
            "concurrency-support",
            "epoch-interruption",
            "extended-const",
            "multi-value",
            "reference-types",
            "simd",
            "unknown-exports-allow",
        }
    ),
    "C": frozenset({"cache"}),
}

#: The advice about all others.
ADVICE: Final[Mapping[str, Mapping[str, str]]] = {
    "D": {"coredump": f"wasmtime's C API cannot write core dumps; {_BACKTRACE}"},
    "S": {
        "allow-ip-name-lookup": "use the option --allow-ip-name-lookup",
        "cwd": "programs set it: WasiOptions(initial_cwd=)",
        "hostcall-fuel": "use the option --hostcall-fuel of serve",
        "http-outgoing-body-buffer-chunks": "a body always holds 512 KiB",
        "http-outgoing-body-chunk-size": "a body always holds 512 KiB",
        "inherit-env": "pass each variable with --env NAME",
        "inherit-network": "use the option --inherit-network",
        "listenfd": f"{_MODULES}; serve takes sockets with --addr fd://NUMBER",
        "max-component-handles": "programs set it: Limits(handles=)",
        "max-http-fields-size": "the limit is always 128 KiB",
        "max-random-size": "the limit is always 64 MiB",
        "max-resources": "programs set it: Limits(handles=)",
        "nn": _PYTHON,
        "nn-graph": _PYTHON,
        "preview0": _MODULES,
        "tcp": _SOCKETS,
        "tcplisten": f"{_MODULES}; serve takes sockets with --addr fd://NUMBER",
        "threads": _MODULES,
        "tls": _PYTHON,
        "udp": _SOCKETS,
    },
    "W": {
        "all-proposals": "name each feature; -W help lists them",
        "async-stack-size": "the stack always has 8 MiB",
        "async-stack-zeroing": _DEFAULTS,
        "branch-hinting": _NO_PROPOSAL,
        "component-model-error-context": _NO_PROPOSAL,
        "component-model-fixed-length-lists": _NO_PROPOSAL,
        "component-model-gc": _NO_PROPOSAL,
        "component-model-memory64": _NO_PROPOSAL,
        "component-model-threading": _NO_PROPOSAL,
        "fuel": "use the option --max-cpu-time of serve, which limits processor time",
        "max-instances": _PER_INSTANCE.format("instances"),
        "max-memories": _PER_INSTANCE.format("memories"),
        "max-memory-size": "use the option --max-memory-size of serve",
        "max-table-elements": "use the option --max-table-elements of serve",
        "max-tables": _PER_INSTANCE.format("tables"),
        "max-wasm-stack": "the stack always has 8 MiB",
        "nan-canonicalization": _DEFAULTS,
        "relaxed-simd-deterministic": _DEFAULTS,
        "shared-everything-threads": _NO_PROPOSAL,
        "shared-memory": _NO_PROPOSAL,
        "stack-switching": _NO_PROPOSAL,
        "timeout": "use the options --request-timeout and --max-cpu-time of serve",
        "trap-on-grow-failure": "growing beyond a limit fails, as in wasmtime by default",
        "unknown-imports-default": "the host refuses a component with unmet imports, and names all of them",
        "unknown-imports-trap": "the host refuses a component with unmet imports, and names all of them",
        "wmemcheck": _DEFAULTS,
    },
}

#: The advice about a whole option.
OPTIONS: Final[Mapping[str, str]] = {
    "-O": _DEFAULTS,
    "-C": f"{_DEFAULTS}, and with a cache (in programs, Engine(cache=False))",
    "-D": _BACKTRACE,
    "-R": "a test can set the time and randomness of a guest: WasiOptions(random=, wall_clock=)",
    "-g": "wasmtime's C API has no debugger",
    "--config": "serve takes a TOML file with --hypercorn-config, whose table [wasi_trio] has all settings",
    "--target": "code runs on the machine that compiles it",
    "--allow-precompiled": "the host compiles every component itself, and keeps the code in a cache; compile fills it",
    "--invoke": "run calls wasi:cli/run, and your program any export: instance.call (see the page 'Host functions')",
    "--preload": _MODULES,
    "--argv0": "a command's first argument is the name of its file, and programs set it: WasiOptions(args=)",
}

_ON: Final = {"": True, "y": True, "yes": True, "true": True, "n": False, "no": False, "false": False}


def is_known(letter: str, part: str) -> bool:
    """Return whether ``part``, such as ``cli=y``, is a setting of wasmtime that has no equivalent of that name here."""
    name = part.partition("=")[0].strip()
    return name in ALWAYS_ON.get(letter, ()) or name in ADVICE.get(letter, {})


def check(letter: str, part: str) -> None:
    """Raise ValueError with advice, unless ``part`` switches something on that is always on."""
    name, _, value = part.strip().partition("=")
    if name in ALWAYS_ON.get(letter, ()):
        if not _ON.get(value, False):
            raise ValueError(f"{name} is always on here, and cannot be {value!r}")
        return
    advice = ADVICE.get(letter, {}).get(name) or OPTIONS[f"-{letter}"]
    raise ValueError(f"-{letter} {name} is not supported: {advice}")


def listing() -> str:
    """Return lines about all settings of ``-S``."""
    on = "".join(f"  -S {name}\n      on in any case\n" for name in sorted(ALWAYS_ON["S"]))
    return on + "".join(f"  -S {name}\n      not supported: {advice}\n" for name, advice in sorted(ADVICE["S"].items()))
