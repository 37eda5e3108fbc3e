"""The choice of a route, and requests that are refused because they are ambiguous."""

from __future__ import annotations

from typing import Any

import pytest

from wasi_trio.serve.routing._declarations import RouteDeclaration, parse_route
from wasi_trio.serve.routing._patterns import Pattern, parse_pattern
from wasi_trio.serve.routing._table import MAX_CACHED, Ambiguous, RouteTable
from wasi_trio.serve.settings._setting import SettingError
from wasi_trio.serve.settings._settings import Settings
from wasi_trio.serve.settings._sources import from_environment, from_table


def table(*patterns: str) -> RouteTable[str]:
    return RouteTable((parse_pattern(pattern), pattern) for pattern in patterns)


@pytest.mark.parametrize("path", ["/", "*", "/%2e%2e//x", "/%zz", "/a/../b"])
def test_a_server_without_routes_accepts_every_path(path: str) -> None:
    assert table("/").find("example.org", path) == "/"


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "/"),
        ("/apis", "/"),
        ("/ap", "/"),
        ("/api", "/api"),
        ("/api/", "/api"),
        ("/api/v1x", "/api"),
        ("/api/v1", "/api/v1"),
        ("/api/v1/", "/api/v1"),
        ("/api/v1/a/b/c", "/api/v1"),
        ("/API", "/"),
        ("*", "/"),
        # Percent-encoding does not change the path (RFC 3986, section 6.2.2.2).
        ("/%61pi/x", "/api"),
        ("/ap%69", "/api"),
        ("/caf%c3%a9/x", "/caf%C3%A9"),
        ("/caf%C3%A9", "/caf%C3%A9"),
        # Double encoding does.
        ("/%2561pi", "/"),
        # All interpretations of these lead to the same route.
        ("/x/../y", "/"),
        ("/api/x/../y", "/api"),
        ("/api/a%2Fb", "/api"),
        ("/api/x//y", "/api"),
        ("/api/.hidden", "/api"),
    ],
)
def test_the_longest_prefix(path: str, route: str) -> None:
    assert table("/", "/api", "/api/v1", "/caf%C3%A9").find("example.test", path) == route


@pytest.mark.parametrize(
    "path",
    [
        "/x/../api",
        "/api/../x",
        "/api/..",
        "/%2e%2e/api",
        "/x/%2E./api",
        "/./api",
        "//api",
        "/api%2fv1",
        "/api%2Fx/../../y",
        "/x%2f..%2fapi",
        "/api/v1/../../other",
        "/api//v1",
    ],
)
def test_an_ambiguous_path(path: str) -> None:
    with pytest.raises(Ambiguous):
        table("/", "/api", "/api/v1").find(None, path)


def test_paths_without_a_route() -> None:
    routes = table("/api")
    assert routes.find(None, "/") is None
    assert routes.find(None, "/apis") is None
    with pytest.raises(Ambiguous):
        routes.find(None, "/x/../api")


@pytest.mark.parametrize(
    ("authority", "path", "route"),
    [
        ("a.test", "/", "a.test/"),
        ("A.TEST", "/", "a.test/"),
        ("a.test:8080", "/", "a.test/"),
        ("a.test.", "/", "a.test/"),
        ("a.test.:443", "/", "a.test/"),
        ("%61.test", "/", "a.test/"),
        # The host takes precedence over the prefix.
        ("a.test", "/api/v1", "a.test/"),
        ("b.test", "/api", "*.test/api"),
        ("b.test", "/", "/"),
        ("x.b.test", "/api", "*.b.test/"),
        ("x.y.b.test", "/", "*.b.test/"),
        # A wildcard only matches names below its own.
        ("test", "/api", "/api"),
        ("only.test", "/", "/"),
        ("only.test", "/only", "only.test/only"),
        ("[::1]:80", "/", "[::1]/"),
        ("[0:0::1]", "/", "[::1]/"),
        ("", "/api", "/api"),
        (None, "/", "/"),
        ("*.test", "/", "/"),
        ("x" * 300 + ".b.test", "/", "/"),
        ("b.test" + "." * 100, "/api", "/api"),
    ],
)
def test_hosts(authority: str | None, path: str, route: str) -> None:
    patterns = ["/", "/api", "a.test/", "*.test/api", "*.b.test/", "only.test/only", "[::1]/"]
    assert table(*patterns).find(authority, path) == route


def test_the_cache_of_hosts_is_bounded() -> None:
    routes = table("/", "a.test")
    for number in range(3 * MAX_CACHED):
        assert routes.find(f"x{number}.test", "/") == "/"
        assert len(routes._known or ()) <= MAX_CACHED
    assert routes.find("a.test", "/") == "a.test"


# ---- configuration ---------------------------------------------------------------------------------------


def test_routes_on_the_command_line() -> None:
    assert parse_route("/=a.wasm") == RouteDeclaration(Pattern("", ""), ("a.wasm",))
    assert parse_route("/a/=a.wasm,b.wasm") == RouteDeclaration(Pattern("", "/a"), ("a.wasm", "b.wasm"))
    assert parse_route("*.A.test=a.wasm").pattern == Pattern("*.a.test", "")
    assert parse_route("/x=a=b.wasm") == RouteDeclaration(Pattern("", "/x"), ("a=b.wasm",))


