"""The table of settings, with values from the environment and from TOML."""

from __future__ import annotations

import dataclasses
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from wasi_trio.runtime import CompileLimits
from wasi_trio.runtime._engine import Limits
from wasi_trio.serve._config_file import ConfigFile, gather, read_config_file
from wasi_trio.serve._memory import available
from wasi_trio.serve.asgi._environment import hypercorn_file, is_hypercorn, settings_under_asgi
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.serve.settings._setting import SettingError
from wasi_trio.serve.settings._settings import Settings
from wasi_trio.serve.settings._sources import from_environment, from_table
from wasi_trio.serve.settings._table import SETTINGS
from wasi_trio.wasi._arguments import UnixAddress
from wasi_trio.wasi._loading import EngineOptions
from wasi_trio.wasi._outbound import Outbound

PLACE = "[wasi_trio] of hypercorn.toml"


def table(**content: Any) -> dict[str, Any]:
    return dict(from_table(content, "hypercorn.toml"))


def environment(**variables: str) -> dict[str, Any]:
    return dict(from_environment({f"WASI_TRIO_{name}": value for name, value in variables.items()}))


def test_the_defaults_are_those_of_the_handler() -> None:
    told = Settings({}).handler_options()
    usual = HandlerOptions()
    # A public server needs limits. A handler in a program does not.
    assert told.max_concurrent_requests == 1000
    assert told.total_memory is not None and 0.79 < told.total_memory / available() < 0.81
    for field in dataclasses.fields(HandlerOptions):
        if field.name not in ("max_concurrent_requests", "total_memory", "wasi"):
            assert getattr(told, field.name) == getattr(usual, field.name), field.name


def test_every_handler_option_can_be_set() -> None:
    settable = {setting.field.partition(".")[0] for setting in SETTINGS if setting.field}
    # Some fields take objects of a program or follow from others. memory_timeout has had no use as an option yet.
    assert settable | {"metrics", "tracer", "listeners", "memory_timeout", "instance_prefix", "observed"} | {
        "shared_limit",
        "route",
        "generation",
    } == {field.name for field in dataclasses.fields(HandlerOptions)}


#: Some settings with the text, the TOML and the value.
SAME: list[tuple[str, str, Any, Any]] = [
    ("request-timeout", "2.5", 2.5, 2.5),
    ("request-timeout", "500ms", "500ms", 0.5),
    ("request-timeout", "1h30m", "1h30m", 5400.0),
    ("request-timeout", "none", "none", None),
    ("cancel-grace", "0.00001", 0.00001, 0.00001),
    ("max-concurrent-requests", "7", 7, 7),
    ("max-memory-size", "64MiB", "64MiB", 64 << 20),
    ("interrupt-stalls", "true", True, True),
    ("no-logging-prefix", "true", True, False),
    ("addr", "unix:/run/app", "unix:/run/app", UnixAddress("/run/app")),
    ("component", os.pathsep.join(["a.wasm", "b.wasm"]), ["a.wasm", "b.wasm"], ("a.wasm", "b.wasm")),
    ("component", "a.wasm", "a.wasm", ("a.wasm",)),
    ("env", "A=1\nB=x=y\n", {"A": "1", "B": "x=y"}, (("A", "1"), ("B", "x=y"))),
    ("headers", "X-A: 1\nx-b: 2", ["X-A: 1", "x-b: 2"], ([(b"x-a", b"1")], [(b"x-b", b"2")])),
]


@pytest.mark.parametrize(("name", "text", "content", "value"), SAME)
def test_a_value_in_the_environment_and_in_toml(name: str, text: str, content: Any, value: Any) -> None:
    variable = name.upper().replace("-", "_")
    assert environment(**{variable: text}) == {name: value}
    assert table(**{name: content}) == {name: value}
    assert table(**{name.replace("-", "_"): content}) == {name: value}


