"""Every setting of a server of components, declared once.

The options of ``wasi_trio serve``, the environment variables ``WASI_TRIO_*`` and the keys of the TOML table
``[wasi_trio]`` are made from ``SETTINGS``, and what is wrong with a value is told in the same words for each of them.
What the command line says comes first, then the environment, then the file, then the default.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from wasi_trio._texts import get_logger
from wasi_trio.component._features import chosen
from wasi_trio.serve.routing._orders import RouteOrder, all_routes, make_route, parse_route
from wasi_trio.serve.routing._patterns import parse_pattern
from wasi_trio.wasi import _arguments as arguments
from wasi_trio.wasi._arguments import or_none
from wasi_trio.wasi._outbound import Outbound, parse_entry
from wasi_trio.wasi._state_arguments import StateArguments, parse_config_variable, parse_keyvalue, parse_switches
from wasi_trio.wasi.registry._references import split_paths

if TYPE_CHECKING:
    from wasi_trio.serve.pool._metrics import Metrics
    from wasi_trio.serve.pool._options import HandlerOptions
    from wasi_trio.wasi._loading import EngineOptions
    from wasi_trio.wasi._state import State
    from wasi_trio.wasi._stdio import StdoutSink

#: how the name of each environment variable begins
PREFIX = "WASI_TRIO_"
#: the name of the table in TOML
TABLE = "wasi_trio"


class SettingError(Exception):
    """A setting that cannot be obeyed; the message is one line that says where it stands."""


def _lines(text: str) -> list[str]:
    return text.split("\n")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. ``parse`` makes its value out of text and raises ValueError; ``default`` is such a text.

    ``field`` is what it sets in HandlerOptions, or in their ``limits``, ``wasi``, its ``network`` or its
    ``http.keep_alive``; one without is the server's.
    ``shown`` stands for the default in the help. A ``switch`` is on or off. ``several`` may be given many times: a list
    in TOML, or a ``table`` of NAME = "VALUE", and text that ``split`` takes apart in the environment. ``option`` is its
    name on the command line where that is not ``name``. One that is not for ``everywhere`` means something to the
    server of ``wasi_trio serve`` alone.
    """

    name: str
    parse: Callable[[str], Any]
    help: str
    metavar: str = ""
    default: str | None = None
    field: str | None = None
    shown: str | None = None
    option: str | None = None
    short: str | None = None
    switch: bool = False
    several: bool = False
    table: bool = False
    split: Callable[[str], list[str]] = _lines
    everywhere: bool = True

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + self.name.upper().replace("-", "_")

    @property
    def for_routes(self) -> bool:
        """Whether each route may have a value of its own."""
        return self.name in ("dirs", "headers") or (self.field is not None and self.field != "total_memory")


def _off(text: str) -> bool:
    return not arguments.parse_switch(text)


_count = or_none(arguments.parse_count)
_limit = or_none(arguments.parse_limit)

