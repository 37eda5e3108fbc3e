"""Conversion of texts and TOML values into the values of settings."""

from __future__ import annotations

from typing import Any

from wasi_trio.serve.settings._setting import Setting, SettingError
from wasi_trio.wasi import _arguments as arguments


def parse_content(setting: Setting, key: str, content: Any, place: str, standalone: bool) -> Any:
    """Convert the content of a TOML key into a setting's value. Raise SettingError."""
    origin = f"{key} in {place}"
    check_applicable(setting, origin, standalone)
    try:
        texts = _texts(setting, content)
    except ValueError as error:
        raise _invalid(origin, error) from None
    return parse_texts(setting, origin, texts)


def parse_texts(setting: Setting, origin: str, texts: list[str]) -> Any:
    """Convert texts into a setting's value. Raise SettingError, which names ``origin``."""
    try:
        values = tuple(setting.parse(text) for text in texts)
    except ValueError as error:
        raise _invalid(origin, error) from None
    return values if setting.repeatable else values[0]


def _texts(setting: Setting, content: Any) -> list[str]:
    """Convert a TOML value into the equivalent texts on the command line."""
    if setting.table:
        # The messages leave out the values, which may be secrets.
        if not isinstance(content, dict):
            raise ValueError('it is not a table of NAME = "VALUE"')
        for name, value in content.items():
            if not isinstance(value, str):
                raise ValueError(f"the value of {name} is not a string")
            if "=" in name:
                raise ValueError(f"{name!r} is not a name: it contains '='")
        return [f"{name}={value}" for name, value in content.items()]
    if setting.repeatable:
        parts = [content] if isinstance(content, str) and setting.name == "component" else content
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise ValueError(f"{content!r} is not a list of strings")
        return parts
    if setting.parse in (arguments.parse_path, arguments.parse_component) and not isinstance(content, str):
        raise ValueError(f"{content!r} is not a string")
    if isinstance(content, bool):
        return ["true" if content else "false"]
    if isinstance(content, float):
        # The command line does not accept an exponent, as in 1e-05.
        from decimal import Decimal  # imported late, because few settings are such numbers

        return [f"{Decimal(repr(content)):f}"]
    return [str(content)]


def _invalid(origin: str, error: ValueError) -> SettingError:
    # click words its message for an option the same way.
    return SettingError(f"Invalid value for {origin}: {error}")


def check_applicable(setting: Setting, origin: str, standalone: bool) -> None:
    """Raise SettingError if another ASGI server has no use for the setting."""
    if setting.serve_only and not standalone:
        raise SettingError(
            f"{origin} applies only to the command serve: use the ASGI server's own configuration instead"
        )
