"""The Dockerfile, checked by a linter, and its steps in a directory, as far as they require no container."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import trio

from tests.deploy.dockerfile import instructions
from tests.deploy.files import COMPONENT, DEPLOY, option, options, seconds, tool
from tests.e2e.process import command, on_disk
from tests.guests.build import ROOT

FILE = DEPLOY / "Dockerfile"
STEPS = instructions(FILE)


def last(word: str) -> str:
    return [step.text for step in STEPS if step.word == word][-1]


def test_the_linter_accepts_it() -> None:
    done = subprocess.run([tool("hadolint"), "--no-color", str(FILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_linter_detects_faults(tmp_path: Path) -> None:
    bad = tmp_path / "Dockerfile"
    bad.write_text(FILE.read_text().replace("python:3.13-slim", "python"))
    done = subprocess.run([tool("hadolint"), str(bad)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "DL3006" in done.stdout


def test_copied_files_suffice_for_the_package(tmp_path: Path) -> None:
    """The copied files suffice to build the package, which contains every file."""
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    first = STEPS[: [step.word for step in STEPS].index("FROM", 1)]
    for step in first:
        if step.word == "COPY":
            *sources, target = step.text.split()
            for source in sources:
                place = tmp_path / target / ("" if (ROOT / source).is_dir() else source)
                subprocess.run(["cp", "-r", ROOT / source, place], check=True)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", "out", "."]
    subprocess.run(build, cwd=tmp_path, check=True)
    (wheel,) = (tmp_path / "out").glob("*.whl")
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "wasi_trio").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert package <= set(zipfile.ZipFile(wheel).namelist())


def test_the_extras_are_ours() -> None:
    (install,) = [step.text for step in STEPS if step.word == "RUN" and "pip install" in step.text]
    named = install.split(".[", 1)[1].split("]", 1)[0].split(",")
    listed = (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]", 1)[1]
    assert [extra for extra in named if f"\n{extra} = [" not in listed] == []


def test_the_python_version_is_supported() -> None:
    for step in STEPS:
        if step.word == "FROM":
            version = step.text.split()[0].removeprefix("python:").removesuffix("-slim")
            assert f"Programming Language :: Python :: {version}" in (ROOT / "pyproject.toml").read_text()


def test_the_user_has_a_number_and_owns_the_cache() -> None:
    words = [step.word for step in STEPS]
    user, _, group = last("USER").partition(":")
    assert user == group
    assert int(user) > 0
    assert f"--uid {user} " in next(step.text for step in STEPS if "useradd" in step.text)
    compiled = next(number for number, step in enumerate(STEPS) if step.text == f"wasi-trio compile {COMPONENT}")
    assert words.index("USER") < compiled
    assert words.count("USER") == 1


async def test_it_is_healthy_until_it_ends(tmp_path: Path) -> None:
    """The image's last steps: compile, serve, and check the health."""
    component = on_disk(tmp_path, "hello").rename(tmp_path / COMPONENT)
    (home := tmp_path / "home").mkdir()
    compiles = last("RUN").split()
    assert compiles[0] == "wasi-trio"
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT)}
    environment.pop("XDG_CACHE_HOME", None)
    await trio.run_process([sys.executable, "-m", "wasi_trio", *compiles[1:]], cwd=tmp_path, env=environment)
    (health,) = [step for step in STEPS if step.word == "HEALTHCHECK"]
    arguments = [step.exec_form for step in STEPS if step.word in ("ENTRYPOINT", "CMD")]
    whole = [*arguments[0], *arguments[1]]
    assert option(whole, "--addr").endswith(":8080")
    before = ["env", "-u", "XDG_CACHE_HOME", f"HOME={home}"]
    async with command(tmp_path, component, *options(whole), before=before) as server:
        program, flag, script = health.exec_form
        assert (program, flag, script.count("9090")) == ("python", "-c", 1)
        look = [sys.executable, flag, script.replace("9090", str(server.admin_port))]

        async def healthy() -> bool:
            return (await trio.run_process(look, check=False)).returncode == 0

        while not await healthy():
            assert server.process.poll() is None, server.stderr
        server.signal(signal.Signals[last("STOPSIGNAL")])
        # During --drain-delay it runs but reports that it is not ready.
        while await healthy():
            pass
        assert server.process.poll() is None
        assert (await server.ask()).status == 200
        server.signal(signal.SIGTERM)
        await server.ended()
    code = home / ".cache" / "wasi_trio" / "code"
    assert len(list(code.iterdir())) == 1


def test_the_ports_are_those_that_it_says() -> None:
    entry = next(step.exec_form for step in STEPS if step.word == "ENTRYPOINT")
    ports = [option(entry, name).rsplit(":", 1)[1] for name in ("--addr", "--admin-addr")]
    assert last("EXPOSE").split() == ports
    assert seconds(option(next(s.exec_form for s in STEPS if s.word == "CMD"), "--drain-delay")) > 0
