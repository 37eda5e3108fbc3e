"""Advice about imports of a component that nothing provides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from wasi_trio.component._names import parse_import_name
from wasi_trio.wasi import p2, p3, proposals

#: The interface that the next component of ``serve`` answers.
_HANDLER = "wasi:http/handler"
_OPTIONS = ((proposals.CONFIG, "--config-var NAME=VALUE"), (proposals.KEYVALUE, "--keyvalue NAME=URL"))


def advice(missing: Iterable[str]) -> Iterator[str]:
    """Yield what the user can do about imports. Each begins with the name of an interface or a function."""
    imports = dict.fromkeys(line.split()[0] for line in missing)
    for given, option in _OPTIONS:
        if not imports.keys().isdisjoint(given):
            yield f"{_package(next(iter(given)))} requires the option {option}"
    optional = {name for given, _ in _OPTIONS for name in given}
    others = [name for name in imports if name not in optional and parse_import_name(name)[0] != _HANDLER]
    versions = _versions()
    for package in dict.fromkeys(map(_package, others)):
        if package in versions:
            had = " and ".join(f"{package}@{version}" for version in versions[package])
            yield f"this host has {had}: build the component with that WIT (`python -m wasi_trio wit` prints it)"
    own = [name for name in others if _package(name) not in versions]
    if own:
        them = own[0] if len(own) == 1 else "them" if len(own) == len(imports) else "the others"
        yield (
            f"implement {them} in your own Python program (see the page 'Host functions'), or compose the component "
            f"with one that exports {'it' if len(own) == 1 else 'them'} (`wac plug`)"
        )


def _package(name: str) -> str:
    return name.partition("/")[0]


def _versions() -> dict[str, list[str]]:
    """Return the versions of each package of WASI that the host has."""
    found: dict[str, list[str]] = {}
    names = [f"{name}@{p2.VERSION}" for name in p2.INTERFACES] + [f"{name}@{p3.VERSION}" for name in p3.INTERFACES]
    for name in (*names, *proposals.CONFIG, *proposals.KEYVALUE, *proposals.LOGGING):
        interface, version = parse_import_name(name)
        versions = found.setdefault(_package(interface), [])
        if version is not None and version not in versions:
            versions.append(version)
    return found
