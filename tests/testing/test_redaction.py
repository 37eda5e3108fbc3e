"""Secrets must not reach a cassette's file in any form."""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.guests import wat
from tests.testing.upstream import Asked, Said, upstream
from wasi_trio.testing import ExchangeFailed, UnrecordedRequest, cassette, component
from wasi_trio.testing._interactions import Content, RecordedRequest
from wasi_trio.testing._record_mode import running_test
from wasi_trio.testing._redaction import HEADERS, PARAMETERS, Redaction

FORWARD = wat.source("p3_forward")
#: A secret whose characters differ between the encodings.
SECRET = 'pa/ss "wörd"&<=+3'


@pytest.fixture(autouse=True)
def each_block_a_run_of_its_own() -> Iterator[None]:
    token = running_test.set(None)
    yield
    running_test.reset(token)


def in_the_file(path: Path) -> bytes:
    """Return a file's text, and its contents decoded from base64 and from lines."""
    text = path.read_text()
    items = json.loads(text)["interactions"]
    contents = [item[side].get("content", {}) for item in items for side in ("request", "response") if side in item]
    plain = [base64.b64decode("".join(content["base64"])) for content in contents if "base64" in content]
    texts = ["".join(content["text"]).encode() for content in contents if "text" in content]
    return b"\n".join([text.encode(), *plain, *texts])


def encodings(secret: str) -> list[bytes]:
    """Return the encodings of a secret in messages."""
    data, wide = secret.encode(), secret.encode("utf-16-be")
    return [
        data,
        *([secret.encode("latin-1")] if max(secret) <= "\xff" else []),
        quote(secret).encode(),
        re.sub("%..", lambda match: match[0].lower(), quote(secret, safe="")).encode(),
        quote_plus(secret).encode(),
        json.dumps(secret).encode(),
        json.dumps(secret, ensure_ascii=False).encode(),
        json.dumps(secret).replace("/", "\\/").encode(),
        html.escape(secret).encode(),
        json.dumps(json.dumps({secret: "x"})).encode(),
        "".join(f"&#{ord(c)};" for c in secret).encode(),
        "".join(f"\\u{unit:04X}" for unit in struct.unpack(f">{len(wide) // 2}H", wide)).encode(),
        "".join(f"%{byte:02x}" for byte in data).encode(),
        data.hex().encode(),
        data.hex().upper().encode(),
        *(base64.b64encode(b"xyz"[:before] + data + b"y") for before in range(3)),
        *(base64.urlsafe_b64encode(b"xyz"[:before] + data + b"y") for before in range(3)),
    ]


#: The middle of each encoding. A file that contains one of them reveals the secret.
TRACES = {form[4:-4] for form in encodings(SECRET)}


def places(secret: str) -> dict[str, Said]:
    """Return responses by target, which together contain a secret in each place and in each form."""
    content = b"a " + b" b ".join(encodings(secret)) + b" c"
    packed = gzip.compress(content)
    basic = base64.b64encode(f"someone:{secret}".encode()).decode()
    return {
        "/text": Said(content=content),
        "/pieces": Said(content=[content[at : at + 3] for at in range(0, len(content), 3)]),
        "/packed": Said(content=packed, headers=[("content-encoding", "gzip")]),
        "/binary": Said(content=b"\xff\xfe\x00" + content),
        "/json": Said(content=json.dumps({"said": [secret, {secret: basic}]}).encode()),
        "/compact": Said(content=json.dumps({"said": secret}, separators=(",", ":"), ensure_ascii=False).encode()),
        "/field": Said(
            headers=[("x-echo", quote(secret)), ("location", f"/next?t={quote_plus(secret)}"), ("x-b", basic)]
        ),
        "/trailer": Said(content=[b"x"], trailers=[("x-echo", f"it is {quote(secret)}")]),
        "/cut": Said(content=[content], cut=True),
        f"/in/{quote(secret, safe='')}/path": Said(),
    }


