"""A user's test suite: the lines in docs/testing.md."""

from __future__ import annotations

from pathlib import Path

import wasmtime

from tests.docs.blocks import ROOT, fenced

PAGE = ROOT / "docs" / "testing.md"
HEADING = "## Property tests"
#: fewer lines than this, those without text not counted
LIMIT = 10


def files() -> dict[str, str]:
    """Return the user's files: pytest's configuration, and the first test under the heading."""
    text = PAGE.read_text("utf-8")
    line = text[: text.index(f"\n{HEADING}\n")].count("\n") + 2
    (configuration,) = [block.text for block in fenced(PAGE) if block.language == "ini"]
    test = next(block.text for block in fenced(PAGE) if block.language == "python" and block.line > line)
    return {"pytest.ini": configuration, "test_math.py": test}


def count() -> int:
    """Return the number of lines with text in these files."""
    return sum(bool(line.strip()) for text in files().values() for line in text.splitlines())


def write(folder: Path) -> None:
    """Write these files, and the component that they test."""
    for name, text in files().items():
        (folder / name).write_text(text, "utf-8")
    source = (ROOT / "tests" / "bindgen" / "math.wat").read_text("utf-8")
    (folder / "math.wasm").write_bytes(wasmtime.wat2wasm(source))