SETTINGS = (
    Setting(
        "component",
        arguments.parse_component,
        "Files of components, or references to them: each answers what the one before it asks of wasi:http/handler.",
        several=True,
        split=split_paths,
    ),
    Setting(
        "route",
        parse_route,
        "Have requests for a host, and for paths below a prefix, answered by other components, or by the files in a "
        "folder where FILE ends with a slash. May be repeated.",
        "HOST/PREFIX=FILE[,FILE]...",
        several=True,
    ),
    Setting(
        "watch",
        arguments.parse_switch,
        "Serve components that change without a restart, and the configuration file likewise; SIGHUP does it by hand.",
        default="false",
        switch=True,
        everywhere=False,
    ),
    Setting(
        "addr",
        arguments.parse_listen_address,
        "Address to serve on: port 0 takes any that is free, unix:PATH is a Unix socket, and fd://NUMBER a socket "
        "that the server is started with.",
        "IP:PORT",
        default="0.0.0.0:8080",
        everywhere=False,
    ),
    Setting("certfile", arguments.parse_path, "Serve over TLS, with this certificate (PEM).", "FILE", everywhere=False),
    Setting(
        "keyfile",
        arguments.parse_path,
        "The certificate's key, where it is not in the same file.",
        "FILE",
        everywhere=False,
    ),
    Setting(
        "workers",
        arguments.parse_count,
        "Processes to serve with; each has instances of its own.",
        "N",
        default="1",
        everywhere=False,
    ),
    Setting(
        "shutdown-addr",
        arguments.parse_address,
        "Address of which the first connection makes the server shut down.",
        "IP:PORT",
        everywhere=False,
    ),
    Setting(
        "admin-addr",
        arguments.parse_address,
        "Address of /metrics, /healthz, /readyz and /pool.",
        "IP:PORT",
        everywhere=False,
    ),
    Setting(
        "env",
        arguments.parse_variable,
        "Give the guest an environment variable; without a value, the one that it has here. May be repeated.",
        "NAME[=VALUE]",
        field="wasi.env",
        several=True,
        table=True,
    ),
    Setting(
        "dirs",
        arguments.parse_directory,
        "Give the guest a directory, which it knows as GUEST, or as HOST; ::ro after that keeps it from changing "
        "anything there. May be repeated.",
        "HOST[::GUEST]",
        option="dir",
        several=True,
    ),
    Setting(
        "config-var",
        parse_config_variable,
        "Give the guest a variable of wasi:config; without a value, that of the environment variable. May be repeated.",
        "NAME[=VALUE]",
        several=True,
        table=True,
    ),
    Setting(
        "keyvalue",
        parse_keyvalue,
        "Give the guest a bucket of wasi:keyvalue, kept in memory:, sqlite:FILE or redis://HOST. May be repeated.",
        "NAME=URL",
        several=True,
        table=True,
    ),
    Setting(
        "keyvalue-timeout",
        _limit,
        "How long an operation on a bucket may take until the guest is told that it failed.",
        "DURATION",
        shown="5s, or half of --request-timeout where that is less",
    ),
    Setting(
        "keyvalue-max-value",
        arguments.parse_size,
        "Maximum size of a value in a bucket.",
        "SIZE",
        default="1MiB",
    ),
    Setting(
        "keyvalue-memory",
        arguments.parse_size,
        "Maximum memory that each bucket in memory: holds.",
        "SIZE",
        default="64MiB",
    ),
    Setting(
        "wasi",
        parse_switches,
        "Give the guest wasi:config or wasi:keyvalue, as wasmtime spells it: config, config-var=NAME=VALUE, keyvalue, "
        "keyvalue-in-memory-data=NAME=VALUE. May be repeated.",
        "NAME[=VALUE],...",
        short="S",
        several=True,
    ),
    Setting(
        "inherit-network",
        arguments.parse_switch,
        "Give the guest the network of this machine: TCP and UDP sockets, to connect and to listen.",
        default="false",
        field="wasi.network.inherit",
        switch=True,
    ),
    Setting(
        "allow-ip-name-lookup",
        arguments.parse_switch,
        "Let the guest look up the addresses of hosts.",
        default="false",
        field="wasi.network.allow_ip_name_lookup",
        switch=True,
    ),
    Setting(
        "allow-outbound",
        parse_entry,
        "Where the guest may connect and send requests to, which is nowhere else then. May be repeated.",
        "HOST[:PORT]|CIDR|SCHEME://HOST",
        field="wasi.network.outbound",
        several=True,
    ),
    Setting(
        "block-private",
        arguments.parse_switch,
        "Deny connections to addresses that are not public (loopback, private, link-local, multicast), except those "
        "that --allow-outbound names as addresses, networks or self.",
        default="false",
        field="wasi.network.block_private",
        switch=True,
    ),
    Setting(
        "outbound-idle-timeout",
        arguments.parse_duration,
        "How long a connection of guests' requests is kept for another one to the same host; 0s closes each after its "
        "request.",
        "DURATION",
        default="4s",
        field="wasi.http.keep_alive.idle_timeout",
    ),
    Setting(
        "outbound-max-age",
        _limit,
        "How long after it was opened such a connection is used for further requests.",
        "DURATION",
        default="60s",
        field="wasi.http.keep_alive.max_age",
    ),
    Setting(
        "outbound-max-idle",
        arguments.parse_count,
        "Maximum number of such connections that are kept while no request uses them.",
        "N",
        default="256",
        field="wasi.http.keep_alive.max_idle",
    ),
    Setting(
        "outbound-max-idle-per-host",
        arguments.parse_count,
        "Maximum number of them to one host and port.",
        "N",
        default="128",
        field="wasi.http.keep_alive.max_idle_per_host",
    ),
    Setting(
        "headers",
        arguments.parse_headers,
        "Replace or add a header, 'name: value', in every request. @FILE reads one from each line. May be repeated.",
        "HEADER",
        option="header",
        short="H",
        several=True,
    ),
    Setting(
        "no-logging-prefix",
        _off,
        "Print what guests write without 'stdout [N] :: ' before each line.",
        default="false",
        field="logging_prefix",
        switch=True,
    ),
    Setting(
        "max-instance-reuse-count",
        arguments.parse_count,
        "Requests to give to an instance before it is dropped.",
        "N",
        field="max_instance_reuse_count",
        shown="1, or 128 for WASI 0.3",
    ),
    Setting(
        "max-instance-concurrent-reuse-count",
        arguments.parse_count,
        "Requests to give to an instance at once.",
        "N",
        field="max_instance_concurrent_reuse_count",
        shown="16 for WASI 0.3, where 0.2 never takes more than one",
    ),
    Setting(
        "idle-instance-timeout",
        arguments.parse_duration,
        "How long an instance is kept without a request: a number with s, ms, us or ns, or of seconds.",
        "DURATION",
        default="1s",
        field="idle_instance_timeout",
    ),
    Setting(
        "request-timeout",
        _limit,
        "How long a guest may take until its response begins.",
        "DURATION",
        field="request_timeout",
        shown="no limit",
    ),
    Setting(
        "max-cpu-time",
        _limit,
        "Maximum processor time that a guest uses for one request.",
        "DURATION",
        field="max_cpu_time",
        shown="no limit",
    ),
    Setting(
        "body-timeout",
        _limit,
        "How long a guest may pause between two pieces of a response's body.",
        "DURATION",
        field="body_timeout",
        shown="no limit",
    ),
    Setting(
        "cancel-grace",
        arguments.parse_duration,
        "How long a guest of WASI 0.3 has to end a request that was cancelled, until its instance is given up.",
        "DURATION",
        default="1s",
        field="cancel_grace",
    ),
    Setting(
        "post-response-timeout",
        _limit,
        "How long a guest may go on with a request when its response was sent.",
        "DURATION",
        default="30s",
        field="post_response_timeout",
    ),
    Setting(
        "drain-delay",
        arguments.parse_duration,
        "How long requests are still accepted when the server is told to shut down, while /readyz says 503 and clients "
        "are told to go elsewhere.",
        "DURATION",
        default="0s",
        everywhere=False,
    ),
    Setting(
        "drain-timeout",
        or_none(arguments.parse_duration),
        "How long requests under way are waited for when the server shuts down.",
        "DURATION",
        field="drain_timeout",
        shown="no limit",
    ),
    Setting(
        "send-timeout",
        _limit,
        "How long a client may take nothing of a response that is there for it.",
        "DURATION",
        shown="no limit",
        everywhere=False,
    ),
    Setting(
        "half-closed-timeout",
        _limit,
        "How long to wait for the response of a client that has closed its side of the connection.",
        "DURATION",
        default="30s",
        everywhere=False,
    ),
    Setting(
        "stall-limit",
        _limit,
        "How long a host function may hold up all others until that is logged, with where it is.",
        "DURATION",
        default="5s",
        field="stall_limit",
    ),
    Setting(
        "interrupt-stalls",
        arguments.parse_switch,
        "Interrupt a host function at that limit, too, and not only when a request's time is up.",
        default="false",
        field="interrupt_stalls",
        switch=True,
    ),
    Setting(
        "stall-kill-limit",
        _limit,
        "How long a worker process may be held up until it is ended and replaced, and where it was is logged.",
        "DURATION",
        shown="no limit",
        everywhere=False,
    ),
    Setting(
        "max-concurrent-requests",
        _count,
        "Requests that guests work on at once; further ones wait.",
        "N",
        default="1000",
        field="max_concurrent_requests",
    ),
    Setting(
        "max-queued-requests",
        _count,
        "Requests that wait because of that; further ones are refused with 503.",
        "N",
        field="max_queued_requests",
        shown="no limit",
    ),
    Setting(
        "max-concurrent-connections",
        _count,
        "Connections that are open at once; further ones wait.",
        "N",
        default="1000",
        everywhere=False,
    ),
    Setting(
        "max-memory-size",
        arguments.parse_size,
        "Bytes of each linear memory of an instance: a number, or one with KiB, MiB or GiB.",
        "SIZE",
        default="1GiB",
        field="limits.memory",
    ),
    Setting(
        "max-instance-memory",
        arguments.parse_size,
        "Maximum memory that one instance makes the server hold, in bytes: its memories, tables, handles, calls and "
        "contents.",
        "SIZE",
        default="1GiB",
        field="limits.instance_memory",
    ),
    Setting(
        "max-total-memory",
        or_none(arguments.parse_size),
        "Maximum memory that all instances of all workers hold together. A request that needs a new instance then "
        "waits up to 5 s, and is refused with 503.",
        "SIZE",
        field="total_memory",
        shown="80 % of the memory that the server may have",
    ),
    Setting(
        "hostcall-fuel",
        arguments.parse_size,
        "Maximum size of the data that a guest passes in one call, in bytes as Python holds them.",
        "SIZE",
        default="16MiB",
        field="limits.call_data",
    ),
    Setting(
        "max-table-elements",
        arguments.parse_count,
        "Elements of each table of an instance.",
        "N",
        default="1000000",
        field="limits.table_elements",
    ),
    Setting(
        "wasm",
        arguments.parse_features,
        "Enable WebAssembly features that are off by default; 'help' lists them with their risks. May be repeated.",
        "NAME[=y|n],...",
        short="W",
        several=True,
    ),
    Setting(
        "compile-timeout",
        _limit,
        "Maximum time to check and compile a component that is not in the cache.",
        "DURATION",
        default="120s",
    ),
    Setting(
        "compile-memory",
        or_none(arguments.parse_size),
        "Maximum memory to check and compile such a component.",
        "SIZE",
        default="2GiB",
    ),
    Setting(
        "profile",
        arguments.parse_profile,
        "Profile guests: 'guest' writes a Firefox profile of each instance, to files named after PATH; perfmap and "
        "jitdump are for perf.",
        "guest[,PATH[,INTERVAL]]|perfmap|jitdump",
    ),
    Setting(
        "access-log",
        arguments.parse_access_log,
        "Print a line for each response on standard output: text, json, or a FORMAT with atoms such as %(r)s and "
        "%(s)s.",
        "text|json|FORMAT",
        everywhere=False,
    ),
    Setting(
        "log-format",
        arguments.parse_log_format,
        "Format of all other log lines, on standard error.",
        "text|json",
        default="text",
        everywhere=False,
    ),
    Setting(
        "log-config",
        arguments.parse_path,
        "Configure Python's logging from a file: TOML, or JSON where its name ends with .json.",
        "FILE",
        everywhere=False,
    ),
    Setting(
        "verbose",
        arguments.parse_switch,
        "Log each request, and each instance's start and end.",
        default="false",
        short="v",
        switch=True,
    ),
)

