"""``hypercorn -c hypercorn.toml wasi_trio.asgi:app`` in its own process."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
import trustme

from tests.docs.blocks import ROOT
from tests.guests import wat

APP = "wasi_trio.asgi:app"
#: With these arguments only the shutdown closes an idle connection.
NEVER_IDLE = ("--keep-alive", "600")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name, because the paths of sockets are limited."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


class Hypercorn:
    """The running program. ``said`` is its output so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said = ""
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.said += line
                self._changed.notify_all()

    def find(self, pattern: str, count: int = 1) -> list[str]:
        """Return the matches of a pattern in the output, once it has this many."""

        def found() -> list[str]:
            return re.findall(pattern, self.said)

        with self._changed:
            assert self._changed.wait_for(lambda: len(found()) >= count, timeout=60), self.said
            return found()

    def ends(self) -> tuple[int, str]:
        """Wait for the end. Return the exit code and the whole output."""
        code = self.process.wait(timeout=60)
        self._reader.join()
        return code, self.said


@contextmanager
def hypercorn(folder: Path, *arguments: str, fds: tuple[int, ...] = (), **variables: str) -> Iterator[Hypercorn]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    with subprocess.Popen(
        [sys.executable, "-m", "hypercorn", *arguments, APP],
        cwd=folder,
        env=environment,
        pass_fds=fds,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            yield Hypercorn(process)
        finally:
            # The pipe stays open while a worker runs, so no worker is left after its end.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def component(folder: Path, name: str) -> Path:
    path = folder / "app.wasm"
    path.write_bytes(wat.load(name))
    return path


def test_tls_http2_unix_sockets_and_the_table(folder: Path) -> None:
    component(folder, "counter")
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    (folder / "hypercorn.toml").write_text(
        'worker_class = "trio"\nbind = ["127.0.0.1:0"]\ninsecure_bind = ["unix:s"]\n'
        'certfile = "both.pem"\nkeyfile = "both.pem"\n'
        '[wasi_trio]\ncomponent = "app.wasm"\nmax-instance-reuse-count = 3\nidle-instance-timeout = 1000\n'
    )
    with hypercorn(folder, "-c", "hypercorn.toml") as server:
        (url,) = server.find(r"Running on (https://127\.0\.0\.1:\d+)")
        server.find("Running on http://unix:s")
        with httpx.Client(verify=trust, http2=True, trust_env=False, timeout=60) as client:
            responses = [client.get(url) for _ in range(2)]
        assert {response.http_version for response in responses} == {"HTTP/2"}
        assert [response.text for response in responses] == ["1\n", "2\n"]
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(folder / "s")), timeout=60) as client:
            assert [client.get("http://x/").text for _ in range(2)] == ["3\n", "1\n"]
        server.process.send_signal(signal.SIGTERM)
        code, said = server.ends()
    assert code == 0
    assert "Traceback" not in said


def test_routes(folder: Path) -> None:
    for name in ("hello", "counter"):
        (folder / f"{name}.wasm").write_bytes(wat.load(name))
    (folder / "hypercorn.toml").write_text(
        'worker_class = "trio"\nbind = ["127.0.0.1:0"]\n[wasi_trio]\ncomponent = "hello.wasm"\n'
        '[[wasi_trio.route]]\nprefix = "/count"\ncomponent = "counter.wasm"\nmax-instance-reuse-count = 2\n'
        "idle-instance-timeout = 1000\n"
    )
    with hypercorn(folder, "-c", "hypercorn.toml") as server:
        (url,) = server.find(r"Running on (http://127\.0\.0\.1:\d+)")
        with httpx.Client(trust_env=False, timeout=60) as client:
            assert [client.get(f"{url}/count").text for _ in range(3)] == ["1\n", "2\n", "1\n"]
            assert client.get(f"{url}/other").text == "Hello, world!\n"
            assert client.get(f"{url}/%63ount/x").text == "2\n"
        server.process.send_signal(signal.SIGTERM)
        code, said = server.ends()
    assert code == 0
    assert "Traceback" not in said


def test_a_trap_is_logged_with_its_time_and_request(folder: Path) -> None:
    component(folder, "trap")
    (folder / "hypercorn.toml").write_text(
        'worker_class = "trio"\nbind = ["127.0.0.1:0"]\n[wasi_trio]\ncomponent = "app.wasm"\n'
    )
    with hypercorn(folder, "-c", "hypercorn.toml") as server:
        (url,) = server.find(r"Running on (http://127\.0\.0\.1:\d+)")
        assert httpx.get(f"{url}/path", trust_env=False, timeout=60).status_code == 500
        time = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\]"
        server.find(rf"(?m)^{time} ERROR wasi_trio\.serve: instance 1, at GET /path, trapped: wasm trap: ")


