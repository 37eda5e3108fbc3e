"""The command line: ``python -m wasi_trio``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click

from wasi_trio import arguments, cli_tools
from wasi_trio.cli_help import add_help

#: the exit code for whatever is wrong with the command line or what it names
BAD_INPUT = 2


def _parsed(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """A parser of :mod:`wasi_trio.arguments` as a parameter's type."""

    def convert(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return convert


def _positive_duration(text: str) -> float:
    seconds = arguments.parse_duration(text)
    if seconds == 0:
        raise ValueError("it has to be longer than 0")
    return seconds


ADDRESS = _parsed(arguments.parse_address)
DURATION = _parsed(arguments.parse_duration)
COUNT = click.IntRange(min=1)

_env = click.option(
    "--env",
    "env",
    type=_parsed(arguments.parse_variable),
    callback=lambda context, parameter, variables: tuple(filter(None, variables)),
    metavar="NAME[=VALUE]",
    multiple=True,
    help="Give the guest an environment variable; without a value, the one that it has here. May be repeated.",
)
_dir = click.option(
    "--dir",
    "directories",
    type=_parsed(arguments.parse_directory),
    metavar="HOST::GUEST",
    multiple=True,
    help="Give the guest a directory. Comes with a later release, and is refused until then.",
)


@click.group(no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]})
@cli_tools.version_option
def cli() -> None:
    """Serve WebAssembly HTTP components on trio, and run commands."""


@cli.command()
@click.option(
    "--addr",
    type=ADDRESS,
    default="0.0.0.0:8080",
    show_default=True,
    metavar="IP:PORT",
    help="Address to serve on; port 0 takes any that is free.",
)
@click.option(
    "--shutdown-addr",
    type=ADDRESS,
    metavar="IP:PORT",
    help="Address of which the first connection makes the server shut down.",
)
@click.option(
    "--admin-addr",
    type=ADDRESS,
    metavar="IP:PORT",
    help="Address of /metrics, /healthz and /readyz.",
)
@_env
@_dir
@click.option(
    "-H",
    "--header",
    "headers",
    type=_parsed(arguments.parse_headers),
    metavar="HEADER",
    multiple=True,
    help="Replace or add a header, 'name: value', in every request. @FILE reads one from each line. May be repeated.",
)
@click.option(
    "--no-logging-prefix", is_flag=True, help="Print what guests write without 'stdout [N] :: ' before each line."
)
@click.option(
    "--max-instance-reuse-count",
    type=COUNT,
    metavar="N",
    help="Requests to give to an instance before it is dropped.  [default: 1, or 128 for WASI 0.3]",
)
@click.option(
    "--max-instance-concurrent-reuse-count",
    type=COUNT,
    metavar="N",
    help="Requests to give to an instance at once.  [default: 16 for WASI 0.3, where 0.2 never takes more than one]",
)
@click.option(
    "--idle-instance-timeout",
    type=DURATION,
    default="1s",
    show_default=True,
    metavar="DURATION",
    help="How long an instance is kept without a request: a number with s, ms, us or ns, or of seconds.",
)
@click.option(
    "--request-timeout",
    type=_parsed(_positive_duration),
    metavar="DURATION",
    help="How long a guest may take until its response begins.  [default: no limit]",
)
@click.option(
    "--stall-limit",
    type=_parsed(_positive_duration),
    default="5s",
    show_default=True,
    metavar="DURATION",
    help="How long a host function may hold up all others until that is logged, with where it is.",
)
@click.option(
    "--max-concurrent-requests",
    type=COUNT,
    default=1000,
    show_default=True,
    metavar="N",
    help="Requests that guests work on at once; further ones wait.",
)
@click.option(
    "--max-concurrent-connections",
    type=COUNT,
    default=1000,
    show_default=True,
    metavar="N",
    help="Connections that are open at once; further ones wait.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log each request, and each instance's start and end.")
@click.argument("components", nargs=-1, metavar="[COMPONENT]...", type=click.Path())
def serve(
    components: tuple[str, ...],
    directories: tuple[Any, ...],
    headers: tuple[Any, ...],
    verbose: bool,
    **options: Any,
) -> None:
    """Answer HTTP requests with COMPONENT, a file with the world wasi:http/proxy or wasi:http/service.

    Each further COMPONENT answers what the one before it asks of wasi:http/handler. Without any, a component that
    is built in answers.
    """
    _refuse_directories(directories)
    # Here, because this takes in trio, hypercorn and wasmtime, which --help has no need of.
    from wasi_trio.serve.command import CommandError, run_server

    _log_to_stderr()
    if verbose:
        logging.getLogger("wasi_trio").setLevel(logging.INFO)
    try:
        run_server(components, headers=[header for part in headers for header in part], **options)
    except CommandError as error:
        raise click.UsageError(str(error)) from None


@cli.command(context_settings={"allow_interspersed_args": False})
@_env
@_dir
@click.argument("component", type=click.Path())
@click.argument("args", nargs=-1, type=_parsed(arguments.parse_text), metavar="[ARGS]...")
def run(component: str, args: tuple[str, ...], env: tuple[tuple[str, str], ...], directories: tuple[Any, ...]) -> int:
    """Run COMPONENT, a file with the world wasi:cli/command, with ARGS, which are all that follows it."""
    _refuse_directories(directories)
    from wasi_trio.command import run_command
    from wasi_trio.wasi.loading import LoadError

    _log_to_stderr()
    try:
        return run_command(component, args, env)
    except LoadError as error:
        raise click.UsageError(str(error)) from None


for command in (cli_tools.inspect, cli_tools.compile_, cli_tools.completion):
    cli.add_command(command)
add_help(cli)


def _refuse_directories(directories: tuple[Any, ...]) -> None:
    if directories:
        raise click.UsageError("--dir: guests get access to the file system in a later release")


def _log_to_stderr() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")


def _fail(message: str) -> NoReturn:
    print(f"wasi_trio: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(BAD_INPUT)


def main() -> NoReturn:
    """Run the command line; ends the process. Whatever is wrong is told in one line, with exit code 2."""
    try:
        code = cli.main(prog_name="wasi_trio", standalone_mode=False)
    except click.ClickException as error:
        _fail(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)
