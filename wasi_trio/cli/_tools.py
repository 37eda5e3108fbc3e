"""The commands ``inspect``, ``compile``, ``bindgen``, ``wit``, ``profile`` and ``completion``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from wasi_trio._texts import shown, shown_document
from wasi_trio.cli._help import COMPLETE, EXAMPLES, PROGRAM, Examples
from wasi_trio.cli._options import engine_options, given_engine
from wasi_trio.cli._printing import write_out

if TYPE_CHECKING:
    from rich.progress import TaskID


@click.command(
    cls=Examples,
    short_help="Show a component's imports and exports, and which imports this host provides.",
    epilog=EXAMPLES["inspect"],
)
@click.option("--wit", is_flag=True, help="Print only the world as WIT text, with all its interfaces.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@engine_options
@click.argument("component", type=click.Path())
def inspect(component: str, wit: bool, as_json: bool, **engine: Any) -> None:
    """Show the imports, exports and sizes of COMPONENT, and which imports this host provides.

    The output is tables on a terminal, and otherwise lines with fields separated by tabs.
    """
    if wit and as_json:
        raise click.UsageError("--wit and --json exclude each other; the JSON includes the WIT text")
    from wasi_trio.cli._inspection import inspect_component
    from wasi_trio.wasi._loading import LoadError

    try:
        inspection = inspect_component(component, given_engine(engine))
    except LoadError as error:
        raise click.UsageError(str(error)) from None
    if wit:
        return write_out(shown_document(inspection.wit))
    from wasi_trio.cli import _report as report

    if as_json:
        return write_out(report.as_json(inspection))
    if not sys.stdout.isatty():
        return write_out(report.as_lines(inspection))
    from rich.console import Console

    return report.print_tables(inspection, Console())


@click.command(
    "compile",
    cls=Examples,
    short_help="Compile components in advance, so that they start at once.",
    epilog=EXAMPLES["compile"],
)
@engine_options
@click.argument("components", nargs=-1, required=True, metavar="COMPONENT...", type=click.Path())
def compile_(components: tuple[str, ...], **engine: Any) -> None:
    """Compile each COMPONENT in advance, so that serve and run start with it at once.

    The code is stored in the user's wasmtime cache. It is valid for this version of wasmtime and this kind of
    processor.
    """
    from wasi_trio.cli._compilation import CacheError, Compiled, LoadError, compile_components

    try:
        with _progress_bar() as show:
            for event in compile_components(components, given_engine(engine)):
                if not isinstance(event, Compiled):
                    show(event.path, event.done, event.total)
                    continue
                modules = "1 core module" if event.modules == 1 else f"{event.modules} core modules"
                unmet = "" if event.unmet is None else f"; but {event.unmet}"
                merged = f" (merged into {event.merged})" if 0 < event.merged < event.modules else ""
                what = f"compiled {modules} of {event.size} bytes{merged}"
                line = f"{event.path}: {what}, stored in {event.folder}{unmet}"
                write_out(f"{shown(line)}\n")
    except (LoadError, CacheError) as error:
        raise click.UsageError(str(error)) from None
    except KeyboardInterrupt:
        # A regular exit of the interpreter would collide with the thread in wasmtime's compiler.
        sys.stdout.flush()
        os._exit(130)


@click.command(
    cls=Examples, short_help="Write typed Python bindings for a component or a world.", epilog=EXAMPLES["bindgen"]
)
@click.option(
    "-o", "--output", required=True, metavar="DIR", help="Folder of the package: a new one, or an earlier output."
)
@click.option("--world", metavar="NAME", help="World to use, if the WIT has several.")
@engine_options
@click.argument("source", metavar="WORLD_OR_COMPONENT", type=click.Path())
def bindgen(source: str, output: str, world: str | None, **engine: Any) -> None:
    """Write a typed Python package for the imports and exports of a component.

    WORLD_OR_COMPONENT is a component, a WIT file, or a folder with WIT and its dependencies. WASI's WIT is built in.
    """
    from wasi_trio.bindgen import BindgenError, generate
    from wasi_trio.wasi._loading import LoadError

    try:
        generate(source, output, world, given_engine(engine))
    except (BindgenError, LoadError) as error:
        raise click.UsageError(str(error)) from None


@click.command(cls=Examples, short_help="Print or copy the WIT of WASI, to build guests with.", epilog=EXAMPLES["wit"])
@click.option(
    "--version",
    type=click.Choice(["0.2", "0.3"]),
    default="0.2",
    show_default=True,
    help="Version of WASI.",
)
@click.option(
    "-o", "--output", metavar="DIR", help="Write a folder for each package into DIR.  [default: standard output]"
)
def wit(version: str, output: str | None) -> None:
    """Print the WIT of WASI as one text, or copy its packages to DIR.

    Toolchains look for the packages in wit/deps, beside your own WIT in wit. The output includes wasi:config,
    wasi:keyvalue and wasi:logging.
    """
    from pathlib import Path

    from wasi_trio.wasi.wit import _packages as wasi

    found = wasi.packages(version)
    if output is None:
        return write_out(wasi.document(found))
    try:
        wasi.write(found, Path(output))
    except wasi.ForeignFile as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        raise click.UsageError(f"cannot write {error.filename or output}: {error.strerror}") from None
    return write_out("".join(f"{shown(os.path.join(output, each.folder))}: {each.name}\n" for each in found))


@contextmanager
def _progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Return a function that shows the progress of a component if standard error is a terminal."""
    if not sys.stderr.isatty():
        yield lambda path, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    terminal = sys.stdout.isatty()
    progress = Progress(*columns, console=console, transient=True, redirect_stdout=terminal)
    tasks: dict[str, TaskID] = {}

    def show(path: str, done: int, total: int) -> None:
        # Started only now: from the first event on, Ctrl-C arrives as an event, and not in the middle of this.
        progress.start()
        if path not in tasks:
            tasks[path] = progress.add_task(shown(path), total=total)
        progress.update(tasks[path], completed=done, visible=done < total)

    try:
        yield show
    finally:
        progress.stop()


