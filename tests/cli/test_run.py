"""Commands as a user runs them: with input, and ended from outside."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.guests import wat
from tests.guests.build import build
from wasi_trio.component._errors import Trap
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._profile_file import read
from wasi_trio.wasi._command import find_run, run
from wasi_trio.wasi._context import WasiOptions
from wasi_trio.wasi._loading import link_component
from wasi_trio.wasi._stdio import BytesSource, CapturedOutput

RUN = [sys.executable, "-m", "wasi_trio", "run"]
BOTH = pytest.mark.parametrize("name", ["command", "p3_command"])


@pytest.fixture
def component(tmp_path: Path, name: str) -> str:
    path = tmp_path / f"{name}.wasm"
    path.write_bytes(wat.load(name))
    return str(path)


@pytest.fixture
def command(tmp_path: Path) -> str:
    path = tmp_path / "command.wasm"
    path.write_bytes(wat.load("command"))
    return str(path)


def ran(*arguments: str, given: str = "") -> tuple[int, str, str]:
    """Run a command. Return its exit code, stdout and stderr."""
    done = subprocess.run([*RUN, *arguments], input=given, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


@BOTH
def test_a_command_without_arguments(component: str) -> None:
    assert ran(component) == (0, "Hello, world!\n", "")


@BOTH
def test_a_command_in_text(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.wat"
    path.write_text(wat.source(name))
    assert ran(str(path)) == (0, "Hello, world!\n", "")


@BOTH
def test_input_is_read_to_its_end(component: str) -> None:
    text = "".join(f"line {i}\n" for i in range(50_000))
    assert ran(component, "cat", given=text) == (0, text, "")


@BOTH
@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_an_exit_with_a_code(component: str, code: int) -> None:
    assert ran(component, str(code))[0] == code


@BOTH
def test_an_error(component: str) -> None:
    code, _, err = ran(component, "fail")
    assert (code, err) == (1, "")


@BOTH
def test_a_trap_is_reported_after_the_output(component: str) -> None:
    command = [*RUN, component, "trap"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    assert done.returncode == 134
    printed, told, *backtrace = done.stdout.splitlines()
    assert printed.startswith("trap")
    assert told == (f"wasi_trio: error: {component} trapped: wasm trap: wasm `unreachable` instruction executed")
    assert backtrace[0] == "    error while executing at wasm backtrace:"
    assert "0:" in backtrace[1]
    assert "Traceback" not in done.stdout


def test_an_exit_with_an_error(command: str) -> None:
    assert ran(command, "goodbye") == (1, "", "")


def test_arguments_after_the_component_are_the_guests(command: str) -> None:
    arguments = ["args", "--help", "--env", "A=1", "--", "-x", "", "välue"]
    assert ran(command, *arguments) == (0, "\n".join(["command.wasm", *arguments, ""]), "")


def test_the_first_argument_is_the_files_name(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(command).parent
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    monkeypatch.chdir(folder)
    assert ran("./command.wasm", "args")[1].splitlines()[0] == "command.wasm"


def test_the_environment_contains_only_given_variables(command: str) -> None:
    assert ran("--env", "A=1", "--env", "B=a=ü", "--env=C=", command, "env") == (0, "A=1\nB=a=ü\nC=\n", "")
    assert ran(command, "env") == (0, "", "")


def test_a_variable_without_a_value_is_inherited(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INHERITED", "välue=1")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("ABSENT", raising=False)
    options = [f"--env={name}" for name in ("A=1", "INHERITED", "ABSENT", "EMPTY")]
    assert ran(*options, command, "env") == (0, "A=1\nINHERITED=välue=1\nEMPTY=\n", "")


def test_a_variable_that_is_not_unicode(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INHERITED", "\udcff")
    code, out, err = ran("--env", "INHERITED", command, "env")
    assert (code, out) == (2, "")
    assert err.endswith("'--env': the environment variable INHERITED does not hold UTF-8 text\n")


def test_output_keeps_its_order(command: str) -> None:
    done = subprocess.run([*RUN, command, "both"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    assert done.stdout == b"out\nerr\n" * 5
    assert ran(command, "both") == (0, "out\n" * 5, "err\n" * 5)


def test_output_is_written_before_the_end(command: str) -> None:
    """It writes twice the size of a pipe's buffer without waiting, and returns before anything is read."""
    with subprocess.Popen([*RUN, command, "pour"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)  # it cannot end yet
        assert process.stdout.read() == b"." * (128 << 10)
        assert process.wait(timeout=60) == 0


def test_a_reader_that_leaves(command: str) -> None:
    with subprocess.Popen([*RUN, command, "pour"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        process.stdout.close()
        process.wait(timeout=60)
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


def test_input_is_read_only_for_the_guest(command: str) -> None:
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb") as unread, os.fdopen(theirs, "wb") as writer:
        writer.write(b"kept")
        writer.close()
        assert (
            subprocess.run([*RUN, command, "args"], stdin=unread, stdout=subprocess.DEVNULL, timeout=60).returncode == 0
        )
        assert unread.read() == b"kept"


@BOTH
def test_an_interrupt_while_it_waits_for_input(component: str) -> None:
    with subprocess.Popen([*RUN, component, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"first\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"first\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert process.stdout.read() == b""


def test_an_interrupt_while_it_computes(command: str) -> None:
    with subprocess.Popen([*RUN, command, "spin"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"spinning\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP)]
)
def test_a_signal_leaves_a_profile(number: signal.Signals, code: int, command: str, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    run = [*RUN, "--profile", f"guest,{path},1ms", command, "spin"]
    with subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"spinning\n"
        process.send_signal(number)
        assert process.wait(timeout=60) == code
        assert process.stderr.read() == b""
    assert not list(tmp_path.glob("*.part"))
    read(path.read_bytes())


def test_an_ignored_sighup(command: str) -> None:
    run = ["nohup", *RUN, command, "cat"]
    with subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"first\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"first\n"
        process.send_signal(signal.SIGHUP)
        process.stdin.write(b"second\n")
        process.stdin.close()
        assert process.stdout.readline() == b"second\n"
        assert process.wait(timeout=60) == 0


@pytest.mark.parametrize(("action", "code"), [("trap", 134), ("fail", 1), ("args", 0)])
def test_the_profile_of_a_short_command(action: str, code: int, command: str, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    done = subprocess.run([*RUN, "--profile", f"guest,{path},1s", command, action], capture_output=True, timeout=60)
    assert done.returncode == code
    assert read(path.read_bytes()).name == Path(command).stem


def test_an_interrupt_while_output_is_blocked(command: str) -> None:
    with subprocess.Popen([*RUN, command, "pour"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1) == b"."
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert process.stderr.read() == b""


def test_on_a_terminal(command: str) -> None:
    """Both outputs are the same there, and Ctrl-D ends the input."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*RUN, command, "both"], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    assert process.wait(timeout=60) == 0
    assert os.read(ours, 4096) == b"out\r\nerr\r\n" * 5
    os.close(ours)


@pytest.fixture(scope="module")
def python_command() -> str:
    return str(build("python_command"))


def test_a_command_from_a_toolchain(python_command: str) -> None:
    name = Path(python_command).name
    code, out, err = ran("--env", "NAME=välue", python_command, "tell", "--flag", "ünicode", given="a line\nlast")
    assert (code, err) == (0, "told\n")
    assert out == f"['{name}', 'tell', '--flag', 'ünicode']\n{{'NAME': 'välue'}}\n['a line\\n', 'last']\n"


@pytest.mark.parametrize(("argument", "code"), [("succeed", 0), ("fail", 1), ("exit", 1), ("raise", 134)])
def test_the_ends_of_a_command_from_a_toolchain(python_command: str, argument: str, code: int) -> None:
    ended, out, err = ran(python_command, argument)
    assert (ended, out) == (code, f"{argument}\n"), err
    assert ("ValueError: raised" in err) == (argument == "raise"), err
    assert ("trapped" in err) == (argument == "raise"), err


@BOTH
async def test_use_in_a_program(name: str) -> None:
    with Engine() as engine:
        linked = link_component(engine, wat.load(name), name)
        output = CapturedOutput()
        options = WasiOptions(args=("name", "cat"), stdin=BytesSource(b"input"), stdout=output)
        assert await run(linked, find_run(linked), options) == 0
        assert output.getvalue() == b"input"
        assert isinstance(await run(linked, find_run(linked), WasiOptions(args=("name", "trap"))), Trap)


def test_sockets_require_permission(python_command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])

        def answer() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                with connection, connection.makefile("rwb") as file:
                    file.write(b"you said " + file.read())

        thread = threading.Thread(target=answer)
        thread.start()
        talk = ("talk", "127.0.0.1", port, "hello")
        for option in (["--inherit-network"], ["--allow-outbound", f"tcp://127.0.0.1:{port}"]):
            assert ran(*option, python_command, *talk)[:2] == (0, "talk\nyou said hello\n")
        thread.join()
        for option in ([], ["--allow-outbound", "192.0.2.1"], ["--inherit-network", "--allow-outbound", "192.0.2.1"]):
            code, _, err = ran(*option, python_command, *talk)
            assert code == 134
            assert "ConnectionRefusedError" in err or "PermissionError" in err


def test_name_lookup_requires_permission(python_command: str) -> None:
    for option in ([], ["--inherit-network"], ["--allow-ip-name-lookup", "--allow-outbound", "example.org"]):
        assert ran(*option, python_command, "look-up", "localhost")[0] == 134
    for option in ([], ["--allow-outbound", "localhost"]):
        code, out, _ = ran("--allow-ip-name-lookup", *option, python_command, "look-up", "localhost")
        assert code == 0
        assert "127.0.0.1" in out


def test_a_python_guest_has_an_event_loop(python_command: str) -> None:
    """It creates a pair of connected sockets, which needs no permission."""
    for option in ([], ["--inherit-network"], ["--allow-outbound", "example.org"]):
        assert ran(*option, python_command, "asyncio") == (0, "asyncio\nto myself\n", "")