BY_NAME = {setting.name: setting for setting in SETTINGS}


def _output(descriptor: int) -> StdoutSink:
    """Where guests print: a descriptor of the process, which a terminal is not to be steered through."""
    from wasi_trio.wasi._process_stdio import ProcessOutput
    from wasi_trio.wasi._stdio import TerminalSink

    output = ProcessOutput(descriptor, get_logger("wasi_trio.serve"))
    return TerminalSink(output) if output.is_terminal else output


class Settings:
    """What is set; the default of what is not, by name."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __getitem__(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        setting = BY_NAME[name]
        if setting.several:
            return ()
        return None if setting.default is None else setting.parse(setting.default)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The header fields to put in every request."""
        return [header for part in self["headers"] for header in part]

    @functools.cached_property
    def state(self) -> State:
        """The variables and buckets of guests, the same object each time; raises SettingError."""
        arguments = StateArguments(
            [switch for switches in self["wasi"] for switch in switches],
            self["config-var"],
            self["keyvalue"],
            self["keyvalue-timeout"],
            self["keyvalue-max-value"],
            self["keyvalue-memory"],
            self["request-timeout"],
        )
        try:
            return arguments.state()
        except ValueError as error:
            raise SettingError(str(error)) from None

    def check_processes(self, processes: int) -> None:
        """Raise SettingError where several would have a state each that is meant to be one."""
        for name, store in (self.state.keyvalue or {}).items():
            if processes > 1 and store.per_process:
                raise SettingError(
                    f"the bucket {name} is kept in the memory of each process, and with {processes} workers each would "
                    "have another: use sqlite:FILE or redis://HOST, or one worker"
                )

    @property
    def routes(self) -> tuple[RouteOrder, ...]:
        """The routes, of which there is one where there is nothing but components; raises SettingError."""
        try:
            return all_routes(self["route"], self["component"])
        except ValueError as error:
            raise SettingError(str(error)) from None

    @property
    def has_routes(self) -> bool:
        """Whether there is more than components that answer all requests."""
        return bool(self["route"])

    def keeping(self, others: Settings, names: Iterable[str]) -> Settings:
        """These, but for ``names``, which are as the others say."""
        values = dict(self._values)
        for name in names:
            values.pop(name, None)
            if name in others:
                values[name] = others[name]
        return Settings(values)

    def of_route(self, route: RouteOrder) -> Settings:
        """Those that hold for a route."""
        return Settings({**self._values, **route.settings})

    def _total_memory(self) -> int | None:
        """The bytes that all instances of one process may hold."""
        from wasi_trio.serve import _memory as memory

        total = self["max-total-memory"] if "max-total-memory" in self else memory.SHARE * memory.available()
        return None if total is None else int(total / self["workers"])

    def engine_options(self) -> EngineOptions:
        """What components may use, and what compiling them may take."""
        from wasi_trio.runtime._compile_limits import CompileLimits
        from wasi_trio.wasi._loading import EngineOptions

        limits = CompileLimits(self["compile-timeout"], self["compile-memory"])
        return EngineOptions(
            chosen(switch for switches in self["wasm"] for switch in switches), limits, self["profile"]
        )

    def handler_options(self, metrics: Metrics | None = None) -> HandlerOptions:
        """The request handler's options. What guests print is printed by the process."""
        # Here, because this takes in the runtime, of which a command line that only asks for help has no need.
        from wasi_trio.runtime._engine import Limits
        from wasi_trio.serve.pool._options import HandlerOptions
        from wasi_trio.wasi._context import WasiOptions
        from wasi_trio.wasi.filesystem._preopens import open_directories
        from wasi_trio.wasi.http._connections import KeepAlive
        from wasi_trio.wasi.http._context import HttpOptions
        from wasi_trio.wasi.sockets._context import NetworkOptions

        outputs = {"stdout": _output(1), "stderr": _output(2)}
        fields: dict[str, dict[str, Any]] = {
            "": {"metrics": metrics},
            "limits": {},
            "wasi": outputs,
            "wasi.network": {},
            "wasi.http.keep_alive": {},
        }
        for setting in SETTINGS:
            if setting.field is not None:
                part, _, field = setting.field.rpartition(".")
                value = self[setting.name]
                # A variable that the guest is to have from here, and that is not set here, is None.
                fields[part][field] = tuple(filter(None, value)) if setting.several else value
        fields[""]["total_memory"] = self._total_memory()
        fields["wasi"]["preopens"] = open_directories(self["dirs"])
        fields["wasi"]["state"] = self.state
        network = fields["wasi.network"]
        network["outbound"] = Outbound(network["outbound"]) if network["outbound"] else None
        http = HttpOptions(keep_alive=KeepAlive(**fields["wasi.http.keep_alive"]))
        wasi = WasiOptions(network=NetworkOptions(**network), http=http, **fields["wasi"])
        return HandlerOptions(limits=Limits(**fields["limits"]), wasi=wasi, **fields[""])