def test_a_folder_behind_a_component(tmp_path: Any) -> None:
    assert parse_route(f"/f=auth.wasm,{tmp_path}/") == RouteDeclaration(
        Pattern("", "/f"), ("auth.wasm",), f"{tmp_path}/"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/a", "not of the form"),
        ("=a.wasm", "not of the form"),
        ("/a=", "not of the form"),
        ("/a=b.wasm,", "not of the form"),
        ("/a/...=b.wasm", "has a wildcard"),
        ("/a/*=b.wasm", "has a wildcard"),
        ("/a//b=b.wasm", "segment that is empty"),
        ("/a/../b=b.wasm", "segment that is empty, '.' or '..'"),
        ("/%2e%2e/b=b.wasm", "segment that is empty, '.' or '..'"),
        ("/a%2Fb=b.wasm", "percent sign"),
        ("/a%=b.wasm", "percent sign"),
        ("/a?b=b.wasm", "beginning of a path"),
        ("a.test:80/=b.wasm", "has a port"),
        ("a b/=b.wasm", "is not a host"),
        ("*/=b.wasm", "is not a host"),
        ("a.*.test/=b.wasm", "is not a host"),
        ("b\u00fccher.test/=b.wasm", "xn--"),
        ("/a=/none/such/", "cannot open '/none/such/' as a directory"),
    ],
)
def test_invalid_routes(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        parse_route(text)
    assert "\n" not in str(raised.value)


def toml(*routes: dict[str, Any], **others: Any) -> Settings:
    return Settings(dict(from_table({"route": list(routes), **others}, "x.toml")))


def test_routes_in_toml() -> None:
    settings = toml(
        {"prefix": "/api", "component": ["auth.wasm", "api.wasm"], "strip_prefix": True, "request-timeout": 2},
        {"host": "a.test", "component": "a.wasm", "name": "site", "env": {"A": "1"}},
        component="rest.wasm",
        **{"request-timeout": 5},
    )
    api, site, rest = settings.routes
    assert (api.pattern, api.components, api.strip_prefix) == (Pattern("", "/api"), ("auth.wasm", "api.wasm"), True)
    assert (site.pattern, site.name) == (Pattern("a.test", ""), "site")
    assert (rest.pattern, rest.components) == (Pattern("", ""), ("rest.wasm",))
    assert [settings.for_route(route)["request-timeout"] for route in settings.routes] == [2.0, 5.0, 5.0]
    assert settings.for_route(site)["env"] == (("A", "1"),)
    assert settings.for_route(rest)["env"] == ()


def test_routes_in_the_environment() -> None:
    settings = Settings(dict(from_environment({"WASI_TRIO_ROUTE": "/a=a.wasm\nb.test=b.wasm"})))
    assert [str(route.pattern) for route in settings.routes] == ["/a", "b.test/"]


@pytest.mark.parametrize(
    ("route", "said"),
    [
        ({}, "has neither a component nor files"),
        ({"component": "a.wasm", "prefix": "api"}, "the prefix 'api' does not begin with a slash"),
        ({"component": "a.wasm", "host": "a/b"}, "contains a slash"),
        ({"component": "a.wasm", "host": 1}, "host is not a string"),
        ({"component": "a.wasm", "strip_prefix": "yes"}, "strip_prefix is not true or false"),
        ({"component": "a.wasm", "adr": "x"}, "unknown setting 'adr', did you mean"),
        (
            {"component": "a.wasm", "addr": "127.0.0.1:1"},
            "addr applies to the whole server and cannot be set for a route",
        ),
        ({"component": "a.wasm", "max-total-memory": "1GiB"}, "applies to the whole server"),
        ({"component": "a.wasm", "request-timeout": "soon"}, "Invalid value for request-timeout in"),
        ({"component": "a.wasm", "name": "a b"}, "is not a name of a route"),
        ({"files": "/none/such"}, "cannot open '/none/such' as a directory"),
    ],
)
def test_errors_in_toml(route: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError) as raised:
        toml({"component": "first.wasm"}, route)
    assert str(raised.value).count("\n") == 0
    assert "[[wasi_trio.route]] number 2 of x.toml" in str(raised.value)
    assert said in str(raised.value)


def test_two_routes_for_the_same_requests() -> None:
    with pytest.raises(SettingError, match=r"two routes match '/a'$"):
        _ = toml({"component": "a.wasm", "prefix": "/a"}, {"component": "b.wasm", "prefix": "/%61/"}).routes
    with pytest.raises(SettingError, match="which the components without a route also answer"):
        _ = toml({"component": "a.wasm"}, component="b.wasm").routes
    with pytest.raises(SettingError, match="two routes have the name 'x'"):
        _ = toml(
            {"component": "a.wasm", "prefix": "/a", "name": "x"}, {"component": "a.wasm", "prefix": "/b", "name": "x"}
        ).routes
