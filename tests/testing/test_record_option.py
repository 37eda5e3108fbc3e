"""The option --wasi-trio-record in a user's test suite."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.guests import wat
from tests.testing.upstream import Asked, Said, upstream

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent.parent
SUITE = """
    import pytest
    from wasi_trio.testing import cassette, component, server

    async def test_one():
        async with component("forward.wat", outgoing=cassette("tapes/upstream.json")) as app:
            assert (await app.get("{url}/one")).status == 200

    async def test_two(wasi_component):
        app = await wasi_component("forward.wat", outgoing=cassette("tapes/upstream.json"))
        assert (await app.get("{url}/two")).status == 200

    async def test_mine():
        async with component("forward.wat", outgoing=cassette("tapes/mine.json", mode="all")) as app:
            assert (await app.get("{url}/mine")).status == 200
"""


async def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    # pytest runs in another folder than that of the module.
    loaded = ["-p", "pytest_trio.plugin", "-p", "wasi_trio.testing.plugin", "--rootdir=.", "suite"]
    return await trio.to_thread.run_sync(lambda: pytester.runpytest_subprocess(*loaded, *arguments))


async def test_modes(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    async def answer(request: Asked) -> Said:
        nonlocal asked
        asked += 1
        return Said(content=f"{request.target} {asked}".encode())

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    (pytester.path / "forward.wat").write_text(wat.source("p3_forward"))
    pytester.makefile(".ini", pytest="[pytest]\ntrio_mode = true\n")
    suite = pytester.mkdir("suite")
    tape = suite / "tapes" / "upstream.json"
    async with upstream(answer) as server:
        (suite / "test_it.py").write_text("\n".join(line[4:] for line in SUITE.format(url=server.url).splitlines()))
        monkeypatch.chdir(pytester.path)
        await passed(pytester, "--wasi-trio-record", "none", failed=3)
        assert asked == 0
        assert not tape.exists()

        await passed(pytester)
        assert asked == 3
        first = tape.read_text()
        assert "/one 1" in first
        assert "/two 2" in first, "one file of two tests has the requests of both"

        await passed(pytester)
        assert asked == 4, "one test asks for it in its code"
        await passed(pytester, "--wasi-trio-record=once")
        await passed(pytester, "--wasi-trio-record=none")
        assert asked == 4, "and the option is above that"
        assert tape.read_text() == first

        await passed(pytester, "--wasi-trio-record=all")
        assert asked == 7
        assert "/one 5" in tape.read_text()
        assert "/two 6" in tape.read_text()

        result = await run(pytester, "--wasi-trio-record=some")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["*--wasi-trio-record: invalid choice: *some*"])


async def passed(pytester: pytest.Pytester, *arguments: str, failed: int = 0) -> None:
    result = await run(pytester, *arguments)
    result.assert_outcomes(passed=3 - failed, failed=failed)
