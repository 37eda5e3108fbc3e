"""Listening: from an address to a socket, and refused addresses."""

from __future__ import annotations

import math
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from wasi_trio.serve._config_file import ConfigFile, gather
from wasi_trio.serve._configuration import ProtocolOptions
from wasi_trio.serve._listening import Listener, ListenError, SocketOptions, listening, open_listener
from wasi_trio.serve.settings._setting import SettingError
from wasi_trio.wasi._arguments import InheritedSocket, UnixAddress


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name, because the paths of sockets are limited."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


def test_a_unix_socket(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "s"
    options = SocketOptions(umask=0o077)
    with open_listener(UnixAddress(str(path)), options) as listener:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        Listener(listener).announce()
        with (
            pytest.raises(ListenError, match=f"^cannot listen on unix:{path}: Address already in use$"),
            open_listener(UnixAddress(str(path)), options),
        ):
            pytest.fail("a second listener has the path")
    assert capsys.readouterr().err == f"Serving HTTP on unix:{path}\n"
    assert not path.exists()


def test_a_stale_unix_socket(folder: Path) -> None:
    path = folder / "s"
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    assert path.is_socket()
    with open_listener(UnixAddress(str(path)), SocketOptions()), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_regular_file_at_the_path(folder: Path) -> None:
    path = folder / "s"
    path.write_text("precious")
    with (
        pytest.raises(ListenError, match="Address already in use"),
        open_listener(UnixAddress(str(path)), SocketOptions()),
    ):
        pytest.fail("it listens")
    assert path.read_text() == "precious"


def test_the_socket_of_a_later_server_is_kept(folder: Path) -> None:
    path = folder / "s"
    with open_listener(UnixAddress(str(path)), SocketOptions()):
        path.unlink()
        later = socket.socket(socket.AF_UNIX)
        later.bind(str(path))
    assert path.is_socket()
    later.close()


def test_a_path_that_is_too_long(folder: Path) -> None:
    with (
        pytest.raises(ListenError, match=r"^cannot listen on unix:/.*: AF_UNIX path too long$"),
        open_listener(UnixAddress(str(folder / ("s" * 200))), SocketOptions()),
    ):
        pytest.fail("it listens")


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_an_inherited_socket(folder: Path, family: socket.AddressFamily) -> None:
    with socket.socket(family) as given:
        given.bind(("127.0.0.1", 0) if family == socket.AF_INET else str(folder / "s"))
        with (
            open_listener(InheritedSocket(os.dup(given.fileno())), SocketOptions()) as listener,
            socket.socket(family) as client,
        ):
            assert not listener.get_inheritable()
            client.connect(given.getsockname())


def test_descriptors_that_cannot_listen() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams, open(os.devnull) as file:
        for number, why in (
            (os.dup(file.fileno()), "Socket operation on non-socket"),
            (os.dup(datagrams.fileno()), "it is not a stream socket"),
            (1 << 20, "Bad file descriptor"),
        ):
            with (
                pytest.raises(ListenError, match=f"^cannot listen on fd://{number}: {why}$"),
                open_listener(InheritedSocket(number), SocketOptions()),
            ):
                pytest.fail("it listens")


def test_sockets_are_closed_if_a_later_address_fails(folder: Path) -> None:
    path = folder / "s"
    addresses = [UnixAddress(str(path)), UnixAddress(str(folder / "none" / "s"))]
    with pytest.raises(ListenError, match="No such file"), listening([], addresses, SocketOptions()):
        pytest.fail("it listens")
    assert not path.exists()


# ---- hypercorn's configuration file ----------------------------------------------------------------------------


def protocols(given: dict[str, object] | None = None, **keys: object) -> ProtocolOptions:
    file = ConfigFile("h.toml", None, keys)
    return ProtocolOptions(file, gather(given or {}, {}, file))


def test_addresses_in_the_file() -> None:
    assert protocols().plain == [("0.0.0.0", 8080)]
    assert protocols(bind="127.0.0.1:80").plain == [("127.0.0.1", 80)]
    assert protocols(bind=["[::1]:80", "unix:/s", "fd://3"]).plain == [
        ("::1", 80),
        UnixAddress("/s"),
        InheritedSocket(3),
    ]
    assert protocols({"addr": ("127.0.0.1", 1)}, bind=["127.0.0.1:80"]).plain == [("127.0.0.1", 1)]


def test_other_settings_in_the_file() -> None:
    told = protocols(
        keep_alive_timeout=9, h2_max_concurrent_streams=7, backlog=3, graceful_timeout=4, workers=2, root_path="/x/"
    )
    limits = told.limits
    assert (limits.keep_alive_timeout, limits.max_streams, told.sockets.backlog) == (9, 7, 3)
    assert (told.root_path, told.response_headers, told.access_log) == ("/x", [], None)
    assert (told.drain_timeout, told.workers, told.adds_date) == (4, 2, True)
    told = protocols({"drain-timeout": None, "workers": 1}, graceful_timeout=4, workers=2, include_date_header=False)
    assert (told.drain_timeout, told.workers, told.adds_date) == (None, 1, False)


def test_the_ends_of_ranges() -> None:
    told = protocols(h2_max_inbound_frame_size=16_384, keep_alive_timeout=0.01, graceful_timeout=0, loglevel="Warning")
    assert (told.limits.max_frame_size, told.limits.keep_alive_timeout, told.drain_timeout) == (16_384, 0.01, 0)


def test_ignored_settings_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    protocols(pid_path="x", nonsense=1, backlog=7, worker_class="trio")
    (record,) = caplog.records
    assert record.getMessage() == "h.toml: wasi_trio serve ignores pid_path, nonsense"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"bind": 5}, "Invalid value for bind in h.toml: 5 is not a string or a list of strings"),
        ({"bind": [5]}, "Invalid value for bind in h.toml: [5] is not a string or a list of strings"),
        (
            {"bind": "nonsense"},
            "Invalid value for bind in h.toml: 'nonsense' is not an address of the form "
            "IP:PORT (such as 127.0.0.1:8080), unix:PATH or fd://NUMBER",
        ),
        ({"backlog": "many"}, "Invalid value for backlog in h.toml: 'many' is not a whole number"),
        ({"workers": True}, "Invalid value for workers in h.toml: True is not a whole number"),
        ({"keep_alive_timeout": "1s"}, "Invalid value for keep_alive_timeout in h.toml: '1s' is not a number"),
        (
            {"alt_svc_headers": ['h3=":1"\r\nx: y']},
            "Invalid value for alt_svc_headers in h.toml: ['h3=\":1\"\\r\\nx: y'] is not visible ASCII",
        ),
        ({"backlog": -1}, "Invalid value for backlog in h.toml: -1 is not a whole number from 1 to 2147483647"),
        ({"backlog": 1 << 40}, "Invalid value for backlog in h.toml: 1099511627776 is not a whole number from 1 to "),
        ({"graceful_timeout": -0.5}, "Invalid value for graceful_timeout in h.toml: -0.5 is not a number from 0 to "),
        ({"graceful_timeout": math.inf}, "Invalid value for graceful_timeout in h.toml: inf is not a number from 0 "),
        ({"group": -1}, "Invalid value for group in h.toml: -1 is not a whole number from 0 to 4294967294"),
        ({"h11_max_incomplete_size": 10}, "Invalid value for h11_max_incomplete_size in h.toml: 10 is not a whole "),
        ({"h2_max_concurrent_streams": 0}, "Invalid value for h2_max_concurrent_streams in h.toml: 0 is not a whole "),
        ({"h2_max_header_list_size": -1}, "Invalid value for h2_max_header_list_size in h.toml: -1 is not a whole "),
        (
            {"h2_max_inbound_frame_size": 100},
            "Invalid value for h2_max_inbound_frame_size in h.toml: 100 is not a whole number from 16384 to 16777215",
        ),
        ({"keep_alive_max_requests": 0}, "Invalid value for keep_alive_max_requests in h.toml: 0 is not a whole "),
        (
            {"keep_alive_timeout": math.nan},
            "Invalid value for keep_alive_timeout in h.toml: nan is not a number from 0.01 to 1000000000",
        ),
        ({"read_timeout": 0}, "Invalid value for read_timeout in h.toml: 0 is not a number from 0.01 to "),
        ({"ssl_handshake_timeout": -1}, "Invalid value for ssl_handshake_timeout in h.toml: -1 is not a number from "),
        ({"umask": 0o1000}, "Invalid value for umask in h.toml: 512 is not a whole number from 0 to 511"),
        ({"user": 1 << 32}, "Invalid value for user in h.toml: 4294967296 is not a whole number from 0 to "),
        ({"verify_flags": -1}, "Invalid value for verify_flags in h.toml: -1 is not a whole number from 0 to "),
        ({"workers": 100_000}, "Invalid value for workers in h.toml: 100000 is not a whole number from 0 to 1000"),
        (
            {"loglevel": "x"},
            "Invalid value for loglevel in h.toml: 'x' is not one of debug, info, warning, error, critical",
        ),
        ({"verify_mode": "SOME"}, "Invalid value for verify_mode in h.toml: 'SOME' is not one of CERT_NONE, "),
        ({"worker_class": "asyncio"}, 'worker_class in h.toml: wasi_trio runs on trio, set worker_class = "trio"'),
        ({"quic_bind": "x"}, "quic_bind in h.toml: only hypercorn serves QUIC: run hypercorn -c h.toml "),
        (
            {"use_reloader": True},
            "use_reloader in h.toml: only hypercorn reloads with this key: run hypercorn -c h.toml ",
        ),
        ({"accesslog": "/none/log"}, "cannot write the log file /none/log: No such file or directory"),
        ({"errorlog": "/"}, "cannot write the log file /: Is a directory"),
        ({"certfile": "/none"}, "cannot read /none: No such file or directory"),
    ],
)
def test_invalid_files(keys: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        protocols(**keys)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
