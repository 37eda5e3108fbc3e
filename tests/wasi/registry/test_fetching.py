"""Components from registries over HTTP and from directories: the correct ones, or a one-line error."""

from __future__ import annotations

import json
import os
import re
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trustme

from tests.guests import wat
from tests.wasi.registry.server import (
    BASIC,
    MANIFEST,
    PASSWORD,
    TOKEN,
    Handler,
    Registry,
    descriptor,
    digest_of,
    index_of,
    lay_out,
    manifest_of,
    serving,
)
from wasi_trio.wasi._loading import LoadError, read_component
from wasi_trio.wasi.registry._cache import Cache
from wasi_trio.wasi.registry._errors import RegistryError
from wasi_trio.wasi.registry._fetching import Fetched, fetch
from wasi_trio.wasi.registry._limits import LIMITS, Limits
from wasi_trio.wasi.registry._references import Remote, parse_reference

HELLO = wat.load("hello")
NOWHERE = Cache()


def get(registry: Registry, end: str = ":1", limits: Limits = LIMITS, cache: Cache = NOWHERE) -> Fetched:
    return fetch(parse_reference(f"oci://{registry.host}/app{end}"), limits, cache)


def refused(registry: Registry, end: str = ":1", limits: Limits = LIMITS) -> str:
    """Return the one-line error."""
    with pytest.raises(RegistryError) as caught:
        get(registry, end, limits)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"{registry.host}/app: ")
    return line


# ---- success -----------------------------------------------------------------------------------------------


def test_by_tag_and_by_digest(registry: Registry) -> None:
    digest = registry.push(HELLO)
    assert get(registry) == (HELLO, digest)
    assert get(registry, f"@{digest}") == (HELLO, digest)
    assert get(registry, f":moved@{digest}") == (HELLO, digest)


def test_fetching_within_an_event_loop(registry: Registry) -> None:
    digest = registry.push(HELLO)

    async def main() -> Fetched:
        return get(registry)

    assert trio.run(main) == (HELLO, digest)


def test_a_component_from_oras(registry: Registry) -> None:
    """`oras push HOST/app:1 readme.md app.wasm:application/wasm`"""
    readme = b"# app"
    layers = [
        descriptor(readme, "text/markdown", annotations={"org.opencontainers.image.title": "readme.md"}),
        descriptor(HELLO, annotations={"org.opencontainers.image.title": "app.wasm"}),
    ]
    registry.push_blob(HELLO)
    empty = {**descriptor(b"{}", "application/vnd.oci.empty.v1+json"), "data": "e30="}
    registry.push_manifest(manifest_of(layers, config=empty, artifactType="application/vnd.unknown.artifact.v1"))
    assert get(registry).data == HELLO


@pytest.mark.parametrize("platforms", [[None], ["wasm/wasip2"], ["wasm/wasip1", "wasm/wasip2", "amd64/linux"]])
def test_an_index(registry: Registry, platforms: list[str | None]) -> None:
    entries = []
    for platform in platforms:
        right = platform in (None, "wasm/wasip2")
        data = HELLO if right else f"for {platform}".encode()
        registry.push_blob(data)
        manifest = manifest_of([descriptor(data)])
        registry.push_manifest(manifest, tag=None)
        architecture, _, system = (platform or "/").partition("/")
        more = {"platform": {"architecture": architecture, "os": system}} if platform else {}
        entries.append(descriptor(manifest, MANIFEST, **more))
    digest = registry.push_manifest(index_of(entries))
    assert get(registry) == (HELLO, digest)
    assert get(registry, f"@{digest}") == (HELLO, digest)


def test_a_layout(tmp_path: Path) -> None:
    digests = lay_out(tmp_path / "layout", {"1": HELLO, "2": b"other"})
    place = f"oci-layout:{tmp_path}/layout"
    assert fetch(parse_reference(f"{place}:1")) == (HELLO, digests["1"])
    assert fetch(parse_reference(f"{place}@{digests['1']}")) == (HELLO, digests["1"])
    with pytest.raises(RegistryError, match="no manifest with the tag 3; its tags are: 1, 2"):
        fetch(parse_reference(f"{place}:3"))
    with pytest.raises(
        RegistryError, match=f"of 2 manifests; select one by its digest: {digests['1']}, {digests['2']}"
    ):
        fetch(parse_reference(place))
    lay_out(tmp_path / "one", {"x": HELLO})
    assert fetch(parse_reference(f"oci-layout:{tmp_path}/one")).data == HELLO


