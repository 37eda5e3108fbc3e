"""The command ``run``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import click

from wasi_trio.cli._collector import excluded_from_collection
from wasi_trio.cli._help import EXAMPLES, Examples
from wasi_trio.cli._options import (
    engine_options,
    given_engine,
    given_state,
    option,
    parsed,
    state_options,
    wasmtime_options,
    wasmtime_run_options,
)
from wasi_trio.runtime._profile_options import Profiling, single
from wasi_trio.serve.settings._setting import SettingError
from wasi_trio.serve.settings._table import BY_NAME
from wasi_trio.wasi import _arguments as arguments
from wasi_trio.wasi._outbound import Entry, Outbound

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


def _network(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for the guest's network."""
    for name in ("block-private", "allow-outbound", "allow-ip-name-lookup", "inherit-network"):
        command = option(BY_NAME[name])(command)
    return command


_profile = click.option(
    "--profile",
    type=parsed(arguments.parse_profile),
    metavar="guest[,PATH[,INTERVAL]]|perfmap|jitdump",
    help="Profile the guest. 'guest' writes samples to the file PATH, for the Firefox profiler and the command "
    "profile; perfmap and jitdump write data for perf.",
)


@click.command(
    cls=Examples,
    context_settings={"allow_interspersed_args": False},
    short_help="Run a command-line component.",
    epilog=EXAMPLES["run"],
)
@_env
@_dir
@state_options
@_network
@_profile
@wasmtime_options
@wasmtime_run_options
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


def _log_to_stderr() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
