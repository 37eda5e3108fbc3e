"""The code in README.md and docs/: each piece is tried by some test of this folder, or known to be none.

The commands are tried by test_commands.py. A page that has a module of its own here, ``test_host_functions.py`` for
``host-functions.md``, has its Python, WIT and TOML tried by that; those of every other page are tried by this one.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import PAGES, ROOT, fenced, indented, own_test
from tests.docs.test_commands import is_command
from wasi_trio.component.wit import load

#: indented blocks that show something else than commands, by their first lines
SHOWN = {
    # what a generated module does, in pseudo-code
    "result, pending = start(args...)      ;; an ordinary host callback",
    # the manner of a host interface, without its code
    "class Streams:                                   # wasi:io/streams",
    # a message, which test_host_functions.py compares
    "wasi:io/streams@0.2.3 [method]input-stream.read: parameter len: component has u32, host has u64",
    # a message, which test_bindings.py compares
    "acme:shop/catalog@1.0.0 find: Catalog.find takes 2 where WIT has 1 argument (id)",
    # what "nox -s programs" does with a program of its own
    "jco new --wasi-command program.wasm -o command.wasm",
    # lines of the log
    "[2026-11-28 14:55:04 +0000] INFO wasi_trio.serve: instance 1 of hello.wasm starts",
    # what HAProxy is told, in which the ports alone are others than in tests/balancer
    "backend servers",
    # a unit of systemd's, whose protocol tests/e2e/test_service_manager.py speaks
    "[Service]",
    # what goes into the files of shells, whose scripts tests/cli/test_help.py tries
    'eval "$(wasi-trio completion bash)"',
    "wasi-trio completion fish > ~/.config/fish/completions/wasi-trio.fish",
}


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_there_is_none_that_is_not_tried(page: Path) -> None:
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


def test_all_that_is_only_shown_is_still_there() -> None:
    there = {block.text.splitlines()[0] for page in PAGES for block in indented(page)}
    assert there >= SHOWN


def test_the_languages_of_a_page_are_seen(tmp_path: Path) -> None:
    """What the other tests rely on."""
    page = tmp_path / "page.md"
    page.write_text("a\n\n```python\nx = 1\n```\n\n```{toctree}\n:glob:\n```\n\n```\nwhat\n```\n\n    indented\n\nb\n")
    assert [(block.language, block.line) for block in fenced(page)] == [("python", 4), ("{toctree}", 8), ("", 12)]
    assert [(block.text, block.line) for block in indented(page)] == [("indented\n", 15)]


@pytest.mark.parametrize("page", [page for page in PAGES if not own_test(page).exists()], ids=name)
def test_the_snippets_of_a_page(page: Path, tmp_path: Path) -> None:
    """Its Python from the first line to the last, in one namespace: what is defined stays defined. TOML, WIT."""
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