def test_a_layout_that_was_changed(tmp_path: Path) -> None:
    digests = lay_out(tmp_path / "layout", {"1": HELLO})
    place = f"oci-layout:{tmp_path}/layout@{digests['1']}"
    blob = tmp_path / "layout" / "blobs" / "sha256" / digest_of(HELLO).partition(":")[2]
    blob.write_bytes(HELLO.replace(b"Hello", b"Hullo"))
    with pytest.raises(RegistryError, match="the component is corrupt"):
        fetch(parse_reference(place))
    blob.unlink()
    with pytest.raises(RegistryError, match=f"cannot read {blob}: No such file"):
        fetch(parse_reference(place))
    manifest = blob.with_name(digests["1"].partition(":")[2])
    manifest.write_bytes(manifest.read_bytes() + b" ")
    with pytest.raises(RegistryError, match="the manifest is corrupt"):
        fetch(parse_reference(place))
    with pytest.raises(RegistryError, match=r"cannot read .*oci-layout: No such file"):
        fetch(parse_reference(f"oci-layout:{tmp_path}"))


# ---- invalid content ---------------------------------------------------------------------------------------


def test_another_manifest_than_was_asked_for(registry: Registry) -> None:
    digest = registry.push(HELLO)
    other = manifest_of([descriptor(HELLO)], annotations={"x": "y"})
    registry.content[f"/v2/app/manifests/{digest}"] = other
    line = refused(registry, f"@{digest}")
    assert f"the manifest is corrupt: its digest is {digest_of(other)} instead of {digest}" in line
    assert [path for path in registry.paths if "blobs" in path] == []


def test_another_component_than_the_manifest_has(registry: Registry) -> None:
    digest = registry.push(HELLO)
    registry.content[f"/v2/app/blobs/{digest_of(HELLO)}"] = HELLO.replace(b"Hello", b"Hullo")
    assert "the component is corrupt" in refused(registry, f"@{digest}")
    assert "the component is corrupt" in refused(registry)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (b"", "is neither a manifest nor an index"),
        (b"[" * 100_000, "is neither a manifest nor an index"),
        (b'{"schemaVersion": 1, "layers": []}', "is neither a manifest nor an index"),
        (b'{"schemaVersion": 2}', "is neither a manifest nor an index"),
        (b'{"schemaVersion": 2, "layers": [], "manifests": []}', "is both a manifest and an index"),
        (b'{"schemaVersion": 2, "layers": {}}', "is neither a manifest nor an index"),
        (b'{"schemaVersion": 2, "layers": [{"mediaType": "application/wasm"}]}', "is neither a manifest nor an index"),
        (manifest_of([]), "no layer of the type application/wasm; its layers are: none at all"),
        (manifest_of([descriptor(b"x", "application/x\n\x1b")]), r"its layers are: application/x\\n\\x1b"),
        (manifest_of([descriptor(b"x"), descriptor(b"y")]), "has 2 layers of the type application/wasm"),
        (manifest_of([{**descriptor(b"x"), "digest": "sha512:" + "0" * 128}]), "only SHA-256 is supported"),
        (manifest_of([{**descriptor(b"x"), "digest": "sha256:../../x"}]), "only SHA-256 is supported"),
        (manifest_of([{**descriptor(b"x"), "size": -1}]), "is neither a manifest nor an index"),
        (
            manifest_of([{**descriptor(b"x"), "size": 1 << 40}]),
            "the component has 1099511627776 bytes, more than the limit of 536870912",
        ),
        (index_of([]), "is an index without a manifest for wasm"),
        (index_of([descriptor(b"a", MANIFEST), descriptor(b"b", MANIFEST)]), "is an index of 2 manifests"),
    ],
)
def test_manifests_without_a_component(registry: Registry, manifest: bytes, message: str) -> None:
    registry.push_manifest(manifest)
    assert re.search(message, refused(registry))


