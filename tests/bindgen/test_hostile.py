"""Hostile texts and invalid input."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from tests.bindgen.support import HERE, Written, files
from tests.docs.blocks import ROOT
from wasi_trio.bindgen import _layout as layout
from wasi_trio.bindgen import generate

NASTY = st.text(st.sampled_from(['"', "'", "\\", "\n", " ", "\t", "#", "a", "\r", "\x00", "\u2028", "{", "\x0c", "é"]))


@given(NASTY)
def test_docstrings_hold_any_text(text: str) -> None:
    lines = layout.docstring(f"x{text}")
    module = ast.parse("\n".join(["class A:", *layout.indented([*lines, "after = 1"])]))
    (class_,) = module.body
    assert isinstance(class_, ast.ClassDef)
    docs, after = class_.body
    assert isinstance(docs, ast.Expr)
    assert isinstance(docs.value, ast.Constant)
    assert isinstance(after, ast.Assign)


@given(NASTY)
def test_comments_hold_any_text(text: str) -> None:
    assert ast.parse("\n".join(layout.comments(text))).body == []
    assert all(line.startswith("#:") for line in "\n".join(layout.comments(text)).splitlines())


def test_doc_comments_of_wit(bindings: Written) -> None:
    bindings(
        '''/// """
        /// raise SystemExit(1)  # \\
        /// \\""" + exit()
        package a:b;
        /// """ + exit() + """
        interface i {
            /** ends here: "*/
            record r {
                /// x
                /// exit()
                a: u8,
            }
            /// \\
            f: func();
        }
        /// '''
        + "x" * 300
        + """
        world w { import i; }"""
    )
    part = bindings.part("made.imported.a_b_i")
    assert part.R(1).a == 1
    assert part.R.__doc__.strip() == 'ends here: "'
    assert part.__doc__ == 'a:b/i, as a host provides it.\n\n""" + exit() + """\n'


def test_names_of_a_component_are_checked(tmp_path: Path) -> None:
    """The validator checks names. Names that it misses must still be valid in WIT."""
    path = tmp_path / "app.wat"
    path.write_text('(component (import "a\\" + exit() + \\"" (func)))')
    with pytest.raises(Exception, match=r"not a valid|not valid|kebab") as caught:
        generate(path, tmp_path / "made")
    assert type(caught.value).__name__ == "LoadError"
    assert not (tmp_path / "made").exists()


def test_names_that_are_python_keywords(bindings: Written) -> None:
    made = bindings(
        """package a:b;
        interface class {
            record def { lambda: u8, none: u8, true: u8, self: u8, count: u8, index: u8 }
            enum none { none, true, mro, name, value }
            variant any { ok, err, any(u8), none }
            resource protocol { constructor(self: u8); await: func(self-: u8) -> u8; }
            import: func(yield: def) -> none;
            print: func(any: any);
        }
        world while { import class; export class; }""".replace("import: func", "%import: func").replace(
            "self-: u8", "then: u8"
        )
    )
    part = bindings.part("made.imported.a_b_class")
    assert part.Def._fields == ("lambda_", "none", "true", "self", "count", "index")
    assert part.None_.MRO == "mro"
    assert part.Any_.__args__[2](7).value == 7
    assert made.imports.__kwdefaults__ is None


def test_names_that_collide_in_python(tmp_path: Path) -> None:
    path = tmp_path / "a.wit"
    path.write_text("package a:b; interface i { resource a-b; resource AB; } world w { import i; }")
    done = command(str(path), "-o", str(tmp_path / "made"))
    assert done.returncode == 2
    assert done.stderr == "wasi_trio: error: a:b/i has two names that become AB in Python\n"


