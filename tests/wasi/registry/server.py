"""A registry in the test's own process: the reading part of the OCI distribution API, over HTTP.

It can require tokens, and a test can replace the response of any path.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.wasm.config.v0+json"
WASM = "application/wasm"
USER, PASSWORD, TOKEN = "ada", "correct:horse", "t0ken"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

#: answers a request instead of the registry
Answer = Callable[["Handler"], object]


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def descriptor(data: bytes, media_type: str = WASM, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **more}


def manifest_of(layers: Sequence[dict[str, Any]], **more: Any) -> bytes:
    """Return a manifest in the form of ``wkg oci push``."""
    config = descriptor(b"{}", CONFIG)
    return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers, **more}).encode()


def index_of(manifests: Sequence[dict[str, Any]]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(manifests)}).encode()


class Asked(NamedTuple):
    path: str
    authorization: str | None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: Registry

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        registry = self.registry
        registry.asked.append(Asked(self.path, self.headers["authorization"]))
        # A proxy receives the complete URL.
        path, _, query = re.sub(r"^http://[^/]+", "", self.path).partition("?")
        if path in registry.answers:
            registry.answers[path](self)
        elif path == "/token":
            registry.queries.append(query)
            if registry.credentials and self.headers["authorization"] != BASIC:
                self.answer(401, b"")
            else:
                self.answer(200, json.dumps({"token": TOKEN}).encode())
        elif registry.challenge is not None and self.headers["authorization"] not in registry.accepted:
            self.answer(401, b'{"errors": []}', ("www-authenticate", registry.challenge))
        elif path in registry.content:
            self.answer(200, registry.content[path])
        else:
            self.answer(404, b'{"errors": []}')

    def answer(self, status: int, body: bytes, *fields: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("content-length", str(len(body))), *fields):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Registry:
    """The registry's content, its requirements, and a record of its requests."""

    def __init__(self, port: int, scheme: str) -> None:
        self.port = port
        self.host = f"127.0.0.1:{port}"
        self.url = f"{scheme}://{self.host}"
        self.content: dict[str, bytes] = {}
        self.answers: dict[str, Answer] = {}
        self.asked: list[Asked] = []
        self.queries: list[str] = []
        self.challenge: str | None = None
        self.accepted = (f"Bearer {TOKEN}",)
        #: whether tokens require credentials
        self.credentials = False

    def push_blob(self, data: bytes, name: str = "app") -> str:
        self.content[f"/v2/{name}/blobs/{digest_of(data)}"] = data
        return digest_of(data)

    def push_manifest(self, manifest: bytes, name: str = "app", tag: str | None = "1") -> str:
        digest = digest_of(manifest)
        for each in (digest, tag):
            if each is not None:
                self.content[f"/v2/{name}/manifests/{each}"] = manifest
        return digest

    def push(self, component: bytes, name: str = "app", tag: str | None = "1") -> str:
        """Push a component, and return the digest of its manifest."""
        self.push_blob(component, name)
        return self.push_manifest(manifest_of([descriptor(component)]), name, tag)

    def ask_for_tokens(self, credentials: bool = True) -> None:
        self.credentials = credentials
        self.challenge = f'Bearer realm="{self.url}/token",service="registry, of a test",scope="repository:app:pull"'

    @property
    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Registry]:
    """Run a registry on a free port of 127.0.0.1."""
    handler = type("Bound", (Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    registry = handler.registry = Registry(server.server_address[1], "https" if tls else "http")
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def lay_out(folder: Path, components: dict[str, bytes]) -> dict[str, str]:
    """Create an image layout of components by tag, and return the digests of their manifests."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    entries = []
    digests = {}
    for tag, component in components.items():
        manifest = manifest_of([descriptor(component)])
        for blob in (component, manifest, b"{}"):
            (blobs / digest_of(blob).partition(":")[2]).write_bytes(blob)
        entries.append(descriptor(manifest, MANIFEST, annotations={"org.opencontainers.image.ref.name": tag}))
        digests[tag] = digest_of(manifest)
    (folder / "index.json").write_bytes(index_of(entries))
    return digests