def test_an_index_in_an_index(registry: Registry) -> None:
    inner = index_of([descriptor(b"x", MANIFEST)])
    registry.push_manifest(inner, tag=None)
    registry.push_manifest(index_of([descriptor(inner, MANIFEST)]))
    assert "is an index within an index" in refused(registry)


def chunked(size: int) -> Callable[[Handler], object]:
    """Return a response of unknown length."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        piece = b" " * 0x4000
        for _ in range(size // len(piece)):
            handler.wfile.write(b"4000\r\n" + piece + b"\r\n")
        handler.wfile.write(b"0\r\n\r\n")

    return answer


def test_oversized_content(registry: Registry) -> None:
    registry.push(HELLO)
    manifest = "/v2/app/manifests/1"
    registry.answers[manifest] = lambda handler: handler.answer(200, b" " * (LIMITS.manifest + 1))
    assert "the manifest 1 exceeds the limit of 4194304 bytes" in refused(registry)
    registry.answers[manifest] = chunked(LIMITS.manifest + 0x4000)
    assert "the manifest 1 exceeds the limit of 4194304 bytes" in refused(registry)
    del registry.answers[manifest]
    assert f"the component has {len(HELLO)} bytes, more than the limit of 100" in refused(
        registry, limits=Limits(component=100)
    )
    registry.content[f"/v2/app/blobs/{digest_of(HELLO)}"] = HELLO + b"x"
    assert f"exceeds the limit of {len(HELLO)} bytes" in refused(registry)


def test_truncated_content(registry: Registry) -> None:
    registry.push(HELLO)
    blob = f"/v2/app/blobs/{digest_of(HELLO)}"

    def cut(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", str(len(HELLO)))
        handler.end_headers()
        handler.wfile.write(HELLO[:100])
        handler.close_connection = True

    registry.answers[blob] = cut
    assert f"no complete response from {registry.host}: " in refused(registry)
    registry.answers[blob] = lambda handler: handler.answer(200, HELLO[:100])
    assert f"ends after 100 of {len(HELLO)} bytes" in refused(registry)
    registry.answers[blob] = lambda handler: handler.answer(200, HELLO, ("content-encoding", "gzip"))
    assert "with an encoding that was not requested" in refused(registry)


def test_a_slow_server(registry: Registry) -> None:
    registry.push(HELLO)
    done = threading.Event()
    registry.answers["/v2/app/manifests/1"] = lambda handler: bool(done.wait(60))
    try:
        assert f"{registry.host} has sent nothing for 0.2 s" in refused(registry, limits=Limits(idle=0.2))
        assert "the fetch took longer than 0.3 s" in refused(registry, limits=Limits(seconds=0.3))
    finally:
        done.set()


def test_a_server_that_sends_single_bytes(registry: Registry) -> None:
    """The server is never silent for long, and never finishes."""
    registry.push(HELLO)
    done = threading.Event()

    def drip(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "1000000")
        handler.end_headers()
        try:
            while not done.wait(0.02):
                handler.wfile.write(b" ")
                handler.wfile.flush()
        except OSError:
            handler.close_connection = True

    registry.answers["/v2/app/manifests/1"] = drip
    try:
        assert "the fetch took longer than 1 s" in refused(registry, limits=Limits(seconds=1.0, idle=30.0))
    finally:
        done.set()


def test_missing_content(registry: Registry) -> None:
    digest = registry.push(HELLO)
    assert f"{registry.host} does not have the manifest 2" in refused(registry, ":2")
    del registry.content[f"/v2/app/blobs/{digest_of(HELLO)}"]
    assert f"does not have the layer {digest_of(HELLO)}" in refused(registry, f"@{digest}")
    registry.answers["/v2/app/manifests/1"] = lambda handler: handler.answer(503, b"")
    assert "answered a request for the manifest 1 with the status 503" in refused(registry)


def test_an_unreachable_registry() -> None:
    with serving() as registry:
        pass
    assert f"no complete response from {registry.host}: " in refused(registry)
    with pytest.raises(RegistryError, match=r"no complete response from registry\.invalid: "):
        fetch(parse_reference("oci://registry.invalid/app:1"), cache=NOWHERE)


# ---- authentication ----------------------------------------------------------------------------------------


def test_a_token_for_anybody(registry: Registry) -> None:
    digest = registry.push(HELLO)
    registry.ask_for_tokens(credentials=False)
    assert get(registry) == (HELLO, digest)
    assert registry.queries == ["service=registry%2C+of+a+test&scope=repository%3Aapp%3Apull"]
    assert [asked.authorization for asked in registry.asked] == [None, None, f"Bearer {TOKEN}", f"Bearer {TOKEN}"]


def test_a_token_for_credentials(registry: Registry, log_in: Callable[[str], None]) -> None:
    digest = registry.push(HELLO)
    registry.ask_for_tokens()
    assert f"{registry.host} denies clients without credentials a token (status 401)" in refused(registry)
    registry.asked.clear()
    log_in(registry.host)
    assert get(registry) == (HELLO, digest)
    assert [asked.authorization for asked in registry.asked] == [None, BASIC, f"Bearer {TOKEN}", f"Bearer {TOKEN}"]


def test_basic_authentication(registry: Registry, log_in: Callable[[str], None]) -> None:
    digest = registry.push(HELLO)
    registry.challenge, registry.accepted = 'Basic realm="x"', (BASIC,)
    assert "denies clients without credentials access to the manifest 1 (status 401)" in refused(registry)
    log_in(f"http://{registry.host}/v1/")
    assert get(registry) == (HELLO, digest)
    registry.accepted = ()
    assert "denies these credentials access to the manifest 1 (status 401)" in refused(registry)


def test_credentials_in_the_environment(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.push(HELLO)
    registry.challenge, registry.accepted = "Basic", (BASIC,)
    auths = {registry.host: {"username": "ada", "password": PASSWORD}}
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": auths}))
    assert get(registry).data == HELLO


def test_a_credential_helper(registry: Registry, docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.push(HELLO)
    registry.challenge, registry.accepted = "Basic", (BASIC,)
    config = docker / "config.json"
    config.write_text(json.dumps({"credHelpers": {registry.host: "of-a-test"}}))
    assert "cannot run docker-credential-of-a-test from" in str(refused_anyhow(registry))
    program = docker / "docker-credential-of-a-test"
    program.write_text(
        f"""#!/bin/sh
