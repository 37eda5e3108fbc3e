"""A checker for the rules of docs/style.md: ``python -m tests.docs.prose [PATH...]`` prints what breaks them.

It reads Markdown pages, Python files (docstrings, comments and string literals) and other files with comments. A folder
stands for all such files in it.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import textwrap
import tokenize
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

ROOT = Path(__file__).parent.parent.parent

#: Every file or folder in which ``test_prose.py`` enforces the rules.
ENFORCED = [
    "README.md",
    ".ci/run",
    "benchmarks",
    "deploy",
    "docs",
    "examples",
    "findings",
    "noxfile.py",
    "hatch_build.py",
    "pyproject.toml",
    "tests/conftest.py",
    "tests/test_benchmarks.py",
    "tests/test_compiled.py",
    "tests/test_imports.py",
    "tests/test_files.py",
    "tests/test_texts.py",
    "tests/test_turns.py",
    "tests/turns.py",
    "tests/attack",
    "tests/balancer",
    "tests/bindgen",
    "tests/cli",
    "tests/component",
    "tests/deploy",
    "tests/e2e",
    "tests/examples",
    "tests/guests/README.md",
    "tests/guests/wat",
    "tests/interrupts",
    "tests/profiles",
    "tests/programs",
    "tests/rolling",
    "tests/runtime",
    "tests/soak",
    "tests/serve",
    "tests/spec",
    "tests/stranger",
    "tests/testing",
    "tests/wasi",
    "wasi_trio",
]

#: The WIT of WASI is the text of its authors.
VENDORED = ROOT / "wasi_trio" / "wasi" / "wit"

MOST_WORDS = 40

#: Each forbidden pattern, with the advice to the writer. Case matters only in a pattern with "[A-Z]".
PATTERNS = {
    r"can not": 'write "cannot"',
    r"whoever|whomever|whosoever|whichever|whence|whereof|wherein|whereupon|whereby": "name the thing",
    r"(?:is|are|was|were|be|has|have|had) to be(?! (?:able|certain|sure))": 'write "must be"',
    r"so as to|in order to": 'write "to"',
    r"as to (?:how|what|whether|which|who|why)": 'write "about", or drop it',
    r"what (?:is(?! wrong)|are|was|were|has|have|had|he|she|others|one|comes|goes|stands|(?:a|the) guest(?! can))": (
        "use a noun for the thing"
    ),
    r"what (?:it|they) (?:is|are|was|were|has|have|had|holds?|takes?|gives?|gets?|got|may|must)": "use a noun",
    r"where (?:it|they|that|this) (?:is|are|was|were|has|comes?|goes|go|stands?|belongs?)": (
        'write "if", or "the location"'
    ),
    r"(?:others|somebody|anybody|someone else) (?:wrote|has written|have written|made|has made)": "name the actor",
    r"(?:nobody|nothing|none|no one)(?: \w+){0,4} (?:any more|anymore|any longer)": "say what is the case",
    r"any ?more(?! than)|any longer|hitherto|heretofore": "describe the present only",
    r"of (?:yours|theirs|ours|hers|mine)": 'write "your ...", "their ..." or "our ..."',
    r"of (?:its|their|your|our|his|her|one's) own"
    r"(?= ?$| ?[^\w\s]| (?:and|as|at|but|by|for|from|if|in|is|are|of|on|or|per|that|to|when|where|which|with)\b)": (
        'write "its own ...", or drop it'
    ),
    r"of (?:[a-z]+ )?[A-Z]\w+'s(?! \w)": "write the possessive before its noun, or drop it",
    r"(?:that|what|which|who|all that|those that) (?:is|are|was|were) there": "name the place, or say that it exists",
    r"there (?:is|are|was|were|will be)": "name the subject",
    r"tells (?:how|what|where|whether|that|which|when|who|of)": 'write "describes", "shows" or "states"',
    r"as (?:you|it|they|he|she|one) likes?": 'write "if you want", "freely"',
    r"(?:be|is|are) (?:it|they) (?:an?|the)": 'write a condition with "if"',
    r"thus|hence|thereby|therein|thereof|thereto|therefrom|herein|hereby|aforesaid": "use a plain conjunction",
    r"anew|ere|lest|albeit|save for|but for|upon|whilst|amongst": "use the plain word",
    r"for whom|by whom|of whom": "name the person",
    r"the (?:very )?one that|the ones that|those who|the one who": "use a noun",
    r"(?:is|are|was|were) (?:given|told|taken|made|done|asked|shown|left|held) (?:of|for|that|to) (?:by|whom|which)": (
        "use the active voice"
    ),
}
_PATTERNS = [
    (re.compile(rf"(?<![\w-])(?:{pattern})(?![\w-])", re.NOFLAG if "[A-Z]" in pattern else re.IGNORECASE), advice)
    for pattern, advice in PATTERNS.items()
]

#: The beginnings that are clauses in the place of a noun.
_CLAUSE = re.compile(r"(?:What|Who|Where|How)\b|(?:All|Everything|Those) (?:that|who)\b", re.IGNORECASE)
#: The beginnings of a function's docstring that are not a verb. A property, a test or a fixture may begin with them.
_NOT_A_VERB = re.compile(r"(?:What|Who|Where|How|Whether|That|Those|The|An?|All)\b")
#: Bindings that bindgen generates have the documentation of their WIT.
_GENERATED = ROOT / "tests" / "bindgen" / "golden"

_CODE = "`…`"
#: An end of a sentence: a stop, then a space and the beginning of another sentence.
_END = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\betc)(?<!\bvs)[.!?:;]['\")*_]*\s+(?=[\"'(*_]*[A-Z`0-9/])|\n\s*\n")
_WORD = re.compile(r"[^\W_]|`")


class Text(NamedTuple):
    """A piece of prose: a paragraph, a cell of a table, a docstring, a comment or a literal."""

    line: int
    text: str


class Fault(NamedTuple):
    """A place that breaks a rule."""

    path: Path
    line: int
    message: str

    def __str__(self) -> str:
        path = self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path
        return f"{path}:{self.line}: {self.message}"


def check(path: Path) -> list[Fault]:
    """Return the faults of a file, or of all files in a folder."""
    if path.is_dir():
        return [fault for file in sorted(path.rglob("*")) if file.is_file() and _reader(file) for fault in check(file)]
    read = _reader(path)
    if read is None:
        raise ValueError(f"{path}: a file of unknown kind")
    source = path.read_text("utf-8")
    found = [fault for text in read(source) for fault in _faults(path, text)]
    if path.suffix == ".py" and not path.is_relative_to(_GENERATED):
        found += [Fault(path, line, message) for line, message in _openings(source)]
    return found


def _faults(path: Path, text: Text) -> Iterator[Fault]:
    plain = _without_code(text.text)
    for pattern, advice in _PATTERNS:
        for match in pattern.finditer(re.sub(r"\s", " ", plain)):
            yield Fault(path, text.line + plain.count("\n", 0, match.start()), f'"{match[0]}": {advice}')
    start = 0
    for end in [*(match.end() for match in _END.finditer(plain)), len(plain)]:
        sentence = plain[start:end]
        count = sum(1 for word in sentence.split() if _WORD.search(word))
        if count > MOST_WORDS:
            line = text.line + plain.count("\n", 0, start)
            beginning = " ".join(sentence.split()[:6])
            yield Fault(path, line, f'a sentence of {count} words, more than {MOST_WORDS}: "{beginning} ..."')
        start = end


def _without_code(text: str) -> str:
    """Return a text with one word in the place of each piece of code, each quotation and each address."""
    text = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", _one_word, text, flags=re.DOTALL)
    text = re.sub(r"\]\([^)\s]*\)", "]", text)
    text = re.sub(r"<?https?://\S+", _CODE, text)
    text = re.sub(r'(?<![\w"])"[^"]{1,200}"(?!\w)', _one_word, text)
    # A list of names counts as one word.
    return re.sub(rf"{_CODE}(?:,(\s){_CODE})+", rf"{_CODE}\1", text)


def _one_word(match: re.Match[str]) -> str:
    return _CODE + "\n" * match[0].count("\n")


# ---- kinds of files ----


def _page(source: str) -> Iterator[Text]:
    """Yield the paragraphs, headings, items and cells of a Markdown page, without its code."""
    for token in MarkdownIt("commonmark").enable("table").parse(source):
        if token.type == "inline" and token.map is not None:
            yield Text(token.map[0] + 1, token.content)


def _python(source: str) -> Iterator[Text]:
    """Yield the docstrings, comments and string literals of Python code."""
    tree = ast.parse(source)
    docstrings = set()
    for node in ast.walk(tree):
        # Docstrings, and the strings below attributes that describe them.
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            docstrings.add(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            # A literal without a space is a name; one with several lines may be code.
            if node in docstrings:
                yield from _paragraphs(node.lineno, node.value)
            elif " " in node.value and "\n" not in node.value.strip():
                yield Text(node.lineno, node.value)
    yield from _comments(_python_comments(source))


def _python_comments(source: str) -> list[tuple[int, int, str]]:
    """Return the line, the column and the text of each comment. The column is -1 for a comment behind code."""
    comments: list[tuple[int, int, str]] = []
    for found in tokenize.generate_tokens(io.StringIO(source).readline):
        if found.type == tokenize.COMMENT:
            own_line = not found.line[: found.start[1]].strip()
            comments.append((found.start[0], found.start[1] if own_line else -1, found.string))
    return comments


def _openings(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the fault of each docstring and comment that begins with a clause, or without a verb."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        text = ast.get_docstring(node)
        if text is None:
            continue
        verb = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not _is_described(node)
        match = (_NOT_A_VERB if verb else _CLAUSE).match(text)
        if match:
            advice = "begin a function's docstring with a verb" if verb else "begin with a noun or a sentence"
            yield node.body[0].lineno, f'"{match[0]}": {advice}'
    for text in _comments(_python_comments(source)):
        match = _CLAUSE.match(text.text)
        if match:
            yield text.line, f'"{match[0]}": begin a comment with a noun or a reason'


def _is_described(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether the function is a property, a test or a fixture, whose docstring is a noun or a sentence."""
    decorators = " ".join(map(ast.unparse, node.decorator_list))
    return node.name.startswith("test_") or "property" in decorators or "fixture" in decorators


