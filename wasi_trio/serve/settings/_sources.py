"""Settings from the environment and from a table of a TOML file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wasi_trio.serve.routing._declarations import RouteDeclaration, make_route
from wasi_trio.serve.routing._patterns import parse_pattern
from wasi_trio.serve.settings._setting import TABLE, Setting, SettingError
from wasi_trio.serve.settings._table import BY_NAME, SETTINGS
from wasi_trio.serve.settings._values import check_applicable, parse_content, parse_texts


def from_environment(environment: Mapping[str, str], *, standalone: bool = True) -> Iterator[tuple[str, Any]]:
    """Yield the settings in the environment, as names and values. Raise SettingError for an invalid value.

    ``standalone`` is true for ``wasi_trio serve`` and false for other ASGI servers. An empty variable sets nothing.
    Unknown variables with our prefix are ignored: Kubernetes, for one, derives variables from the names of services.
    """
    for setting in SETTINGS:
        text = environment.get(setting.variable)
        if text:
            origin = setting.variable
            check_applicable(setting, origin, standalone)
            texts = [part for part in setting.split(text) if part.strip()] if setting.repeatable else [text]
            yield setting.name, parse_texts(setting, origin, texts)


def from_table(table: object, file: str, *, standalone: bool = True) -> Iterator[tuple[str, Any]]:
    """Yield the settings in the table of a TOML file, as names and values. Raise SettingError for an invalid one."""
    place = f"[{TABLE}] of {file}"
    if not isinstance(table, dict):
        raise SettingError(f"{TABLE} in {file} is not a table")
    for setting, key, content in _entries(table, place):
        if setting.name == "route" and isinstance(content, list) and all(isinstance(part, dict) for part in content):
            yield (
                setting.name,
                tuple(
                    _route(part, f"[[{TABLE}.{key}]] number {number} of {file}", standalone)
                    for number, part in enumerate(content, 1)
                ),
            )
        else:
            yield setting.name, parse_content(setting, key, content, place, standalone)


def _entries(table: dict[str, Any], place: str) -> Iterator[tuple[Setting, str, Any]]:
    """Yield the settings of a table, each with its key and its content."""
    seen: set[str] = set()
    for key, content in table.items():
        name = key.replace("_", "-")
        setting = BY_NAME.get(name)
        if setting is None:
            raise SettingError(f"{place}: unknown setting {key!r}{_suggestion(name)}")
        if name in seen:
            raise SettingError(f"{place}: {name} is set twice")
        seen.add(name)
        yield setting, key, content


#: The keys of a route that are not settings, and their types.
_ROUTE_KEYS: dict[str, type] = {"host": str, "prefix": str, "files": str, "strip-prefix": bool, "name": str}


def _route(table: dict[str, Any], place: str, standalone: bool) -> RouteDeclaration:
    """Convert a TOML table into a route."""
    own: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for key, content in table.items():
        kind = _ROUTE_KEYS.get(key.replace("_", "-"))
        if kind is None:
            others[key] = content
        elif not isinstance(content, kind):
            raise SettingError(f"{place}: {key} is not {'true or false' if kind is bool else 'a string'}")
        else:
            own[key.replace("_", "-")] = content
    components: tuple[str, ...] = ()
    settings: dict[str, Any] = {}
    for setting, key, content in _entries(others, place):
        value = parse_content(setting, key, content, place, standalone)
        if setting.name == "component":
            components = value
        elif not setting.for_routes:
            raise SettingError(f"{place}: {key} applies to the whole server and cannot be set for a route")
        else:
            settings[setting.name] = value
    prefix = own.get("prefix", "/")
    try:
        if not prefix.startswith("/"):
            raise ValueError(f"the prefix {prefix!r} does not begin with a slash")
        if "/" in own.get("host", ""):
            raise ValueError(f"the host {own['host']!r} contains a slash")
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


def _suggestion(name: str) -> str:
    import difflib  # imported late, because only an error needs it

    close = difflib.get_close_matches(name, BY_NAME, 1)
    return f", did you mean {close[0]}?" if close else ""