def from_environment(environment: Mapping[str, str], *, ours: bool = True) -> Iterator[tuple[str, Any]]:
    """What the environment sets, by name; raises SettingError. A variable that is empty sets nothing.

    ``ours`` is whether the server is the one of ``wasi_trio serve``. Variables that no setting has are not looked at:
    their names may begin like ours for another reason, as where a service of Kubernetes is called so.
    """
    for setting in SETTINGS:
        text = environment.get(setting.variable)
        if text:
            where = setting.variable
            _refuse_elsewhere(setting, where, ours)
            with_parts = [part for part in setting.split(text) if part.strip()] if setting.several else [text]
            yield setting.name, _value(setting, where, with_parts)


def from_table(table: object, file: str, *, ours: bool = True) -> Iterator[tuple[str, Any]]:
    """What a TOML file's table sets, by name; raises SettingError."""
    place = f"[{TABLE}] of {file}"
    if not isinstance(table, dict):
        raise SettingError(f"{TABLE} in {file} is not a table")
    for setting, key, content in _entries(table, place):
        if setting.name == "route" and isinstance(content, list) and all(isinstance(part, dict) for part in content):
            yield (
                setting.name,
                tuple(
                    _route(part, f"[[{TABLE}.{key}]] number {number} of {file}", ours)
                    for number, part in enumerate(content, 1)
                ),
            )
        else:
            yield setting.name, _content(setting, key, content, place, ours)


