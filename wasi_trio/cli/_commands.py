"""The command group, the commands ``serve`` and ``run``, and the exit of the process."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

import click

from wasi_trio._texts import MAX_LENGTH, shown
from wasi_trio.cli import _tools as tools
from wasi_trio.cli._collector import excluded_from_collection, skip_final_collection
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
from wasi_trio.cli._standard_streams import drop_unwritable_messages, open_standard_streams
from wasi_trio.runtime._profile_options import Profiling, single
from wasi_trio.serve._config_file import VARIABLE
from wasi_trio.serve.settings._setting import SettingError
from wasi_trio.serve.settings._table import BY_NAME, SETTINGS
from wasi_trio.wasi import _arguments as arguments
from wasi_trio.wasi._outbound import Entry, Outbound

#: The exit code for an invalid command line or invalid input.
BAD_INPUT = 2
#: The maximum length of a message, which may name many imports.
_MAX_MESSAGE = 8 * MAX_LENGTH


_env = click.option(
    "--env",
    "env",
    type=parsed(arguments.parse_variable),
    callback=lambda context, parameter, variables: tuple(filter(None, variables)),
    metavar="NAME[=VALUE]",
    multiple=True,
    help="Set an environment variable for the guest. Without VALUE, pass wasi_trio's own. May be repeated.",
)
_dir = click.option(
    "--dir",
    "directories",
    type=parsed(arguments.parse_directory),
    metavar="HOST[::GUEST]",
    multiple=True,
    help="Give the guest access to the directory HOST, under the path GUEST if given. Append ::ro for read-only "
    "access. May be repeated.",
)


@click.group(no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]})
@tools.version_option
def cli() -> None:
    """Serve WebAssembly HTTP components on trio, and run commands."""


def _settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for all settings."""
    for setting in reversed(SETTINGS):
        if setting.name != "component":
            command = option(setting)(command)
    return command


def _refuse_debug(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        name = value.partition("=")[0]
        why = "" if name != "coredump" else ": wasmtime's C API cannot write core dumps"
        raise click.UsageError(
            f"-D {shown(name)} is not supported{why}. The log line about a trap has the wasm backtrace. It includes "
            "source lines if the component has DWARF and WASMTIME_BACKTRACE_DETAILS=1 is set"
        )


#: wasmtime's option, which has no equivalent here.
_debug = click.option("-D", "--debug", hidden=True, expose_value=False, callback=_refuse_debug)


@cli.command()
@_settings
@_debug
@click.option(
    "--hypercorn-config",
    metavar="FILE",
    help="TOML file with hypercorn's settings for connections and protocols, and a table [wasi_trio] with "
    "these options."
    f"  [default: the file named by {VARIABLE}]",
)
@click.argument("components", nargs=-1, metavar="[COMPONENT]...", type=click.Path())
def serve(components: tuple[str, ...], hypercorn_config: str | None, **options: Any) -> None:
    """Answer HTTP requests with COMPONENT, a file with the world wasi:http/proxy or wasi:http/service.

    Each further COMPONENT answers the wasi:http/handler requests of the one before. Without COMPONENT, a built-in
    component answers.

    Each option can also be set by an environment variable (WASI_TRIO_REQUEST_TIMEOUT for --request-timeout), or in the
    configuration file. The command line overrides the environment, which overrides the file.
    """
    # Imported here because this loads hypercorn, which --help does not need.
    with excluded_from_collection():
        from wasi_trio.serve._command import CommandError, run_server

    given = given_settings(options, (setting for setting in SETTINGS if setting.name != "component"))
    if components:
        given["component"] = components
    try:
        run_server(given, hypercorn_config)
    except CommandError as error:
        raise click.UsageError(str(error)) from None


def _network(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for the guest's network."""
    for name in ("block-private", "allow-outbound", "allow-ip-name-lookup", "inherit-network"):
        command = option(BY_NAME[name])(command)
    return command


_profile = click.option(
    "--profile",
    type=parsed(arguments.parse_profile),
    metavar="guest[,PATH[,INTERVAL]]|perfmap|jitdump",
    help="Profile the guest. 'guest' writes samples to the file PATH, for the Firefox profiler and 'wasi_trio "
    "profile'; perfmap and jitdump write data for perf.",
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
    """Run COMPONENT, a file with the world wasi:cli/command. All arguments after it are ARGS for the component."""
    if any(entry.own for entry in allow_outbound):
        raise click.UsageError("--allow-outbound: 'self' means the address of a server, and run has none")
    with excluded_from_collection():
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
    print(f"wasi_trio: error: {shown(' '.join(message.split()), _MAX_MESSAGE)}", file=sys.stderr)
    sys.exit(BAD_INPUT)


def main() -> NoReturn:
    """Run the command line, and exit. An error is reported in one line, with exit code 2."""
    open_standard_streams()
    try:
        code = cli.main(prog_name="wasi_trio", standalone_mode=False)
    except click.ClickException as error:
        _fail(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    skip_final_collection()
    drop_unwritable_messages()
    sys.exit(code if isinstance(code, int) else 0)
