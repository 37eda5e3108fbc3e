"""The pytest plugin in test suites of its users. A separate pytest runs each of them."""

from __future__ import annotations

import itertools
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guests import wat
from tests.guests.build import build

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent.parent
PLUGIN = "wasi_trio.testing.plugin"


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Suite:
    return Suite(pytester, monkeypatch)


class Suite:
    """A user's project with components and tests."""

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pytester = pytester
        self.plugins = ["pytest_trio.plugin", PLUGIN]
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
        (pytester.path / "hello.wasm").write_bytes(wat.load("hello"))
        for name, guest in (("trap", "trap"), ("stdout", "stdout"), ("command", "command"), ("sleep", "p3_sleep")):
            (pytester.path / f"{name}.wat").write_text(wat.source(guest))

    def run(self, tests: str, *arguments: str, ini: str = "[pytest]\ntrio_mode = true\n") -> pytest.RunResult:
        self.pytester.makepyfile(test_it=tests)
        self.pytester.makefile(".ini", pytest=ini)
        loaded = [argument for plugin in self.plugins for argument in ("-p", plugin)]
        return self.pytester.runpytest_subprocess(*loaded, *arguments)


def test_fixtures(suite: Suite) -> None:
    result = suite.run(
        """
        import pytest
        import trio

        from wasi_trio.runtime._component import Component
        from wasi_trio.testing import LoadError, component

        opened = []
        compiled = []
        original = Component.compile

        def compile(engine, data, **options):
            compiled.append(data)
            return original(engine, data, **options)

        @pytest.fixture(autouse=True)
        def counted(monkeypatch):
            monkeypatch.setattr(Component, "compile", compile)

        async def test_components(wasi_component):
            app = await wasi_component("hello.wasm", max_instance_reuse_count=5, idle_instance_timeout=3600)
            other = await wasi_component("stdout.wat")
            assert (await app.get()).status == (await other.get()).status == 200
            assert app.live == 1
            opened.append(app)

        async def test_they_end_with_their_test():
            assert opened[0].live == 0

        async def test_a_server(wasi_server):
            server = await wasi_server("hello.wasm")
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            await stream.send_all(b"GET / HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n")
            assert b"Hello, world!" in b"".join([piece async for piece in stream])
            opened.append(server)

        async def test_it_ends_with_its_test():
            with pytest.raises(OSError):
                await trio.open_tcp_stream("127.0.0.1", opened[1].port)

        async def test_what_is_no_component(wasi_component):
            with pytest.raises(LoadError, match="cannot read"):
                await wasi_component("nowhere.wasm")

        async def test_each_is_compiled_once():
            async with component("hello.wasm") as app:
                await app.get()
            assert len(compiled) == len(set(compiled)) == 2
        """
    )
    result.assert_outcomes(passed=6)


def test_what_is_shown_of_failures(suite: Suite) -> None:
    result = suite.run(
        f"""
        import trio

        from wasi_trio.testing import component, run

        async def test_that_passes():
            async with component("hello.wasm") as app:
                await app.get()

        async def test_block():
            async with component("stdout.wat") as app:
                response = await app.get()
                await app.settled()
            assert response.status == 201

        async def test_fixture(wasi_component):
            app = await wasi_component("stdout.wat")
            await app.get()
            await app.settled()
            assert not app.stdout

        async def test_trap(wasi_component):
            app = await wasi_component("trap.wat")
            await app.get()

        async def test_command():
            assert (await run("command.wat", ["both"])).exit_code == 1

        async def test_request_that_nothing_answers(wasi_server):
            server = await wasi_server({str(build("python_p2"))!r})
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            await stream.send_all(b"GET /fetch?url=http://example.test/x HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n")
            await trio.sleep_forever()
        """,
    )
    result.assert_outcomes(passed=1, failed=5)
    shown = dict(sections(result.outlines))
    assert "hello.wasm" not in result.stdout.str(), "it passed, and is no business of the tests after it"

    block = shown["test_block"]
    assert "instance 1 of stdout.wat: 1 request, reuse-count" in block
    assert any("wasi_trio: stdout.wat: stdout" in line for line in block)
    assert any("wasi_trio: stdout.wat: stderr" in line for line in block)

    path = suite.pytester.path / "stdout.wat"
    assert f"instance 1 of {path}: 1 request, reuse-count" in shown["test_fixture"]

    trap = "\n".join(shown["test_trap"])
    assert "GuestFailed: the guest trapped" in trap
    assert "wasm backtrace:" in trap
    assert "Main!" in trap
    assert "1 request, trap" in trap

    command = shown["test_command"]
    assert any("wasi_trio: command.wat: stdout" in line for line in command)
    assert any("wasi_trio: command.wat: stderr" in line for line in command)

    # The error occurred in the fixture's task, so pytest-trio cancels the test and reports only that error.
    unanswered = "\n".join(shown["test_request_that_nothing_answers"])
    assert "UnexpectedRequest: the guest asked for GET http://example.test/x" in unanswered


