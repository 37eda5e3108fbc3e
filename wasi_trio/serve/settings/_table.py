"""The table of all settings. This module declares each setting once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasi_trio.serve.settings._setting import Setting
from wasi_trio.wasi import _arguments as arguments
from wasi_trio.wasi._arguments import or_none
from wasi_trio.wasi._outbound import parse_entry
from wasi_trio.wasi._state_arguments import parse_config_variable, parse_keyvalue, parse_switches
from wasi_trio.wasi.registry._references import split_paths

if TYPE_CHECKING:
    from wasi_trio.serve.routing._declarations import RouteDeclaration


def _route(text: str) -> RouteDeclaration:
    # Imported late, because only a server has routes.
    from wasi_trio.serve.routing._declarations import parse_route

    return parse_route(text)


def _off(text: str) -> bool:
    return not arguments.parse_switch(text)


_count = or_none(arguments.parse_count)
_limit = or_none(arguments.parse_limit)

SETTINGS = (
    Setting(
        "component",
        arguments.parse_component,
        "Components, as files or registry references. Each answers the wasi:http/handler requests of the one before.",
        repeatable=True,
        split=split_paths,
    ),
    Setting(
        "route",
        _route,
        "Route requests for a host and a path prefix to other components. A FILE that ends with a slash is a folder of "
        "static files. May be repeated.",
        "HOST/PREFIX=FILE[,FILE]...",
        repeatable=True,
    ),
    Setting(
        "watch",
        arguments.parse_switch,
        "Reload components and the configuration file when they change. SIGHUP also reloads them.",
        default="false",
        switch=True,
        serve_only=True,
    ),
    Setting(
        "addr",
        arguments.parse_listen_address,
        "Address to listen on, such as 127.0.0.1:8080 or [::1]:8080. Port 0 selects a free port, unix:PATH a Unix "
        "socket, and fd://NUMBER an inherited socket.",
        "IP:PORT",
        default="0.0.0.0:8080",
        serve_only=True,
    ),
    Setting("certfile", arguments.parse_path, "Serve over TLS with this certificate (PEM).", "FILE", serve_only=True),
    Setting(
        "keyfile",
        arguments.parse_path,
        "Private key of the certificate, unless the certificate's file contains it.",
        "FILE",
        serve_only=True,
    ),
    Setting(
        "workers",
        arguments.parse_workers,
        "Number of worker processes. Each has its own instances.",
        "N",
        default="1",
        serve_only=True,
    ),
    Setting(
        "shutdown-addr",
        arguments.parse_address,
        "Shut the server down at the first connection to this address.",
        "IP:PORT",
        serve_only=True,
    ),
    Setting(
        "admin-addr",
        arguments.parse_address,
        "Address that serves /metrics, /healthz, /readyz and /pool.",
        "IP:PORT",
        serve_only=True,
    ),
    Setting(
        "env",
        arguments.parse_variable,
        "Set an environment variable for the guest. Without VALUE, pass the server's own. May be repeated.",
        "NAME[=VALUE]",
        field="wasi.env",
        repeatable=True,
        table=True,
    ),
    Setting(
        "dirs",
        arguments.parse_directory,
        "Give the guest access to the directory HOST, under the path GUEST if given. Append ::ro for read-only access. "
        "May be repeated.",
        "HOST[::GUEST]",
        option="dir",
        repeatable=True,
    ),
    Setting(
        "config-var",
        parse_config_variable,
        "Set a wasi:config variable. Without VALUE, use the environment variable of that name. May be repeated.",
        "NAME[=VALUE]",
        repeatable=True,
        table=True,
    ),
    Setting(
        "keyvalue",
        parse_keyvalue,
        "Give the guest the wasi:keyvalue bucket NAME, or 'default'. The URL says where its content is: memory:, "
        "sqlite:FILE or redis://HOST. May be repeated.",
        "[NAME=]URL",
        repeatable=True,
        table=True,
    ),
    Setting(
        "keyvalue-timeout",
        _limit,
        "Maximum time for an operation on a bucket. After that the operation fails.",
        "DURATION",
        default_text="5s, or half of --request-timeout if that is less",
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
        "Maximum memory of each bucket in memory:.",
        "SIZE",
        default="64MiB",
    ),
    Setting(
        "wasi",
        parse_switches,
        "Enable wasi:config or wasi:keyvalue in wasmtime's notation: config, config-var=NAME=VALUE, keyvalue, "
        "keyvalue-in-memory-data=NAME=VALUE. May be repeated.",
        "NAME[=VALUE],...",
        short="S",
        repeatable=True,
    ),
    Setting(
        "inherit-network",
        arguments.parse_switch,
        "Give the guest access to the host's network: outgoing and listening TCP and UDP sockets.",
        default="false",
        field="wasi.network.inherit",
        switch=True,
    ),
    Setting(
        "allow-ip-name-lookup",
        arguments.parse_switch,
        "Allow the guest to resolve host names.",
        default="false",
        field="wasi.network.allow_ip_name_lookup",
        switch=True,
    ),
    Setting(
        "allow-outbound",
        parse_entry,
        "Restrict the guest's connections and outgoing requests to this destination. May be repeated.",
        "HOST[:PORT]|CIDR|SCHEME://HOST",
        field="wasi.network.outbound",
        repeatable=True,
    ),
    Setting(
        "block-private",
        arguments.parse_switch,
        "Deny connections to non-public addresses (loopback, private, link-local, multicast), except the addresses and "
        "networks in --allow-outbound, and its entry 'self'.",
        default="false",
        field="wasi.network.block_private",
        switch=True,
    ),
    Setting(
        "outbound-idle-timeout",
        arguments.parse_duration,
        "Close an idle connection to another server after this time. 0s closes each connection after its first "
        "request.",
        "DURATION",
        default="4s",
        field="wasi.http.keep_alive.idle_timeout",
    ),
    Setting(
        "outbound-max-age",
        _limit,
        "Maximum age at which a connection to another server is used for another request.",
        "DURATION",
        default="60s",
        field="wasi.http.keep_alive.max_age",
    ),
    Setting(
        "outbound-max-idle",
        arguments.parse_count,
        "Maximum number of idle connections to other servers.",
        "N",
        default="256",
        field="wasi.http.keep_alive.max_idle",
    ),
    Setting(
        "outbound-max-idle-per-host",
        arguments.parse_count,
        "Maximum number of idle connections to the same host and port.",
        "N",
        default="128",
        field="wasi.http.keep_alive.max_idle_per_host",
    ),
    Setting(
        "headers",
        arguments.parse_headers,
        "Replace or add a header field, 'name: value', in every request. @FILE reads one from each line of a file. May "
        "be repeated.",
        "HEADER",
        option="header",
        short="H",
        repeatable=True,
    ),
    Setting(
        "no-logging-prefix",
        _off,
        "Print the output of guests without the prefix 'stdout [N] :: '.",
        default="false",
        field="logging_prefix",
        switch=True,
    ),
    Setting(
        "max-instance-reuse-count",
        arguments.parse_count,
        "Number of requests after which an instance is dropped. The guest must support more than one.",
        "N",
        field="max_instance_reuse_count",
        default_text="1, or 128 for WASI 0.3",
    ),
    Setting(
        "max-instance-concurrent-reuse-count",
        arguments.parse_count,
        "Maximum number of concurrent requests of an instance.",
        "N",
        field="max_instance_concurrent_reuse_count",
        default_text="16 for WASI 0.3; always 1 for WASI 0.2",
    ),
    Setting(
        "idle-instance-timeout",
        arguments.parse_duration,
        "Drop an instance after this time without a request.",
        "DURATION",
        default="1s",
        field="idle_instance_timeout",
    ),
    Setting(
        "request-timeout",
        _limit,
        "Maximum time from a request to the start of the guest's response.",
        "DURATION",
        field="request_timeout",
        default_text="no limit",
    ),
    Setting(
        "max-cpu-time",
        _limit,
        "Maximum processor time of a guest for one request.",
        "DURATION",
        field="max_cpu_time",
        default_text="no limit",
    ),
    Setting(
        "body-timeout",
        _limit,
        "Maximum pause between two parts of a response body.",
        "DURATION",
        field="body_timeout",
        default_text="no limit",
    ),
    Setting(
        "cancel-grace",
        arguments.parse_duration,
        "Time for a WASI 0.3 guest to end a cancelled request, before its instance is retired.",
        "DURATION",
        default="1s",
        field="cancel_grace",
    ),
    Setting(
        "post-response-timeout",
        _limit,
        "Maximum time for which a guest continues with a request after its response was sent.",
        "DURATION",
        default="30s",
        field="post_response_timeout",
    ),
    Setting(
        "drain-delay",
        arguments.parse_duration,
        "Keep accepting requests for this time after the signal to shut down. Meanwhile /readyz returns 503, and the "
        "server announces the end of its connections.",
        "DURATION",
        default="0s",
        serve_only=True,
    ),
    Setting(
        "drain-timeout",
        or_none(arguments.parse_duration),
        "Maximum time for active requests to finish during shutdown.",
        "DURATION",
        field="drain_timeout",
        default_text="no limit",
    ),
    Setting(
        "send-timeout",
        _limit,
        "Maximum time without progress in sending a response.",
        "DURATION",
        default_text="no limit",
        serve_only=True,
    ),
    Setting(
        "half-closed-timeout",
        _limit,
        "Maximum time to respond to a client that has closed its sending side of the connection.",
        "DURATION",
        default="30s",
        serve_only=True,
    ),
    Setting(
        "stall-limit",
        _limit,
        "Log a host function's stack once it has blocked the event loop this long.",
        "DURATION",
        default="5s",
        field="stall_limit",
    ),
    Setting(
        "interrupt-stalls",
        arguments.parse_switch,
        "Also interrupt a host function at --stall-limit, and not only when a request times out.",
        default="false",
        field="interrupt_stalls",
        switch=True,
    ),
    Setting(
        "stall-kill-limit",
        _limit,
        "Kill and replace a worker process, and log its stack, once its event loop has been blocked this long.",
        "DURATION",
        default_text="no limit",
        serve_only=True,
    ),
    Setting(
        "max-concurrent-requests",
        _count,
        "Maximum number of requests in guests. Further requests wait.",
        "N",
        default="1000",
        field="max_concurrent_requests",
    ),
    Setting(
        "max-queued-requests",
        _count,
        "Maximum number of waiting requests. The server refuses further requests with 503.",
        "N",
        field="max_queued_requests",
        default_text="no limit",
    ),
    Setting(
        "max-concurrent-connections",
        _count,
        "Maximum number of open connections. Further connections wait.",
        "N",
        default="1000",
        serve_only=True,
    ),
    Setting(
        "max-memory-size",
        arguments.parse_size,
        "Maximum size of each linear memory.",
        "SIZE",
        default="1GiB",
        field="limits.memory",
    ),
    Setting(
        "max-instance-memory",
        arguments.parse_size,
        "Maximum memory that the server holds for one instance: its memories, tables, handles, calls and message "
        "contents.",
        "SIZE",
        default="1GiB",
        field="limits.instance_memory",
    ),
    Setting(
        "max-total-memory",
        or_none(arguments.parse_size),
        "Maximum memory of all instances of all workers. Beyond it, a request that needs a new instance waits up to "
        "5 s; then the server refuses it with 503.",
        "SIZE",
        field="total_memory",
        default_text="80 % of the memory available to the server",
    ),
    Setting(
        "hostcall-fuel",
        arguments.parse_size,
        "Maximum size of the data that a guest passes in one call, measured as Python objects.",
        "SIZE",
        default="16MiB",
        field="limits.call_data",
    ),
    Setting(
        "max-table-elements",
        arguments.parse_count,
        "Maximum number of elements of each table.",
        "N",
        default="1000000",
        field="limits.table_elements",
    ),
    Setting(
        "wasm",
        arguments.parse_features,
        "Enable WebAssembly features that are off by default. 'help' lists them with their risks. May be repeated.",
        "NAME[=y|n],...",
        short="W",
        repeatable=True,
    ),
    Setting(
        "compile-timeout",
        _limit,
        "Maximum time to validate and compile a component that is not in the cache.",
        "DURATION",
        default="120s",
    ),
    Setting(
        "compile-memory",
        or_none(arguments.parse_size),
        "Maximum memory to validate and compile a component that is not in the cache.",
        "SIZE",
        default="2GiB",
    ),
    Setting(
        "profile",
        arguments.parse_profile,
        "Profile guests. 'guest' writes a Firefox profile of each instance to files named after PATH; perfmap and "
        "jitdump write data for perf.",
        "guest[,PATH[,INTERVAL]]|perfmap|jitdump",
    ),
    Setting(
        "access-log",
        arguments.parse_access_log,
        "Print a line for each response to standard output: text, json, or a FORMAT with atoms such as %(r)s and "
        "%(s)s.",
        "text|json|FORMAT",
        serve_only=True,
    ),
    Setting(
        "log-format",
        arguments.parse_log_format,
        "Format of the other log lines, which go to standard error.",
        "text|json",
        default="text",
        serve_only=True,
    ),
    Setting(
        "log-config",
        arguments.parse_path,
        "Configure Python's logging from a file: JSON if its name ends with .json, otherwise TOML.",
        "FILE",
        serve_only=True,
    ),
    Setting(
        "verbose",
        arguments.parse_switch,
        "Log every request, and the start and end of every instance.",
        default="false",
        short="v",
        switch=True,
    ),
)

BY_NAME = {setting.name: setting for setting in SETTINGS}
