"""``serve --access-log``, ``--log-format`` and ``--log-config``, as seen from outside."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_serve import Process, guest, serving


def printed(component: str, path: str, *options: str) -> tuple[list[str], list[str]]:
    """Start a server, send a request, and return the lines on both outputs."""
    with serving(*options, component) as server:
        server.get(path)
        return lines_of(server)


def lines_of(server: Process) -> tuple[list[str], list[str]]:
    """Stop the server, and return the lines on both outputs."""
    server.process.send_signal(signal.SIGTERM)
    stdout, stderr = server.process.communicate(timeout=30)
    assert server.process.returncode == 0, stderr
    return stdout.splitlines(), stderr.splitlines()


def test_an_access_log_in_text(tmp_path: Path) -> None:
    stdout, _ = printed(guest(tmp_path, "hello"), "path?query", "--access-log", "text")
    (line,) = stdout
    assert '"GET /path 1.1" 200 ' in line  # with a length if all content was available at once


def test_an_access_log_in_json(tmp_path: Path) -> None:
    stdout, _ = printed(guest(tmp_path, "hello"), "path?query", "--access-log", "json", "--workers", "2")
    (line,) = map(json.loads, stdout)
    assert (line["method"], line["target"], line["status"], line["client"]) == ("GET", "/path?query", 200, "127.0.0.1")
    assert line["instance"] in ("1.1", "2.1")
    assert line["request_id"] in ("1.1", "2.1")
    assert 0 <= line["seconds"] < 60


def test_an_access_log_with_a_format(tmp_path: Path) -> None:
    form = "%(m)s %(Uq)s %(s)s %({host}i)s %(instance)s %(request_id)s %(trace_id)s %(nothing)s"
    stdout, _ = printed(guest(tmp_path, "hello"), "path?query", "--access-log", form)
    (line,) = stdout
    assert "GET /path?query 200 127.0.0.1:" in line
    assert line.endswith(" 1 1 - -")


def trap_line(lines: list[str]) -> dict[str, Any]:
    (line,) = (line for line in map(json.loads, lines) if line["level"] == "ERROR")
    return dict(line)


def test_log_lines_in_json(tmp_path: Path) -> None:
    with serving("--log-format", "json", "-v", guest(tmp_path, "trap")) as server:
        with pytest.raises(urllib.error.HTTPError):
            server.get("a%20path")
        _, lines = lines_of(server)
    line = trap_line(lines)
    assert line["message"].startswith("instance 1, at GET /a%20path, trapped: wasm trap: ")
    assert (line["instance"], line["request"], line["request_id"]) == ("1", "GET /a%20path", "1")
    assert (line["logger"], line["time"][10]) == ("wasi_trio.serve", "T")


CONFIGURED = {
    "formatters": {"json": {"()": "wasi_trio.serve.JsonFormatter", "service": "shop"}},
    "handlers": {"file": {"class": "logging.FileHandler", "filename": "FILE", "formatter": "json"}},
    "loggers": {"wasi_trio": {"level": "INFO", "handlers": ["file"]}},
}

TOML = """
[formatters.json]
"()" = "wasi_trio.serve.JsonFormatter"
service = "shop"
[handlers.file]
class = "logging.FileHandler"
filename = "FILE"
formatter = "json"
[loggers.wasi_trio]
level = "INFO"
handlers = ["file"]
"""


@pytest.mark.parametrize(("name", "content"), [("logs.json", json.dumps(CONFIGURED)), ("logs.toml", TOML)])
def test_a_logging_configuration(tmp_path: Path, name: str, content: str) -> None:
    log = tmp_path / "log"
    (tmp_path / name).write_text(content.replace("FILE", str(log)))
    _, stderr = printed(guest(tmp_path, "hello"), "", "--log-config", str(tmp_path / name))
    assert stderr == []
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    (line,) = (line for line in lines if line["message"].startswith("GET / 200"))
    assert (line["service"], line["instance"], line["request"]) == ("shop", "1", "GET /")


def test_a_logging_configuration_for_several_workers(tmp_path: Path) -> None:
    log, config = tmp_path / "log", tmp_path / "logs.toml"
    config.write_text(TOML.replace("FILE", str(log)))
    printed(guest(tmp_path, "hello"), "", "--log-config", str(config), "--workers", "2")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    (line,) = (line for line in lines if line["message"].startswith("GET / 200"))
    assert line["instance"] == f"{line['worker']}.1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--access-log", "app.wasm"), "'app.wasm' is not text, json or a format with an atom such as %(r)s"),
        # The rest of the line is CPython's, and differs between its versions.
        (("--access-log", "%(r)"), "'%(r)' is not a valid format: "),
        (("--access-log", "%(s)d"), "'%(s)d' is not a valid format: "),
        (
            ("--hypercorn-config", "access.toml"),
            "cannot set up the access log of access.toml: '%(s)d' is not a valid format: ",
        ),
        (("--hypercorn-config", "deep.toml"), "deep.toml is nested too deeply"),
        (("--log-config", "deep.toml"), "deep.toml is nested too deeply"),
        (("--log-config", "deep.json"), "deep.json is nested too deeply"),
        (("--log-format", "xml"), "'xml' is not text or json"),
        (("--log-config", "/none.toml"), "cannot read /none.toml: No such file or directory"),
        (("--log-config", "bad.json"), "bad.json is not JSON: "),
        (("--log-config", "bad.toml"), "bad.toml is not TOML: "),
        (("--log-config", "list.json"), "list.json is not an object"),
        (("--log-config", "wrong.json"), "cannot set up logging from wrong.json: Unable to configure handler 'file': "),
    ],
)
def test_refused_configurations(tmp_path: Path, options: tuple[str, str], message: str) -> None:
    for name, content in {
        "bad.json": "{",
        "bad.toml": "=",
        "list.json": "[]",
        "deep.json": "[" * 100_000,
        "deep.toml": f"a={'[' * 100_000}",
        "access.toml": "accesslog = '-'\naccess_log_format = '%(s)d'\n",
        "wrong.json": json.dumps({"handlers": {"file": {"class": "none.Such"}}}),
    }.items():
        (tmp_path / name).write_text(content)
    command = [sys.executable, "-m", "wasi_trio", "serve", "--addr", "127.0.0.1:0", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message in line