def _entries(table: dict[str, Any], place: str) -> Iterator[tuple[Setting, str, Any]]:
    """The settings of a table, each with its key and what it is set to."""
    seen: set[str] = set()
    for key, content in table.items():
        name = key.replace("_", "-")
        setting = BY_NAME.get(name)
        if setting is None:
            raise SettingError(f"{place}: there is no setting {key!r}{_nearest(name)}")
        if name in seen:
            raise SettingError(f"{place}: {name} is set twice")
        seen.add(name)
        yield setting, key, content


def _content(setting: Setting, key: str, content: Any, place: str, ours: bool) -> Any:
    where = f"{key} in {place}"
    _refuse_elsewhere(setting, where, ours)
    try:
        texts = _texts(setting, content)
    except ValueError as error:
        raise _invalid(where, error) from None
    return _value(setting, where, texts)


#: what a route has beside settings, and of which types
_OF_ROUTES: dict[str, type] = {"host": str, "prefix": str, "files": str, "strip-prefix": bool, "name": str}


def _route(table: dict[str, Any], place: str, ours: bool) -> RouteOrder:
    """A route as TOML has it."""
    own: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for key, content in table.items():
        kind = _OF_ROUTES.get(key.replace("_", "-"))
        if kind is None:
            others[key] = content
        elif not isinstance(content, kind):
            raise SettingError(f"{place}: {key} is not {'true or false' if kind is bool else 'a string'}")
        else:
            own[key.replace("_", "-")] = content
    components: tuple[str, ...] = ()
    settings: dict[str, Any] = {}
    for setting, key, content in _entries(others, place):
        value = _content(setting, key, content, place, ours)
        if setting.name == "component":
            components = value
        elif not setting.for_routes:
            raise SettingError(f"{place}: {key} is for the whole server, and not for one route")
        else:
            settings[setting.name] = value
    prefix = own.get("prefix", "/")
    try:
        if not prefix.startswith("/"):
            raise ValueError(f"the prefix {prefix!r} does not begin with a slash")
        if "/" in own.get("host", ""):
            raise ValueError(f"the host {own['host']!r} has a slash in it")
        return make_route(
            parse_pattern(own.get("host", "") + prefix),
            components,
            own.get("files"),
            strip_prefix=own.get("strip-prefix", False),
            label=own.get("name", ""),
            settings=settings,
        )
    except ValueError as error:
        raise SettingError(f"{place}: {error}") from None


