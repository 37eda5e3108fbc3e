from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasi_trio.component._errors import MalformedComponent
from wasi_trio.component._names import (
    FunctionKind,
    FunctionName,
    compatible,
    is_label,
    is_version,
    parse_function_name,
    parse_import_name,
    track,
)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("wasi:io/streams@0.2.3", ("wasi:io/streams", "0.2.3")),
        ("wasi:io/streams", ("wasi:io/streams", None)),
        ("wasi:io/streams@0.2", ("wasi:io/streams", "0.2")),
        ("wasi:http/types@0.3.0-rc-2025-09-16", ("wasi:http/types", "0.3.0-rc-2025-09-16")),
        ("my-org:my-app/db-API@1.0.0-alpha.1+build.5", ("my-org:my-app/db-API", "1.0.0-alpha.1+build.5")),
        ("a:b:c/d/e@1.0.0", ("a:b:c/d/e", "1.0.0")),
        ("custom-hook", ("custom-hook", None)),
        ("[method]r.f", ("[method]r.f", None)),
        ("unlocked-dep=<a:b@{>=1.0.0}>", ("unlocked-dep=<a:b@{>=1.0.0}>", None)),
        ("", ("", None)),
    ],
)
def test_import_names(name: str, parts: tuple[str, str | None]) -> None:
    assert parse_import_name(name) == parts


@pytest.mark.parametrize("version", ["1", "0.2", "0.0.1", "0.0.0", "1.2.3", "1.2.3-0", "1.2.3-0a.b-c", "1.2.3+001"])
def test_versions(version: str) -> None:
    assert is_version(version)
    assert parse_import_name("a:b/c@" + version) == ("a:b/c", version)


@pytest.mark.parametrize(
    "version", ["", "1.2", "0", "0.0", "v1.2.3", "01.2.3", "1.2.3-01", "1.2.3-", "1.2.3+", "1.2.3\n"]
)
def test_invalid_versions_are_refused(version: str) -> None:
    assert not is_version(version)
    with pytest.raises(MalformedComponent, match="is not a version"):
        parse_import_name("a:b/c@" + version + "@")


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.2.3", "1"),
        ("12.0.0", "12"),
        ("0.2.6", "0.2"),
        ("0.0.1", "0.0.1"),
        ("0.0.0", "0.0.0"),
        ("0.2", "0.2"),
        ("1", "1"),
        ("0.2.6-rc.1", "0.2.6-rc.1"),
        ("0.2.6+linux-x64", "0.2"),
        ("1.0.0-rc+build", "1.0.0-rc"),
    ],
)
def test_track(version: str, expected: str) -> None:
    assert track(version) == expected


@pytest.mark.parametrize(
    ("wanted", "provided", "answer"),
    [
        ("0.2.3", "0.2.9", True),
        ("0.2.10", "0.2.9", True),
        ("0.2", "0.2.9", True),
        ("0.3.0", "0.2.9", False),
        ("1.9.0", "1.0.0", True),
        ("2.0.0", "1.0.0", False),
        ("0.0.1", "0.0.2", False),
        ("0.0.1", "0.0.1", True),
        ("0.3.0-rc-1", "0.3.0-rc-2", False),
        ("0.3.0-rc-1", "0.3.0", False),
        ("0.3.0", "0.3.0-rc-1", False),
        ("0.3.0-rc-1", "0.3.0-rc-1", True),
        ("1.0.0+a", "1.0.0+b", True),
        (None, None, True),
        (None, "1.0.0", False),
        ("1.0.0", None, False),
    ],
)
def test_compatible(wanted: str | None, provided: str | None, answer: bool) -> None:
    assert compatible(wanted, provided) is answer


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("get-random-bytes", FunctionName(FunctionKind.FREE, None, "get-random-bytes")),
        ("parse-XML-2", FunctionName(FunctionKind.FREE, None, "parse-XML-2")),
        ("[constructor]fields", FunctionName(FunctionKind.CONSTRUCTOR, "fields", "")),
        ("[method]input-stream.read", FunctionName(FunctionKind.METHOD, "input-stream", "read")),
        ("[static]fields.from-list", FunctionName(FunctionKind.STATIC, "fields", "from-list")),
        ("[resource-drop]fields", FunctionName(FunctionKind.RESOURCE_DROP, "fields", "")),
        ("[resource-new]fields", FunctionName(FunctionKind.RESOURCE_NEW, "fields", "")),
        ("[resource-rep]fields", FunctionName(FunctionKind.RESOURCE_REP, "fields", "")),
    ],
)
def test_function_names(name: str, parts: FunctionName) -> None:
    assert parse_function_name(name) == parts


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a.b",
        "[method]a",
        "[method]a.b.c",
        "[method]a.",
        "[constructor]a.b",
        "[constructor]",
        "[other]a",
        "[method]",
        "a b",
        "a\n",
    ],
)
def test_invalid_function_names_are_refused(name: str) -> None:
    with pytest.raises(MalformedComponent, match="is not the name of a function"):
        parse_function_name(name)


@pytest.mark.parametrize(
    "label", ["a", "a-b-c", "a1-2-3", "A", "A-B-C", "A1-2-3", "a11-w0rds", "A11-4CR0NYMS", "m1x3d-4CR0NYMS", "a-1b-1B"]
)
def test_labels(label: str) -> None:
    assert is_label(label)


@pytest.mark.parametrize("label", ["", "1-2-3", "aB", "Ab", "a-", "-a", "a--b", "a_b", "é", "a-1bB", "a\n"])
def test_invalid_labels(label: str) -> None:
    assert not is_label(label)


@given(st.lists(st.sampled_from(["a", "1", "-", "A", ".", ":", "/", "@"]), max_size=40).map("".join))
def test_any_string_is_a_name_or_refused(name: str) -> None:
    try:
        base, version = parse_import_name(name)
    except MalformedComponent:
        pass
    else:
        assert name == (base if version is None else f"{base}@{version}")


def test_a_long_hostile_name_is_refused_in_linear_time() -> None:
    # Exponential or quadratic matching would not end within the test run.
    hostile = "a" + "-1" * 200_000
    assert not is_label(hostile + "!")
    assert not is_version("1.0.0-" + "0a." * 200_000)
    assert parse_import_name("a:" + hostile + "!") == ("a:" + hostile + "!", None)
