"""The rules of wasi:http for fields, methods, schemes and paths, in guests of WASI 0.2 and 0.3."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from tests.guests.build import build
from wasi_trio.testing import component

BOTH = pytest.mark.parametrize("name", ["python_p2", "python_p3"])


@BOTH
async def test_names_go_by_their_first_spelling(name: str) -> None:
    async with component(build(name)) as app:
        response = await app.get("/names?foo=1&X-Other=2&FOO=3")
        assert await response.json() == [["foo", "1"], ["X-Other", "2"], ["foo", "3"]]
        assert response.headers.raw == [("foo", b"1"), ("X-Other", b"2"), ("foo", b"3")]


@BOTH
async def test_values_are_what_wit_says(name: str) -> None:
    async with component(build(name)) as app:

        async def set_(what: str, value: str) -> str:
            response = await app.get(f"/target?{urlencode({what: value})}")
            found: dict[str, str] = await response.json()
            return found[what]

        for method in ("Get", "Head", "Post", "Put", "Delete", "Connect", "Options", "Trace", "Patch"):
            assert await set_("method", method.upper()) == method
        assert await set_("method", "get") == "Other get"
        assert await set_("method", "a b") == "refused"
        for scheme, case in (("http", "Http"), ("HTTPS", "Https"), ("ws", "Other ws"), ("1", "refused")):
            assert await set_("scheme", scheme) == case
        for path in ("/", "a/b/c", "../..", "/\x80é\U0001f600", "*", "?q=/?", '/{"a":[1]}'):
            assert await set_("path", path) == path
        assert await set_("path", "") == "/"
        for path in ("<", "/>", "`", "/ ", "/#", "/?<", "/\x7f", "/\n"):
            assert await set_("path", path) == "refused"


@BOTH
async def test_the_seed_of_an_instance_does_not_change(name: str) -> None:
    async with component(build(name), max_instance_reuse_count=1, seed=None) as app:
        seeds = []
        for _ in range(2):
            one, again = await (await app.get("/seed")).json()
            assert one == again
            seeds.append(one)
        assert app.started == 2
        assert seeds[0] != seeds[1]
