"""Manifests and indexes, as the OCI image specification has them, and the component in them.

They are another's words until their digest was compared; and nobody who knows the digest of a manifest has read it. So
all that is read here is checked.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wasi_trio._texts import shown
from wasi_trio.wasi.registry._errors import RegistryError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
#: as a registry of Docker's may still have what was pushed to it
_DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
ACCEPTED = (MANIFEST, INDEX, _DOCKER_MANIFEST, _DOCKER_INDEX)
#: of layers that are a component: by the CNCF's wasm artifact format, and by what was there before
WASM = frozenset({"application/wasm", "application/vnd.wasm.content.layer.v1+wasm"})
#: the platform of a core module, of which there may be one beside the component
_MODULE_SYSTEM = "wasip1"
TAG = "org.opencontainers.image.ref.name"

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
#: of several things, those that a message names
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Stands for content by its digest; ``size`` is in bytes. ``system`` is that of the platform it is for."""

    media_type: str
    digest: str
    size: int
    architecture: str = ""
    system: str = ""
    tag: str = ""


def digest_of(content: bytes | bytearray) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def check_digest(content: bytes | bytearray, digest: str, what: str) -> None:
    """Raises RegistryError where content is not what the digest stands for."""
    found = digest_of(content)
    if found != digest:
        raise RegistryError(f"{what} is not what was asked for: its digest is {found}, and not {digest}")


def wasm_layer(content: bytes, what: str) -> Descriptor | Sequence[Descriptor]:
    """The component of a manifest, or the manifests of an index; raises RegistryError, which calls it ``what``."""
    document = _document(content, what)
    if ("manifests" in document) == ("layers" in document):
        # One that can be read as both would be another to another reader.
        raise RegistryError(f"{what} is both a manifest and an index" if "layers" in document else _no_manifest(what))
    if "manifests" in document:
        return _descriptors(document["manifests"], what)
    layers = _descriptors(document["layers"], what)
    wasm = [layer for layer in layers if layer.media_type in WASM]
    if not wasm:
        types = ", ".join(dict.fromkeys(layer.media_type for layer in layers[:_SHOWN])) or "none at all"
        raise RegistryError(shown(f"{what} has no layer of the type application/wasm; its layers are: {types}"))
    if len(wasm) > 1:
        raise RegistryError(f"{what} has {len(wasm)} layers of the type application/wasm, and a component is one")
    return wasm[0]


def choose(manifests: Sequence[Descriptor], what: str) -> Descriptor:
    """The one manifest of an index that may be a component's; raises RegistryError, which names those there are."""
    fitting = [each for each in manifests if each.media_type in (MANIFEST, _DOCKER_MANIFEST)]
    if len(fitting) > 1:
        fitting = [each for each in fitting if each.architecture in ("", "wasm") and each.system != _MODULE_SYSTEM]
    if len(fitting) > 1 and any(each.architecture for each in fitting):
        fitting = [each for each in fitting if each.architecture]
    if not fitting:
        raise RegistryError(f"{what} is an index without a manifest for wasm")
    if len(fitting) > 1:
        more = ", ..." if len(fitting) > _SHOWN else ""
        digests = ", ".join(each.digest for each in fitting[:_SHOWN])
        raise RegistryError(
            f"{what} is an index of {len(fitting)} manifests; say by its digest which one is meant: {digests}{more}"
        )
    return fitting[0]


def tagged(manifests: Sequence[Descriptor], tag: str, what: str) -> Descriptor:
    """The manifest of a layout's index that has a tag; raises RegistryError."""
    fitting = [each for each in manifests if each.tag == tag]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise RegistryError(f"{what} has {len(fitting)} manifests with the tag {tag}")
    tags = ", ".join(sorted({each.tag for each in manifests if each.tag})[:_SHOWN])
    raise RegistryError(shown(f"{what} has no manifest with the tag {tag}; its tags are: {tags or 'none'}"))


def _no_manifest(what: str) -> str:
    return f"{what} is neither a manifest nor an index of the OCI image specification"


def _document(content: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise RegistryError(_no_manifest(what)) from None
    if not isinstance(document, dict) or document.get("schemaVersion") != 2:
        raise RegistryError(_no_manifest(what))
    return document


def _descriptors(found: Any, what: str) -> list[Descriptor]:
    if not isinstance(found, list):
        raise RegistryError(_no_manifest(what))
    return [_descriptor(each, what) for each in found]


def _descriptor(found: Any, what: str) -> Descriptor:
    if not isinstance(found, dict):
        raise RegistryError(_no_manifest(what))
    media_type, digest, size = found.get("mediaType"), found.get("digest"), found.get("size")
    if not isinstance(media_type, str) or not isinstance(digest, str) or type(size) is not int or size < 0:
        raise RegistryError(_no_manifest(what))
    if _DIGEST.fullmatch(digest) is None:
        raise RegistryError(f"{what} has the digest {shown(repr(digest), 100)}: those of SHA-256 alone are supported")
    platform, annotations = found.get("platform"), found.get("annotations")
    return Descriptor(
        media_type,
        digest,
        size,
        _text(platform, "architecture"),
        _text(platform, "os"),
        _text(annotations, TAG),
    )


def _text(table: Any, key: str) -> str:
    value = table.get(key) if isinstance(table, dict) else None
    return value if isinstance(value, str) else ""
