"""hypercorn's configuration file. The server obeys its keys for listening and for limits on clients."""

from __future__ import annotations

import json
import logging
import math
import ssl
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from hypercorn.config import Config

from wasi_trio._files import MAX_TEXT, check_regular, read_file
from wasi_trio._texts import get_logger, shown
from wasi_trio.serve._config_file import ConfigFile
from wasi_trio.serve._listening import SocketOptions
from wasi_trio.serve.http._access_log import AccessLog, AccessRecord
from wasi_trio.serve.http._limits import ConnectionLimits
from wasi_trio.serve.settings._setting import SettingError
from wasi_trio.serve.settings._settings import Settings
from wasi_trio.wasi._arguments import MAX_WORKERS, ListenAddress, check_access_format, parse_listen_address

logger = get_logger("wasi_trio.serve")

#: The atoms of an access log's format that hypercorn lacks.
_OURS = frozenset({"instance", "request_id", "span_id", "trace_id"})
#: The request fields in a JSON access log.
_SHOWN_FIELDS = frozenset({"host", "referer", "user-agent"})
_NUMBER = (int, float)
_TEXTS = (list,)
_WORDS: dict[tuple[type, ...], str] = {
    _NUMBER: "a number",
    _TEXTS: "a list of strings",
    (bool,): "true or false",
    (int,): "a whole number",
    (int, str): "a string or a whole number",
    (str,): "a string",
    (str, list): "a string or a list of strings",
}
_LEVELS = "debug, info, warning, error, critical"
#: hypercorn's default of ``keep_alive_max_requests``.
_MANY = Config().keep_alive_max_requests
#: The keys of hypercorn that the server obeys, with their types.
_OBEYED: dict[str, tuple[type, ...]] = {
    "access_log_format": (str,),
    "accesslog": (str,),
    "alpn_protocols": _TEXTS,
    "alt_svc_headers": _TEXTS,
    "backlog": (int,),
    "bind": (str, list),
    "ca_certs": (str,),
    "certfile": (str,),
    "ciphers": (str,),
    "errorlog": (str,),
    "graceful_timeout": _NUMBER,
    "group": (int,),
    "h11_max_incomplete_size": (int,),
    "h2_max_concurrent_streams": (int,),
    "h2_max_header_list_size": (int,),
    "h2_max_inbound_frame_size": (int,),
    "include_date_header": (bool,),
    "include_server_header": (bool,),
    "insecure_bind": (str, list),
    "keep_alive_max_requests": (int,),
    "keep_alive_timeout": _NUMBER,
    "keyfile": (str,),
    "keyfile_password": (str,),
    "loglevel": (str,),
    "read_timeout": _NUMBER,
    "root_path": (str,),
    "server_names": _TEXTS,
    "ssl_handshake_timeout": _NUMBER,
    "umask": (int,),
    "user": (int,),
    "verify_flags": (int,),
    "verify_mode": (int, str),
    "worker_class": (str,),
    "workers": (int,),
}


class _Range(NamedTuple):
    """The numbers that a key accepts."""

    least: float
    most: float

    def __str__(self) -> str:
        return f"from {self.least:.10g} to {self.most:.10g}"


#: No limit is longer than 30 years. A timeout of 0 would end a connection before its first byte.
_TIMEOUT = _Range(0.01, 1e9)
_IDENTIFIER = _Range(0, (1 << 32) - 2)
_RANGES = {
    "backlog": _Range(1, (1 << 31) - 1),
    "graceful_timeout": _Range(0, 1e9),
    "group": _IDENTIFIER,
    # Less has no room for the head of a browser, and more would be memory for each connection.
    "h11_max_incomplete_size": _Range(1 << 10, 16 << 20),
    "h2_max_concurrent_streams": _Range(1, 1 << 16),
    "h2_max_header_list_size": _Range(0, 16 << 20),
    # RFC 9113, section 6.5.2
    "h2_max_inbound_frame_size": _Range(1 << 14, (1 << 24) - 1),
    "keep_alive_max_requests": _Range(1, (1 << 31) - 1),
    "keep_alive_timeout": _TIMEOUT,
    "read_timeout": _TIMEOUT,
    "ssl_handshake_timeout": _TIMEOUT,
    "umask": _Range(0, 0o777),
    "user": _IDENTIFIER,
    "verify_flags": _Range(0, (1 << 31) - 1),
    "workers": _Range(0, MAX_WORKERS),
}


