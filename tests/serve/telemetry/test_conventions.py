"""The recorded and the redacted parts of requests."""

from __future__ import annotations

import pytest

from wasi_trio.serve.telemetry._conventions import (
    LONG,
    METHODS,
    SHORT,
    address,
    known_methods,
    redacted,
    scheme_of,
    url_of,
)
from wasi_trio.serve.telemetry._durations import MAX_KINDS, REST, Durations
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._messages import Request


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", ""),
        ("a=1&b=2", "a=1&b=2"),
        ("sig=x", "sig=REDACTED"),
        ("a=1&X-Amz-Signature=x&b=2", "a=1&X-Amz-Signature=REDACTED&b=2"),
        ("X-Amz-Security-Token=a=b&X-Goog-Signature=", "X-Amz-Security-Token=REDACTED&X-Goog-Signature=REDACTED"),
        ("X-Amz-Credential=k&AWSAccessKeyId=k", "X-Amz-Credential=REDACTED&AWSAccessKeyId=REDACTED"),
        ("design=x&sig", "design=x&sig"),
    ],
)
def test_secrets_in_queries(query: str, told: str) -> None:
    assert redacted(query) == told


def test_a_cut_query_reveals_no_part_of_a_secret() -> None:
    query = "a" * (LONG - 8) + "&sig=secret"
    assert redacted(query) == "a" * (LONG - 8) + "&sig=REDACTED"


@pytest.mark.parametrize(
    ("scheme", "authority", "target", "url"),
    [
        ("http", "x:8080", "/a?b=1", "http://x:8080/a?b=1"),
        ("https", "user:word@x", "/", "https://REDACTED:REDACTED@x/"),
        ("https", "user@x", "/?sig=1", "https://REDACTED@x/?sig=REDACTED"),
    ],
)
def test_urls(scheme: str, authority: str, target: str, url: str) -> None:
    assert url_of(scheme, authority, target) == url


def test_long_urls_are_cut() -> None:
    assert len(url_of("http", "x" * 5000, "/" + "y" * 5000 + "?" + "z" * 5000)) <= 2 * LONG


@pytest.mark.parametrize(
    ("authority", "scheme", "told"),
    [
        ("x", "http", ("x", 80)),
        ("x:81", "https", ("x", 81)),
        ("[::1]:8080", "http", ("::1", 8080)),
        ("x", "https", ("x", 443)),
        ("no authority", "http", ("no authority", None)),
        ("y" * 5000, "http", ("y" * SHORT, 80)),
    ],
)
def test_addresses(authority: str, scheme: str, told: tuple[str, int | None]) -> None:
    assert address(authority, scheme) == told


def test_invented_methods_and_schemes() -> None:
    assert known_methods({}) == frozenset(METHODS)
    assert known_methods({"OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS": "GET, BREW"}) == {"GET", "BREW"}
    made_up = Request("GET", "gopher", "x", "/", [], Body.empty())
    assert scheme_of(made_up) == "_OTHER"


def test_the_number_of_kinds_is_bounded() -> None:
    durations = Durations()
    for status in range(200, 200 + 2 * MAX_KINDS):
        durations.observe(0.001, "GET", "http", status, None, "1.1")
    assert len(durations.kinds) == MAX_KINDS + 1
    assert sum(durations.kinds[REST].counts) == MAX_KINDS
