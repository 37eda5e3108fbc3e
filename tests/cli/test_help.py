"""Help, versions, completion, and the messages about typing errors."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from tests.cli.terminal import at_a_terminal, ran
from wasi_trio.cli import cli
from wasi_trio.cli._help import EXAMPLES, PROGRAM, VALUES
from wasi_trio.wasi._arguments import parse_duration, parse_size


def test_versions() -> None:
    code, out, err = ran("--version")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].removesuffix(" (compiled)") == f"wasi_trio {version('wasi-trio')}"
    assert lines[1:4] == [
        f"{shown} {version(name)}"
        for shown, name in (
            ("wasmtime", "wasmtime"),
            ("trio", "trio"),
            ("hypercorn", "hypercorn"),
        )
    ]
    assert re.fullmatch(r"Python 3\.\d+\.\S+ \(CPython, .+\)", lines[4])
    assert len(lines) == 5


def test_the_list_of_commands() -> None:
    code, out, err = ran("-h")
    assert (code, err) == (0, "")
    assert ran("--help")[1] == out
    for name, command in cli.commands.items():
        assert command.short_help
        assert re.search(rf"^  {name} +{re.escape(command.short_help[:20])}", out, re.MULTILINE)
        assert "..." not in command.short_help


@pytest.mark.parametrize("name", cli.commands)
def test_the_help_of_a_command(name: str) -> None:
    code, out, err = ran(name, "-h")
    assert (code, err) == (0, "")
    assert ran(name, "--help")[1] == out
    assert out.startswith(f"Usage: python -m wasi_trio {name} ")
    assert "\n  Example" in out
    assert all(len(line) <= 80 for line in out.splitlines())


def test_the_help_shows_the_program_as_it_was_called(console_script: Path) -> None:
    for name in (None, *cli.commands):
        arguments = [*([] if name is None else [name]), "--help"]
        as_module = ran(*arguments)[1]
        done = subprocess.run([console_script / PROGRAM, *arguments], capture_output=True, text=True, check=True)
        assert done.stdout.startswith(f"Usage: {PROGRAM} ")
        examples = re.findall(r"^ +'?wasi-trio (.*)$", done.stdout, re.MULTILINE)
        assert examples
        if name != "completion":  # only this name can be completed
            assert re.findall(r"^ +'?python -m wasi_trio (.*)$", as_module, re.MULTILINE) == examples


@pytest.mark.parametrize(("value", "parse"), [("DURATION", parse_duration), ("SIZE", parse_size)])
def test_the_values_in_the_help(value: str, parse: Callable[[str], float]) -> None:
    """The help of each command with such a value has its grammar. Its examples are valid, as are those of the page."""
    for name, command in cli.commands.items():
        has = any(isinstance(option, click.Option) and option.metavar == value for option in command.params)
        assert has == (f"\n  {value}  " in ran(name, "--help")[1])
    examples = re.findall(r"\b\d[\w.]*\b", VALUES[value])
    page = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text("utf-8")
    (row,) = re.findall(rf"^\| `{value}` \| .* \| (.*) \|$", page, re.MULTILINE)
    examples += re.findall(r"`(.*?)`", row)
    assert len(examples) > 5
    for example in examples:
        assert parse(example) > 0


def test_the_examples_are_valid_commands() -> None:
    """Each is parsed, but not executed."""
    seen = 0
    for text in EXAMPLES.values():
        for line in re.findall(r"^  wasi-trio (.*)$", text, re.MULTILINE):
            name, *arguments = re.findall(r"'[^']*'|\S+", re.split(r" [|<>] ", line)[0])
            command = cli.commands[name]
            command.make_context(name, [argument.strip("'") for argument in arguments], parent=click.Context(cli))
            seen += 1
    assert seen > 8


def test_the_help_has_no_colours_in_a_pipe() -> None:
    assert "\x1b" not in ran("--help", FORCE_COLOR="1")[1]
    with at_a_terminal("--help", NO_COLOR="1") as terminal:
        assert terminal.finish() == 0
    assert "\x1b" not in terminal.text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serv"], "No such command 'serv'. Did you mean 'serve'?"),
        (["inpsect", "app.wasm"], "No such command 'inpsect'. Did you mean 'inspect'?"),
        ([], "Missing command. 'python -m wasi_trio --help' lists the commands."),
        (["frobnicate"], "No such command 'frobnicate'. 'python -m wasi_trio --help' lists the commands."),
        (["--frobnicate"], "No such option '--frobnicate'. 'python -m wasi_trio --help' lists the commands."),
        (["inspect", "--jsn", "app.wasm"], "No such option '--jsn'. Did you mean '--json'?"),
        (["run", "--evn", "A=1", "app.wasm"], "No such option '--evn'. Did you mean '--env'?"),
        (["completion", "bsh"], "Invalid value for '[bash|zsh|fish]': 'bsh' is not one of 'bash', 'zsh', 'fish'."),
        (["inspect"], "Missing argument 'COMPONENT'."),
        (["compile"], "Missing argument 'COMPONENT...'."),
        (["inspect", "a", "b"], "Got unexpected extra argument (b)"),
        (["inspect", "--wit", "--json", "a"], "--wit and --json exclude each other; the JSON includes the WIT text"),
        (["inspect", "/none.wasm"], "cannot read /none.wasm: No such file or directory"),
        (["compile", "/none.wasm"], "cannot read /none.wasm: No such file or directory"),
    ],
)
def test_typing_errors(arguments: list[str], said: str) -> None:
    assert ran(*arguments) == (2, "", f"wasi_trio: error: {said}\n")


def test_the_shell_lines_are_those_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text("utf-8")
    lines = re.findall(r"^  (.*wasi-trio completion .*)$", EXAMPLES["completion"], re.MULTILINE)
    assert len(lines) == 3
    assert [line for line in lines if f"    {line}\n" not in page] == []


# ---- completion ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell(shell: str) -> None:
    code, out, _ = ran("completion", shell)
    assert code == 0
    assert "wasi-trio" in out
    assert f"_WASI_TRIO_COMPLETE={shell}_complete" in out
    assert ran("completion", SHELL=f"/usr/bin/{shell}")[1] == out


def test_an_unsupported_shell() -> None:
    expected = "wasi_trio: error: $SHELL is not a supported shell: choose bash, zsh or fish\n"
    assert ran("completion", SHELL="/bin/sh") == (2, "", expected)
    assert ran("completion", SHELL="") == (2, "", expected)


@pytest.fixture
def console_script(tmp_path: Path) -> Path:
    """A folder with the command wasi-trio, as an installation creates it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "wasi-trio"
    script.write_text(f"#!{sys.executable}\nfrom wasi_trio.cli import main\nmain()\n")
    script.chmod(0o755)
    return folder


def in_bash(folder: Path, words: list[str]) -> list[str]:
    """Return bash's completions of the last word."""
    bash = shutil.which("bash")
    assert bash is not None
    script = """
      complete() { :; }
      eval "$(wasi-trio completion bash)"
      COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
      compopt() { printf '%s %s\\n' "$@"; }
      _wasi_trio_completion wasi-trio
      printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        [bash, "-c", script, "bash", *words],
        env={
            **os.environ,
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.split("\n")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes(console_script: Path) -> None:
    assert "inspect" in in_bash(console_script, ["wasi-trio", "ins"])
    assert "--json" in in_bash(console_script, ["wasi-trio", "inspect", "--js"])
    assert "zsh" in in_bash(console_script, ["wasi-trio", "completion", ""])
    # The shell itself completes files.
    for command in ("serve", "run", "inspect", "compile"):
        assert "-o default" in in_bash(console_script, ["wasi-trio", command, "app"])