#: A bad value as text and in TOML, with the message about both.
BAD: list[tuple[str, str, Any, str]] = [
    ("request-timeout", "1d", "1d", "'1d' is not a duration such as 1s, 500ms, 2.5, 5m or 1h30m"),
    ("request-timeout", "-1", -1, "'-1' is not a duration such as 1s, 500ms, 2.5, 5m or 1h30m"),
    ("request-timeout", "0", 0, "'0' must be longer than 0"),
    ("request-timeout", "true", True, "'true' is not a duration such as 1s, 500ms, 2.5, 5m or 1h30m"),
    ("max-instance-reuse-count", "0", 0, "'0' is not a whole number of 1 or more"),
    ("max-instance-reuse-count", "1.5", 1.5, "'1.5' is not a whole number of 1 or more"),
    ("max-memory-size", "64MB", "64MB", "'64MB' is not a size in bytes such as 1048576, 512M or 2GiB"),
    ("interrupt-stalls", "maybe", "maybe", "'maybe' is not true or false"),
    (
        "addr",
        "8080",
        8080,
        "'8080' is not an address of the form IP:PORT (such as 127.0.0.1:8080), unix:PATH or fd://NUMBER",
    ),
    ("headers", "nonsense", ["nonsense"], "'nonsense' is not of the form 'name: value'"),
    ("dirs", "/nope::/data", ["/nope::/data"], "cannot open '/nope' as a directory: No such file or directory"),
]


@pytest.mark.parametrize(("name", "text", "content", "message"), BAD)
def test_the_message_about_a_bad_value_is_the_same_everywhere(name: str, text: str, content: Any, message: str) -> None:
    variable = name.upper().replace("-", "_")
    with pytest.raises(SettingError) as caught:
        environment(**{variable: text})
    assert str(caught.value) == f"Invalid value for WASI_TRIO_{variable}: {message}"
    with pytest.raises(SettingError) as caught:
        table(**{name: content})
    assert str(caught.value) == f"Invalid value for {name} in {PLACE}: {message}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"request-timout": 1}, f"{PLACE}: unknown setting 'request-timout', did you mean request-timeout?"),
        ({"Colour": 1}, f"{PLACE}: unknown setting 'Colour'"),
        ({"request-timeout": 1, "request_timeout": 2}, f"{PLACE}: request-timeout is set twice"),
        ({"env": ["A=1"]}, f'Invalid value for env in {PLACE}: it is not a table of NAME = "VALUE"'),
        ({"env": {"A": 1}}, f"Invalid value for env in {PLACE}: the value of A is not a string"),
        ({"env": {"A=B": "1"}}, f"Invalid value for env in {PLACE}: 'A=B' is not a name: it contains '='"),
        ({"headers": "x: 1"}, f"Invalid value for headers in {PLACE}: 'x: 1' is not a list of strings"),
        ({"component": 5}, f"Invalid value for component in {PLACE}: 5 is not a list of strings"),
        ({"component": [5]}, f"Invalid value for component in {PLACE}: [5] is not a list of strings"),
        ({"certfile": 5}, f"Invalid value for certfile in {PLACE}: 5 is not a string"),
        ({"certfile": ""}, f"Invalid value for certfile in {PLACE}: '' is not the path of a file"),
        ([1], "wasi_trio in hypercorn.toml is not a table"),
    ],
)
def test_invalid_tables(content: Any, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        dict(from_table(content, "hypercorn.toml"))
    assert str(caught.value) == message


def test_precedence() -> None:
    file = ConfigFile("x.toml", {"request-timeout": 1, "cancel-grace": 1, "drain-timeout": 1}, {})
    variables = {"WASI_TRIO_REQUEST_TIMEOUT": "2", "WASI_TRIO_CANCEL_GRACE": "2", "WASI_TRIO_ENV": ""}
    settings = gather({"request-timeout": 3.0}, variables, file)
    names = ("request-timeout", "cancel-grace", "drain-timeout", "idle-instance-timeout")
    assert [settings[name] for name in names] == [3, 2, 1, 1]
    assert "idle-instance-timeout" not in settings
    assert settings["env"] == ()


def test_handler_options() -> None:
    settings = gather(
        {"no-logging-prefix": False, "max-table-elements": 9},
        {"WASI_TRIO_MAX_MEMORY_SIZE": "1MiB", "WASI_TRIO_ENV": "A=1", "WASI_TRIO_STALL_LIMIT": "none"},
        None,
    )
    options = settings.handler_options()
    assert options.limits == Limits(memory=1 << 20, table_elements=9)
    assert options.wasi.env == (("A", "1"),)
    assert (options.logging_prefix, options.stall_limit) == (False, None)
    assert pickle.loads(pickle.dumps(settings))["max-table-elements"] == 9


def test_an_inherited_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "1")
    monkeypatch.delenv("NOT_HERE", raising=False)
    settings = gather({}, {"WASI_TRIO_ENV": "HERE\nNOT_HERE\nA=b"}, None)
    assert settings.handler_options().wasi.env == (("HERE", "1"), ("A", "b"))


