"""From a reference to the component that it stands for."""

from __future__ import annotations

import threading
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, NamedTuple, Protocol

import trio

from wasi_trio.wasi.registry import _manifests as manifests
from wasi_trio.wasi.registry._errors import RegistryError
from wasi_trio.wasi.registry._kept import Kept
from wasi_trio.wasi.registry._layout import LayoutFolder
from wasi_trio.wasi.registry._limits import LIMITS, Limits
from wasi_trio.wasi.registry._manifests import Descriptor, check_digest, digest_of
from wasi_trio.wasi.registry._references import Layout, Reference, Remote

if TYPE_CHECKING:
    from wasi_trio.wasi.registry._client import Registry


class Fetched(NamedTuple):
    """A component, and the digest with which its reference stands for the same for ever."""

    data: bytes
    digest: str


class _Source(Protocol):
    async def manifest(self, name: str) -> bytes: ...

    async def blob(self, digest: str, size: int) -> bytes: ...


def fetch(reference: Reference, limits: Limits = LIMITS, kept: Kept | None = None) -> Fetched:
    """The component that a reference stands for, all of it compared with its digests; raises RegistryError.

    ``kept`` is where what was fetched is kept, in the user's cache by default. May be called on any thread, whether an
    event loop runs in it or not, and keeps that from turning: for the seconds of ``limits`` at most.
    """
    outcome: list[Fetched | BaseException] = []

    def work() -> None:
        try:
            outcome.append(trio.run(_fetch, reference, limits, kept))
        except BaseException as error:
            outcome.append(error)

    # A thread, as there may be an event loop in this one; one that ends with the process, on Ctrl-C for instance.
    thread = threading.Thread(target=work, name="wasi_trio fetch", daemon=True)
    thread.start()
    thread.join()
    result = outcome[0]
    if isinstance(result, BaseException):
        raise result
    return result


async def _fetch(reference: Reference, limits: Limits, kept: Kept | None) -> Fetched:
    try:
        with trio.fail_after(limits.seconds):
            if isinstance(reference, Layout):
                folder = LayoutFolder(reference.folder, limits.manifest)
                digest = reference.digest or _digest_in(folder, reference)
                return await _Fetching(folder, reference, limits, Kept()).run(digest)
            async with AsyncExitStack() as stack:
                registry = _Remote(reference, limits, stack)
                fetching = _Fetching(registry, reference, limits, Kept.of_user() if kept is None else kept)
                if reference.digest is not None:
                    return await fetching.run(reference.digest)
                assert reference.tag is not None, "a reference has a tag or a digest"
                content = await registry.manifest(reference.tag)
                return await fetching.component(content, digest_of(content))
    except trio.TooSlowError:
        raise RegistryError(f"{reference.place}: it was not fetched within {limits.seconds:g} s") from None


def _digest_in(folder: LayoutFolder, reference: Layout) -> str:
    """The digest of a layout's manifest with a tag, or of its only one."""
    what = f"{reference.place}/index.json"
    found = manifests.wasm_layer(folder.index(), what)
    if isinstance(found, Descriptor):
        raise RegistryError(f"{what} is a manifest, and not an index")
    tag = reference.tag
    return (manifests.choose(found, what) if tag is None else manifests.tagged(found, tag, what)).digest


class _Remote:
    """A registry, to which nothing is sent as long as nothing is asked of it."""

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
                raise RegistryError("a component in a registry needs httpx: pip install 'wasi-trio[oci]'") from None
            from wasi_trio.wasi.registry._client import Registry, new_client

            try:
                client = await self._stack.enter_async_context(new_client(self._limits))
            # Of certificates, or of a proxy that the environment names.
            except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
                raise RegistryError(f"{self._reference.place}: HTTP cannot be set up: {error}") from None
            self._registry = Registry(self._reference, client, self._limits)
        return self._registry


class _Fetching:
    """Fetches what digests stand for, in the end a component."""

    def __init__(self, source: _Source, reference: Reference, limits: Limits, kept: Kept) -> None:
        self._source = source
        self._place = reference.place
        self._limits = limits
        self._kept = kept

    async def run(self, digest: str) -> Fetched:
        """The component of a manifest or index with a digest."""
        return await self.component(await self._manifest(digest), digest)

    async def component(self, content: bytes, digest: str) -> Fetched:
        """The component of a manifest or index."""
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
                f"{self._place}: the component has {found.size} bytes, of {self._limits.component} that it may have"
            )
        return Fetched(await self._layer(found), digest)

    async def _manifest(self, digest: str) -> bytes:
        content = self._kept.load(digest, self._limits.manifest)
        if content is None:
            content = await self._source.manifest(digest)
            check_digest(content, digest, f"{self._place}: the manifest")
            self._kept.add(digest, content)
        return content

    async def _layer(self, layer: Descriptor) -> bytes:
        content = self._kept.load(layer.digest, layer.size)
        if content is None:
            content = await self._source.blob(layer.digest, layer.size)
            check_digest(content, layer.digest, f"{self._place}: the component")
            self._kept.add(layer.digest, content)
        if len(content) != layer.size:
            raise RegistryError(f"{self._place}: the component has {len(content)} bytes, and not {layer.size}")
        return content
