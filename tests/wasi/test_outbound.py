"""The allow-list for sockets and outgoing HTTP, on its own."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest

from wasi_trio.wasi._outbound import Outbound, is_public, parse_entry

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
def test_invalid_entries(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not of the form|unknown protocol"):
        parse_entry(text)


NOT_PUBLIC = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.2.1",
    "192.168.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "100.63.255.255",
    "172.32.0.1",
    "2606:4700::1111",
    "64:ff9b::808:808",
    "2002:808:808::1",
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    for entries in (["*"], ["0.0.0.0/0", "::/0"], ["example.test"]):
        blocking = replace(Outbound.parse(entries), block_private=True)
        assert not blocking.admits_address("tcp", address, 80)
        assert not blocking.admits_connection("http", "example.test", address, 80)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))
    for entries in (["*"], ["0.0.0.0/0", "::/0"], ["example.test"]):
        blocking = replace(Outbound.parse(entries), block_private=True)
        assert blocking.admits_connection("http", "example.test", address, 80)


def test_listed_private_addresses() -> None:
    listed = replace(Outbound.parse(["10.0.0.0/8", "127.0.0.1:5432", "self"]), block_private=True)
    listed = listed.with_own([("0.0.0.0", 8080)])
    assert listed.admits_address("tcp", "10.1.2.3", 80)
    assert listed.admits_connection("http", "db.internal", "10.1.2.3", 80)
    assert listed.admits_address("tcp", "127.0.0.1", 5432)
    assert listed.admits_address("http", "127.0.0.1", 8080)
    assert not listed.admits_address("tcp", "127.0.0.1", 80)
    assert not listed.admits_address("tcp", "192.168.0.1", 80)