def sections(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each failed test with its report."""
    starts = [number for number, line in enumerate(lines) if re.fullmatch(r"_+ test_\w+ _+", line)]
    for start, end in itertools.pairwise([*starts, len(lines)]):
        yield lines[start].strip("_ "), lines[start:end]


def test_the_folder_of_components(suite: Suite) -> None:
    folder = suite.pytester.mkdir("built")
    (suite.pytester.path / "hello.wasm").rename(folder / "hello.wasm")
    (suite.pytester.mkdir("elsewhere")).joinpath("test_other.py").write_text(
        "async def test_it(wasi_component):\n    await (await wasi_component('hello.wasm')).get()\n"
    )
    result = suite.run("", "elsewhere", ini="[pytest]\ntrio_mode = true\nwasi_components = built\n")
    result.assert_outcomes(passed=1)


def test_without_trio_mode(suite: Suite) -> None:
    result = suite.run(
        """
        import pytest
        import trio

        @pytest.mark.trio
        async def test_marked(wasi_component, autojump_clock):
            app = await wasi_component("sleep.wat")
            await app.get("/3600000")
            assert trio.current_time() >= 3600

        def test_sync(wasi_component):
            pass

        async def test_unmarked(wasi_server):
            pass
        """,
        ini="[pytest]\n",
    )
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(
        ["*wasi_component requires a test that runs on trio: make this test an async def, and mark*"]
    )
    result.stdout.fnmatch_lines(["*wasi_server requires a test that runs on trio*"])


def test_without_pytest_trio(suite: Suite) -> None:
    suite.plugins = [PLUGIN]
    result = suite.run(
        """
        import sys

        def test_what_is_not_used_is_not_imported():
            packages = ("wasi_trio", "wasmtime", "trio", "hypercorn")
            assert {name for name in sys.modules if name.partition(".")[0] in packages} == {
                "wasi_trio",
                "wasi_trio.lazy",
                "wasi_trio.testing",
                "wasi_trio.testing.plugin",
                "wasi_trio.testing._record_mode",
            "wasi_trio.testing._recording",
            }

        def test_by_hand():
            import trio

            from wasi_trio.testing import component

            async def main():
                async with component("hello.wasm") as app:
                    assert (await app.get()).status == 200

            trio.run(main)

        async def test_fixture(wasi_component):
            pass
        """,
        ini="[pytest]\n",
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        ["*wasi_component requires pytest-trio, which is not installed: pip install pytest-trio"]
    )


def test_the_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {PLUGIN: PLUGIN}


@pytest.mark.parametrize("loaded", [[], ["-p", PLUGIN]])
def test_the_entry_point_beside_other_ways_to_load_it(
    loaded: list[str], suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A separate distribution has only the entry point, so the test does not depend on this environment.

    The suite's conftest.py names the plugin as well.
    """
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    installed = suite.pytester.mkdir("site") / "theirs-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (installed / "entry_points.txt").write_text(f"[pytest11]\n{PLUGIN} = {PLUGIN}\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(installed.parent), str(ROOT)]))
    suite.pytester.makeconftest(f"pytest_plugins = [{PLUGIN!r}]")
    suite.plugins = []
    result = suite.run(
        """
        async def test_it(wasi_component):
            app = await wasi_component("hello.wasm")
            assert (await app.get()).status == 200
        """,
        *loaded,
    )
    result.assert_outcomes(passed=1)
