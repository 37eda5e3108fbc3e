"""The pages are built by Sphinx without a warning, and the reference in them is of the code as it is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import wasi_trio
from tests.docs.blocks import PAGES, ROOT
from wasi_trio.cli import cli

EXAMPLES = sorted((ROOT / "examples").rglob("README.md"))


@pytest.mark.parametrize("page", [*PAGES, *EXAMPLES], ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_links_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s:#]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as text."""
    pytest.importorskip("sphinx", reason="the extra wasi-trio[docs] is not installed")
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "-b", "text"]
    done = subprocess.run(
        [*build, "-d", folder / "doctrees", ROOT / "docs", folder / "text"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return folder / "text"


def test_every_page_is_built(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".txt") for path in (ROOT / "docs").rglob("*.md")}
    assert pages == {path.relative_to(site) for path in site.rglob("*.txt")}


def test_the_reference_has_every_option(site: Path) -> None:
    page = (site / "reference" / "options.txt").read_text("utf-8")
    for name, command in cli.commands.items():
        assert f"python -m wasi_trio {name} " in page
        options = [
            parameter for parameter in command.params if isinstance(parameter, click.Option) and not parameter.hidden
        ]
        assert [option.opts[-1] for option in options if option.opts[-1] not in page] == []


def test_the_reference_has_every_public_name(site: Path) -> None:
    page = (site / "reference" / "api.txt").read_text("utf-8")
    classes = re.findall(r"^(?:class|exception) wasi_trio\.(\w+)\b(?!\.)", page, re.MULTILINE)
    functions = re.findall(r"^wasi_trio\.(\w+)\(", page, re.MULTILINE)
    assert sorted([*classes, *functions]) == sorted(wasi_trio.__all__)
