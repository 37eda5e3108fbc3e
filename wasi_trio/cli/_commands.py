"""The command group, and the exit of the process."""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from wasi_trio._texts import MAX_LENGTH, shown
from wasi_trio.cli._collector import excluded_from_collection, skip_final_collection
from wasi_trio.cli._help import COMPLETE, GROUP, Examples
from wasi_trio.cli._printing import write_out
from wasi_trio.cli._standard_streams import drop_unwritable_messages, open_standard_streams
from wasi_trio.lazy import located

#: The exit code for an invalid command line or invalid input.
BAD_INPUT = 2
#: The maximum length of a message, which may name many imports.
_MAX_MESSAGE = 8 * MAX_LENGTH


def _print_versions(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    """Print the versions, for ``--version``."""
    if wanted and not context.resilient_parsing:
        from wasi_trio.cli._about import versions

        write_out(f"{versions()}\n")
        context.exit()


_version = click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_versions,
    help="Show the versions of wasi_trio, its main dependencies and Python.",
)


class _Commands(Examples, click.Group):
    """A group whose commands are imported when they are looked up, because defining one takes milliseconds."""

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        with excluded_from_collection():
            return super().get_command(context, name)


@click.group(
    cls=_Commands, no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]}, epilog=GROUP
)
@_version
def cli() -> None:
    """Serve WebAssembly HTTP components on trio, and run commands."""


cli.commands = located(  # type: ignore[assignment]
    "wasi_trio.cli",
    {
        "serve": "_serve_command.serve",
        "run": "_run_command.run",
        "inspect": "_tools.inspect",
        "compile": "_tools.compile_",
        "bindgen": "_tools.bindgen",
        "wit": "_tools.wit",
        "profile": "_tools.profile",
        "completion": "_tools.completion",
    },
)


def _with_advice(error: click.ClickException) -> str:
    """Return the message of an error. If the command itself is missing or unknown, add how to list the commands."""
    message = error.format_message()
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None or context.parent is not None or "Did you mean" in message:
        return message
    return f"{message} '{context.command_path} --help' lists the commands."


def _fail(message: str) -> NoReturn:
    print(f"wasi_trio: error: {shown(' '.join(message.split()), _MAX_MESSAGE)}", file=sys.stderr)
    sys.exit(BAD_INPUT)


def main() -> NoReturn:
    """Run the command line, and exit. An error is reported in one line, with exit code 2."""
    open_standard_streams()
    try:
        # click finds the name under which the user called the program.
        code = cli.main(standalone_mode=False, complete_var=COMPLETE)
    except click.ClickException as error:
        _fail(_with_advice(error))
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    skip_final_collection()
    drop_unwritable_messages()
    sys.exit(code if isinstance(code, int) else 0)