class ProtocolOptions:
    """The server's addresses, sockets, TLS and limits on clients. Constructing it raises SettingError.

    ``secure`` and ``plain`` are the addresses with and without TLS, and ``tls`` is the TLS context, if any. ``sockets``
    are the socket options, and ``limits`` apply to each connection. ``workers`` is the number of processes.
    ``drain_timeout`` bounds the wait for active connections during shutdown, in seconds.

    The server adds ``response_headers`` to every response, and a ``date`` field if ``adds_date``. If ``server_names``
    is not empty, it answers requests for other hosts with 404. Guests see the path below ``root_path``. The server
    calls ``access_log`` for each response.
    """

    def __init__(self, file: ConfigFile | None, settings: Settings) -> None:
        self.config = config = _config(file, settings)
        keys = {} if file is None else file.server
        self.workers: int = settings["workers"] if "workers" in settings else max(keys.get("workers", 1), 1)
        self.drain_timeout: float | None = settings["drain-timeout"]
        if "drain-timeout" not in settings:
            self.drain_timeout = keys.get("graceful_timeout")
        self.adds_date: bool = keys.get("include_date_header", True)
        self.response_headers = [(b"alt-svc", value.encode()) for value in config.alt_svc_headers]
        if config.include_server_header:
            self.response_headers.append((b"server", b"wasi_trio"))
        self.server_names = frozenset(config.server_names)
        self.root_path: str = config.root_path.rstrip("/")
        self.sockets = SocketOptions(config.backlog, config.umask, config.user, config.group)
        self.limits = _limits(config, settings)
        self.access_log = _access_log(config, settings)
        self.tls = _tls(config)
        if "addr" in settings or "bind" not in keys:
            addresses: list[ListenAddress] = [settings["addr"]]
        else:
            addresses = _addresses(file, "bind")
        self.secure: list[ListenAddress] = []
        self.plain = addresses
        if self.tls is not None:
            self.secure = addresses
            self.plain = _addresses(file, "insecure_bind") if "insecure_bind" in keys else []


def default_config() -> Config:
    """Return hypercorn's configuration with this server's defaults."""
    config = Config()
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.include_server_header = False
    config.backlog = SocketOptions().backlog
    return config


def _limits(config: Config, settings: Settings) -> ConnectionLimits:
    defaults = ConnectionLimits()
    return ConnectionLimits(
        max_head=config.h11_max_incomplete_size,
        keep_alive_timeout=config.keep_alive_timeout,
        # hypercorn's default closes an HTTP/2 connection after 1000 requests, and resets its active ones.
        max_requests=math.inf if config.keep_alive_max_requests == _MANY else config.keep_alive_max_requests,
        send_timeout=_or_infinity(settings["send-timeout"]),
        read_timeout=_or_infinity(config.read_timeout),
        handshake_timeout=config.ssl_handshake_timeout,
        half_closed_timeout=_or_infinity(settings["half-closed-timeout"]),
        max_streams=config.h2_max_concurrent_streams,
        max_frame_size=config.h2_max_inbound_frame_size,
        max_fields=max(config.h2_max_header_list_size, defaults.max_fields),
    )


def _or_infinity(seconds: float | None) -> float:
    return math.inf if seconds is None else seconds


class _Atoms(Mapping[str, Any]):
    """The atoms of a line in an access log. Text of clients and guests is escaped and cut."""

    def __init__(self, atoms: Mapping[str, Any], about: Mapping[str, str]) -> None:
        self._atoms = atoms
        self._about = about

    def __getitem__(self, name: str) -> Any:
        value = self._about.get(name, "-") if name in _OURS else self._atoms[name]
        return shown(value) if isinstance(value, str) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._atoms)

    def __len__(self) -> int:
        return len(self._atoms)