@click.command(cls=Examples, short_help="Draw profiles as a flame graph.", epilog=EXAMPLES["profile"])
@click.option("-o", "--output", metavar="FILE", help="File to write.  [default: standard output]")
@click.argument("profiles", nargs=-1, required=True, metavar="PROFILE...", type=click.Path())
def profile(profiles: tuple[str, ...], output: str | None) -> None:
    """Draw the samples of all PROFILEs as one flame graph, a self-contained HTML file.

    A PROFILE is a file written by --profile guest of serve or run, or by wasmtime.
    """
    from wasi_trio.cli._flame_graph import flame_graph
    from wasi_trio.runtime._profile_file import ProfileError

    try:
        drawn = flame_graph(profiles)
    except ProfileError as error:
        raise click.UsageError(str(error)) from None
    if output is None:
        return write_out(drawn)
    try:
        with open(output, "w", encoding="utf-8") as file:
            file.write(drawn)
    except OSError as error:
        raise click.UsageError(f"cannot write {output or repr(output)}: {error.strerror}") from None
    return None


@click.command(short_help="Print a shell script that completes commands and options.", epilog=EXAMPLES["completion"])
@click.argument("shell", required=False, type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str | None) -> None:
    """Print a script that completes the command wasi-trio in a shell. The default is the shell in $SHELL."""
    from click.shell_completion import get_completion_class

    name = shell or os.path.basename(os.environ.get("SHELL", ""))
    class_ = get_completion_class(name) if name in ("bash", "zsh", "fish") else None
    if class_ is None:
        raise click.UsageError("$SHELL is not a supported shell: choose bash, zsh or fish")
    root = click.get_current_context().find_root().command
    # The script is not for `python -m`: a shell completes a command by its own name.
    write_out(class_(root, {}, PROGRAM, COMPLETE).source())
