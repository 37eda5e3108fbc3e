"""The command ``serve``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from wasi_trio.cli._collector import excluded_from_collection
from wasi_trio.cli._help import EXAMPLES, Examples
from wasi_trio.cli._options import given_settings, option, wasmtime_options
from wasi_trio.serve.settings._setting import CONFIGURATION
from wasi_trio.serve.settings._table import SETTINGS


def _settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for all settings."""
    for setting in reversed(SETTINGS):
        if setting.name != "component":
            command = option(setting)(command)
    return command


@click.command(
    cls=Examples,
    short_help="Answer HTTP requests with a component, or with a chain of components.",
    epilog=EXAMPLES["serve"],
)
@_settings
@wasmtime_options
@click.option(
    "--hypercorn-config",
    metavar="FILE",
    help="TOML file with hypercorn's settings for connections and protocols, and a table [wasi_trio] with "
    "these options."
    f"  [default: the file named by {CONFIGURATION}]",
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
