from __future__ import annotations

from pathlib import Path

import pytest

from wasi_trio.wasi import _arguments as arguments
from wasi_trio.wasi._arguments import Directory


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("[::1]:80", ("::1", 80)),
        ("[::]:65535", ("::", 65535)),
        ("localhost:1", ("127.0.0.1", 1)),
    ],
)
def test_address(text: str, address: tuple[str, int]) -> None:
    assert arguments.parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8080",
        ":8080",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:1_0",
        "::1:80",
        "[127.0.0.1]:80",
        "[::1]",
        "1.2.3:80",
        "example.com:80",
        "127.0.0.1:٣",
        "http://127.0.0.1:80",
    ],
)
def test_bad_address(text: str) -> None:
    with pytest.raises(ValueError, match="IP:PORT"):
        arguments.parse_address(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("500ms", 0.5),
        ("2.5", 2.5),
        ("0", 0),
        ("250us", 0.00025),
        ("3µs", 3e-6),
        ("3μs", 3e-6),
        ("100ns", 1e-7),
        (" 1 s ", 1),
        (".5s", 0.5),
        ("7.", 7),
        ("5m", 300),
        ("1h", 3600),
        ("1h30m", 5400),
        ("1m 30s", 90),
        ("1.5h", 5400),
        ("2h5s250ms", 7205.25),
    ],
)
def test_duration(text: str, seconds: float) -> None:
    assert arguments.parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "-1s", "1d", "1M", "30m1h", "1h30", "1h1h", "1e3", "nan", "inf", "1s 2s", "1,5s", "9" * 400]
)
def test_bad_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        arguments.parse_duration(text)


def test_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert arguments.parse_variable("A=b=c") == ("A", "b=c")
    assert arguments.parse_variable("A=") == ("A", "")
    monkeypatch.setenv("A", "inherited")
    assert arguments.parse_variable("A") == ("A", "inherited")
    monkeypatch.delenv("A")
    assert arguments.parse_variable("A") is None
    for text in ("=b", ""):
        with pytest.raises(ValueError, match="NAME or NAME=VALUE"):
            arguments.parse_variable(text)


def test_text() -> None:
    assert arguments.parse_text("ü=\n") == "ü=\n"
    with pytest.raises(ValueError, match=r"'\\udcff' is not UTF-8 text"):
        arguments.parse_text("\udcff")
    with pytest.raises(ValueError, match="UTF-8"):
        arguments.parse_variable("A=\udcff")


def test_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = str(tmp_path)
    assert arguments.parse_directory(f"{host}::/data") == Directory(host, "/data")
    assert arguments.parse_directory(f"{host}::data::ro") == Directory(host, "data", read_only=True)
    assert arguments.parse_directory(host) == Directory(host, host)
    monkeypatch.chdir(tmp_path)
    assert arguments.parse_directory(".") == Directory(host, ".")
    for text in ("", "::/data", f"{host}::", f"{host}::/data::", f"{host}::/data::rw", f"{host}::/data::ro::ro", "\0"):
        with pytest.raises(ValueError, match="HOST::GUEST"):
            arguments.parse_directory(text)
    with pytest.raises(ValueError, match="cannot open 'nope' as a directory: No such file or directory"):
        arguments.parse_directory("nope::/data")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot open 'file' as a directory: Not a directory"):
        arguments.parse_directory("file::/data::ro")


def test_header() -> None:
    assert arguments.parse_headers("X-Name:  a: value ") == [(b"x-name", b"a: value")]
    assert arguments.parse_headers("x-empty:") == [(b"x-empty", b"")]


@pytest.mark.parametrize(
    "text", ["", "x", ": v", "a b: v", "x: a\r\ny: b", "x: a\n", "x: \x00", "x: \x7f", "x: é", "ü: a"]
)
def test_bad_header(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        arguments.parse_headers(text)
    assert "\n" not in str(caught.value)


def test_header_file(tmp_path: Path) -> None:
    path = tmp_path / "headers"
    path.write_bytes(b"X-One: 1\r\n\n  \nx-one: 2\nX-Two: 3")
    assert arguments.parse_headers(f"@{path}") == [(b"x-one", b"1"), (b"x-one", b"2"), (b"x-two", b"3")]


def test_header_file_with_a_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "headers"
    path.write_bytes(b"x: a\x0cb\n")
    with pytest.raises(ValueError, match="visible ASCII"):
        arguments.parse_headers(f"@{path}")


def test_unreadable_header_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No such file"):
        arguments.parse_headers(f"@{tmp_path / 'none'}")
    with pytest.raises(ValueError, match="directory"):
        arguments.parse_headers(f"@{tmp_path}")
    path = tmp_path / "binary"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="UTF-8"):
        arguments.parse_headers(f"@{path}")
