"""The pytest plugin: fixtures that open components, and reports of their output after a failed test.

pytest loads this module in each environment with wasi_trio, for all test suites. So it imports little until a test uses
a fixture.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from wasi_trio.testing._record_mode import RecordingSession, RecordMode, RunningTest, running_test
from wasi_trio.testing._recording import leaks, recorded

if TYPE_CHECKING:
    from wasi_trio.testing._app import App
    from wasi_trio.testing._live import LiveServer
    from wasi_trio.testing._opener import Opener

_SESSION = pytest.StashKey[RecordingSession]()

FIXTURES = ("wasi_component", "wasi_server")
#: The values of the setting wasi_leaks.
LEAKS = ("error", "warn", "off")
#: The modules that every user of the harness has imported.
_HARNESS = ("wasi_trio.testing._running", "wasi_trio.runtime._instance")
#: The name of the option --wasi-trio-slow.
SLOW = "wasi_trio_slow"
#: The attribute of a test's report that holds its sums.
USED = "wasi_trio_used"
#: True if a phase of the test did not pass.
_STOPPED = pytest.StashKey[bool]()


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of at least 1: write --wasi-trio-slow=10 before a file"
        )
    return int(text)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        "wasi_components",
        "the folder for the files of wasi_component and wasi_server (default: the root directory)",
        default="",
    )
    parser.getgroup("wasi_trio").addoption(
        "--wasi-trio-slow",
        dest=SLOW,
        nargs="?",
        type=_positive,
        const=10,
        metavar="N",
        help="show the N tests and components whose guests used the most processor time (default: 10)",
    )
    parser.getgroup("wasi_trio").addoption(
        "--wasi-trio-record",
        metavar="MODE",
        choices=list(RecordMode),
        default=None,
        help="record guests' requests in cassettes: once, none, all or new_episodes (default: each cassette's mode)",
    )
    parser.addini(
        "wasi_leaks",
        "reaction to a test that leaves instances, streams or file descriptors open: error, warn or off"
        " (default: error)",
        default="error",
    )


def pytest_configure(config: pytest.Config) -> None:
    mode = config.getoption("--wasi-trio-record")
    config.stash[_SESSION] = RecordingSession(None if mode is None else RecordMode(mode))
    config.addinivalue_line(
        "markers", "wasi_components(*patterns): run a test for each matching file (made by components())"
    )
    config.addinivalue_line("markers", "wasi_allow_leaks: allow a test to leave instances and descriptors open")
    if config.getoption(SLOW) is not None:
        config.pluginmanager.register(_Collector(), SLOW)
    if config.getini("wasi_leaks") not in LEAKS:
        raise pytest.UsageError(f"wasi_leaks is {config.getini('wasi_leaks')!r}; it must be one of {', '.join(LEAKS)}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a marked test once for each file that its patterns match."""
    marks = list(metafunc.definition.iter_markers("wasi_components"))
    if not marks or "wasi_source" not in metafunc.fixturenames:
        return
    from wasi_trio.testing._builds import find

    try:
        found = find(marks[0].args, Path(_folder(metafunc.config)))
    except ValueError as error:
        pytest.fail(str(error), pytrace=False)
    metafunc.parametrize("wasi_source", found, indirect=True, ids=[path.stem for path in found])


@pytest.fixture
def wasi_source(request: pytest.FixtureRequest) -> Path | None:
    """The file of the current test if it has the mark of ``components``; None for any other test."""
    source: Path | None = getattr(request, "param", None)
    return source


@pytest.fixture
async def wasi_component(request: pytest.FixtureRequest, wasi_source: Path | None) -> AsyncIterator[Opener[App]]:
    """Opens components without a socket, until the test ends: `app = await wasi_component("app.wasm")`."""
    from wasi_trio.testing._app import component
    from wasi_trio.testing._opener import opener

    async with opener(component, _folder(request.config), wasi_source) as opens:
        yield opens


@pytest.fixture
async def wasi_server(request: pytest.FixtureRequest, wasi_source: Path | None) -> AsyncIterator[Opener[LiveServer]]:
    """Opens servers of components on free ports, until the test ends: `server = await wasi_server("app.wasm")`."""
    from wasi_trio.testing._live import server
    from wasi_trio.testing._opener import opener

    async with opener(server, _folder(request.config), wasi_source) as opens:
        yield opens


