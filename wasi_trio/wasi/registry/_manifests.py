"""Manifests and indexes of the OCI image specification, and the components in them.

They are untrusted until their digests are verified. Even a verified manifest may be malicious, because the digest says
nothing about the content. So this module checks all that it reads.
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
#: the types of older content in Docker registries
_DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
ACCEPTED = (MANIFEST, INDEX, _DOCKER_MANIFEST, _DOCKER_INDEX)
#: layer types of components: the CNCF's wasm artifact format and its predecessor
WASM = frozenset({"application/wasm", "application/vnd.wasm.content.layer.v1+wasm"})
#: the platform of a core module, which may accompany the component
_MODULE_SYSTEM = "wasip1"
TAG = "org.opencontainers.image.ref.name"

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
#: maximum number of items that a message lists
_MAX_LISTED = 8


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to content by its digest.

    ``size`` is in bytes. ``system`` is the operating system of its platform.
    """

    media_type: str
    digest: str
    size: int
    architecture: str = ""
    system: str = ""
    tag: str = ""


def digest_of(content: bytes | bytearray) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def check_digest(content: bytes | bytearray, digest: str, what: str) -> None:
    """Raise RegistryError if the digest of the content differs."""
    found = digest_of(content)
    if found != digest:
        raise RegistryError(f"{what} is corrupt: its digest is {found} instead of {digest}")


def wasm_layer(content: bytes, what: str) -> Descriptor | Sequence[Descriptor]:
    """Return the component of a manifest, or the manifests of an index. Raises RegistryError with ``what``."""
    document = _document(content, what)
    if ("manifests" in document) == ("layers" in document):
        # Other readers might interpret such a document differently.
        raise RegistryError(
            f"{what} is both a manifest and an index" if "layers" in document else _not_a_manifest(what)
        )
    if "manifests" in document:
        return _descriptors(document["manifests"], what)
    layers = _descriptors(document["layers"], what)
    wasm = [layer for layer in layers if layer.media_type in WASM]
    if not wasm:
        types = ", ".join(dict.fromkeys(layer.media_type for layer in layers[:_MAX_LISTED])) or "none at all"
        raise RegistryError(shown(f"{what} has no layer of the type application/wasm; its layers are: {types}"))
    if len(wasm) > 1:
        raise RegistryError(f"{what} has {len(wasm)} layers of the type application/wasm; one is required")
    return wasm[0]


def choose(manifests: Sequence[Descriptor], what: str) -> Descriptor:
    """Return the only manifest of an index that can be a component's. Raises RegistryError with the candidates."""
    fitting = [each for each in manifests if each.media_type in (MANIFEST, _DOCKER_MANIFEST)]
    if len(fitting) > 1:
        fitting = [each for each in fitting if each.architecture in ("", "wasm") and each.system != _MODULE_SYSTEM]
    if len(fitting) > 1 and any(each.architecture for each in fitting):
        fitting = [each for each in fitting if each.architecture]
    if not fitting:
        raise RegistryError(f"{what} is an index without a manifest for wasm")
    if len(fitting) > 1:
        more = ", ..." if len(fitting) > _MAX_LISTED else ""
        digests = ", ".join(each.digest for each in fitting[:_MAX_LISTED])
        raise RegistryError(
            f"{what} is an index of {len(fitting)} manifests; select one by its digest: {digests}{more}"
        )
    return fitting[0]


def find_tagged(manifests: Sequence[Descriptor], tag: str, what: str) -> Descriptor:
    """Return the manifest of a layout's index with a tag. Raises RegistryError."""
    fitting = [each for each in manifests if each.tag == tag]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise RegistryError(f"{what} has {len(fitting)} manifests with the tag {tag}")
    tags = ", ".join(sorted({each.tag for each in manifests if each.tag})[:_MAX_LISTED])
    raise RegistryError(shown(f"{what} has no manifest with the tag {tag}; its tags are: {tags or 'none'}"))


def _not_a_manifest(what: str) -> str:
    return f"{what} is neither a manifest nor an index of the OCI image specification"


def _document(content: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise RegistryError(_not_a_manifest(what)) from None
    if not isinstance(document, dict) or document.get("schemaVersion") != 2:
        raise RegistryError(_not_a_manifest(what))
    return document


def _descriptors(found: Any, what: str) -> list[Descriptor]:
    if not isinstance(found, list):
        raise RegistryError(_not_a_manifest(what))
    return [_descriptor(each, what) for each in found]


def _descriptor(found: Any, what: str) -> Descriptor:
    if not isinstance(found, dict):
        raise RegistryError(_not_a_manifest(what))
    media_type, digest, size = found.get("mediaType"), found.get("digest"), found.get("size")
    if not isinstance(media_type, str) or not isinstance(digest, str) or type(size) is not int or size < 0:
        raise RegistryError(_not_a_manifest(what))
    if _DIGEST.fullmatch(digest) is None:
        raise RegistryError(f"{what} has the digest {shown(repr(digest), 100)}; only SHA-256 is supported")
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
