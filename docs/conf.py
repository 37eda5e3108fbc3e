"""Sphinx's configuration for these pages: ``nox -s docs`` builds them."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from pygments.lexer import RegexLexer, words
from pygments.token import Comment, Keyword, Name, Number, Punctuation, Whitespace
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

# Import the checkout's package, even if another one is installed.
sys.path.insert(0, str(Path(__file__).parent.parent))

project = "wasi_trio"
version = release = importlib.metadata.version("wasi-trio")
copyright = "the wasi_trio maintainers, Apache-2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click"]
source_suffix = {".md": "markdown"}
html_theme = "furo"
html_title = f"{project} {version}"

myst_heading_anchors = 3  # links to headings work here and where the repository is browsed

autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
maximum_signature_line_length = 100
autodoc_preserve_defaults = True
# Two classes share the name App: one for servers, one for tests.
suppress_warnings = ["ref.python"]


class Public(SphinxDirective):
    """``{public} module``: the public names of a module, each with its docstring.

    These are the names in its ``__all__``, or else the classes and functions that it defines. The option
    ``without-attributes`` omits attributes that only a comment describes, in modules whose comments are for developers.
    """

    required_arguments = 1
    option_spec: ClassVar = {"without-attributes": directives.flag}

    def run(self) -> list[nodes.Node]:
        module = importlib.import_module(self.arguments[0])
        #: names that the page already describes, because a name may be public in several modules
        described: dict[int, str] = self.env.current_document.setdefault("described", {})
        lines = ["```{eval-rst}", *(inspect.getdoc(module) or "").splitlines(), ""]
        for name in _public_names(module):
            thing = getattr(module, name)
            shown = described.setdefault(id(thing), f"{module.__name__}.{name}")
            if shown != f"{module.__name__}.{name}":
                lines += [f"``{module.__name__}.{name}`` is :py:obj:`{shown}`.", ""]
                continue
            lines.append(f".. {_directive(thing)}:: {module.__name__}.{name}")
            if isinstance(thing, type):
                lines.append("   :members:")
                if "without-attributes" in self.options:
                    lines.append(f"   :exclude-members: {', '.join(_commented_attributes(thing))}")
            lines.append("")
        container = nodes.container()
        self.state.nested_parse(StringList([*lines, "```"], source=module.__name__), 0, container)
        return container.children


def _public_names(module: object) -> Iterator[str]:
    if hasattr(module, "__all__"):
        yield from module.__all__
        return
    for name, thing in vars(module).items():
        if not name.startswith("_") and getattr(thing, "__module__", None) == module.__name__:
            yield name


def _commented_attributes(class_: type) -> Iterator[str]:
    for owner, attribute in ModuleAnalyzer.for_module(class_.__module__).find_attr_docs():
        if owner == class_.__name__:
            yield attribute


def _directive(thing: object) -> str:
    if isinstance(thing, type):
        return "autoexception" if issubclass(thing, BaseException) else "autoclass"
    return "autofunction" if callable(thing) else "autodata"


def readable_defaults(app: Sphinx, what: str, name: str, obj: object, options: object, signature: str, returns: str):
    """Write defaults as code, because Sphinx cannot parse a signature that contains reprs of functions."""
    if signature:
        signature = signature.replace("<factory>", "...")
        signature = re.sub(r"<built-in function (\w+)>", r"\1", signature)
        signature = re.sub(r"<bound method (\S+) of [^>]*>", r"\1", signature)
    return signature, returns


def without_links_to_files(app: Sphinx, page: str, source: list[str]) -> None:
    """Replace links to the repository's other files, which the site lacks, by their text."""
    if "/" not in page:
        source[0] = re.sub(r"\[([^]]+)\]\(\.\./[^)]+\)", r"\1", source[0])


class Question(SphinxDirective):
    """``{question} text``: an entry of the index, which the search finds, for the section around it.

    Pages write it as the comment ``<!-- question: text -->``, which is invisible where the repository is browsed. The
    search compares a query with whole entries, so an entry is the query as a reader would type it.
    """

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        (anchor, *_) = self.state_machine.node["ids"]
        return [addnodes.index(entries=[("single", self.arguments[0], anchor, "main", None)])]


def questions_in_comments(app: Sphinx, page: str, source: list[str]) -> None:
    """Turn the comments that ask a question into directives."""
    source[0] = re.sub(r"^<!-- question: (.+?) -->$", r"```{question} \1\n```", source[0], flags=re.MULTILINE)


class WitLexer(RegexLexer):
    """Highlights WIT, the language of components' interfaces."""

    name = "WIT"
    tokens = {  # noqa: RUF012
        "root": [
            (r"\s+", Whitespace),
            (r"//.*", Comment.Single),
            (words(("package", "interface", "world", "import", "export", "include", "use", "type", "func", "async",
                    "static", "constructor", "record", "variant", "enum", "flags", "resource"), suffix=r"(?![\w-])"),
             Keyword),
            (r"[A-Za-z_][\w-]*", Name),
            (r"[\d.]+", Number),
            (r"[^\s\w]", Punctuation),
        ]
    }  # fmt: skip


def setup(app: Sphinx) -> None:
    app.add_directive("public", Public)
    app.add_directive("question", Question)
    app.connect("source-read", questions_in_comments)
    app.connect("source-read", without_links_to_files)
    app.add_lexer("wit", WitLexer)
    app.connect("autodoc-process-signature", readable_defaults)