def _folder(config: pytest.Config) -> str:
    return str(config.rootpath / config.getini("wasi_components"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Name the missing setting if a test uses the fixtures and nothing runs them on trio."""
    used = [name for name in FIXTURES if name in getattr(item, "fixturenames", ())]
    if not used:
        return
    plugins = item.config.pluginmanager.get_plugins()
    if not any(getattr(plugin, "__name__", None) == "pytest_trio.plugin" for plugin in plugins):
        pytest.fail(f"{used[0]} requires pytest-trio, which is not installed: pip install pytest-trio", pytrace=False)
    if item.get_closest_marker("trio") is None:
        pytest.fail(
            f"{used[0]} requires a test that runs on trio: make this test an async def, and mark it with"
            " @pytest.mark.trio or set trio_mode = true",
            pytrace=False,
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    token = recorded.set([])
    test = running_test.set(RunningTest(item.config.stash[_SESSION], item.path.parent))
    try:
        with _counted(item.config), _watched(item):
            return (yield)
    finally:
        running_test.reset(test)
        recorded.reset(token)


@contextmanager
def _counted(config: pytest.Config) -> Iterator[None]:
    """Count the guests' processor time and calls, if the option asks for the report."""
    if config.getoption(SLOW) is None:
        yield
        return
    from wasi_trio.testing._usage import USAGE, Usage

    token = USAGE.set(Usage())
    try:
        yield
    finally:
        USAGE.reset(token)


class _Collector:
    """Collects the sums of all tests. Reports may come from other processes, for example those of pytest-xdist."""

    def __init__(self) -> None:
        self.tests: dict[str, dict[str, Any]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        used = getattr(report, USED, None)
        if used is not None:
            self.tests[report.nodeid] = used


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    most = config.getoption(SLOW)
    if most is None:
        return
    terminalreporter.section("wasi_trio: where guests took long")
    collector = config.pluginmanager.get_plugin(SLOW)
    assert isinstance(collector, _Collector)
    if not collector.tests:
        terminalreporter.line("no test ran a guest")
        return
    from wasi_trio.testing._usage import report

    for line in report(collector.tests, most):
        terminalreporter.line(line)


@contextmanager
def _watched(item: pytest.Item) -> Iterator[None]:
    """Check the test for leaks, unless the check is off or nothing has imported the harness."""
    off = item.config.getini("wasi_leaks") == "off" or item.get_closest_marker("wasi_allow_leaks") is not None
    uses = any(name in getattr(item, "fixturenames", ()) for name in FIXTURES)
    if off or not (uses or any(name in sys.modules for name in _HARNESS)):
        yield
        return
    from wasi_trio.runtime._register import REGISTER
    from wasi_trio.testing._leaks import Leaks

    found = Leaks()
    watch, register = leaks.set(found), REGISTER.set(found)
    try:
        yield
    finally:
        leaks.reset(watch)
        REGISTER.reset(register)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> Generator[None, object, object]:
    """Exempt everything that a fixture for several tests opens, because the first test does not own it."""
    found = leaks.get()
    if found is None or fixturedef.scope == "function":
        return (yield)
    from wasi_trio.runtime._register import REGISTER
    from wasi_trio.testing._leaks import Leaks, descriptors

    assert isinstance(found, Leaks)
    before, register = descriptors(), REGISTER.set(None)
    try:
        return (yield)
    finally:
        REGISTER.reset(register)
        found.allow(before)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that has passed but leaves something open."""
    outcome = yield
    found = leaks.get()
    if found is None or not recorded.get() or item.stash.get(_STOPPED, False):
        return outcome
    from wasi_trio.testing._leaks import Leaks

    assert isinstance(found, Leaks)
    recorded.set([])  # The app of a passed test needs no report, and holds the descriptors of its preopens.
    lines = found.found()
    if lines:
        message = f"{item.nodeid} leaves something open:\n" + "\n".join(f"  {line}" for line in lines)
        if item.config.getini("wasi_leaks") == "error":
            pytest.fail(f"{message}\n@pytest.mark.wasi_allow_leaks allows that", pytrace=False)
        item.warn(pytest.PytestWarning(message))
    return outcome


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """Let Ctrl-C end the session. Nurseries put KeyboardInterrupt into groups, which pytest treats as failures."""
    try:
        return (yield)
    except BaseExceptionGroup as group:
        if not recorded.get() or group.split(KeyboardInterrupt)[0] is None:
            raise
        raise KeyboardInterrupt from group


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if not report.passed:  # A skipped test, or one that is expected to fail, need not clean up either.
        item.stash[_STOPPED] = True
    if report.failed:
        for opened in recorded.get() or ():
            report.sections.extend(opened.report())
    if report.when == "teardown" and item.config.getoption(SLOW) is not None:
        from wasi_trio.testing._usage import USAGE

        usage = USAGE.get()
        setattr(report, USED, None if usage is None else usage.summary())
    return report


def pytest_unconfigure() -> None:
    """Close the engines that the tests shared."""
    cache = sys.modules.get("wasi_trio.testing._cache")
    if cache is not None:
        cache.close()
