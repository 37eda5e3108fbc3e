"""The lines that docs/testing.md shows, in the current environment: ``python -m tests.stranger`` makes a clean one."""

from __future__ import annotations

import pytest

from tests.docs.blocks import ROOT
from tests.stranger import suite

pytest_plugins = ["pytester"]


def test_there_are_few_lines() -> None:
    assert suite.count() < suite.LIMIT


def test_they_pass(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    suite.write(pytester.path)
    plugins = ["-p", "pytest_trio.plugin", "-p", "wasi_trio.testing.plugin", "-p", "_hypothesis_pytestplugin"]
    pytester.runpytest_subprocess(*plugins).assert_outcomes(passed=1)