RULES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a usual field": ({}, {"headers": {"authorization": f"Bearer {SECRET}"}}),
    "basic credentials": (
        {},
        {"headers": {"authorization": "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()}},
    ),
    "a cookie": ({}, {"headers": {"cookie": f"theme=x; sid={quote(SECRET, safe='')}"}}),
    "a field of the user's": ({"redact_headers": ["X-Mine"]}, {"headers": {"x-mine": SECRET}}),
    "a usual parameter": ({}, {"query": f"?access_token={quote_plus(SECRET)}&page=1"}),
    "a parameter of the user's": ({"redact_parameters": ["Mine"]}, {"query": f"?mine={quote(SECRET, safe='')}"}),
    "a form": (
        {},
        {
            "content": f"user=me&password={quote_plus(SECRET)}",
            "headers": {"content-type": "application/x-www-form-urlencoded"},
        },
    ),
    "a member of JSON": ({}, {"content": json.dumps({"client_secret": SECRET})}),
    "an expression": ({"redact_body": [r"key:\[(.*?)\]"]}, {"content": f"key:[{SECRET}]"}),
    "a whole expression": ({"redact_body": [re.compile(re.escape(SECRET))]}, {"content": f"key:[{SECRET}]"}),
    "a value": ({"redact_values": [None, "", SECRET]}, {}),
}


@pytest.mark.parametrize("rule", RULES)
async def test_nothing_that_was_redacted_reaches_the_file(tmp_path: Path, rule: str) -> None:
    """One rule finds the secret in one message. Other messages contain it before and after that message."""
    options, parts = RULES[rule]
    said = places(SECRET)

    async def answer(asked: Asked) -> Said:
        return said.get(asked.target.partition("?")[0], Said(content=b"asked"))

    path = tmp_path / "upstream.json"
    query = parts.get("query", "")
    sent = {name: _encoded(part) for name, part in parts.items() if name != "query"}
    async with upstream(answer) as server, component(FORWARD, outgoing=cassette(path, **options)) as app:
        for target in said:
            async with app.stream("GET", f"{server.url}{target}") as response:
                content = await anext(aiter(response), b"")
                assert target != "/text" or SECRET.encode() in content, "the guest had it"
                if target != "/cut":
                    await response.read()
        await app.post(f"{server.url}/asked{query}", **sent)
    found = in_the_file(path)
    assert [trace for trace in TRACES if trace in found] == []
    assert b"REDACTED" in found


def _encoded(part: Any) -> Any:
    return part.encode() if isinstance(part, str) else {name: value.encode() for name, value in part.items()}


async def test_a_response_that_is_cut_within_a_secret(tmp_path: Path) -> None:
    async def answer(asked: Asked) -> Said:
        if asked.target == "/member":
            return Said(content=[b'{"password": "begins-wi'], cut=True)
        return Said(content=[b"the key is kept-sec"], cut=True)

    path = tmp_path / "upstream.json"
    tape = cassette(path, redact_values=["kept-secret"])
    async with upstream(answer) as server, component(FORWARD, outgoing=tape) as app:
        for target in ("/member", "/plain"):
            with pytest.raises(ExchangeFailed):
                await app.get(server.url + target)
    found = in_the_file(path)
    assert b"begins" not in found
    assert b"kept" not in found


async def test_secrets_of_urls_in_fields(tmp_path: Path) -> None:
    async def answer(asked: Asked) -> Said:
        location = "http://someone:s0mething@h.test/?apikey=k3y-k3y"
        return Said(302, b"someone and s0mething", headers=[("location", location)])

    path = tmp_path / "upstream.json"
    async with upstream(answer) as server, component(FORWARD, outgoing=cassette(path)) as app:
        await app.get(server.url)
    assert "location: http://REDACTED@h.test/?apikey=REDACTED" in path.read_text()
    assert '"REDACTED and REDACTED"' in path.read_text()


async def test_what_is_left_can_be_replayed(tmp_path: Path) -> None:
    """Cassettes compare requests without secrets, so another secret or a redacted token matches as well."""

    async def answer(asked: Asked) -> Said:
        if asked.target == "/login":
            return Said(content=b'{"token": "tok-123456"}', headers=[("set-cookie", "sid=cookie-9876; Path=/")])
        return Said(content=f"{asked.target} {dict(asked.headers)['authorization']}".encode())

    async def use(app: Any, url: str, password: str) -> tuple[str, str]:
        login = await app.post(f"{url}/login", json={"password": password})
        token = (await login.json())["token"]
        items = await app.get(f"{url}/items/{token}?api_key={password}", headers={"authorization": f"Bearer {token}"})
        return login.headers["set-cookie"], await items.text()

    path = tmp_path / "upstream.json"
    match = ["method", "url", "body"]
    async with upstream(answer) as server, component(FORWARD, outgoing=cassette(path, match=match)) as app:
        url = server.url
        assert await use(app, url, "first-one") == (
            "sid=cookie-9876; Path=/",
            "/items/tok-123456?api_key=first-one Bearer tok-123456",
        )
    async with component(FORWARD, outgoing=cassette(path, match=match)) as app:
        assert await use(app, url, "another") == ("REDACTED", "/items/REDACTED?api_key=REDACTED REDACTED")


async def test_what_to_write_instead(tmp_path: Path) -> None:
    async def answer(asked: Asked) -> Said:
        return Said(headers=[("set-cookie", "sid=secret-value; Path=/")], content=b'{"token": "t0k3n-value"}')

    path = tmp_path / "upstream.json"
    options: dict[str, Any] = {
        "redact_headers": {"set-cookie": "sid=example; Path=/"},
        "redact_parameters": {"token": 'a "token"'},
        "redact_body": [lambda data: data.replace(b"}", b"]")],
    }
    async with upstream(answer) as server, component(FORWARD, outgoing=cassette(path, **options)) as app:
        url = server.url
        await app.get(f"{url}?token=t0k3n-value")
    async with component(FORWARD, outgoing=cassette(path, **options)) as app:
        response = await app.get(f"{url}?token=t0k3n-value")
        assert response.headers["set-cookie"] == "sid=example; Path=/"
        assert await response.text() == '{"token": "a \\"token\\""]'
        assert response.headers["content-length"] == str(len(await response.read()))


async def test_a_refusal_shows_no_secrets(tmp_path: Path) -> None:
    """Many people read the log of a build."""
    path = tmp_path / "upstream.json"

    async def answer(asked: Asked) -> Said:
        return Said()

    async with upstream(answer) as server, component(FORWARD, outgoing=cassette(path)) as app:
        await app.post(f"{server.url}?password=hunter-22", json={"password": "hunter-22"})
    match = ["url", "body", "header:authorization"]
    headers = {"authorization": "Bearer hunter-22"}
    async with component(FORWARD, outgoing=cassette(path, match=match)) as app:
        with pytest.raises(UnrecordedRequest) as caught:
            await app.post(
                "http://upstream.test/hunter-22?password=hunter-22",
                json={"password": "hunter-22", "other": "hunter-22"},
                headers=headers,
            )
    assert "hunter-22" not in str(caught.value)
    assert "the header:authorization is REDACTED, recorded is ''" in str(caught.value)


async def test_a_file_from_before_a_rule(tmp_path: Path) -> None:
    """The present rules apply to the whole file, including older interactions."""

    async def answer(asked: Asked) -> Said:
        return Said(content=b"the number is 555-1234")

    path = tmp_path / "upstream.json"
    async with upstream(answer) as server:
        async with component(FORWARD, outgoing=cassette(path)) as app:
            await app.get(f"{server.url}/a")
        assert b"555-1234" in path.read_bytes()
        tape = cassette(path, mode="new_episodes", redact_body=[r"\d{3}-\d{4}"])
        async with component(FORWARD, outgoing=tape) as app:
            await app.get(f"{server.url}/b")
    assert b"555-1234" not in path.read_bytes()
    assert path.read_text().count("the number is REDACTED") == 2


async def test_one_rule_needs_no_list(tmp_path: Path) -> None:
    async def answer(asked: Asked) -> Said:
        return Said(content=b"abc 555 xyz value", headers=[("x-one", "first"), ("date", "1"), ("age", "2")])

    path = tmp_path / "upstream.json"
    tape = cassette(path, redact_headers="x-one", redact_body=r"\d{3}", redact_values="value", varying="age")
    async with upstream(answer) as server, component(FORWARD, outgoing=tape) as app:
        await app.get(server.url)
    text = path.read_text()
    assert '"abc REDACTED xyz REDACTED"' in text
    assert '"x-one: REDACTED"' in text
    assert '"date: 1"' in text


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=12, max_size=30), st.binary(max_size=3))
def test_any_secret_in_any_encoding(secret: str, before: bytes) -> None:
    """At most four characters remain at each end of an encoding."""
    redaction = Redaction(values=[secret])
    for form in encodings(secret):
        request = RecordedRequest("GET", "http://x/", [], Content(before + b"; " + form + b" ;"))
        swept = redaction.sweep_request(request).content.data
        assert form[4:-4] not in swept.replace(b"REDACTED", b"")


def test_names_do_not_depend_on_case() -> None:
    assert all(name == name.lower() for name in (*HEADERS, *PARAMETERS))
