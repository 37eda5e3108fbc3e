"""Fetches the component of a reference."""

from __future__ import annotations

import threading
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, NamedTuple, Protocol

import trio

from wasi_trio.wasi.registry import _manifests as manifests
from wasi_trio.wasi.registry._cache import Cache
from wasi_trio.wasi.registry._errors import RegistryError
from wasi_trio.wasi.registry._layout import LayoutFolder
from wasi_trio.wasi.registry._limits import LIMITS, Limits
from wasi_trio.wasi.registry._manifests import Descriptor, check_digest, digest_of
from wasi_trio.wasi.registry._references import Layout, Reference, Remote

if TYPE_CHECKING:
    from wasi_trio.wasi.registry._client import Registry


class Fetched(NamedTuple):
    """A component, and the digest that pins its reference."""

    data: bytes
    digest: str


class _Source(Protocol):
    async def manifest(self, name: str) -> bytes: ...

    async def blob(self, digest: str, size: int) -> bytes: ...


def fetch(reference: Reference, limits: Limits = LIMITS, cache: Cache | None = None) -> Fetched:
    """Return the component of a reference, verified against its digests. Raises RegistryError.

    ``cache`` is the cache of fetched content, by default that of the user. Callable from any thread, with or without an
    event loop. It blocks the thread for at most the seconds of ``limits``.
    """
    outcome: list[Fetched | BaseException] = []

    def work() -> None:
        try:
            outcome.append(trio.run(_fetch, reference, limits, cache))
        except BaseException as error:
            outcome.append(error)

    # A new thread, because this one may run an event loop. A daemon, so that Ctrl-C ends it with the process.
    thread = threading.Thread(target=work, name="wasi_trio fetch", daemon=True)
    thread.start()
    thread.join()
    result = outcome[0]
    if isinstance(result, BaseException):
        raise result
    return result


async def _fetch(reference: Reference, limits: Limits, cache: Cache | None) -> Fetched:
    try:
        with trio.fail_after(limits.seconds):
            if isinstance(reference, Layout):
                folder = LayoutFolder(reference.folder, limits.manifest)
                digest = reference.digest or _digest_in(folder, reference)
                return await _Fetching(folder, reference, limits, Cache()).run(digest)
            async with AsyncExitStack() as stack:
                registry = _Remote(reference, limits, stack)
                fetching = _Fetching(registry, reference, limits, Cache.of_user() if cache is None else cache)
                if reference.digest is not None:
                    return await fetching.run(reference.digest)
                assert reference.tag is not None, "a reference has a tag or a digest"
                content = await registry.manifest(reference.tag)
                return await fetching.component(content, digest_of(content))
    except trio.TooSlowError:
        raise RegistryError(f"{reference.place}: the fetch took longer than {limits.seconds:g} s") from None


def _digest_in(folder: LayoutFolder, reference: Layout) -> str:
    """Return the digest of a layout's manifest with a tag, or of its only manifest."""
    what = f"{reference.place}/index.json"
    found = manifests.wasm_layer(folder.index(), what)
    if isinstance(found, Descriptor):
        raise RegistryError(f"{what} is a manifest instead of an index")
    tag = reference.tag
    return (manifests.choose(found, what) if tag is None else manifests.find_tagged(found, tag, what)).digest


class _Remote:
    """A registry whose client is created at the first request."""

    def __init__(self, reference: Remote, limits: Limits, stack: AsyncExitStack) -> None:
        self._reference = reference
        self._limits = limits
        self._stack = stack
        self._registry: Registry | None = None

    async def manifest(self, name: str) -> bytes:
        return await (await self._opened()).manifest(name)

    async def blob(self, digest: str, size: int) -> bytes:
        return await (await self._opened()).blob(digest, size)

    async def _opened(self) -> Registry:
        if self._registry is None:
            try:
                import httpx
            except ImportError:
                raise RegistryError("a component in a registry requires httpx: pip install 'wasi-trio[oci]'") from None
            from wasi_trio.wasi.registry._client import Registry, new_client

            try:
                client = await self._stack.enter_async_context(new_client(self._limits))
            # Errors of certificates, or of a proxy in the environment.
            except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
                raise RegistryError(f"{self._reference.place}: cannot set up HTTP: {error}") from None
            self._registry = Registry(self._reference, client, self._limits)
        return self._registry


class _Fetching:
    """Resolves digests to a component."""

    def __init__(self, source: _Source, reference: Reference, limits: Limits, cache: Cache) -> None:
        self._source = source
        self._place = reference.place
        self._limits = limits
        self._cache = cache

    async def run(self, digest: str) -> Fetched:
        """Return the component of a manifest or index with a digest."""
        return await self.component(await self._manifest(digest), digest)

    async def component(self, content: bytes, digest: str) -> Fetched:
        """Return the component of a manifest or index."""
        what = f"{self._place}: the manifest {digest}"
        found = manifests.wasm_layer(content, what)
        if not isinstance(found, Descriptor):
            chosen = manifests.choose(found, what).digest
            what = f"{self._place}: the manifest {chosen}"
            found = manifests.wasm_layer(await self._manifest(chosen), what)
            if not isinstance(found, Descriptor):
                raise RegistryError(f"{what} is an index within an index")
        if found.size > self._limits.component:
            raise RegistryError(
                f"{self._place}: the component has {found.size} bytes, more than the limit of {self._limits.component}"
            )
        return Fetched(await self._layer(found), digest)

    async def _manifest(self, digest: str) -> bytes:
        content = self._cache.load(digest, self._limits.manifest)
        if content is None:
            content = await self._source.manifest(digest)
            check_digest(content, digest, f"{self._place}: the manifest")
            self._cache.add(digest, content)
        return content

    async def _layer(self, layer: Descriptor) -> bytes:
        content = self._cache.load(layer.digest, layer.size)
        if content is None:
            content = await self._source.blob(layer.digest, layer.size)
            check_digest(content, layer.digest, f"{self._place}: the component")
            self._cache.add(layer.digest, content)
        if len(content) != layer.size:
            raise RegistryError(f"{self._place}: the component has {len(content)} bytes instead of {layer.size}")
        return content
