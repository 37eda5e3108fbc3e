"""One suite for several builds of a component."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

#: The name of the mark that ``components`` makes.
MARK = "wasi_components"


def components(*patterns: str) -> pytest.MarkDecorator:
    """Return a mark for tests, or for a module as its ``pytestmark``: each test runs once for each matching file.

    ``wasi_component()`` and ``wasi_server()`` then open that file, and the fixture ``wasi_source`` is its path. The
    patterns are those of ``Path.glob``, in the folder in which the fixtures look for files. A pattern without a match
    is an error.
    """
    import pytest

    if not patterns:
        raise TypeError("components requires a pattern such as '*.wasm'")
    mark: pytest.MarkDecorator = getattr(pytest.mark, MARK)(*patterns)
    return mark


def find(patterns: tuple[str, ...], folder: Path) -> list[Path]:
    """Return the matching files in the order of patterns and names. Raises ValueError for a pattern without a match."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        root, relative = folder, Path(pattern)
        if relative.is_absolute():
            root = Path(relative.anchor)
            relative = relative.relative_to(root)
        matches = sorted(path for path in root.glob(str(relative)) if path.is_file())
        if not matches:
            raise ValueError(f"components({pattern!r}): no file in {root} matches. Build the components first")
        found.update(dict.fromkeys(matches))
    return list(found)
