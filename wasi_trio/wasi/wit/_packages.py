"""The packages of WASI's WIT as files and as text, for guests' toolchains."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from wasi_trio._files import MAX_TEXT, read_file

#: The folders with the packages of a version of WASI. The proposals are for guests of both.
VERSIONS = {"0.2": ("p2", "proposals"), "0.3": ("p3", "proposals")}

_DECLARATION = re.compile(r"^package ([\w:.@-]+);\n", re.MULTILINE)


class WitPackage(NamedTuple):
    """A package: its name with its version, the name of its folder, and the texts of its files by their names."""

    name: str
    folder: str
    files: dict[str, str]


class ForeignFile(Exception):
    """The target has files that would mix with those of WASI. The message is one line."""


def packages(version: str) -> list[WitPackage]:
    """Return the packages of WASI ``0.2`` or ``0.3``, and those of the proposals."""
    return [
        _read(folder)
        for part in VERSIONS[version]
        for folder in sorted((Path(__file__).parent / part).iterdir())
        if folder.is_dir()
    ]


def _read(folder: Path) -> WitPackage:
    files = {path.name: path.read_text("utf-8") for path in sorted(folder.glob("*.wit"))}
    (name,) = {found for text in files.values() for found in _DECLARATION.findall(text)}
    return WitPackage(name, folder.name, files)


def document(found: Iterable[WitPackage]) -> str:
    """Return packages as one WIT text."""
    return "\n".join(_block(package) for package in found)


def _block(package: WitPackage) -> str:
    """Return a package with its content in braces. The braces of a file would begin the next package."""
    texts = (_DECLARATION.sub("", text).strip("\n") for text in package.files.values())
    lines = "\n\n".join(texts).split("\n")
    indented = "".join(f"    {line}\n" if line else "\n" for line in lines)
    return f"package {package.name} {{\n{indented}}}\n"


def write(found: Iterable[WitPackage], target: Path) -> None:
    """Write each package into a folder of ``target``, and leave files with the same content alone.

    Raises ForeignFile before it writes anything, and OSError.
    """
    missing: dict[Path, str] = {}
    for package in found:
        folder = target / package.folder
        present = {path.name for path in folder.glob("*.wit")} if folder.is_dir() else set()
        if others := sorted(present - package.files.keys()):
            raise ForeignFile(f"{folder} has another file, {others[0]}: remove the folder, or choose another")
        for name, text in package.files.items():
            path = folder / name
            if name not in present:
                missing[path] = text
            elif read_file(path, MAX_TEXT) != text.encode():
                raise ForeignFile(f"{path} differs from WASI's: remove its folder, or choose another")
    for path, text in missing.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