def _access_log(config: Config, settings: Settings) -> AccessLog | None:
    log = config.log
    logger = log.access_logger
    if logger is None:
        return None
    if settings["access-log"] == "json":
        return partial(_access_in_json, logger)

    def access(record: AccessRecord) -> None:
        path, _, query = record.target.partition("?")
        scope: Any = {
            "type": "http",
            "client": record.client,
            "http_version": record.version,
            "method": record.method,
            "scheme": record.scheme,
            "path": path,
            "query_string": query.encode("latin-1"),
            "headers": [(name.encode("latin-1"), value) for name, value in record.headers],
        }
        response: Any = {"status": record.status, "headers": record.response_headers}
        logger.info(log.access_log_format, _Atoms(log.atoms(scope, response, record.seconds), record.about))

    return access


class _Time:
    """The timestamp of a JSON line. The part that is slow to format is cached for a second."""

    def __init__(self) -> None:
        self._second = 0
        self._before = self._behind = ""

    def __call__(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            text = datetime.fromtimestamp(second).astimezone().isoformat(timespec="seconds")
            self._second, self._before, self._behind = second, text[:19], text[19:]
        return f"{self._before}.{int((now - second) * 1000):03d}{self._behind}"


_time = _Time()


def _access_in_json(logger: logging.Logger, record: AccessRecord) -> None:
    if not logger.isEnabledFor(logging.INFO):
        return
    fields = {name: value.decode("latin-1") for name, value in record.headers if name in _SHOWN_FIELDS}
    line = {
        "time": _time(),
        "client": None if record.client is None else record.client[0],
        "version": record.version,
        "method": record.method,
        "scheme": record.scheme,
        "target": shown(record.target),
        "status": record.status,
        "seconds": round(record.seconds, 6),
        **{name.replace("-", "_"): shown(value) for name, value in fields.items()},
        **{name: shown(value) for name, value in record.about.items() if name != "request"},
    }
    # ``info`` would look up its caller, which takes a tenth of the time for the line.
    logger.handle(logging.LogRecord(logger.name, logging.INFO, __file__, 0, json.dumps(line), None, None))


def _config(file: ConfigFile | None, settings: Settings) -> Config:
    config = default_config()
    if file is not None:
        for key, value in _obeyed(file):
            setattr(config, key, value)
    for name in ("certfile", "keyfile"):
        if name in settings:
            setattr(config, name, settings[name])
    access = settings["access-log"]
    if access is not None:
        config.accesslog = config.accesslog or "-"
        if access not in ("text", "json"):
            config.access_log_format = access
    if config.certfile is None and config.keyfile is not None:
        raise SettingError("keyfile is set without certfile: TLS needs both")
    if config.keyfile is None:
        config.keyfile = config.certfile
    if config.keyfile_password is None:
        # OpenSSL would otherwise prompt for a password on the terminal.
        config.keyfile_password = ""
    try:
        check_access_format(config.access_log_format)
        _ = config.log
    except OSError as error:
        raise SettingError(f"cannot write the log file {error.filename}: {error.strerror}") from None
    except ValueError as error:
        raise SettingError(f"cannot set up the access log of {file.path if file else ''}: {error}") from None
    logger = config.log.access_logger
    if access == "json" and logger is not None:
        for handler in logger.handlers:
            handler.setFormatter(logging.Formatter("%(message)s"))
    return config


def _obeyed(file: ConfigFile) -> list[tuple[str, Any]]:
    """Return the keys that the server obeys, with values of the right type."""
    for key, why in (
        ("quic_bind", "only hypercorn serves QUIC"),
        ("use_reloader", "only hypercorn reloads with this key"),
    ):
        if file.server.get(key):
            raise SettingError(f"{key} in {file.path}: {why}: run hypercorn -c {file.path} wasi_trio.asgi:app")
    if file.server.get("worker_class", "trio") != "trio":
        raise SettingError(f'worker_class in {file.path}: wasi_trio runs on trio, set worker_class = "trio"')
    obeyed: list[tuple[str, Any]] = []
    others = []
    for key, value in file.server.items():
        types = _OBEYED.get(key)
        if types is None:
            others.append(key)
            continue
        problem = _problem(key, value, types)
        if problem is not None:
            raise SettingError(f"Invalid value for {key} in {file.path}: {value!r} is not {problem}")
        if key not in ("bind", "insecure_bind", "include_date_header", "worker_class"):
            obeyed.append((key, _verify_mode(file, value) if key == "verify_mode" else value))
    if others:
        logger.warning("%s: wasi_trio serve ignores %s", file.path, ", ".join(others))
    return obeyed


def _problem(key: str, value: Any, types: tuple[type, ...]) -> str | None:
    """Return what the value of a key is not, or None if the server accepts it."""
    texts = not isinstance(value, list) or all(isinstance(part, str) for part in value)
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types) or not texts:
        return _WORDS[types]
    allowed = _RANGES.get(key)
    content: Any = value
    if allowed is not None and not allowed.least <= content <= allowed.most:
        return f"{_WORDS[types]} {allowed}"
    if key == "alt_svc_headers" and not all(part.isascii() and part.isprintable() for part in content):
        return "visible ASCII"
    if key == "loglevel" and content.upper() not in logging.getLevelNamesMapping():
        return f"one of {_LEVELS}"
    return None


