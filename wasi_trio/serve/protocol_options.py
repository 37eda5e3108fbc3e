"""What a hypercorn configuration file says of connections and protocols, for a server that is ours."""

from __future__ import annotations

import logging
import ssl
import sys
from typing import Any

from hypercorn.config import Config

from wasi_trio.serve.config_file import ConfigFile
from wasi_trio.serve.settings import SettingError, Settings
from wasi_trio.wasi.arguments import ListenAddress, parse_listen_address

logger = logging.getLogger("wasi_trio.serve")

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
#: hypercorn's settings that are obeyed, and the types that they may have
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
    "h11_pass_raw_headers": (bool,),
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
    "max_app_queue_size": (int,),
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


class ProtocolOptions:
    """hypercorn's configuration of a server that is ours; making it raises SettingError.

    ``secure`` are the addresses to serve over TLS, ``plain`` those without, and ``tls`` what TLS needs, None without.
    ``workers`` is the number of processes, and ``drain_timeout`` how long connections are waited for in the end.
    """

    def __init__(self, file: ConfigFile | None, settings: Settings) -> None:
        self.config = _config(file, settings)
        keys = {} if file is None else file.hypercorn
        self.workers: int = settings["workers"] if "workers" in settings else max(keys.get("workers", 1), 1)
        self.drain_timeout: float | None = settings["drain-timeout"]
        if "drain-timeout" not in settings:
            self.drain_timeout = keys.get("graceful_timeout")
        #: whether responses are to have a date
        self.adds_date: bool = keys.get("include_date_header", True)
        self.tls = _tls(self.config)
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
    """hypercorn's configuration with what is otherwise here than there."""
    config = Config()
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.include_server_header = False
    # After 1000 requests hypercorn ends a connection of HTTP/2 with whatever is under way on it, the last included.
    config.keep_alive_max_requests = sys.maxsize
    # The application adds the date, because it knows whether the guest gave one.
    config.include_date_header = False
    return config


def _config(file: ConfigFile | None, settings: Settings) -> Config:
    config = default_config()
    if file is not None:
        for key, value in _obeyed(file):
            setattr(config, key, value)
    for name in ("certfile", "keyfile"):
        if name in settings:
            setattr(config, name, settings[name])
    if config.certfile is None and config.keyfile is not None:
        raise SettingError("there is a keyfile, but no certfile: TLS needs both")
    if config.keyfile is None:
        config.keyfile = config.certfile
    if config.keyfile_password is None:
        # OpenSSL would ask for one on the terminal.
        config.keyfile_password = ""
    try:
        _ = config.log
    except (OSError, ValueError) as error:
        raise SettingError(f"cannot log as {file.path if file else ''} says: {error}") from None
    return config


def _obeyed(file: ConfigFile) -> list[tuple[str, Any]]:
    """hypercorn's settings in a file, each with the right type."""
    for key, why in (
        ("quic_bind", "QUIC is served by hypercorn alone"),
        ("use_reloader", "only hypercorn itself reloads"),
    ):
        if file.hypercorn.get(key):
            raise SettingError(f"{key} in {file.path}: {why}: run hypercorn -c {file.path} wasi_trio.asgi:app")
    if file.hypercorn.get("worker_class", "trio") != "trio":
        raise SettingError(f'worker_class in {file.path}: wasi_trio runs on trio, set worker_class = "trio"')
    obeyed: list[tuple[str, Any]] = []
    others = []
    for key, value in file.hypercorn.items():
        types = _OBEYED.get(key)
        if types is None:
            others.append(key)
            continue
        texts = not isinstance(value, list) or all(isinstance(part, str) for part in value)
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types) or not texts:
            raise SettingError(f"Invalid value for {key} in {file.path}: {value!r} is not {_WORDS[types]}")
        if key not in ("bind", "insecure_bind", "include_date_header", "worker_class"):
            obeyed.append((key, _verify_mode(file, value) if key == "verify_mode" else value))
    if others:
        logger.warning("%s: wasi_trio serve makes no use of %s", file.path, ", ".join(others))
    return obeyed


def _verify_mode(file: ConfigFile, value: Any) -> ssl.VerifyMode:
    try:
        return ssl.VerifyMode[value] if isinstance(value, str) else ssl.VerifyMode(value)
    except (KeyError, ValueError):
        names = ", ".join(mode.name for mode in ssl.VerifyMode)
        raise SettingError(f"Invalid value for verify_mode in {file.path}: {value!r} is none of {names}") from None


def _addresses(file: ConfigFile | None, key: str) -> list[ListenAddress]:
    assert file is not None
    value = file.hypercorn[key]
    try:
        return [parse_listen_address(text) for text in ([value] if isinstance(value, str) else value)]
    except ValueError as error:
        raise SettingError(f"Invalid value for {key} in {file.path}: {error}") from None


def _tls(config: Config) -> ssl.SSLContext | None:
    if config.certfile is None:
        return None
    for path in (config.certfile, config.keyfile, config.ca_certs):
        if path is not None:
            try:
                with open(path, "rb"):
                    pass
            except OSError as error:
                raise SettingError(f"cannot read {path}: {error.strerror}") from None
    try:
        return config.create_ssl_context()
    except (OSError, ValueError) as error:
        raise SettingError(f"cannot serve over TLS with {config.certfile} and {config.keyfile}: {error}") from None
