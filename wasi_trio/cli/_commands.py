"""The group of commands, ``serve`` and ``run``, and what ends the process."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

import click

from wasi_trio._texts import MOST, shown
from wasi_trio.cli import _tools as tools
from wasi_trio.cli._collector import lasting, leave_to_system
from wasi_trio.cli._help import add_help
from wasi_trio.cli._options import (
    engine_options,
    given_engine,
    given_settings,
    given_state,
    option,
    parsed,
    state_options,
)
from wasi_trio.cli._standard_streams import open_standard_streams
from wasi_trio.runtime._profile_options import Profiling, single
from wasi_trio.serve._config_file import VARIABLE
from wasi_trio.serve.settings._setting import SettingError
from wasi_trio.serve.settings._table import BY_NAME, SETTINGS
from wasi_trio.wasi import _arguments as arguments
from wasi_trio.wasi._outbound import Entry, Outbound

#: the exit code for whatever is wrong with the command line or what it names
BAD_INPUT = 2
#: characters of a message, which may name many imports
_MOST = 8 * MOST


_env = click.option(
    "--env",
    "env",
    type=parsed(arguments.parse_variable),
    callback=lambda context, parameter, variables: tuple(filter(None, variables)),
    metavar="NAME[=VALUE]",
    multiple=True,
    help="Give the guest an environment variable; without a value, the one that it has here. May be repeated.",
)
_dir = click.option(
    "--dir",
    "directories",
    type=parsed(arguments.parse_directory),
    metavar="HOST[::GUEST]",
    multiple=True,
    help="Give the guest a directory, which it knows as GUEST, or as HOST; ::ro after that keeps it from changing "
    "anything there. May be repeated.",
)


@click.group(no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]})
@tools.version_option
def cli() -> None:
    """Serve WebAssembly HTTP components on trio, and run commands."""


def _settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that are made from the table of settings."""
    for setting in reversed(SETTINGS):
        if setting.name != "component":
            command = option(setting)(command)
    return command


def _refuse_debug(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        name = value.partition("=")[0]
        why = "" if name != "coredump" else ": wasmtime's C API, which this is built on, makes none"
        raise click.UsageError(
            f"-D {shown(name)} is not available here{why}. The line about a trap has the wasm backtrace, and lines of "
            "the source where the component has DWARF and WASMTIME_BACKTRACE_DETAILS=1 is set"
        )


#: wasmtime's, of which there is nothing here
_debug = click.option("-D", "--debug", hidden=True, expose_value=False, callback=_refuse_debug)


@cli.command()
@_settings
@_debug
@click.option(
    "--hypercorn-config",
    metavar="FILE",
    help="A TOML file: hypercorn's settings of connections and protocols, and the table [wasi_trio] with these options."
    f"  [default: what {VARIABLE} names]",
)
@click.argument("components", nargs=-1, metavar="[COMPONENT]...", type=click.Path())
def serve(components: tuple[str, ...], hypercorn_config: str | None, **options: Any) -> None:
    """Answer HTTP requests with COMPONENT, a file with the world wasi:http/proxy or wasi:http/service.

    Each further COMPONENT answers what the one before it asks of wasi:http/handler. Without any, a component that
    is built in answers.

    Each option may also stand in the environment, as WASI_TRIO_REQUEST_TIMEOUT for --request-timeout, or in the file.
    What the command line says comes first, then the environment, then the file.
    """
    # Here, because this takes in hypercorn, which --help has no need of.
    with lasting():
        from wasi_trio.serve._command import CommandError, run_server

    given = given_settings(options, (setting for setting in SETTINGS if setting.name != "component"))
    if components:
        given["component"] = components
    try:
        run_server(given, hypercorn_config)
    except CommandError as error:
        raise click.UsageError(str(error)) from None


def _network(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of the network that a guest is given."""
    for name in ("block-private", "allow-outbound", "allow-ip-name-lookup", "inherit-network"):
        command = option(BY_NAME[name])(command)
    return command


_profile = click.option(
    "--profile",
    type=parsed(arguments.parse_profile),
    metavar="guest[,PATH[,INTERVAL]]|perfmap|jitdump",
    help="Write where the guest computes: guest samples it into the file PATH, for the Firefox profiler and "
    "'wasi_trio profile'; perfmap and jitdump are for perf.",
)


@cli.command(context_settings={"allow_interspersed_args": False})
@_env
@_dir
@state_options
@_network
@_profile
@_debug
@engine_options
@click.argument("component", type=click.Path())
@click.argument("args", nargs=-1, type=parsed(arguments.parse_text), metavar="[ARGS]...")
def run(
    component: str,
    args: tuple[str, ...],
    env: tuple[tuple[str, str], ...],
    directories: tuple[Any, ...],
    inherit_network: bool,
    allow_ip_name_lookup: bool,
    allow_outbound: tuple[Entry, ...],
    block_private: bool,
    profile: Profiling | None,
    **others: Any,
) -> int:
    """Run COMPONENT, a file with the world wasi:cli/command, with ARGS, which are all that follows it."""
    if any(entry.own for entry in allow_outbound):
        raise click.UsageError("--allow-outbound: self is a server's own address, and a command has none")
    with lasting():
        from wasi_trio.cli._run import run_command
        from wasi_trio.wasi._loading import LoadError
        from wasi_trio.wasi.sockets._context import NetworkOptions

    _log_to_stderr()
    network = NetworkOptions(
        inherit=inherit_network,
        allow_ip_name_lookup=allow_ip_name_lookup,
        outbound=Outbound(allow_outbound) if allow_outbound else None,
        block_private=block_private,
    )
    try:
        options = replace(given_engine(others), profile=single(profile))
        return run_command(component, args, env, network, directories, options, given_state(others))
    except (LoadError, SettingError) as error:
        raise click.UsageError(str(error)) from None


for command in (tools.inspect, tools.compile_, tools.bindgen, tools.profile, tools.completion):
    cli.add_command(command)
add_help(cli)


def _log_to_stderr() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")


def _fail(message: str) -> NoReturn:
    print(f"wasi_trio: error: {shown(' '.join(message.split()), _MOST)}", file=sys.stderr)
    sys.exit(BAD_INPUT)


def main() -> NoReturn:
    """Run the command line; ends the process. Whatever is wrong is told in one line, with exit code 2."""
    open_standard_streams()
    try:
        code = cli.main(prog_name="wasi_trio", standalone_mode=False)
    except click.ClickException as error:
        _fail(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    leave_to_system()
    sys.exit(code if isinstance(code, int) else 0)
