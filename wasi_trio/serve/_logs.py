"""The format and the destination of log lines: text, JSON, or a file for ``logging.config``."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from wasi_trio._files import MAX_TEXT, parse_json, parse_toml, read_file
from wasi_trio._texts import shown
from wasi_trio.serve.settings._setting import SettingError

if TYPE_CHECKING:
    from wasi_trio.serve.settings._settings import Settings

TIME: Final = "[%Y-%m-%d %H:%M:%S %z]"
#: The attribute of a record with the line's subject: instance, request and trace.
ABOUT: Final = "about"
#: The name of ``JsonFormatter`` in a logging configuration.
_FORMATTER: Final = "wasi_trio.serve.JsonFormatter"


class JsonFormatter(logging.Formatter):
    """A formatter that writes one JSON object a line.

    Every line has ``time``, ``level``, ``logger`` and ``message``, and the constructor's arguments, such as ``worker``.
    A line about a request or an instance has ``instance``, ``request``, ``request_id``, ``trace_id`` and ``span_id`` as
    far as they apply. A line about an exception has ``traceback``.
    """

    def __init__(self, **always: Any) -> None:
        super().__init__()
        self._always = always

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self._always,
            **getattr(record, ABOUT, {}),
        }
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            line["traceback"] = record.exc_text
        return json.dumps(line)


def set_up_logs(settings: Settings, worker: str | None = None) -> None:
    """Set up logging for the process. Raise SettingError. ``worker`` is the number of this worker, if any."""
    file = settings["log-config"]
    if file is not None:
        _configure(file, worker)
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_formatter(settings["log-format"], worker))
        logging.basicConfig(handlers=[handler], level=logging.WARNING)
    if settings["verbose"]:
        logging.getLogger("wasi_trio").setLevel(logging.INFO)


def text_formatter(worker: str | None = None) -> logging.Formatter:
    """Return a formatter for human readers."""
    where = "" if worker is None else f" [worker {worker}]"
    return logging.Formatter(f"%(asctime)s %(levelname)s %(name)s{where}: %(message)s", TIME)


def _formatter(kind: str, worker: str | None) -> logging.Formatter:
    if kind == "json":
        return JsonFormatter() if worker is None else JsonFormatter(worker=worker)
    return text_formatter(worker)


def _configure(path: str, worker: str | None) -> None:
    from logging.config import dictConfig  # slow to import, and only needed here

    try:
        data = read_file(path, MAX_TEXT)
        content = parse_json(data) if path.endswith(".json") else parse_toml(data)
    except OSError as error:
        raise SettingError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise SettingError(f"{path} {error}") from None
    if not isinstance(content, dict):
        raise SettingError(f"{path} is not an object with the keys of logging.config")
    # dictConfig() disables all existing loggers by default, including ours.
    content = {"version": 1, "disable_existing_loggers": False, **content}
    if worker is not None:
        _name_worker(content.get("formatters"), worker)
    try:
        dictConfig(content)
    except Exception as error:  # from any class that the file names
        cause = error.__cause__
        why = f"{error}" if cause is None else f"{error}: {cause}"
        raise SettingError(f"cannot set up logging from {path}: {shown(why)}") from None


def _name_worker(formatters: Any, worker: str) -> None:
    """Add the worker's number to the configuration's JSON formatters of our class. Leave all else alone."""
    if isinstance(formatters, dict):
        for formatter in formatters.values():
            if isinstance(formatter, dict) and formatter.get("()") == _FORMATTER:
                formatter.setdefault("worker", worker)
