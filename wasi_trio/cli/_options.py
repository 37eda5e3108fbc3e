"""Command-line options for the settings of a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from wasi_trio._texts import shown
from wasi_trio.cli._printing import write_out
from wasi_trio.component._features import listing as features_listing
from wasi_trio.serve.settings._setting import Setting
from wasi_trio.serve.settings._settings import Settings
from wasi_trio.serve.settings._table import BY_NAME
from wasi_trio.wasi._arguments import parse_features
from wasi_trio.wasi._state_arguments import SWITCHES, parse_switches
from wasi_trio.wasi._wasmtime_options import OPTIONS, check, listing

if TYPE_CHECKING:
    from wasi_trio.wasi._loading import EngineOptions
    from wasi_trio.wasi._state import State

#: The settings of the engine, which are options of every command that takes a component.
_ENGINE = ("wasm", "compile-timeout", "compile-memory")
#: The settings of variables and buckets.
_STATE = ("config-var", "keyvalue", "keyvalue-timeout", "keyvalue-max-value", "keyvalue-memory", "wasi")


def parsed(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a click type for a parser of :mod:`wasi_trio.wasi._arguments`."""

    def convert(text: str) -> Any:
        if parse is parse_features and text == "help":
            write_out(features_listing())
            click.get_current_context().exit()
        if parse is parse_switches and text == "help":
            write_out(f"{SWITCHES}{listing()}")
            click.get_current_context().exit()
        try:
            return parse(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return convert


def option(setting: Setting) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    names = [f"-{setting.short}"] if setting.short else []
    names += [f"--{setting.option or setting.name}", setting.name.replace("-", "_")]
    if setting.switch:
        return click.option(*names, is_flag=True, help=setting.help)
    shown = setting.default_text or setting.default
    return click.option(
        *names,
        type=parsed(setting.parse),
        metavar=setting.metavar,
        multiple=setting.repeatable,
        help=setting.help if shown is None else f"{setting.help}  [default: {shown}]",
    )


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the engine. ``given_engine`` reads them."""
    for name in reversed(_ENGINE):
        command = option(BY_NAME[name])(command)
    return command


def given_engine(given: dict[str, Any]) -> EngineOptions:
    """Return the engine options with which a command was called."""
    from wasi_trio.wasi._loading import DEFAULT

    found = given_settings(given, (BY_NAME[name] for name in _ENGINE))
    return Settings(found).engine_options() if found else DEFAULT


def state_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for guests' variables and buckets. ``given_state`` reads them."""
    for name in reversed(_STATE):
        command = option(BY_NAME[name])(command)
    return command


def given_state(given: dict[str, Any]) -> State:
    """Return the variables and buckets with which a command was called. Raise SettingError."""
    from wasi_trio.wasi._state import NO_STATE

    found = given_settings(given, (BY_NAME[name] for name in _STATE))
    return Settings(found).state if found else NO_STATE


def given_settings(given: dict[str, Any], settings: Iterable[Setting]) -> dict[str, Any]:
    """Return the values of settings on the command line, by name. ``given`` are a command's parameters."""
    context = click.get_current_context()
    found: dict[str, Any] = {}
    for setting in settings:
        parameter = setting.name.replace("-", "_")
        if context.get_parameter_source(parameter) is ParameterSource.COMMANDLINE:
            found[setting.name] = setting.parse("true") if setting.switch else given[parameter]
    return found


def _refuse(context: click.Context, parameter: click.Parameter, given: Any) -> None:
    if not given:
        return
    name = parameter.opts[0]
    for text in given if parameter.multiple else (given,):
        for part in text.split(",") if len(name) == 2 and name != "-g" else (name,):
            try:
                if part == name:
                    raise ValueError(f"{name} is not supported: {OPTIONS[name]}")
                check(name[1], part)
            except ValueError as error:
                raise click.UsageError(shown(str(error))) from None


def _refused(*names: str, is_flag: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        *names, hidden=True, expose_value=False, callback=_refuse, multiple=not is_flag, is_flag=is_flag
    )


def wasmtime_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of ``wasmtime serve`` and ``wasmtime run`` that have no equivalent: they print advice."""
    for names in (
        ("-O", "--optimize"),
        ("-C", "--codegen"),
        ("-D", "--debug"),
        ("-R", "--record"),
        ("-g", "--gdbstub"),
        ("--config",),
        ("--target",),
    ):
        command = _refused(*names)(command)
    return _refused("--allow-precompiled", is_flag=True)(command)


def wasmtime_run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add such options of ``wasmtime run`` alone."""
    for name in ("--invoke", "--preload", "--argv0"):
        command = _refused(name)(command)
    return command
