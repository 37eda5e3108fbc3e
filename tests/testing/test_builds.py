"""One test suite for several builds of a component."""

from __future__ import annotations

import pytest

from tests.guests import wat
from tests.testing.test_plugin import Suite

pytest_plugins = ["pytester"]


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Suite:
    suite = Suite(pytester, monkeypatch)
    (pytester.mkdir("built") / "old.wasm").write_bytes(wat.load("hello"))
    (pytester.path / "built" / "new.wasm").write_bytes(wat.load("p3_hello"))
    return suite


TESTS = """
    from wasi_trio.testing import component, components

    {mark}
    async def test_hello(wasi_component):
        app = await wasi_component()
        assert (await app.get()).status == 200

    async def test_server(wasi_server):
        assert (await wasi_server()).port

    async def test_path(wasi_source):
        async with component(wasi_source) as app:
            assert (await app.get()).status == 200

    async def test_of_one_of_its_own(wasi_component):
        await wasi_component("hello.wasm")

    async def test_of_none():
        pass
"""


def test_a_module(suite: Suite) -> None:
    result = suite.run(TESTS.format(mark='pytestmark = components("built/*.wasm")'), "-v")
    result.assert_outcomes(passed=9)
    result.stdout.fnmatch_lines(["*::test_hello[[]new[]]*", "*::test_hello[[]old[]]*", "*::test_path[[]old[]]*"])


def test_one_test_in_the_folder_of_components(suite: Suite) -> None:
    ini = "[pytest]\ntrio_mode = true\nwasi_components = built\n"
    result = suite.run(TESTS.format(mark='@components("new.wasm", "*.wasm")'), "-k", "test_hello", "-v", ini=ini)
    result.assert_outcomes(passed=2)


def test_no_match(suite: Suite) -> None:
    result = suite.run(TESTS.format(mark='pytestmark = components("built/*.wasm", "none/*.wasm")'))
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*components('none/[*].wasm'): no file in * matches. Build the components first"])


def test_a_fixture_without_a_source(suite: Suite) -> None:
    result = suite.run(
        """
        async def test_it(wasi_component):
            await wasi_component()
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*a component is missing: pass a path*"])


def test_no_pattern(suite: Suite) -> None:
    result = suite.run("from wasi_trio.testing import components\npytestmark = components()")
    result.stdout.fnmatch_lines(["*TypeError: components requires a pattern such as '[*].wasm'"])
