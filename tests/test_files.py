"""Reading of files that a user names."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from wasi_trio._files import check_regular, parse_json, parse_toml, read_file


def test_a_regular_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"content")
    assert read_file(path) == read_file(str(path), most=7) == b"content"
    with pytest.raises(OSError, match="it is larger than 0 MiB"):
        read_file(path, most=6)
    path.write_bytes(b"")
    assert read_file(path) == b""


def test_no_file(tmp_path: Path) -> None:
    before = os.open(os.devnull, os.O_RDONLY)
    for name in (str(tmp_path / "none"), "", str(tmp_path), "a" * 300):
        with pytest.raises(OSError) as caught:
            read_file(name)
        assert caught.value.strerror
    with pytest.raises(IsADirectoryError):
        check_regular(str(tmp_path))
    after = os.open(os.devnull, os.O_RDONLY)
    os.close(before)
    os.close(after)
    assert after == before + 1, "a descriptor is left open"


def test_a_pipe_without_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a pipe, and nothing writes to it"):
        read_file(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is not a regular file"):
        check_regular(str(tmp_path / "pipe"))


def test_a_pipe_with_a_writer() -> None:
    """A shell passes the output of a process by this kind of name."""
    reader, writer = os.pipe()
    data = b"x" * 300_000

    def write() -> None:
        with open(writer, "wb") as file:
            file.write(data)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert read_file(f"/dev/fd/{reader}") == data
    finally:
        thread.join()
        os.close(reader)


def test_a_device_without_end() -> None:
    with pytest.raises(OSError, match="it is larger than 2 MiB"):
        read_file("/dev/zero", most=2 << 20)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system has no such files")
def test_a_file_without_a_size() -> None:
    assert read_file("/proc/self/status").startswith(b"Name:")


def test_bad_toml_and_json() -> None:
    for content, message in {
        b"a =": "is not TOML: Invalid value (at end of document)",
        b"a = '\xff'": "is not UTF-8 text (at byte 5)",
        b"a = " + b"[" * 100_000: "is nested too deeply",
    }.items():
        with pytest.raises(ValueError) as caught:
            parse_toml(content)
        assert str(caught.value) == message
    assert parse_toml(b"a = 1\r\n") == {"a": 1}
    assert parse_json(b"\xef\xbb\xbf[1]") == [1]