def test_network_options() -> None:
    assert Settings({}).handler_options().wasi.network.outbound is None
    variables = {"WASI_TRIO_INHERIT_NETWORK": "true", "WASI_TRIO_ALLOW_OUTBOUND": "example.org\nhttps://*.example.org"}
    settings = pickle.loads(pickle.dumps(gather({}, variables, None)))
    network = settings.handler_options().wasi.network
    assert (network.inherit, network.allow_ip_name_lookup) == (True, False)
    assert network.outbound == Outbound.parse(["example.org", "https://*.example.org"])
    table = {"allow-outbound": ["10.0.0.0/8"], "allow_ip_name_lookup": True}
    network = Settings(dict(from_table(table, "x"))).handler_options().wasi.network
    assert (network.inherit, network.allow_ip_name_lookup) == (False, True)
    assert network.outbound == Outbound.parse(["10.0.0.0/8"])


def test_engine_options() -> None:
    assert gather({}, {}, None).engine_options() == EngineOptions()
    settings = gather({}, {"WASI_TRIO_WASM": "gc,component-model-map=n", "WASI_TRIO_COMPILE_MEMORY": "none"}, None)
    options = pickle.loads(pickle.dumps(settings)).engine_options()
    assert options == EngineOptions(frozenset({"gc", "implements"}), CompileLimits(seconds=120, memory=None))
    file = table(wasm=["gc", "gc=n,tail-call"], **{"compile-timeout": 5})
    assert Settings(file).engine_options().features == {"map", "implements", "tail-call"}
    assert Settings(file).engine_options().compile_limits.seconds == 5


def test_settings_for_serve_only() -> None:
    with pytest.raises(SettingError, match=r"^WASI_TRIO_WORKERS applies only to the command serve"):
        settings_under_asgi({"WASI_TRIO_WORKERS": "2"}, ["program"])
    with pytest.raises(SettingError, match=r"^admin_addr in \[wasi_trio\] of x applies only to the command serve"):
        dict(from_table({"admin_addr": "127.0.0.1:1"}, "x", standalone=False))


def test_an_unknown_variable() -> None:
    assert environment(PORT="tcp://10.0.0.1:80", SERVICE_HOST="10.0.0.1") == {}


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (["/usr/bin/hypercorn", "-c", "a.toml", "app"], "a.toml"),
        (["hypercorn", "--config=a.toml", "app"], "a.toml"),
        (["hypercorn", "app", "-ca.toml"], "a.toml"),
        (["hypercorn", "-b", "127.0.0.1:0", "--conf", "a.toml", "app"], "a.toml"),
        (["/x/hypercorn/__main__.py", "--config", "a.toml", "app"], "a.toml"),
        (["hypercorn", "-c", "file:a.py", "app"], None),
        (["hypercorn", "--config", "python:a.b", "app"], None),
        (["hypercorn", "app"], None),
        (["pytest", "-c", "a.toml"], None),
        (["/x/other/__main__.py", "-c", "a.toml"], None),
        ([], None),
    ],
)
def test_the_file_on_hypercorns_command_line(arguments: list[str], file: str | None) -> None:
    assert hypercorn_file(arguments) == file
    assert file is None or is_hypercorn(arguments)


