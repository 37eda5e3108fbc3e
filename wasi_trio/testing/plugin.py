"""The pytest plugin: components as fixtures, and what they wrote in the report of a test that failed.

pytest loads this with every test suite of an environment that has wasi_trio, so it imports next to nothing until a
fixture is used.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Generator
from typing import TYPE_CHECKING

import pytest

from wasi_trio.testing._record_mode import RecordingSession, RecordMode, RunningTest, running_test
from wasi_trio.testing._recording import recorded

if TYPE_CHECKING:
    from wasi_trio.testing._app import App
    from wasi_trio.testing._live import LiveServer
    from wasi_trio.testing._opener import Opener

_SESSION = pytest.StashKey[RecordingSession]()

FIXTURES = ("wasi_component", "wasi_server")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        "wasi_components",
        "the folder in which wasi_component and wasi_server look for files (default: the root directory)",
        default="",
    )
    parser.getgroup("wasi_trio").addoption(
        "--wasi-trio-record",
        metavar="MODE",
        choices=list(RecordMode),
        default=None,
        help="when cassettes record guests' requests: once, none, all or new_episodes (default: as each says, or once)",
    )


def pytest_configure(config: pytest.Config) -> None:
    mode = config.getoption("--wasi-trio-record")
    config.stash[_SESSION] = RecordingSession(None if mode is None else RecordMode(mode))


@pytest.fixture
async def wasi_component(request: pytest.FixtureRequest) -> AsyncIterator[Opener[App]]:
    """Opens components to be asked without a socket, until the test ends: `app = await wasi_component("app.wasm")`."""
    from wasi_trio.testing._app import component
    from wasi_trio.testing._opener import opener

    async with opener(component, _folder(request.config)) as opens:
        yield opens


@pytest.fixture
async def wasi_server(request: pytest.FixtureRequest) -> AsyncIterator[Opener[LiveServer]]:
    """Opens servers of components on free ports, until the test ends: `server = await wasi_server("app.wasm")`."""
    from wasi_trio.testing._live import server
    from wasi_trio.testing._opener import opener

    async with opener(server, _folder(request.config)) as opens:
        yield opens


def _folder(config: pytest.Config) -> str:
    return str(config.rootpath / config.getini("wasi_components"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Say what is missing where a test uses the fixtures and nothing would run them on trio."""
    used = [name for name in FIXTURES if name in getattr(item, "fixturenames", ())]
    if not used:
        return
    plugins = item.config.pluginmanager.get_plugins()
    if not any(getattr(plugin, "__name__", None) == "pytest_trio.plugin" for plugin in plugins):
        pytest.fail(f"{used[0]} needs pytest-trio, which is not there: pip install pytest-trio", pytrace=False)
    if item.get_closest_marker("trio") is None:
        pytest.fail(
            f"{used[0]} is for tests that run on trio: make this one an async def, and mark it with"
            " @pytest.mark.trio or set trio_mode = true",
            pytrace=False,
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    token = recorded.set([])
    test = running_test.set(RunningTest(item.config.stash[_SESSION], item.path.parent))
    try:
        return (yield)
    finally:
        running_test.reset(test)
        recorded.reset(token)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """Have Ctrl-C end the session: nurseries put KeyboardInterrupt in groups, which pytest takes for failures."""
    try:
        return (yield)
    except BaseExceptionGroup as group:
        if not recorded.get() or group.split(KeyboardInterrupt)[0] is None:
            raise
        raise KeyboardInterrupt from group


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for opened in recorded.get() or ():
            report.sections.extend(opened.report())
    return report


def pytest_unconfigure() -> None:
    """Close the engine that the tests shared, if they had one."""
    cache = sys.modules.get("wasi_trio.testing._cache")
    if cache is not None:
        cache.close()
