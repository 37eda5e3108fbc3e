"""Sphinx builds the pages without a warning, the reference matches the code, and the search answers questions."""

from __future__ import annotations

import json
import re
import shutil
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
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s:#]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sphinx", reason="the extra wasi-trio[docs] is not installed")
    return tmp_path_factory.mktemp("site")


def built(folder: Path, builder: str) -> Path:
    """Build the pages, with one cache of parsed pages for all builders."""
    build = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "-b", builder]
    done = subprocess.run(
        [*build, "-d", folder / "doctrees", ROOT / "docs", folder / builder],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return folder / builder


@pytest.fixture(scope="module")
def site(folder: Path) -> Path:
    """The pages as text."""
    return built(folder, "text")


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


# ---- the search ----


@pytest.fixture(scope="module")
def html(folder: Path) -> Path:
    if shutil.which("node") is None:
        pytest.skip("node is not installed, which runs the site's search")
    return built(folder, "html")


def hits(html: Path, *queries: str) -> list[list[str]]:
    """Return the pages and sections that the site's own search finds for each query, best first."""
    done = subprocess.run(
        ["node", ROOT / "tests" / "docs" / "search.js", html, *queries], capture_output=True, text=True, check=True
    )
    found: list[list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("query", "section"),
    [
        ("how do I limit memory", "security#limit-memory-time-and-other-resources"),
        ("memory limit", "security#limit-memory-time-and-other-resources"),
        ("how do I test time", "testing#test-time"),
        ("virtual time", "testing#test-time"),
        ("how do I call an export", "host-functions#call-an-export"),
        ("call exports", "host-functions#call-an-export"),
    ],
)
def test_the_search_answers_a_question(query: str, section: str, html: Path) -> None:
    (found,) = hits(html, query)
    assert found[0] == section
    page, _, anchor = section.partition("#")
    assert f'id="{anchor}"' in (html / f"{page}.html").read_text("utf-8")


def test_the_search_finds_the_section_of_every_question(html: Path) -> None:
    questions = [
        (question, page.stem)
        for page in PAGES
        for question in re.findall("<!-- question: (.+?) -->", page.read_text("utf-8"))
        if page.stem != "style"
    ]
    assert len(questions) > 20
    found = hits(html, *(question for question, _ in questions))
    assert [found[0].partition("#")[0] for found in found] == [page for _, page in questions]