def test_the_file_in_the_environment_takes_precedence(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(f'[wasi_trio]\ncomponent = "{name}.wasm"\n')
    arguments = ["hypercorn", "--config", str(tmp_path / "one"), "app"]
    assert settings_under_asgi({}, arguments)["component"] == ("one.wasm",)
    assert settings_under_asgi({"WASI_TRIO_CONFIG": str(tmp_path / "two")}, arguments)["component"] == ("two.wasm",)


def test_an_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"^cannot read .*none\.toml: No such file or directory$"):
        read_config_file(str(tmp_path / "none.toml"))
    path = tmp_path / "bad.toml"
    path.write_text("bind = \n")
    with pytest.raises(SettingError, match=r"^.*bad\.toml is not TOML: Invalid value \(at line 1, column 8\)$"):
        read_config_file(str(path))
    path.write_bytes(b"\xff")
    with pytest.raises(SettingError, match=r"is not UTF-8 text \(at byte 0\)$"):
        read_config_file(str(path))


def test_processes_divide_the_memory() -> None:
    settings = Settings({"max-total-memory": 3 << 30, "workers": 3})
    assert settings.handler_options().total_memory == 1 << 30
    assert Settings({"max-total-memory": None}).handler_options().total_memory is None


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        ("0::/system.slice/app", {"system.slice/app/memory.max": "2097152\n", "memory.max": "max\n"}, 2 << 20),
        ("0::/outer/inner", {"outer/memory.max": "4194304\n", "outer/inner/memory.max": "max\n"}, 4 << 20),
        ("0::/of/the/host", {"memory.max": "8388608\n"}, 8 << 20),
        ("4:cpu:/x\n3:memory:/job\n0::/", {"memory/job/memory.limit_in_bytes": "1048576\n"}, 1 << 20),
        ("nothing", {}, None),
    ],
)
def test_memory_limits_of_control_groups(tmp_path: Path, groups: str, files: dict[str, str], limit: int | None) -> None:
    if groups != "nothing":
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(groups + "\n")
    for name, content in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert available(tmp_path) == (limit or machine)


def test_state_from_the_environment_and_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INHERITED", "from here")
    environment = {
        "WASI_TRIO_CONFIG_VAR": "a=1\nINHERITED\nNOT_SET_ANYWHERE",
        "WASI_TRIO_KEYVALUE": f"default=sqlite:{tmp_path}/state.db\nother=memory:",
        "WASI_TRIO_REQUEST_TIMEOUT": "3s",
        "WASI_TRIO_KEYVALUE_MEMORY": "1MiB",
    }
    state = Settings(dict(from_environment(environment))).state
    assert state.config == {"a": "1", "INHERITED": "from here"}
    assert state.keyvalue is not None
    assert {name: type(store).__name__ for name, store in state.keyvalue.items()} == {
        "default": "SqliteStore",
        "other": "MemoryStore",
    }
    assert state.keyvalue["other"].limit == 1 << 20  # type: ignore[attr-defined]
    assert state.timeout == 1.5
    table = {"config_var": {"a": "1=2"}, "wasi": ["keyvalue", "keyvalue-in-memory-data=k=v"]}
    state = Settings(dict(from_table(table, "hypercorn.toml"))).state
    assert state.config == {"a": "1=2"}
    assert {name: dict(store) for name, store in (state.keyvalue or {}).items()} == {"default": {"k": b"v"}}  # type: ignore[call-overload]
    nothing = Settings({}).state
    assert (nothing.config, nothing.keyvalue) == (None, None)
    table = {"config_var": {"a": "1"}, "keyvalue": {"default": "memory:"}, "wasi": "config=n,keyvalue=n"}
    off = Settings(dict(from_table({**table, "wasi": ["config=n,keyvalue=n"]}, "hypercorn.toml"))).state
    assert (off.config, off.keyvalue) == (None, None)
    given = Settings(dict(from_environment({"WASI_TRIO_CONFIG_VAR": "NOT_SET_ANYWHERE"}))).state
    assert given.config == {}