def _value(setting: Setting, where: str, texts: list[str]) -> Any:
    try:
        values = tuple(setting.parse(text) for text in texts)
    except ValueError as error:
        raise _invalid(where, error) from None
    return values if setting.several else values[0]


def _texts(setting: Setting, content: Any) -> list[str]:
    """A value of TOML as the texts that would be on the command line."""
    if setting.table:
        # No value is repeated: it may be a secret.
        if not isinstance(content, dict):
            raise ValueError('it is not a table of NAME = "VALUE"')
        for name, value in content.items():
            if not isinstance(value, str):
                raise ValueError(f"the value of {name} is not a string")
            if "=" in name:
                raise ValueError(f"{name!r} is not a name: it has a '='")
        return [f"{name}={value}" for name, value in content.items()]
    if setting.several:
        parts = [content] if isinstance(content, str) and setting.name == "component" else content
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise ValueError(f"{content!r} is not a list of strings")
        return parts
    if setting.parse in (arguments.parse_path, arguments.parse_component) and not isinstance(content, str):
        raise ValueError(f"{content!r} is not a string")
    if isinstance(content, bool):
        return ["true" if content else "false"]
    if isinstance(content, float):
        # Not 1e-05, which is no number on the command line.
        return [f"{Decimal(repr(content)):f}"]
    return [str(content)]


def _invalid(where: str, error: ValueError) -> SettingError:
    # In the words that click has for an option.
    return SettingError(f"Invalid value for {where}: {error}")


def _refuse_elsewhere(setting: Setting, where: str, ours: bool) -> None:
    if not ours and not setting.everywhere:
        raise SettingError(f"{where} is for wasi_trio serve alone: here the ASGI server's own configuration says that")


def _nearest(name: str) -> str:
    close = difflib.get_close_matches(name, BY_NAME, 1)
    return f", did you mean {close[0]}?" if close else ""
