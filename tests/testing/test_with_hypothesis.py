"""Property tests under pytest-trio, in test suites of users."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bindgen.support import assembled
from tests.guests import wat

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    (pytester.path / "math.wasm").write_bytes(assembled("math.wat"))
    (pytester.path / "stdout.wat").write_text(wat.source("stdout"))
    pytester.makefile(".ini", pytest="[pytest]\ntrio_mode = true\n")
    return pytester


def run(suite: pytest.Pytester, tests: str) -> pytest.RunResult:
    suite.makepyfile(test_it=tests)
    plugins = ["pytest_trio.plugin", "wasi_trio.testing.plugin", "_hypothesis_pytestplugin"]
    return suite.runpytest_subprocess(*(argument for plugin in plugins for argument in ("-p", plugin)))


def test_property_tests(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        from hypothesis import HealthCheck, given, settings, strategies as st
        from wasi_trio.testing import component, exports, strategies

        opened = []

        @given(strategies.arguments("math.wasm", "math.add"))
        async def test_property(numbers):
            async with exports("math.wasm") as app:
                assert await app.call("math.add", *numbers) == sum(numbers) % 2**32

        @settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
        @given(number=st.integers())
        async def test_the_fixture_opens_anew_for_each_example(wasi_component, number):
            app = await wasi_component("stdout.wat")
            assert app.started == 0
            await app.get()
            assert all(other.live == 0 for other in opened)
            opened.append(app)

        def test_it_did():
            assert len(opened) >= 5

        @settings(deadline=None)
        @given(st.data())
        async def test_values_that_depend_on_a_call(data):
            async with exports("math.wasm") as app:
                count = await app.call("twice", data.draw(st.integers(0, 5)))
                points = await app.call("math.points", count)
                assert len(points) == count
                wanted = strategies.from_wit("math.point", "math.wasm")
                assert type(points[0] if points else data.draw(wanted)) is type(data.draw(wanted))
        """,
    )
    result.assert_outcomes(passed=4)


def test_what_is_shown_of_a_failure(suite: pytest.Pytester) -> None:
    """The report shows the example that hypothesis shows, and no earlier ones."""
    result = run(
        suite,
        """
        from hypothesis import given, settings, strategies as st
        from wasi_trio.testing import component

        @settings(deadline=None)
        @given(st.integers())
        async def test_that_fails(number):
            async with component("stdout.wat") as app:
                await app.get()
                await app.settled()
                assert number < 1000
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*number=1000,*"])
    assert result.stdout.str().count("instance 1 of stdout.wat") == 1