def test_several_workers_an_inherited_socket_and_the_drain(folder: Path) -> None:
    path = component(folder, "echo")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number, port = listener.fileno(), listener.getsockname()[1]
        arguments = ["-k", "trio", "-w", "2", "-b", f"fd://{number}", "--graceful-timeout", "600", *NEVER_IDLE]
        with hypercorn(folder, *arguments, fds=(number,), WASI_TRIO_COMPONENT=str(path)) as server:
            workers = server.find(rf"\[(\d+)\] \[INFO\] Running on http://127\.0\.0\.1:{port}", count=2)
            assert len(set(workers)) == 2
            with (
                socket.create_connection(("127.0.0.1", port), timeout=60) as busy,
                socket.create_connection(("127.0.0.1", port), timeout=60) as idle,
            ):
                busy.sendall(b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
                idle.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                answers = busy.makefile("rb")
                while (line := answers.readline()) != b"first\r\n":
                    assert line
                assert idle.recv(12) == b"HTTP/1.1 200"
                server.process.send_signal(signal.SIGTERM)
                while idle.recv(4096):
                    pass  # until hypercorn closes the idle connection at its end
                for worker in workers:
                    # hypercorn does this with all other workers when one has ended.
                    with suppress(ProcessLookupError):
                        os.kill(int(worker), signal.SIGTERM)
                busy.sendall(b"6\r\nsecond\r\n0\r\n\r\n")
                assert answers.read() == b"6\r\nsecond\r\n0\r\n\r\n"
            code, said = server.ends()
    assert code == 0
    assert "Traceback" not in said


def test_work_after_a_response_survives_the_end_of_another_worker(folder: Path) -> None:
    component(folder, "p3_background")
    arguments = ["-k", "trio", "-w", "2", "-b", "127.0.0.1:0", *NEVER_IDLE]
    with hypercorn(folder, *arguments, WASI_TRIO_COMPONENT="app.wasm", WASI_TRIO_VERBOSE="1") as server:
        workers = server.find(r"\[(\d+)\] \[INFO\] Running on", count=2)
        (port,) = set(server.find(r"Running on http://127\.0\.0\.1:(\d+)", count=2))
        with socket.create_connection(("127.0.0.1", int(port))) as client:
            client.sendall(b"GET /700 HTTP/1.1\r\nhost: x\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 200"
            server.process.send_signal(signal.SIGTERM)
            while client.recv(4096):
                pass  # until the worker has been told to shut down
        while server.process.poll() is None:
            for worker in workers:
                with suppress(ProcessLookupError):
                    os.kill(int(worker), signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                server.process.wait(0.01)
        _, said = server.ends()
    assert "instance 1 of app.wasm ended" in said


def test_a_single_worker_can_be_terminated(folder: Path) -> None:
    component(folder, "hello")
    arguments = ["-k", "trio", "-w", "2", "-b", "127.0.0.1:0"]
    with hypercorn(folder, *arguments, WASI_TRIO_COMPONENT="app.wasm") as server:
        workers = server.find(r"\[(\d+)\] \[INFO\] Running on", count=2)
        os.kill(int(workers[0]), signal.SIGTERM)
        server.ends()  # hypercorn ends when a worker has failed; otherwise this fails


def test_a_new_component_is_reloaded(folder: Path) -> None:
    path = component(folder, "counter")
    with hypercorn(folder, "--reload", "-k", "trio", "-b", "127.0.0.1:0", WASI_TRIO_COMPONENT=str(path)) as server:
        (url,) = server.find(r"Running on (http://127\.0\.0\.1:\d+)")
        with httpx.Client(trust_env=False, timeout=60) as client:
            assert client.get(url).text == "1\n"
            # The file is replaced as a whole, unlike by a component's build, and only once it is watched.
            changed = folder / "changed.wasm"
            changed.write_bytes(wat.load("hello"))
            changed.replace(path)
            os.utime(path, (path.stat().st_mtime + 10,) * 2)
            server.find(r"Running on (http://127\.0\.0\.1:\d+)", count=2)
            assert client.get(url).text == "Hello, world!\n"
        server.process.send_signal(signal.SIGTERM)
        assert server.ends()[0] == 0


WRONG_WORKER = 'wasi_trio runs on trio: set worker_class = "trio" (hypercorn --worker-class trio)'
NO_LINK = (
    "app.wasm: nothing provides these imports of the component: tests:nowhere/nothing@1.0.0; implement "
    "tests:nowhere/nothing@1.0.0 in your own Python program (see the page 'Host functions'), or compose the component "
    "with one that exports it (`wac plug`)"
)


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        (["-k", "trio"], {"WASI_TRIO_COMPONENT": "app.wasm"}, NO_LINK),
        ([], {"WASI_TRIO_COMPONENT": "app.wasm"}, WRONG_WORKER),
        (
            ["-k", "trio", "-c", "file.toml"],
            {},
            "Invalid value for cancel-grace in [wasi_trio] of file.toml: 'x' is not a duration "
            "such as 1s, 500ms, 2.5, 5m or 1h30m",
        ),
    ],
)
def test_invalid_components(folder: Path, arguments: list[str], variables: dict[str, str], message: str) -> None:
    """One line, and no second attempt. hypercorn then exits with code 0."""
    component(folder, "unknown_import")
    (folder / "file.toml").write_text('[wasi_trio]\ncomponent = "app.wasm"\ncancel-grace = "x"\n')
    with hypercorn(folder, "-b", "127.0.0.1:0", *arguments, **variables) as server:
        assert server.ends() == (0, f"wasi_trio: error: {message}\n")


def test_no_worker_process_and_no_component(folder: Path) -> None:
    with hypercorn(folder, "-b", "127.0.0.1:0", "-k", "trio", "-w", "0") as server:
        code, said = server.ends()
    assert code == 2
    assert said.startswith("wasi_trio: error: no component is named: set the environment variable WASI_TRIO_COMPONENT")
    assert said.count("\n") == 1