def _comment_lines(source: str, mark: str) -> Iterator[Text]:
    """Yield the comments that begin with a mark. A comment behind code ends with its line."""
    comments = []
    for number, line in enumerate(source.splitlines(), 1):
        match = re.match(rf"(\s*){re.escape(mark)}|(.*?\s){re.escape(mark)}\s", line)
        if match and not line.startswith("#!"):
            column = -1 if match[1] is None else len(match[1])
            comments.append((number, column, line[match.end() :].rstrip()))
    yield from _comments(comments)


def _comments(comments: list[tuple[int, int, str]]) -> Iterator[Text]:
    """Yield the comments of a file: lines in the same column that follow each other are one."""
    block: list[str] = []
    first = previous = at = -1
    for line, column, text in comments:
        text = re.sub(r"^#+:? ?", "", text)
        if block and line == previous + 1 and column == at != -1:
            block.append(text)
        else:
            if block:
                yield from _paragraphs(first, "\n".join(block))
            block, first = [text], line
        previous, at = line, column
    if block:
        yield from _paragraphs(first, "\n".join(block))


def _paragraphs(line: int, text: str) -> Iterator[Text]:
    """Yield the paragraphs and items of a docstring or comment, without indented code."""
    head, _, rest = text.partition("\n")
    block: list[str] = []
    first = line
    margin = 0
    for number, content in enumerate([head.strip(), *textwrap.dedent(rest).split("\n"), ""], line):
        stripped = content.strip()
        if block and (not stripped or re.match(r"[*-] |\d+\. |/?\d+  |:\w|\|", stripped)):
            yield Text(first, "\n".join(block))
            block = []
        if stripped:
            indentation = len(content) - len(content.lstrip())
            if not block and indentation >= margin + 4:
                continue
            if not block:
                first, margin = number, indentation
            block.append(stripped)


_MARKS = {
    ".cfg": "#",
    ".js": "//",
    ".service": "#",
    ".sh": "#",
    ".socket": "#",
    ".toml": "#",
    ".wat": ";;",
    ".wit": "//",
    ".yaml": "#",
    ".yml": "#",
    "Dockerfile": "#",
    "run": "#",
}


def _reader(path: Path) -> Callable[[str], Iterator[Text]] | None:
    """Return the function that finds the prose in a file, or None for a file of unknown kind."""
    if path.is_relative_to(VENDORED):
        return None
    if path.suffix == ".md":
        return _page
    if path.suffix == ".py":
        return _python
    mark = _MARKS.get(path.suffix or path.name)
    return partial(_comment_lines, mark=mark) if mark else None


def main(arguments: list[str]) -> int:
    faults = [fault for path in arguments or ENFORCED for fault in check((ROOT / path).resolve())]
    for fault in faults:
        print(fault)
    print(f"{len(faults)} places break the rules of docs/style.md." if faults else "No place breaks them.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
