"""References to components in a registry, or in a directory with the layout of one.

    oci://HOST[:PORT]/NAME[:TAG][@sha256:DIGEST]
    oci-layout:FOLDER[:TAG][@sha256:DIGEST]

A digest overrides the tag, which then only informs the reader. ``oci+http://`` is ``oci://`` without TLS. All other
names of components are paths of files.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Final, NamedTuple, TypeAlias

from wasi_trio.lazy import Pattern
from wasi_trio.wasi.registry._errors import RegistryError

FORMS: Final = "oci://HOST/NAME[:TAG][@sha256:DIGEST] or oci-layout:FOLDER[:TAG][@sha256:DIGEST]"
#: the default tag of a reference to a registry without a digest
LATEST = "latest"

#: hosts to which plain HTTP is secure
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")

_SCHEMES = ("oci://", "oci+http://", "oci-layout:")
#: Docker's registry, whose host differs from its name
_DOCKER, _DOCKER_HOST = "docker.io", "registry-1.docker.io"
#: names and tags in the distribution specification
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_DIGEST = r"sha256:[0-9a-f]{64}"
_SUFFIX = rf"(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
_REMOTE = Pattern(rf"(?P<scheme>oci|oci\+http)://(?P<host>{_HOST})/(?P<name>{_PART}(?:/{_PART})*){_SUFFIX}")
#: the path must not contain a colon that could precede a tag
_LAYOUT = Pattern(rf"oci-layout:(?P<folder>.+?){_SUFFIX}")
#: an element of a colon-separated list of paths: a reference, which contains colons, or a path
_LIST_ELEMENT = Pattern(
    rf"(?:oci(?:\+http)?://{_HOST}/{_PART}(?:/{_PART})*|oci-layout:[^:]+)(?::{_TAG})?(?:@{_DIGEST})?(?=:|\Z)|oci(?:\+http)?://[^:]*|[^:]*"
)
_PINNED = Pattern(rf"@{_DIGEST}\Z")
_LONGEST_NAME = 255


class Remote(NamedTuple):
    """A component in the registry ``host``, a name or address with an optional port."""

    host: str
    name: str
    tag: str | None
    digest: str | None
    secure: bool = True

    @property
    def base(self) -> str:
        """The base URL of ``name`` in the registry."""
        host = _DOCKER_HOST if self.host == _DOCKER else self.host
        name = f"library/{self.name}" if self.host == _DOCKER and "/" not in self.name else self.name
        return f"{'https' if self.secure else 'http'}://{host}/v2/{name}"

    @property
    def place(self) -> str:
        """The name in messages, without tag and digest."""
        return f"{self.host}/{self.name}"


class Layout(NamedTuple):
    """A component in a directory."""

    folder: str
    tag: str | None
    digest: str | None

    @property
    def place(self) -> str:
        return self.folder


Reference: TypeAlias = Remote | Layout


def is_reference(text: str) -> bool:
    """Return whether the text has the scheme of a reference."""
    return text.startswith(_SCHEMES)


def parse_reference(text: str) -> Reference:
    """Parse a reference. Raises RegistryError for malformed ones."""
    if text.startswith("oci-layout:"):
        match = _LAYOUT.fullmatch(text)
        if match is None or "@sha256" in match["folder"] or "\0" in text:
            raise _malformed(text)
        return Layout(match["folder"], match["tag"], match["digest"])
    match = _REMOTE.fullmatch(text)
    if match is None or len(match["name"]) > _LONGEST_NAME:
        raise _malformed(text)
    host = match["host"].lower()
    secure = match["scheme"] == "oci" and not is_loopback(host)
    tag, digest = match["tag"], match["digest"]
    return Remote(host, match["name"], tag if tag or digest else LATEST, digest, secure)


def pin(text: str, digest: str) -> str:
    """Return a reference with a digest."""
    return f"{text}@{digest}"


def is_pinned(text: str) -> bool:
    """Return whether a reference has a digest, so that its content cannot change."""
    return _PINNED.search(text) is not None


def file_name(text: str) -> str:
    """Return the actual or prospective file name of a component."""
    if not is_reference(text):
        return PurePath(text).name
    reference = parse_reference(text)
    return PurePath(reference.name if isinstance(reference, Remote) else reference.folder).name


def split_paths(text: str) -> list[str]:
    """Split a colon-separated list into paths and references."""
    found: list[str] = []
    at = 0
    while at <= len(text):
        match = _LIST_ELEMENT.match(text, at)
        assert match is not None, "a path without colons always matches"
        found.append(match[0])
        at = match.end() + 1
    return [part for part in found if part.strip()]


def is_loopback(authority: str) -> bool:
    """Return whether a host with an optional port is this machine."""
    host = authority[1:].partition("]")[0] if authority.startswith("[") else authority.partition(":")[0]
    return host in LOOPBACK or authority in LOOPBACK


def _malformed(text: str) -> RegistryError:
    # The text is not repeated, because it may contain a password.
    if "@" in text.partition("://")[2].partition("/")[0]:
        return RegistryError(f"a reference to a component must not contain credentials; its form is {FORMS}")
    return RegistryError(f"{text!r} is not of the form {FORMS}")
