"""``serve`` with settings from a file and the environment, on other kinds of sockets, and over TLS."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trustme

from tests.cli.test_bad_input import fails
from tests.cli.test_serve import guest


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name, because the paths of sockets are limited."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


@contextmanager
def serve(folder: Path, *arguments: str, fds: tuple[int, ...] = (), lines: int = 1) -> Iterator[list[str]]:
    """Start a server, and yield its first lines. It must end when told to."""
    command = [sys.executable, "-m", "wasi_trio", "serve", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    with subprocess.Popen(
        command, text=True, cwd=folder, env=environment, pass_fds=fds, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stderr is not None
            yield [process.stderr.readline().rstrip("\n") for _ in range(lines)]
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=60)
            assert process.returncode == 0, said
            assert "Traceback" not in said
        finally:
            process.kill()


def get(url: str, transport: httpx.HTTPTransport | None = None) -> httpx.Response:
    with httpx.Client(transport=transport, trust_env=False, timeout=60) as client:
        return client.get(url)


def test_a_unix_socket_and_settings_from_the_file(folder: Path) -> None:
    (folder / "app.wasm").write_bytes(Path(guest(folder, "counter")).read_bytes())
    (folder / "hypercorn.toml").write_text(
        'bind = ["unix:s", "127.0.0.1:0"]\nworker_class = "trio"\ninclude_server_header = true\n'
        '[wasi_trio]\ncomponent = ["app.wasm"]\nmax-instance-reuse-count = 3\nidle_instance_timeout = "1000s"\n'
    )
    with serve(folder, "--hypercorn-config", "hypercorn.toml", lines=2) as (first, second):
        assert first == "Serving HTTP on unix:s"
        match = re.fullmatch(r"Serving HTTP on (http://127\.0\.0\.1:\d+/)", second)
        assert match is not None
        response = get("http://x/", httpx.HTTPTransport(uds=str(folder / "s")))
        assert (response.text, response.headers["server"]) == ("1\n", "wasi_trio")
        assert [get(match[1]).text for _ in range(3)] == ["2\n", "3\n", "1\n"]
        # A response that no guest has made.
        with httpx.Client(trust_env=False, timeout=60) as client:
            response = client.get(match[1], headers={"expect": "magic"})
        assert (response.status_code, response.headers["server"]) == (417, "wasi_trio")
        assert "date" in response.headers
    assert not (folder / "s").exists()


def test_an_inherited_socket(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number, port = listener.fileno(), listener.getsockname()[1]
        with serve(folder, "--addr", f"fd://{number}", guest(folder, "hello"), fds=(number,)) as (line,):
            assert line == f"Serving HTTP on http://127.0.0.1:{port}/"
            assert get(f"http://127.0.0.1:{port}").text == "Hello, world!\n"


def test_tls(folder: Path) -> None:
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    with (
        serve(folder, "--addr", "127.0.0.1:0", "--certfile", "both.pem", guest(folder, "hello")) as (line,),
        httpx.Client(verify=trust, http2=True, trust_env=False, timeout=60) as client,
    ):
        match = re.fullmatch(r"Serving HTTPS on (https://127\.0\.0\.1:\d+/)", line)
        assert match is not None, line
        response = client.get(match[1])
        assert (response.http_version, response.text) == ("HTTP/2", "Hello, world!\n")


@pytest.mark.parametrize(
    ("option", "text", "content"),
    [
        ("--request-timeout", "1d", '"1d"'),
        ("--header", "nonsense", '["nonsense"]'),
    ],
)
def test_the_message_about_a_bad_option_is_the_same_everywhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch, option: str, text: str, content: str
) -> None:
    """The sources are the command line, the environment and TOML."""
    name = {"header": "headers"}.get(option[2:], option[2:])
    variable = f"WASI_TRIO_{name.upper().replace('-', '_')}"
    file = folder / "hypercorn.toml"
    file.write_text(f"[wasi_trio]\n{name} = {content}\n")
    body = re.sub(r"^Invalid value for '.*?': ", "", fails("serve", option, text))
    assert fails("serve", "--hypercorn-config", str(file)) == (
        f"Invalid value for {name} in [wasi_trio] of {file}: {body}"
    )
    monkeypatch.setenv(variable, text)
    assert fails("serve") == f"Invalid value for {variable}: {body}"


def test_refused_files_and_combinations(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fails("serve", "--hypercorn-config", "/none.toml") == "cannot read /none.toml: No such file or directory"
    assert fails("serve", "--addr", "fd://1000") == "cannot listen on fd://1000: Bad file descriptor"
    file = folder / "hypercorn.toml"
    file.write_text("[wasi_trio]\nrequest-timout = 1\n")
    monkeypatch.setenv("WASI_TRIO_CONFIG", str(file))
    assert fails("serve") == (f"[wasi_trio] of {file}: unknown setting 'request-timout', did you mean request-timeout?")


def test_a_link_error_with_several_workers(folder: Path) -> None:
    component = guest(folder, "unknown_import")
    message = f"{component}: nothing provides these imports of the component: tests:nowhere/nothing@1.0.0; implement"
    assert fails("serve", "--workers", "2", component).startswith(message)
