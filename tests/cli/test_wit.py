"""``wit``: the WIT of WASI as a text and as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.terminal import ran
from tests.docs.blocks import ROOT
from wasi_trio.bindgen import generate
from wasi_trio.component.wit import Wit, load
from wasi_trio.wasi.wit import FEATURES, _packages, host_wit

FOLDERS = {"0.2": "p2", "0.3": "p3"}
PROPOSALS = {"wasi:config", "wasi:keyvalue", "wasi:logging"}


def names(wit: Wit) -> set[str]:
    """Return the names of all interfaces, with their versions."""
    return {f"{package}/{name}" for package, content in wit.packages.items() for name in content.interfaces}


@pytest.mark.parametrize("version", FOLDERS)
def test_the_text_is_what_the_host_implements(version: str, tmp_path: Path) -> None:
    code, out, err = ran("wit", "--version", version)
    assert (code, err) == (0, "")
    (tmp_path / "wasi.wit").write_text(out)
    found = load([tmp_path / "wasi.wit"], FEATURES)
    host = host_wit()
    for package in found.packages.values():
        assert package.version is not None
        assert package.name in PROPOSALS or package.version.startswith(version)
        for name, interface in package.interfaces.items():
            implemented = host.interface(f"{package.name}/{name}@{package.version}").functions
            # Each has its own objects for the resources, so the types compare as texts.
            assert {name: str(type) for name, type in implemented.items()} == {
                name: str(type) for name, type in interface.functions.items()
            }
    assert {package.name for package in found.packages.values()} > PROPOSALS
    assert "/// Get the POSIX-style environment variables." in out, "the comments stay"


def test_the_usual_version_is_0_2() -> None:
    assert ran("wit")[1] == ran("wit", "--version", "0.2")[1]


@pytest.mark.parametrize("version", FOLDERS)
def test_the_files(version: str, tmp_path: Path) -> None:
    target = tmp_path / "wit" / "deps"
    code, out, err = ran("wit", "--version", version, "-o", str(target))
    assert (code, err) == (0, "")
    carried = ROOT / "wasi_trio" / "wasi" / "wit"
    sources = [*(carried / FOLDERS[version]).rglob("*.wit"), *(carried / "proposals").rglob("*.wit")]
    written = [path for path in target.rglob("*") if path.is_file()]
    assert {path.relative_to(target) for path in written} == {Path(*path.parts[-2:]) for path in sources}
    assert sorted(path.read_bytes() for path in written) == sorted(path.read_bytes() for path in sources)
    lines = dict(line.split(": ") for line in out.splitlines())
    assert set(lines) == {str(path.parent) for path in written}
    assert lines[str(target / "http")] == {"0.2": "wasi:http@0.2.12", "0.3": "wasi:http@0.3.0"}[version]
    # The same again is no fault, and the text is that of the files.
    assert ran("wit", "--version", version, "-o", str(target)) == (0, out, "")
    (tmp_path / "all.wit").write_text(ran("wit", "--version", version)[1])
    assert names(load([tmp_path / "all.wit"], FEATURES)) == names(load([target], FEATURES))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("http/types.wit", "http/types.wit differs from WASI's: remove its folder, or choose another"),
        ("http/mine.wit", "http has another file, mine.wit: remove the folder, or choose another"),
    ],
)
def test_other_files_stay(name: str, message: str, tmp_path: Path) -> None:
    own = tmp_path / name
    own.parent.mkdir()
    own.write_text("package wasi:http@0.2.0;\n")
    assert ran("wit", "-o", str(tmp_path)) == (2, "", f"wasi_trio: error: {tmp_path}/{message}\n")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [own]
    assert own.read_text() == "package wasi:http@0.2.0;\n"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, out, err = ran("wit", "-o", str(tmp_path / "file"))
    assert (code, out) == (2, "")
    assert err == f"wasi_trio: error: cannot write {tmp_path}/file/cli: Not a directory\n"
    assert ran("wit", "--version", "0.4")[0] == 2


def test_a_world_beside_the_packages(tmp_path: Path) -> None:
    """Toolchains look for packages there. Here, bindgen does."""
    wit = tmp_path / "wit"
    wit.mkdir()
    (wit / "world.wit").write_text(
        "package acme:hello;\nworld hello { include wasi:http/proxy@0.2.12; import wasi:keyvalue/store@0.2.0-draft2; }"
    )
    _packages.write(_packages.packages("0.2"), wit / "deps")
    generate(str(wit), str(tmp_path / "bindings"))
    assert (tmp_path / "bindings" / "imported" / "wasi_keyvalue_store.py").exists()
