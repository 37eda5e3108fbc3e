from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bindgen.support import Written


@pytest.fixture
def bindings(tmp_path: Path) -> Iterator[Written]:
    written = Written(tmp_path)
    yield written
    written.forget()
