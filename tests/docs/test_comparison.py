"""docs/comparison.md: the options and parameters that it names exist here."""

from __future__ import annotations

import inspect
import re

import click
import pytest

import wasi_trio
from tests.docs.blocks import ROOT
from wasi_trio.cli import cli
from wasi_trio.serve import HandlerOptions

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
