"""Compilation in a separate process, and components that crash it.

These tests contain no input that makes wasmtime slow or large. Instead, limits that are too small, and programs in
place of the compiler's, have the same effect.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
import wasmtime

from wasi_trio.component._errors import CompilationFailed, LinkError, MalformedComponent, Unsupported
from wasi_trio.component._imports import Imports
from wasi_trio.runtime import _apart, _compiling, _engine
from wasi_trio.runtime._compile_limits import CompileLimits
from wasi_trio.runtime._compiler import Compiler, assemble
from wasi_trio.runtime._component import Component
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._instance import Instance

ANSWER = """(component
    (core module $m (func (export "f") (result i32) (i32.const 42)))
    (core module (func (export "unused")))
    (core instance $i (instantiate $m))
    (func (export "answer") (result u32) (canon lift (core func $i "f"))))"""


def binary(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The processes that were started to compile."""
    found: list[Any] = []

    class Process(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            found.append(self)

    monkeypatch.setattr(subprocess, "Popen", Process)
    return found


def apart(**limits: Any) -> Engine:
    return Engine(cache=False, compile_limits=CompileLimits(**limits))


def program(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Replace the compiler's program."""
    monkeypatch.setattr(_apart, "_PROGRAM", text)


def patched(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Make the compiler's program do something else instead of compiling."""
    program(
        monkeypatch,
        "import os, sys; sys.path[:] = eval(sys.argv[2])\n"
        "from wasi_trio.runtime import _compiler_process as process\n"
        f"def compile_component(compiler, data, progress):\n    {text}\n"
        "process.compile_component = compile_component\n"
        "process.main(sys.argv[1])",
    )


# ---- valid components ----------------------------------------------------------------------------------


async def test_separately_compiled_code_runs(started: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("this process looks into a component")

    with apart() as engine:
        with monkeypatch.context() as forbidden:
            forbidden.setattr(Compiler, "validate", never)
            forbidden.setattr(Compiler, "compile", never)
            for name in ("decode", "plan", "relink"):
                forbidden.setattr(_compiling, name, never)
            component = Component.compile(engine, binary(ANSWER))
        instance = await Instance.instantiate(component.link(Imports()))
        assert await instance.call("answer") == 42
    assert [process.returncode for process in started] == [0]


async def test_a_component_without_a_description_is_planned_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its types are nested too deeply to be described, or the profiler needs the code of its modules."""
    program(
        monkeypatch,
        "import sys; sys.path[:] = eval(sys.argv[2])\n"
        "from wasi_trio.runtime import _compiler_process as process\n"
        "def describe(compiled, modules): raise RecursionError\n"
        "process.describe = describe\n"
        "process.main(sys.argv[1])",
    )
    with apart() as engine:
        instance = await Instance.instantiate(Component.compile(engine, binary(ANSWER)).link(Imports()))
        assert await instance.call("answer") == 42


def test_the_compiler_process_reports_progress() -> None:
    told: list[tuple[int, int]] = []
    with apart() as engine:
        Component.compile(engine, binary(ANSWER), lambda done, total: told.append((done, total)))
    total = told[-1][1]
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert (told[0][0], told[-1][0], len(told)) == (0, total, 3)


def test_the_compiler_process_has_the_same_features() -> None:
    data = binary("(component (core module (type (struct (field i32)))))")
    with apart() as engine, pytest.raises(Unsupported, match="feature gc, which is off"):
        Component.compile(engine, data)
    with Engine(cache=False, features=["gc"], compile_limits=CompileLimits()) as engine:
        Component.compile(engine, data)


def test_a_compiled_component_has_a_verdict(home: Path, started: list[Any]) -> None:
    data = binary(ANSWER)
    for _ in range(2):
        with Engine(compile_limits=CompileLimits()) as engine:
            Component.compile(engine, data)
            engine.validate(data)
    assert len(started) == 1
    with Engine(features=["gc"], compile_limits=CompileLimits()) as engine:
        Component.compile(engine, data)
    assert len(started) == 2  # a verdict depends on the compiler and its features


def test_a_refused_component_has_no_verdict(home: Path, started: list[Any]) -> None:
    data = binary("(component (core module (func (result i32))))")
    for _ in range(2):
        with Engine(compile_limits=CompileLimits()) as engine, pytest.raises(MalformedComponent):
            Component.compile(engine, data)
    assert len(started) == 2


def test_without_verdicts_each_compilation_is_separate(home: Path, started: list[Any]) -> None:
    (home / "cache").mkdir()
    (home / "cache" / "wasi_trio").write_text("in the way")
    for _ in range(2):
        with Engine(compile_limits=CompileLimits()) as engine:
            Component.compile(engine, binary(ANSWER))
    assert len(started) == 2


def test_trusted_components_are_compiled_in_this_process(started: list[Any]) -> None:
    with apart() as engine:
        Component.compile(engine, binary(ANSWER), trusted=True)
    with Engine(cache=False) as engine:
        Component.compile(engine, binary(ANSWER))
    assert not started


# ---- invalid components, and failures of the process ---------------------------------------------------


@pytest.mark.parametrize("text", ["(component (core module (func (result i32))))", "(module)"])
def test_errors_are_the_same_as_in_this_process(text: str) -> None:
    messages = []
    for engine in (apart(), Engine(cache=False)):
        with engine, pytest.raises(MalformedComponent) as caught:
            Component.compile(engine, binary(text))
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_a_link_error_keeps_its_lines() -> None:
    data = binary('(component (import "m" (core module)))')
    with apart() as engine, pytest.raises(LinkError) as caught:
        Component.compile(engine, data)
    assert caught.value.missing == ("m (a core module, which a host cannot provide)",)


def test_the_time_limit(started: list[Any]) -> None:
    with apart(seconds=0.001) as engine:
        with pytest.raises(CompilationFailed, match=r"longer than 0.001 s; increase --compile-timeout"):
            Component.compile(engine, binary(ANSWER))
        with pytest.raises(CompilationFailed, match="--compile-timeout"):
            engine.validate(binary(ANSWER))
    assert [process.returncode for process in started] == [-signal.SIGKILL] * 2


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count no memory")
def test_the_memory_limit(started: list[Any]) -> None:
    with apart(memory=1 << 20) as engine, pytest.raises(CompilationFailed) as caught:
        Component.compile(engine, binary(ANSWER))
    assert str(caught.value) == "compiling it takes more than 1 MiB of memory; increase --compile-memory"
    assert started[0].returncode is not None


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count no memory")
def test_the_configured_memory_limit_applies(monkeypatch: pytest.MonkeyPatch) -> None:
    patched(monkeypatch, "bytearray(300 << 20); raise RuntimeError('enough room')")
    with apart(memory=200 << 20) as engine, pytest.raises(CompilationFailed, match="more than 200 MiB"):
        Component.compile(engine, binary(ANSWER))
    with apart(memory=400 << 20) as engine, pytest.raises(CompilationFailed, match="enough room"):
        Component.compile(engine, binary(ANSWER))


@pytest.mark.parametrize("name", ["SIGBUS", "SIGABRT", "SIGKILL"])
def test_a_crash_is_one_line(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    patched(monkeypatch, f"import signal; os.write(2, b'oh'); os.kill(os.getpid(), signal.{name}); signal.pause()")
    with apart() as engine, pytest.raises(CompilationFailed) as caught:
        Component.compile(engine, binary(ANSWER))
    assert str(caught.value) == f"compiling it crashed the compiler process with {name}"
    assert caught.value.__notes__ == ["oh"]


def test_a_fault_of_ours_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    patched(monkeypatch, "raise KeyError('gone')")
    with apart() as engine, pytest.raises(CompilationFailed) as caught:
        Component.compile(engine, binary(ANSWER))
    assert str(caught.value) == "compiling it failed: KeyError: 'gone'"
    assert "Traceback" in caught.value.__notes__[0]


def test_an_interpreter_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with apart() as engine, pytest.raises(CompilationFailed, match="without a Python executable"):
        Component.compile(engine, binary(ANSWER))
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with apart() as engine, pytest.raises(CompilationFailed, match="cannot be started: No such file or directory"):
        Component.compile(engine, binary(ANSWER))


def test_modules_in_the_working_directory_are_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("json", "wasmtime", "signal"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    with apart() as engine:
        Component.compile(engine, binary(ANSWER))


def test_compiled_code_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    program(monkeypatch, "import os, struct; os.write(1, struct.pack('>cQ', b'm', 1 << 60))")
    with apart() as engine, pytest.raises(CompilationFailed, match="compiled code has more than"):
        Component.compile(engine, binary(ANSWER))


# ---- text ------------------------------------------------------------------------------------------------


def test_text_is_assembled_separately_once(home: Path, started: list[Any]) -> None:
    for _ in range(2):
        assert _apart.assemble_apart(ANSWER.encode(), CompileLimits()) == binary(ANSWER)
    assert len(started) == 1


def test_assembling_text_has_limits(home: Path) -> None:
    with pytest.raises(CompilationFailed, match="--compile-timeout"):
        _apart.assemble_apart(ANSWER.encode(), CompileLimits(seconds=0.001))


def test_errors_in_text_are_reported_completely(home: Path, started: list[Any]) -> None:
    messages = []
    for read in (lambda text: _apart.assemble_apart(text, CompileLimits()), assemble):
        with pytest.raises(MalformedComponent, match="--> <anon>:1:13") as caught:
            read(b"(component (nonsense))")
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert len(started) == 1


# ---- its end ---------------------------------------------------------------------------------------------

#: Sends its process id as progress, and waits.
WAITING = "progress(os.getpid(), 0); import signal; signal.pause()"


async def test_the_process_ends_with_the_waiting_task(monkeypatch: pytest.MonkeyPatch, started: list[Any]) -> None:
    patched(monkeypatch, WAITING)
    with apart() as engine:
        with trio.CancelScope() as scope:

            def cancel(done: int, total: int) -> None:
                trio.from_thread.run_sync(scope.cancel)

            await trio.to_thread.run_sync(Component.compile, engine, binary(ANSWER), cancel)
        assert scope.cancelled_caught
    assert [process.returncode for process in started] == [-signal.SIGKILL]


def test_the_process_ends_when_the_waiting_thread_is_interrupted(
    monkeypatch: pytest.MonkeyPatch, started: list[Any]
) -> None:
    patched(monkeypatch, WAITING)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with apart() as engine, pytest.raises(KeyboardInterrupt):
        Component.compile(engine, binary(ANSWER), interrupt)
    assert [process.returncode for process in started] == [-signal.SIGKILL]


def test_the_process_ends_with_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.pipe()
    patched(monkeypatch, WAITING)
    child = f"""
import os
from wasi_trio.runtime import _apart
from wasi_trio.runtime._compile_limits import CompileLimits
from wasi_trio.runtime._engine import Engine
_apart._PROGRAM = {_apart._PROGRAM!r}
def tell(done, total):
    os.write({theirs}, b'%d\\n' % done)
    os.close({theirs})
    os.abort()
Engine(cache=False, compile_limits=CompileLimits()).compile_component({binary(ANSWER)!r}, tell)
"""
    subprocess.run([sys.executable, "-c", child], pass_fds=[theirs], stderr=subprocess.DEVNULL, check=False)
    os.close(theirs)
    with open(ours, "rb") as told:
        number = int(told.readline())
    if sys.platform == "linux":
        # It is not a child of this process, so waiting for it is impossible. But its descriptor becomes readable.
        try:
            descriptor = os.pidfd_open(number)
        except ProcessLookupError:
            return
        with open(descriptor) as process:
            trio.run(trio.lowlevel.wait_readable, process)


def test_the_engine_has_the_limits_that_it_was_given() -> None:
    assert Engine(cache=False).compile_limits is None
    assert _engine.CompileLimits() == CompileLimits(seconds=120, memory=2 << 30)
