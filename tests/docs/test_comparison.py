"""docs/comparison.md: the options and parameters that it names exist here."""

from __future__ import annotations

import inspect
import re

import click
import pytest
import wasmtime

import wasi_trio
from tests.docs.blocks import ROOT
from wasi_trio.cli import cli
from wasi_trio.component._features import BY_NAME, option_name
from wasi_trio.serve import HandlerOptions
from wasi_trio.wasi._wasmtime_options import ADVICE, ALWAYS_ON, check, is_known
from wasi_trio.wasi._wasmtime_options import OPTIONS as ADVICE_FOR_OPTIONS

PAGE = ROOT / "docs" / "comparison.md"
ROWS = re.findall(r"^\| (.+?) \| (.+?) \| .*\|$", PAGE.read_text("utf-8"), re.MULTILINE)

#: options of ``serve`` by all their names
OPTIONS = {
    name: parameter
    for parameter in cli.commands["serve"].params
    if isinstance(parameter, click.Option)
    for name in parameter.opts
}


@pytest.mark.parametrize("theirs", [theirs for theirs, here in ROWS if here.startswith("same")])
def test_options_that_are_the_same(theirs: str) -> None:
    names = re.findall(r"`(--?[\w-]+)`", theirs)
    assert theirs == "`-C cache`" or names
    assert [name for name in names if name not in OPTIONS] == []


def test_options_that_are_only_here() -> None:
    there = {name for theirs, _ in ROWS for name in re.findall(r"`(--[\w-]+)`", theirs)}
    section = PAGE.read_text("utf-8").split("\n## Options that are only here\n", 1)[1].split("\n## ", 1)[0]
    named = set(re.findall(r"`(--[\w-]+)`", section))
    assert named
    assert named <= OPTIONS.keys() - there


def test_options_named_in_a_row() -> None:
    named = {name for _, here in ROWS for name in re.findall(r"`(--[\w-]+)`", here)}
    assert named
    assert named <= OPTIONS.keys()


def test_parameters_in_a_program() -> None:
    classes = {**{name: getattr(wasi_trio, name) for name in wasi_trio.__all__}, "HandlerOptions": HandlerOptions}
    named = re.findall(r"`(\w+)\(([\w=,\s.]+)\)`", PAGE.read_text("utf-8"))
    assert len(named) > 5
    for name, parameters in named:
        signature = inspect.signature(classes[name])
        assert [p for p in re.findall(r"(\w+)=", parameters) if p not in signature.parameters] == []


# ---- the lettered options --------------------------------------------------------------------------------

LETTERED = [
    (letter, name, here)
    for theirs, here in ROWS
    for letter, name in re.findall(r"`-([A-Z]) ([\w-]+)`", theirs)
    if name != "all"
]
#: The settings of -S that have an equivalent of the same name.
STATE = {"config", "config-var", "keyvalue", "keyvalue-in-memory-data"}
FEATURES = {option_name(name) for name in BY_NAME}


@pytest.mark.parametrize(("letter", "name", "here"), LETTERED)
def test_a_lettered_option(letter: str, name: str, here: str) -> None:
    """The page says what the command line does."""
    if (letter == "S" and name in STATE) or (letter == "W" and name in FEATURES):
        assert not is_known(letter, name)
        return
    if here.startswith(("always on", "same")):
        check(letter, name)
        return
    with pytest.raises(ValueError, match=f"^-{letter} {name} is not supported: ") as caught:
        check(letter, name)
    named = re.findall(r"`(--[\w-]+)`", here)
    assert [option for option in named if option not in str(caught.value)] == []


def test_all_lettered_options_are_on_the_page() -> None:
    found = {(letter, name) for letter, name, _ in LETTERED}
    for name in (*ADVICE["S"], *ALWAYS_ON["S"], *STATE):
        assert ("S", name) in found
    for name in ALWAYS_ON["W"]:
        assert ("W", name) in found


def test_advice_names_options_that_exist() -> None:
    advice = [*(text for texts in ADVICE.values() for text in texts.values()), *ADVICE_FOR_OPTIONS.values()]
    named = {option for text in advice for option in re.findall(r"--[\w-]+", text)}
    assert len(named) > 5
    assert named <= OPTIONS.keys()


@pytest.mark.parametrize("command", ["serve", "run"])
def test_options_that_are_refused_with_advice(command: str) -> None:
    known = {name for parameter in cli.commands[command].params for name in parameter.opts}
    of_run = {"--invoke", "--preload", "--argv0"}
    assert ADVICE_FOR_OPTIONS.keys() & known == ADVICE_FOR_OPTIONS.keys() - (set() if command == "run" else of_run)


def test_features_that_are_always_on() -> None:
    """A component with WebAssembly 2.0 and constant expressions compiles without an option."""
    text = """(component
      (core module $m
        (memory 1)
        (table 1 funcref)
        (global i32 (i32.add (i32.const 1) (i32.const 2)))
        (func (result i32 i32) (i32.const 0) (i32.const 1))
        (func (result v128) (v128.const i32x4 0 0 0 0))
        (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 3))))
      (core instance (instantiate $m)))"""
    with wasi_trio.Engine() as engine:
        wasi_trio.Component.compile(engine, bytes(wasmtime.wat2wasm(text)))