test "$1" = get && read host
test "$host" = {registry.host} || exit 1
echo '{json.dumps({"Username": "ada", "Secret": PASSWORD})}'
"""
    )
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(docker), prepend=os.pathsep)
    assert get(registry).data == HELLO
    config.write_text(json.dumps({"credsStore": "of-a-test"}))
    assert get(registry).data == HELLO
    program.write_text("#!/bin/sh\nexit 1\n")
    assert "denies clients without credentials" in refused(registry)
    program.write_text("#!/bin/sh\necho nonsense\n")
    assert "returned no valid credentials" in refused_anyhow(registry)
    config.write_text(json.dumps({"credsStore": "../x"}))
    assert "has an invalid name of a credential helper" in refused_anyhow(registry)
    config.write_text(json.dumps({"credsStore": "not-there"}))
    assert "denies clients without credentials" in refused(registry)


def refused_anyhow(registry: Registry) -> str:
    with pytest.raises(RegistryError) as caught:
        get(registry)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("hunter2", "config.json is not JSON"),
        ({"auths": {"HOST": {"auth": "hunter2"}}}, "must be USER:PASSWORD in Base64"),
        ({"auths": {"HOST": {"identitytoken": "hunter2"}}}, "are an identity token, which is not supported"),
    ],
)
def test_invalid_configurations(registry: Registry, docker: Path, content: object, message: str) -> None:
    registry.ask_for_tokens()
    text = content if isinstance(content, str) else json.dumps(content).replace("HOST", registry.host)
    (docker / "config.json").write_text(text)
    line = refused_anyhow(registry)
    assert message in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("challenge", "message"),
    [
        ("", "an authentication scheme other than Bearer and Basic"),
        ("Negotiate abc", "an authentication scheme other than Bearer and Basic"),
        ("Bearer", "names no valid URL of a token server"),
        ('Bearer realm="file:///etc/passwd"', "names no valid URL of a token server"),
        ('Bearer realm="http://u:p@127.0.0.1/token"', "names no valid URL of a token server"),
        ('Bearer realm="http://far.test/token"', "has its tokens at far.test over plain HTTP"),
    ],
)
def test_malformed_challenges(registry: Registry, challenge: str, message: str, log_in: Callable[[str], None]) -> None:
    log_in(registry.host)
    registry.challenge = challenge
    assert message in refused(registry)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"token": 1}', b'{"token": "a b"}', b'{"token": "a\\r\\nx: y"}'])
def test_invalid_tokens(registry: Registry, content: bytes) -> None:
    registry.ask_for_tokens()
    registry.answers["/token"] = lambda handler: handler.answer(200, content)
    assert "sent an invalid token" in refused(registry)
    registry.answers["/token"] = chunked(1 << 20)
    assert "the token exceeds the limit of 65536 bytes" in refused(registry)
    registry.answers["/token"] = lambda handler: handler.answer(302, b"", ("location", "/elsewhere"))
    assert "answered a request for a token with the status 302" in refused(registry)


def test_plain_http_to_another_machine(
    registry: Registry, log_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy stands in for it."""
    digest = registry.push(HELLO)
    monkeypatch.setenv("HTTP_PROXY", registry.url)
    reference = parse_reference("oci+http://far.test/app:1")
    assert fetch(reference, cache=NOWHERE) == (HELLO, digest)
    assert registry.paths[0] == "http://far.test/v2/app/manifests/1"
    log_in("far.test")
    registry.challenge = 'Basic realm="x"'
    with pytest.raises(RegistryError, match="credentials are not sent over plain HTTP to another machine"):
        fetch(reference, cache=NOWHERE)
    assert [asked for asked in registry.asked if asked.authorization is not None] == []


