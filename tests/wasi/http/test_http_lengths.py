from __future__ import annotations

import pytest

from wasi_trio.wasi.http._lengths import ContentLength, may_announce_length, may_have_content, response_headers


@pytest.mark.parametrize(
    ("method", "status", "content", "length"),
    [
        ("GET", 200, True, True),
        ("GET", 404, True, True),
        ("GET", 205, True, True),
        ("GET", 304, False, True),
        ("GET", 204, False, False),
        ("GET", 103, False, False),
        ("HEAD", 200, False, True),
        ("HEAD", 204, False, False),
        ("head", 200, True, True),
        ("CONNECT", 200, False, False),
        ("CONNECT", 299, False, False),
        ("CONNECT", 302, True, True),
    ],
)
def test_which_responses_have_content_and_a_length(method, status, content, length):
    assert may_have_content(method, status) == content
    assert may_announce_length(method, status) == length
    headers = [("A", b"1"), ("Content-Length", b"5")]
    assert response_headers(method, status, headers) == (headers if length else [("A", b"1")])


@pytest.mark.parametrize(
    ("expected", "applies", "written", "admitted", "wrong"),
    [
        (None, True, 7, True, False),
        (5, True, 5, True, False),
        (5, True, 4, True, True),
        (5, True, 6, False, True),
        (5, True, 0, True, True),
        (0, True, 0, True, False),
        (5, False, 0, True, False),
        (5, False, 9, True, False),
        (5, None, 0, True, False),
        (5, None, 4, True, True),
        (5, None, 6, False, True),
    ],
)
def test_content_is_held_to_its_length(expected, applies, written, admitted, wrong):
    length = ContentLength(expected, applies)
    assert length.add(written) == admitted
    assert length.wrong == wrong
    assert length.reached == (written == expected)
