"""``python -m tests.spec DIR`` runs every ``.wast`` script below a directory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
import trio

from tests.spec.runner import FileResult, run_file
from wasi_trio.runtime._engine import FEATURES, Engine


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--verbose", is_flag=True, help="Show every directive that failed, not only the first of each file.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds that one file may take.")
def main(paths: tuple[Path, ...], verbose: bool, timeout: float) -> None:
    """Run the scripts PATHS and all below directories in PATHS. The exit status is 1 if any failed."""
    sys.exit(1 if trio.run(run, paths, verbose, timeout) else 0)


async def run(paths: tuple[Path, ...], verbose: bool, seconds: float) -> int:
    """Run the scripts, print a line for each and then the count. Return the number of failed scripts."""
    passed = failed = 0
    with Engine(cache=False, features=FEATURES) as engine:
        for root, path in _scripts(paths):
            result = await run_file(engine, path, seconds)
            for line in report(result, path.relative_to(root).as_posix(), verbose):
                print(line, flush=True)
            passed, failed = passed + (not result.failures), failed + bool(result.failures)
    print(f"{passed} passed, {failed} failed")
    return failed


def report(result: FileResult, name: str, verbose: bool) -> Iterator[str]:
    """Yield the lines to print for a file."""
    if not result.failures:
        yield f"ok    {name} ({result.directives} directives)"
        return
    first = result.failures[0]
    others = f" (and {len(result.failures) - 1} more)" if len(result.failures) > 1 else ""
    yield f"FAIL  {name}:{first.line}: {first.keyword}: {first.reason}{others}"
    if verbose:
        for failure in result.failures[1:]:
            yield f"      {name}:{failure.line}: {failure.keyword}: {failure.reason}"


def _scripts(paths: tuple[Path, ...]) -> Iterator[tuple[Path, Path]]:
    """Yield each script once, with the folder to which its shown name is relative."""
    for path in paths:
        if path.is_dir():
            for found in sorted(path.rglob("*.wast")):
                yield path, found
        else:
            yield path.parent, path


if __name__ == "__main__":
    main()
