"""Conversion of ASGI requests for guests: below a mount point, and with replaced fields."""

from __future__ import annotations

from typing import Any

import pytest

from wasi_trio.serve._mounting import below
from wasi_trio.serve._responder import ExtraHeaders
from wasi_trio.serve.asgi._request import build_request


def scope(**changes: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"",
        "headers": [(b"host", b"example.test:81"), (b"x-a", b"\xff")],
        "server": ("127.0.0.1", 8080),
    } | changes


def test_parts() -> None:
    request = build_request(scope(query_string=b"q=%20&r", method="PROPFIND", scheme="https"))
    assert (request.method, request.scheme, request.authority) == ("PROPFIND", "https", "example.test:81")
    assert request.path_with_query == "/a%20b?q=%20&r"
    assert request.headers == [("host", b"example.test:81"), ("x-a", b"\xff")]


@pytest.mark.parametrize(
    ("version", "header", "empty"),
    [
        ("1.1", (b"x", b"y"), True),
        ("1.1", (b"content-length", b"0"), True),
        ("1.1", (b"content-length", b"1"), False),
        ("1.1", (b"transfer-encoding", b"chunked"), False),
        ("1.0", (b"x", b"y"), True),
        ("2", (b"x", b"y"), False),
    ],
)
def test_presence_of_content(version: str, header: tuple[bytes, bytes], empty: bool) -> None:
    request = build_request(scope(http_version=version, headers=[header]))
    assert request.body.finished is empty


@pytest.mark.parametrize(
    ("method", "target", "query", "expected"),
    [
        ("GET", b"http://other.test/x", b"y", ("http", "other.test", "/x?y")),
        ("GET", b"HTTPS://other.test:1", b"", ("https", "other.test:1", "/")),
        ("GET", b"http://other.test", b"y", ("http", "other.test", "/?y")),
        ("OPTIONS", b"*", b"", ("http", "example.test:81", "*")),
        ("CONNECT", b"other.test:443", b"", ("http", "other.test:443", "")),
    ],
)
def test_other_forms_of_target(method: str, target: bytes, query: bytes, expected: tuple[str, str, str]) -> None:
    request = build_request(scope(method=method, raw_path=target, query_string=query))
    assert (request.scheme, request.authority, request.path_with_query) == expected


def test_the_authority_without_a_host_is_the_address() -> None:
    assert build_request(scope(headers=[])).authority == "127.0.0.1:8080"
    assert build_request(scope(headers=[], server=("::1", 80))).authority == "[::1]:80"
    assert build_request(scope(headers=[], server=None)).authority is None
    assert build_request(scope(headers=[(b"host", b"")])).authority == "127.0.0.1:8080"
    assert build_request(scope(headers=[(b"host", b"")], server=None)).authority is None


def test_replacement_of_headers() -> None:
    request = build_request(scope(headers=[(b"x-a", b"old"), (b"x-c", b"4"), (b"x-a", b"older")]))
    ExtraHeaders([(b"x-a", b"1"), (b"x-a", b"2"), (b"x-b", b"3")]).apply(request)
    assert request.headers == [("x-c", b"4"), ("x-a", b"1"), ("x-a", b"2"), ("x-b", b"3")]


def test_a_replaced_host_is_the_authority() -> None:
    request = build_request(scope())
    ExtraHeaders([(b"host", b"inner.test")]).apply(request)
    assert request.authority == "inner.test"


def test_no_replacement_of_headers() -> None:
    request = build_request(scope())
    headers = list(request.headers)
    ExtraHeaders().apply(request)
    assert (request.headers, request.authority) == (headers, "example.test:81")


@pytest.mark.parametrize(
    ("root", "target", "seen"),
    [
        ("/m", "/m", "/"),
        ("/m", "/m/", "/"),
        ("/m", "/m?q=/m", "/?q=/m"),
        ("/m", "/m/a?q", "/a?q"),
        ("/m", "/ma", "/ma"),
        ("/m", "/a?b=/m/c", "/a?b=/m/c"),
        ("/m/n", "/m/n/a%20b", "/a%20b"),
        ("/m n", "/m%20n/a", "/a"),
        ("/m/n", "/m%2Fn/a%2Fb", "/a/b"),
        ("/m", "/m/m/a", "/m/a"),
        ("/m", "*", "*"),
    ],
)
def test_the_path_below_a_root(root: str, target: str, seen: str) -> None:
    assert below(root, target) == seen
