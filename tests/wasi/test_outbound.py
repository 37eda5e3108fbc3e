"""The allow-list for sockets and outgoing HTTP, by itself."""

from __future__ import annotations

import pytest

from wasi_trio.wasi._outbound import Outbound, parse_entry

BY_NAME = [
    (["example.org"], "https", "example.org", 443, True),
    (["example.org"], "tcp", "example.org", 5432, True),
    (["example.org"], "http", "EXAMPLE.org.", 80, True),
    (["EXAMPLE.ORG."], "http", "example.org", 80, True),
    (["example.org"], "http", "www.example.org", 80, False),
    (["example.org"], "http", "example.org.evil.test", 80, False),
    (["example.org"], "http", "notexample.org", 80, False),
    (["*.example.org"], "http", "www.example.org", 80, True),
    (["*.example.org"], "http", "a.b.example.org", 80, True),
    (["*.example.org"], "http", "example.org", 80, False),
    (["*.example.org"], "http", "wwwexample.org", 80, False),
    (["*"], "udp", "anything.test", 53, True),
    (["example.org:8443"], "https", "example.org", 8443, True),
    (["example.org:8443"], "https", "example.org", 443, False),
    (["https://example.org"], "https", "example.org", 443, True),
    (["https://example.org/"], "https", "example.org", 443, True),
    (["https://example.org"], "https", "example.org", 8443, False),
    (["https://example.org"], "http", "example.org", 443, False),
    (["https://example.org"], "tcp", "example.org", 443, False),
    (["HTTPS://example.org:8443"], "https", "example.org", 8443, True),
    (["http://*.example.org"], "http", "www.example.org", 80, True),
    (["tcp://example.org"], "tcp", "example.org", 5432, True),
    (["tcp://example.org"], "http", "example.org", 80, False),
    (["b\u00fccher.example"], "https", "xn--bcher-kva.example", 443, True),
    (["xn--bcher-kva.example"], "https", "b\u00fccher.example", 443, True),
    (["10.0.0.0/8"], "tcp", "example.org", 80, False),
    (["a.test", "b.test"], "tcp", "b.test", 80, True),
    ([], "tcp", "example.org", 80, False),
]


@pytest.mark.parametrize(("entries", "scheme", "name", "port", "admitted"), BY_NAME)
def test_names(entries: list[str], scheme: str, name: str, port: int, admitted: bool) -> None:
    assert Outbound.parse(entries).admits_name(scheme, name, port) is admitted


BY_ADDRESS = [
    (["192.0.2.1"], "tcp", "192.0.2.1", 80, True),
    (["192.0.2.1"], "tcp", "192.0.2.2", 80, False),
    (["192.0.2.1"], "tcp", "::ffff:192.0.2.1", 80, True),
    (["192.0.2.1:5432"], "tcp", "192.0.2.1", 5432, True),
    (["192.0.2.1:5432"], "tcp", "192.0.2.1", 80, False),
    (["::1"], "tcp", "::1", 80, True),
    (["[::1]"], "tcp", "::1", 80, True),
    (["[::1]:80"], "tcp", "::1", 80, True),
    (["[::1]:80"], "tcp", "::1", 81, False),
    (["udp://[2001:db8::1]:53"], "udp", "2001:db8::1", 53, True),
    (["10.0.0.0/8"], "http", "10.1.2.3", 80, True),
    (["10.0.0.0/8"], "http", "11.1.2.3", 80, False),
    (["10.1.2.3/8"], "http", "10.9.9.9", 80, True),
    (["fd00::/8"], "tcp", "fd12::1", 80, True),
    (["fe80::/10"], "tcp", "fe80::1%eth0", 80, True),
    (["10.0.0.0/8"], "tcp", "::1", 80, False),
    (["tcp://10.0.0.0/8"], "tcp", "10.0.0.1", 80, True),
    (["tcp://10.0.0.0/8"], "udp", "10.0.0.1", 80, False),
    (["*"], "tcp", "192.0.2.1", 80, True),
    (["*:443"], "tcp", "192.0.2.1", 443, True),
    (["*:443"], "tcp", "192.0.2.1", 80, False),
    (["*.example.org"], "tcp", "192.0.2.1", 80, False),
    (["example.org"], "tcp", "no address", 80, False),
    (["*"], "tcp", "no address", 80, False),
]


@pytest.mark.parametrize(("entries", "scheme", "address", "port", "admitted"), BY_ADDRESS)
def test_addresses(entries: list[str], scheme: str, address: str, port: int, admitted: bool) -> None:
    assert Outbound.parse(entries).admits_address(scheme, address, port) is admitted


OWN = [
    ([("127.0.0.1", 8080)], "127.0.0.1", 8080, True),
    ([("127.0.0.1", 8080)], "127.0.0.1", 5432, False),
    ([("127.0.0.1", 8080)], "127.0.0.2", 8080, False),
    ([("0.0.0.0", 8080)], "127.0.0.2", 8080, True),
    ([("::", 8080)], "::1", 8080, True),
    ([("0.0.0.0", 8080)], "192.0.2.1", 8080, False),
    ([("192.0.2.1", 8080)], "192.0.2.1", 8080, True),
    ([], "127.0.0.1", 8080, False),
]


@pytest.mark.parametrize(("own", "address", "port", "admitted"), OWN)
def test_self(own: list[tuple[str, int]], address: str, port: int, admitted: bool) -> None:
    assert Outbound.parse(["self"]).with_own(own).admits_address("http", address, port) is admitted


def test_self_with_a_port() -> None:
    listening = Outbound.parse(["self:81"]).with_own([("127.0.0.1", 80), ("127.0.0.1", 81)])
    assert not listening.admits_address("tcp", "127.0.0.1", 80)
    assert listening.admits_address("tcp", "127.0.0.1", 81)


LOOK_UPS = [
    (["example.org:443"], "example.org", True),
    (["*.example.org"], "www.example.org", True),
    (["10.0.0.0/8"], "example.org", False),
    (["*"], "example.org", True),
    (["example.org"], "secret.evil.test", False),
]


@pytest.mark.parametrize(("entries", "name", "admitted"), LOOK_UPS)
def test_look_ups(entries: list[str], name: str, admitted: bool) -> None:
    assert Outbound.parse(entries).admits_look_up(name) is admitted


@pytest.mark.parametrize(
    ("entries", "has"), [(["a.test"], False), (["10.0.0.0/8"], True), (["self"], True), (["a.test", "*"], True)]
)
def test_whether_there_are_addresses(entries: list[str], has: bool) -> None:
    assert Outbound.parse(entries).has_addresses is has


WRONG = [
    "",
    " ",
    "ftp://example.org",
    "https://",
    "https://example.org/path",
    "user@example.org",
    "example.org:0",
    "example.org:65536",
    "example.org:port",
    "example..org",
    "-example.org",
    "www.*.org",
    "*example.org",
    "10.0.0.0/33",
    "10.0.0.0/8:80",
    "127.1",
    "1.2.3.4.5",
    "[::1",
    "x" * 64,
    "a." * 130 + "a",
]


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_entry(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not of the form|no protocol"):
        parse_entry(text)