def test_this_machine_is_behind_no_proxy(
    registry: Registry, other: Registry, log_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = registry.push(HELLO)
    registry.ask_for_tokens()
    log_in(registry.host)
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, other.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert get(registry) == (HELLO, digest)
    assert other.asked == []


def test_an_invalid_proxy(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "nonsense://x")
    assert "cannot set up HTTP: " in refused(registry)


def test_invalid_hosts(registry: Registry) -> None:
    for host in ("h.test:99999", "a..b", "x" * 70 + ".test"):
        with pytest.raises(RegistryError) as caught:
            fetch(parse_reference(f"oci://{host}/app:1"), cache=NOWHERE)
        assert "\n" not in str(caught.value)


# ---- redirects ---------------------------------------------------------------------------------------------


def redirect(url: str) -> Callable[[Handler], object]:
    return lambda handler: handler.answer(307, b"", ("location", url))


def test_credentials_stay_with_the_registry(registry: Registry, other: Registry, log_in: Callable[[str], None]) -> None:
    log_in(registry.host)
    digest = registry.push(HELLO)
    registry.ask_for_tokens()
    blob = f"/v2/app/blobs/{digest_of(HELLO)}"
    other.content["/storage?signature=x"] = b""
    other.content["/storage"] = HELLO
    registry.answers[blob] = redirect(f"{other.url}/storage?signature=x")
    assert get(registry) == (HELLO, digest)
    assert registry.asked[-1] == (blob, f"Bearer {TOKEN}")
    assert other.asked == [("/storage?signature=x", None)]
    # Credentials do not return either, because the untrusted target chose this redirect.
    other.answers["/storage"] = redirect(f"{registry.url}/again")
    registry.content["/again"] = HELLO
    registry.asked.clear()
    refused(registry)
    assert registry.asked[-1] == ("/again", None)


def test_redirect_targets_receive_no_credentials(
    registry: Registry, other: Registry, log_in: Callable[[str], None]
) -> None:
    log_in(registry.host)
    registry.push(HELLO)
    registry.answers["/v2/app/manifests/1"] = redirect(f"{other.url}/v2/app/manifests/1")
    for challenge in (f'Bearer realm="{other.url}/token"', 'Basic realm="x"'):
        other.challenge = challenge
        assert f"{other.host} denies clients without credentials access to the manifest 1" in refused(registry)
    assert other.asked == [("/v2/app/manifests/1", None)] * 2


def test_a_redirect_on_the_same_host(registry: Registry) -> None:
    registry.push(HELLO)
    registry.ask_for_tokens(credentials=False)
    registry.answers["/v2/app/manifests/1"] = redirect("/v2/app/manifests/moved")
    registry.content["/v2/app/manifests/moved"] = manifest_of([descriptor(HELLO)])
    assert get(registry).data == HELLO


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("", "redirects to an invalid URL"),
        ("file:///etc/passwd", "redirects to an invalid URL"),
        ("http://u:p@127.0.0.1/", "redirects to an invalid URL"),
        ("http://h:x/", "Invalid URL in location header"),
        ("http://far.test/", "redirects to far.test over plain HTTP, which is not followed"),
        ("/v2/app/manifests/1", "redirected more than 5 times"),
    ],
)
def test_a_redirect_that_is_not_followed(registry: Registry, location: str, message: str) -> None:
    registry.answers["/v2/app/manifests/1"] = redirect(location)
    assert message in refused(registry)


