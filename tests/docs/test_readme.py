"""README.md: its Python is a test that passes. (test_commands.py runs its commands.)"""

from __future__ import annotations

import pytest

from tests.docs.blocks import ROOT, fenced
from tests.guests.build import build

pytest_plugins = ["pytester"]


def test_its_test_passes(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = fenced(ROOT / "README.md")
    assert block.language == "python"
    (pytester.path / "app.wasm").symlink_to(build("python_p3"))
    (pytester.path / "pytest.ini").write_text("[pytest]\ntrio_mode = true\n")
    (pytester.path / "test_readme.py").write_text(block.text)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
