"""The modules and folders that docs/architecture.md names exist."""

from __future__ import annotations

import re

from tests.docs.blocks import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
PATHS = [path.relative_to(ROOT) for top in ("wasi_trio", "tests") for path in (ROOT / top).rglob("*")]
FILES = [f"/{path.as_posix()}" for path in PATHS]


def test_the_files_exist() -> None:
    named = set(re.findall(r"`([\w/]+\.(?:py|toml))\b", PAGE))
    assert len(named) > 100
    assert [name for name in sorted(named) if not any(file.endswith(f"/{name}") for file in FILES)] == []


def test_the_folders_exist() -> None:
    named = set(re.findall(r"`([\w/]+)/`", PAGE))
    assert len(named) > 20
    assert [name for name in sorted(named) if not any(file.endswith(f"/{name}") for file in FILES)] == []