def test_over_tls(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with serving(context) as secure:
        digest = secure.push(HELLO)
        reference = Remote(secure.host, "app", "1", None)
        with pytest.raises(RegistryError, match=r"no complete response from .*certificate verify failed"):
            fetch(reference, cache=NOWHERE)
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert fetch(reference, cache=NOWHERE) == (HELLO, digest)
        # From TLS to plain HTTP, even on this machine.
        secure.answers[f"/v2/app/blobs/{digest_of(HELLO)}"] = redirect(f"{registry.url}/x")
        with pytest.raises(RegistryError, match="over plain HTTP, which is not followed"):
            fetch(reference, cache=NOWHERE)
        assert registry.asked == []


# ---- the cache ---------------------------------------------------------------------------------------------


def test_fetched_content_is_cached(registry: Registry, cache: Cache, tmp_path: Path) -> None:
    digest = registry.push(HELLO)
    assert get(registry, f"@{digest}", cache=cache) == (HELLO, digest)
    registry.asked.clear()
    assert get(registry, f"@{digest}", cache=cache) == (HELLO, digest)
    assert registry.asked == []
    # The tag is resolved again, the content is not fetched.
    assert get(registry, cache=cache) == (HELLO, digest)
    assert registry.paths == ["/v2/app/manifests/1"]


def test_cached_content_is_verified(registry: Registry, cache: Cache, tmp_path: Path) -> None:
    digest = registry.push(HELLO)
    get(registry, f"@{digest}", cache=cache)
    for path in (tmp_path / "kept").iterdir():
        assert path.stat().st_mode & 0o077 == 0
        path.write_bytes(b"x" + path.read_bytes()[1:])
    registry.asked.clear()
    assert get(registry, f"@{digest}", cache=cache) == (HELLO, digest)
    assert len(registry.asked) == 2
    assert get(registry, f"@{digest}", cache=cache) == (HELLO, digest)
    assert len(registry.asked) == 2


def test_corrupt_content_is_not_cached(registry: Registry, cache: Cache, tmp_path: Path) -> None:
    digest = registry.push(HELLO)
    registry.content[f"/v2/app/blobs/{digest_of(HELLO)}"] = HELLO[::-1]
    with pytest.raises(RegistryError):
        get(registry, f"@{digest}", cache=cache)
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [digest.replace(":", "-")]


def test_the_cache_is_bounded(registry: Registry, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "kept", limit=len(HELLO) + 2000)
    for number in range(5):
        registry.push(HELLO + b"\0" * number, tag=str(number))
        get(registry, f":{number}", cache=cache)
        assert sum(path.stat().st_size for path in (tmp_path / "kept").iterdir()) <= len(HELLO) + 2000


def test_without_a_cache_directory(registry: Registry, tmp_path: Path) -> None:
    digest = registry.push(HELLO)
    (tmp_path / "file").write_bytes(b"")
    assert get(registry, cache=Cache(tmp_path / "file" / "kept")) == (HELLO, digest)


# ---- components as input -----------------------------------------------------------------------------------


def test_the_digest_of_a_tag_is_logged(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    digest = registry.push(HELLO)
    reference = f"oci://{registry.host}/app:1"
    assert read_component(reference) == HELLO
    assert f"{reference}@{digest}" in caplog.text
    caplog.clear()
    assert read_component(f"{reference}@{digest}") == HELLO
    assert caplog.text == ""


def test_an_error_is_a_load_error(registry: Registry) -> None:
    with pytest.raises(LoadError, match="does not have the manifest 1"):
        read_component(f"oci://{registry.host}/app:1")