# ---- the command -----------------------------------------------------------------------------------------


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wasi_trio", "bindgen", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_command(tmp_path: Path) -> None:
    done = command(str(HERE / "math.wit"), "-o", str(tmp_path / "made"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "made" / "exported" / "acme_math_math.py").exists()


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("none.wasm", [], "cannot read none.wasm: No such file or directory"),
        ("none.wit", [], "cannot read none.wit: No such file or directory"),
        ("bad.wit", [], "bad.wit:1:15: expected the interface's name, found `{`"),
        ("lost.wit", [], "lost.wit:1:31: unknown package a:c"),
        ("core.wasm", [], "core.wasm is a core WebAssembly module; wasi_trio requires a component"),
        ("text.wasm", [], "text.wasm is not a WebAssembly component"),
        ("bad.wat", [], "bad.wat is not well-formed text"),
        ("empty", [], "empty has no world: define one with its imports and exports"),
        ("two.wit", [], "two.wit has several worlds; select one with --world: a:b/one, a:b/two"),
        ("two.wit", ["--world", "three"], "two.wit has no world three; its worlds: a:b/one, a:b/two"),
        ("good.wasm", ["--world", "one"], "good.wasm is a component, which has only one world"),
        ("good.wasm", ["-o", "full"], "full is not empty and has no earlier bindings"),
        ("good.wasm", ["-o", "file"], "file is not a directory"),
        ("good.wasm", ["-o", "my-bindings"], "my-bindings is not a valid package name"),
        ("good.wasm", ["-o", "class"], "class is not a valid package name"),
        ("good.wasm", ["-o", "file/made"], "cannot write file/made: Not a directory"),
        ("good.wasm", ["-o", "/proc/made"], "cannot write /proc/made: No such file or directory"),
    ],
)
def test_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, options: list[str], said: str) -> None:
    (tmp_path / "bad.wit").write_text("interface /**/{")
    (tmp_path / "lost.wit").write_text("package a:b; interface i{ use a:c/d.{e}; } world w { import i; }")
    (tmp_path / "two.wit").write_text("package a:b; world one {} world two {}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "core.wasm").write_bytes(wasmtime.wat2wasm("(module)"))
    (tmp_path / "text.wasm").write_text("hello")
    (tmp_path / "bad.wat").write_text("(component")
    (tmp_path / "good.wasm").write_bytes(wasmtime.wat2wasm("(component)"))
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious.txt").write_text("mine")
    output = [] if "-o" in options else ["-o", "made"]
    done = subprocess.run(
        [sys.executable, "-m", "wasi_trio", "bindgen", source, *options, *output],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"wasi_trio: error: {said}")
    assert not (tmp_path / "made").exists()
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["precious.txt"]


def test_a_file_that_is_in_the_way(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    generate(HERE / "math.wit", folder)
    (folder / "_wit.py").write_text("# the user's own now\n")
    done = command(str(HERE / "math.wit"), "-o", str(folder))
    assert done.returncode == 2
    assert done.stderr == f"wasi_trio: error: {folder / '_wit.py'} is in the way: bindgen did not write it\n"


def test_types_without_end(tmp_path: Path) -> None:
    """Each type contains the previous one twice, so that its expansion has 2^40 elements."""
    types = "\n".join(f"(type $t{i} (tuple $t{i - 1} $t{i - 1}))" for i in range(1, 41))
    path = tmp_path / "app.wat"
    path.write_text(f'(component (type $t0 (tuple u8 u8)) {types} (import "f" (func (param "x" $t40))))')
    done = command(str(path), "-o", str(tmp_path / "made"))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_aliases_without_end(tmp_path: Path) -> None:
    aliases = "\n".join(f"type t{i} = tuple<t{i - 1}, list<t{i - 1}>>;" for i in range(1, 41))
    path = tmp_path / "a.wit"
    path.write_text(
        f"""package a:b;
        interface i {{ type t0 = list<string>; {aliases} f: func(x: t40) -> t40; }}
        world w {{ import i; export i; }}"""
    )
    generate(path, tmp_path / "made")
    assert max(len(text) for _, text in files(tmp_path / "made")) < 20_000


@pytest.mark.parametrize(
    ("worlds", "said"),
    [
        ([f"world w{i} {{ include w{i - 1}; include w{i - 1}; }}" for i in range(1, 61)], None),
        ([f"world w{i} {{ include w{i - 1}; }}" for i in range(1, 400)], "worlds include each other deeper than 100"),
        (["world w1 { include w2; }", "world w2 { include w1; }"], "includes itself"),
    ],
)
def test_worlds_without_end(tmp_path: Path, worlds: list[str], said: str | None) -> None:
    path = tmp_path / "a.wit"
    path.write_text("package a:b; world w0 { import f: func(); }\n" + "\n".join(worlds))
    done = command(str(path), "-o", str(tmp_path / "made"), "--world", f"w{len(worlds)}")
    if said is None:
        assert done.returncode == 0
    else:
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert said in line
