"""Parsing of references."""

from __future__ import annotations

import pytest

from wasi_trio.wasi.registry._errors import RegistryError
from wasi_trio.wasi.registry._references import (
    Layout,
    Remote,
    file_name,
    is_pinned,
    is_reference,
    parse_reference,
    split_paths,
)

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("oci://h.test/app", Remote("h.test", "app", "latest", None)),
        ("oci://H.test:5000/a/b-c/d__e:v1.0", Remote("h.test:5000", "a/b-c/d__e", "v1.0", None)),
        (f"oci://h.test/app@{DIGEST}", Remote("h.test", "app", None, DIGEST)),
        (f"oci://h.test/app:1@{DIGEST}", Remote("h.test", "app", "1", DIGEST)),
        ("oci+http://h.test/app:1", Remote("h.test", "app", "1", None, secure=False)),
        ("oci://localhost:5000/app:1", Remote("localhost:5000", "app", "1", None, secure=False)),
        ("oci://127.0.0.1/app:1", Remote("127.0.0.1", "app", "1", None, secure=False)),
        ("oci://[::1]:5000/app:1", Remote("[::1]:5000", "app", "1", None, secure=False)),
        ("oci://[2001:db8::1]:5000/app:1", Remote("[2001:db8::1]:5000", "app", "1", None)),
        ("oci://127.0.0.2/app:1", Remote("127.0.0.2", "app", "1", None)),
        ("oci://localhost.test/app:1", Remote("localhost.test", "app", "1", None)),
        ("oci-layout:app", Layout("app", None, None)),
        ("oci-layout:/a:b/app:1", Layout("/a:b/app", "1", None)),
        (f"oci-layout:../app:1@{DIGEST}", Layout("../app", "1", DIGEST)),
        (f"oci-layout:../app@{DIGEST}", Layout("../app", None, DIGEST)),
    ],
)
def test_references(text: str, reference: Remote | Layout) -> None:
    assert is_reference(text)
    assert parse_reference(text) == reference
    assert is_pinned(text) == (reference.digest is not None)


@pytest.mark.parametrize(
    "text",
    [
        "oci://",
        "oci://h.test",
        "oci://h.test/",
        "oci://h.test/App",
        "oci://h.test/a//b",
        "oci://h.test/../b",
        "oci://h.test/app:",
        "oci://h.test/app:a/b",
        "oci://h.test/app:" + "t" * 129,
        "oci://h.test/" + "n" * 256,
        "oci://h.test/app@sha256:0123",
        f"oci://h.test/app@{DIGEST.upper()}",
        f"oci://h.test/app@{DIGEST}:1",
        "oci://h.test/app@sha512:" + "0" * 128,
        "oci://h.test/app?x",
        "oci://h.test/app\n",
        "oci://h_.test\r\n/app",
        "oci-layout:",
        "oci-layout:app@sha256:0123",
        f"oci-layout:app@{DIGEST}0",
    ],
)
def test_malformed_references(text: str) -> None:
    assert is_reference(text)
    with pytest.raises(RegistryError, match="is not of the form oci://HOST/NAME"):
        parse_reference(text)


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(RegistryError, match="must not contain credentials") as caught:
        parse_reference("oci://ada:hunter2@h.test/app")
    assert "hunter2" not in str(caught.value)


def test_files_are_no_references() -> None:
    for path in ("app.wasm", "./oci://h/app", "oci", "oci-layout", "https://h.test/app", "OCI://h/app"):
        assert not is_reference(path)


def test_the_host_of_docker_hub() -> None:
    official, own = parse_reference("oci://docker.io/app:1"), parse_reference("oci://docker.io/me/app:1")
    assert isinstance(official, Remote) and isinstance(own, Remote)
    assert official.base == "https://registry-1.docker.io/v2/library/app"
    assert own.base == "https://registry-1.docker.io/v2/me/app"


def test_the_name_of_a_file() -> None:
    assert file_name("/a/b.wasm") == "b.wasm"
    assert file_name(f"oci://h.test/a/app:1@{DIGEST}") == "app"
    assert file_name("oci-layout:/a/layout:1") == "layout"


@pytest.mark.parametrize(
    "paths",
    [
        ["a.wasm"],
        ["a.wasm", "/b/c.wasm"],
        ["oci://h.test:5000/app:1", "/b.wasm"],
        ["a.wasm", f"oci://h.test:5000/a/app:1@{DIGEST}", f"oci-layout:/x@{DIGEST}", f"oci-layout:/x:1@{DIGEST}", "b"],
        ["oci://[::1]:5000/app", "/b.wasm", "oci+http://h.test/app:1"],
        ["oci://h.test/Wrong/b.wasm"],
    ],
)
def test_a_list_of_paths(paths: list[str]) -> None:
    assert split_paths(":".join(paths)) == paths
    assert split_paths(":" + "::".join(paths) + ":") == paths
