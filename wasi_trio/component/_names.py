"""The names of a component's imports and exports (Explainer.md, "Import and Export Definitions")."""

from __future__ import annotations

import enum
import re
from typing import NamedTuple

from wasi_trio.component._errors import MalformedComponent
from wasi_trio.lazy import Pattern

# Possessive quantifiers, and a fragment with only one possible match, keep these linear on hostile names.
_WORD = r"[a-z][0-9a-z]*+"
LABEL = rf"(?:{_WORD}|[A-Z][0-9A-Z]*+)(?:-(?=[0-9A-Za-z])[0-9]*+(?:[a-z][0-9a-z]*+|[A-Z][0-9A-Z]*+)?+)*+"
_WORDS = rf"{_WORD}(?:-[0-9a-z]++)*+"
_NUMBER = r"(?:0|[1-9][0-9]*+)"
_PRERELEASE_PART = rf"(?:{_NUMBER}(?![0-9A-Za-z-])|[0-9]*+[A-Za-z-][0-9A-Za-z-]*+)"
SEMVER = (
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}"
    rf"(?:-{_PRERELEASE_PART}(?:\.{_PRERELEASE_PART})*+)?+(?:\+[0-9A-Za-z-]++(?:\.[0-9A-Za-z-]++)*+)?+"
)

_LABEL = Pattern(LABEL)
_INTERFACE = Pattern(rf"(?P<name>(?:{_WORDS}:)++{_WORDS}(?:/{LABEL})++)(?:@(?P<version>.++))?+", re.DOTALL)
_VERSION = Pattern(SEMVER)
_CANONICAL = Pattern(r"[1-9][0-9]*|0\.[1-9][0-9]*|0\.0\.(?:0|[1-9][0-9]*)")
_FUNCTION = Pattern(
    rf"(?:\[(?P<kind>method|static)\](?P<owner>{LABEL})\.(?P<name>{LABEL})"
    rf"|\[(?P<whole>constructor|resource-new|resource-rep|resource-drop)\](?P<resource>{LABEL})"
    rf"|(?P<free>{LABEL}))"
)


class FunctionKind(enum.Enum):
    """A function's relation to the resource in its name. The value is the name's annotation."""

    FREE = ""
    CONSTRUCTOR = "constructor"
    METHOD = "method"
    STATIC = "static"
    #: The last three name built-ins. They occur in imports of core modules and never in those of components.
    RESOURCE_NEW = "resource-new"
    RESOURCE_REP = "resource-rep"
    RESOURCE_DROP = "resource-drop"


class FunctionName(NamedTuple):
    """The parts of a name such as ``[method]input-stream.read``.

    ``resource`` is None for a free function. ``name`` is "" if the annotation and the resource are the whole name.
    """

    kind: FunctionKind
    resource: str | None
    name: str


def parse_import_name(name: str) -> tuple[str, str | None]:
    """Split an import or export name into its base name and its version: ``wasi:io/streams`` and ``0.2.3``.

    A name that is not an interface's (a plain name, or a URL or dependency name of older specifications) is returned
    whole, without a version. Raises MalformedComponent if the text after the ``@`` is not a version.
    """
    match = _INTERFACE.fullmatch(name)
    if match is None:
        return name, None
    version: str | None = match["version"]
    if version is not None and not is_version(version):
        raise MalformedComponent(f"import name {name!r}: {version!r} is not a version")
    return match["name"], version


def parse_function_name(name: str) -> FunctionName:
    """Return the parts of a function's name. Raises MalformedComponent if it is not a function's name."""
    match = _FUNCTION.fullmatch(name)
    if match is None:
        raise MalformedComponent(f"{name!r} is not the name of a function")
    if match["free"] is not None:
        return FunctionName(FunctionKind.FREE, None, name)
    if match["kind"] is not None:
        return FunctionName(FunctionKind(match["kind"]), match["owner"], match["name"])
    return FunctionName(FunctionKind(match["whole"]), match["resource"], "")


def is_label(text: str) -> bool:
    """Return whether the text is a kebab-case label: lower-case words and upper-case acronyms, joined by hyphens."""
    return _LABEL.fullmatch(text) is not None


def is_version(text: str) -> bool:
    """Return whether an interface name may have this version: SemVer 2.0, or a ``canonversion`` like ``0.2``."""
    return _VERSION.fullmatch(text) is not None or _CANONICAL.fullmatch(text) is not None


def track(version: str) -> str:
    """Return the common part of all versions that are compatible with this one.

    It ends with the first nonzero number: ``0.2.3`` is on track ``0.2``, ``1.4.0`` on ``1``, ``0.0.7`` on ``0.0.7``.
    A prerelease is its own track, because release candidates change incompatibly. Build metadata is ignored. See
    "Canonical Interface Name" in Explainer.md.
    """
    release, _, _ = version.partition("+")
    if "-" in release:
        return release
    numbers = release.split(".")
    for count, number in enumerate(numbers, 1):
        if number != "0":
            return ".".join(numbers[:count])
    return release


def compatible(wanted: str | None, provided: str | None) -> bool:
    """Return whether a host's interface of version ``provided`` may satisfy an import of version ``wanted``.

    Either version may be the newer one; linking checks that the imported functions exist. An interface without a
    version differs from the same interface with one.
    """
    if wanted is None or provided is None:
        return wanted is provided
    return track(wanted) == track(provided)
