"""``wasi_trio profile``: flame graphs of wasi_trio's and wasmtime's profiles."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import wasmtime

from tests.cli.test_bad_input import fails
from tests.guests import wat
from wasi_trio.runtime._profile_file import WASM, Recorded, Samples, StackTree, write

HOSTILE = "</title><script>alert(1)</script>\"'&\x1b[31m\n"


def profile(path: Path, stacks: dict[tuple[str, ...], int]) -> str:
    """Write a profile with this number of samples for each stack. Each sample is 10 ms."""
    tree, samples = StackTree(), Samples()
    for names, weight in stacks.items():
        samples.add(1.0, tree.number([(name, "module 0", WASM) for name in names]), weight)
    path.write_text("".join(write(Recorded("shop", 7, 1e9, 0.01, 0.0, 2.0, tree, {"guest": samples}, []))))
    return str(path)


def drawn(*arguments: str) -> str:
    command = [sys.executable, "-m", "wasi_trio", "profile", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


class Page(HTMLParser):
    """The elements and the titles of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.titles: list[str] = []
        self._in_title = False
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        self._in_title = tag == "title"

    def handle_endtag(self, tag: str) -> None:
        self._in_title = False

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.titles.append(data)


def test_the_width_of_frames_is_their_time(tmp_path: Path) -> None:
    file = profile(tmp_path / "p.json", {("handle", "hot"): 75, ("handle", "warm"): 25})
    output = tmp_path / "flame.html"
    assert drawn(file, "-o", str(output)) == ""
    page = Page(output.read_text())
    widths = {a["data-name"]: float(a["data-width"] or 0) for tag, a in page.elements if tag == "g"}
    assert widths == {"all": 1200, "handle": 1200, "hot": 900, "warm": 300}
    assert "hot (module 0): 0.750 s, 75.0%" in page.titles


def test_several_profiles_are_added_up(tmp_path: Path) -> None:
    files = [profile(tmp_path / f"{name}.json", {("handle", name): 10}) for name in ("a", "b")]
    page = Page(drawn(*files))
    widths = {a["data-name"]: float(a["data-width"] or 0) for tag, a in page.elements if tag == "g"}
    assert widths == {"all": 1200, "handle": 1200, "a": 600, "b": 600}


def test_names_are_escaped(tmp_path: Path) -> None:
    text = drawn(profile(tmp_path / "p.json", {(HOSTILE,): 10}))
    page = Page(text)
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert "\x1b" not in text
    assert any(a.get("data-name", "").startswith("</title><script>") for tag, a in page.elements if tag == "g")  # type: ignore[union-attr]


def test_the_page_is_self_contained(tmp_path: Path) -> None:
    text = drawn(profile(tmp_path / "p.json", {("handle",): 1}))
    page = Page(text)
    assert not {"link", "img", "iframe"} & {tag for tag, _ in page.elements}
    assert not any({"src", "href"} & set(attributes) for _, attributes in page.elements)
    assert "default-src 'none'" in text
    assert not re.search(r"https?://", text)


def test_a_profile_without_samples(tmp_path: Path) -> None:
    page = Page(drawn(profile(tmp_path / "p.json", {})))
    assert [a["data-name"] for tag, a in page.elements if tag == "g"] == ["all"]


def test_a_deep_stack(tmp_path: Path) -> None:
    page = Page(drawn(profile(tmp_path / "p.json", {tuple(f"f{n}" for n in range(5000)): 1})))
    assert sum(tag == "g" for tag, _ in page.elements) == 258


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; it takes the files that `--profile guest` of serve or run writes"),
        (b"\0asm", "is not JSON: Expecting value (at line 1, column 1); it takes"),
        (b"\xff", "is not UTF-8 text (at byte 0); it takes"),
        (b"[" * 100_000, "is nested too deeply; it takes"),
        (b"1" * 5_000, "has a number with too many digits; it takes"),
        (b"{}", "is JSON, but not a profile that this command can draw; it takes"),
        (b"3", "is JSON, but not a profile that this command can draw; it takes"),
        (b"\xef\xbb\xbfnull", "is JSON, but not a profile that this command can draw; it takes"),
        (
            b'{"meta": {"preprocessedProfileVersion": 56}}',
            "has version 56 of the Firefox profiler's format; supported are versions up to 55",
        ),
    ],
)
def test_a_file_that_is_not_a_profile(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_bytes(content)
    assert fails("profile", str(tmp_path / "p.json")).startswith(f"{tmp_path}/p.json {message}")


def test_files_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    assert "cannot read /nonsense" in fails("profile", "/nonsense")
    file = profile(tmp_path / "q.json", {("handle",): 1})
    assert "cannot write" in fails("profile", file, "-o", "/nonsense/flame.html")


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("samples", "weight", math.inf),
        ("samples", "weight", math.nan),
        ("samples", "weight", -1),
        ("samples", "weight", 10**400),
        ("samples", "stack", "x"),
        ("samples", "stack", 10**9),
        ("frameTable", "func", 10**9),
        ("funcTable", "name", None),
        ("funcTable", "resource", "x"),
        ("frameTable", "category", [1]),
        ("stackTable", "frame", 0.5),
    ],
)
def test_an_inconsistent_profile(table: str, column: str, value: object, tmp_path: Path) -> None:
    file = profile(tmp_path / "p.json", {("handle",): 1})
    content = json.loads(Path(file).read_text())
    cells = content["threads"][0][table][column]
    cells[:] = [value] * len(cells)
    Path(file).write_text(json.dumps(content))
    assert "p.json is JSON, but not a profile that this command can draw; it takes" in fails("profile", file)


def test_invalid_names(tmp_path: Path) -> None:
    file = profile(tmp_path / "p.json", {("handle",): 1})
    content = json.loads(Path(file).read_text())
    content["threads"][0]["stringArray"] = [["<b>"]] * len(content["threads"][0]["stringArray"])
    Path(file).write_text(json.dumps(content))
    assert "[&#x27;&lt;b&gt;&#x27;]" in drawn(file)


def test_an_invalid_interval(tmp_path: Path) -> None:
    file = profile(tmp_path / "p.json", {("handle",): 1})
    content = json.loads(Path(file).read_text())
    content["meta"]["interval"] = math.inf
    Path(file).write_text(json.dumps(content))
    assert "is JSON, but not a profile" in fails("profile", file)


def test_a_command_writes_its_profile_to_the_given_file(tmp_path: Path) -> None:
    text = """(component
      (core module $m
        (func $hot (local $left i32)
          (local.set $left (i32.const 100000000))
          (loop $again
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br_if $again (local.get $left))))
        (func $run (export "run") (result i32) (call $hot) (i32.const 0)))
      (core instance $i (instantiate $m))
      (func $run (result (result)) (canon lift (core func $i "run")))
      (instance $exports (export "run" (func $run)))
      (export "wasi:cli/run@0.2.0" (instance $exports)))"""
    component = tmp_path / "hot.wasm"
    component.write_bytes(wasmtime.wat2wasm(text))
    file = tmp_path / "p.json"
    command = [sys.executable, "-m", "wasi_trio", "run", "--profile", f"guest,{file},1ms", str(component)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert 'data-name="hot"' in drawn(str(file))


def test_an_unwritable_profile_is_reported_first(tmp_path: Path) -> None:
    component = tmp_path / "command.wasm"
    component.write_bytes(wat.load("command"))
    assert "--profile" in fails("run", "--profile", "guest,/nonsense/p.json", str(component))
