"""The code in README.md and docs/: a test of this folder runs each block, or this module lists it.

test_commands.py runs the commands. A page may have its own module here, such as ``test_host_functions.py`` for
``host-functions.md``, which runs its Python and parses its WIT and TOML. This module does that for all other pages.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import PAGES, ROOT, fenced, indented, own_test
from tests.docs.test_commands import is_command
from wasi_trio.component.wit import load

#: indented blocks that are no commands, by their first lines
SHOWN = {
    # the pseudo-code of a generated module
    "result, pending = start(args...)      ;; an ordinary host callback",
    # the shape of a host interface, without its code
    "class Streams:                                   # wasi:io/streams",
    # a message that test_host_functions.py compares
    "wasi:io/streams@0.2.3 [method]input-stream.read: parameter len: component has u32, host has u64",
    # a message that test_bindings.py compares
    "acme:shop/catalog@1.0.0 find: Catalog.find takes 2 where WIT has 1 argument (id)",
    # a command that "nox -s programs" runs with its own program
    "jco new --wasi-command program.wasm -o command.wasm",
    # lines of the log
    "[2026-11-28 14:55:04 +0000] INFO wasi_trio.serve: instance 1 of hello.wasm starts",
    # HAProxy's configuration, with other ports than in tests/balancer
    "backend servers",
    # a systemd unit, whose protocol tests/e2e/test_service_manager.py speaks
    "[Service]",
    # lines for shells' files, whose scripts tests/cli/test_help.py runs
    'eval "$(wasi-trio completion bash)"',
    "wasi-trio completion fish > ~/.config/fish/completions/wasi-trio.fish",
}


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_is_run(page: Path) -> None:
    tried = {"python", "wit", "toml", "sh", "text"}
    unknown = [
        f"{page.name}:{block.line}: {block.language or 'no language'}"
        for block in fenced(page)
        if block.language not in tried and not block.language.startswith("{") and not own_test(page).exists()
    ]
    for block in indented(page):
        lines = block.text.splitlines()
        if lines[0] not in SHOWN and not all(map(is_command, lines)):
            unknown.append(f"{page.name}:{block.line}: {lines[0]}")
    assert unknown == []


def test_every_listed_block_exists() -> None:
    there = {block.text.splitlines()[0] for page in PAGES for block in indented(page)}
    assert there >= SHOWN


def test_blocks_and_their_languages_are_found(tmp_path: Path) -> None:
    """Check the functions that the other tests use."""
    page = tmp_path / "page.md"
    page.write_text("a\n\n```python\nx = 1\n```\n\n```{toctree}\n:glob:\n```\n\n```\nwhat\n```\n\n    indented\n\nb\n")
    assert [(block.language, block.line) for block in fenced(page)] == [("python", 4), ("{toctree}", 8), ("", 12)]
    assert [(block.text, block.line) for block in indented(page)] == [("indented\n", 15)]


@pytest.mark.parametrize("page", [page for page in PAGES if not own_test(page).exists()], ids=name)
def test_the_snippets_of_a_page(page: Path, tmp_path: Path) -> None:
    """Run its Python from start to end in one namespace, and parse its TOML and WIT."""
    names: dict[str, Any] = {"__name__": "page"}
    for block in fenced(page):
        if block.language == "python":
            lines = "\n" * (block.line - 1)  # so that a traceback names the line in the page
            exec(compile(lines + block.text, str(page), "exec"), names)
        elif block.language == "toml":
            assert tomllib.loads(block.text)
        elif block.language == "wit":
            (tmp_path / f"{block.line}.wit").write_text(block.text)
            load([tmp_path])