def _verify_mode(file: ConfigFile, value: Any) -> ssl.VerifyMode:
    try:
        return ssl.VerifyMode[value] if isinstance(value, str) else ssl.VerifyMode(value)
    except (KeyError, ValueError):
        names = ", ".join(mode.name for mode in ssl.VerifyMode)
        raise SettingError(f"Invalid value for verify_mode in {file.path}: {value!r} is not one of {names}") from None


def _addresses(file: ConfigFile | None, key: str) -> list[ListenAddress]:
    assert file is not None
    value = file.server[key]
    try:
        return [parse_listen_address(text) for text in ([value] if isinstance(value, str) else value)]
    except ValueError as error:
        raise SettingError(f"Invalid value for {key} in {file.path}: {error}") from None


def _tls(config: Config) -> ssl.SSLContext | None:
    if config.certfile is None:
        return None
    for path in (config.certfile, config.ca_certs):
        if path is not None and b"CERTIFICATE-----" not in _pem(path):
            raise SettingError(f"{path} has no certificate in PEM form")
    assert config.keyfile is not None
    key = _pem(config.keyfile)
    if b"PRIVATE KEY-----" not in key:
        advice = ": name the key's file with --keyfile" if config.keyfile == config.certfile else ""
        raise SettingError(f"{config.keyfile} has no private key in PEM form{advice}")
    if b"ENCRYPTED" in key and not config.keyfile_password:
        raise SettingError(
            f"the key in {config.keyfile} is encrypted: set keyfile_password in the configuration file, or decrypt it"
        )
    try:
        return config.create_ssl_context()
    except (OSError, ValueError) as error:
        raise SettingError(
            f"cannot serve over TLS with {config.certfile} and {config.keyfile}: {_tls_reason(error)}"
        ) from None


def _pem(path: str) -> bytes:
    """Return the content of a file of certificates or keys. Raise SettingError."""
    try:
        # OpenSSL opens the file again, so it cannot be a pipe.
        check_regular(path)
        return read_file(path, MAX_TEXT)
    except OSError as error:
        raise SettingError(f"cannot read {path}: {error.strerror}") from None


def _tls_reason(error: Exception) -> str:
    text = str(error)
    if "KEY_VALUES_MISMATCH" in text:
        return "the key does not belong to the certificate"
    # OpenSSL says "PEM lib" of all malformed data.
    return "the certificate or the key is malformed" if "PEM lib" in text else text
