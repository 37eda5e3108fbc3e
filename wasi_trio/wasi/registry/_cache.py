"""The user's cache of fetched content, by digest. Each read verifies the digest."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from wasi_trio._texts import get_logger
from wasi_trio.runtime._code_cache import CacheError, own_cache_folder
from wasi_trio.wasi.registry._manifests import digest_of

logger = get_logger("wasi_trio")

#: maximum bytes of the cache; the least recently used content is removed
LIMIT = 2 << 30
#: the prefix of incomplete files
_TEMPORARY_PREFIX = "."


class Cache:
    """Manifests and components in a directory. Without a usable directory, the cache stays empty."""

    def __init__(self, folder: Path | None = None, limit: int = LIMIT) -> None:
        self._folder = folder
        self._limit = limit

    @classmethod
    def of_user(cls) -> Cache:
        try:
            return cls(own_cache_folder() / "oci")
        except CacheError:
            return cls()

    def load(self, digest: str, most: int) -> bytes | None:
        """Return the content of a digest, at most ``most`` bytes, or None. Content with another digest is removed."""
        if self._folder is None:
            return None
        path = self._path(digest)
        try:
            with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode) or status.st_size > most:
                    return None
                content = file.read(most + 1)
            if digest_of(content) == digest:
                with contextlib.suppress(OSError):  # the cache may be readable but belong to another user
                    os.utime(path)
                return content
            path.unlink()
            logger.warning("%s was modified in the cache; it will be fetched again", path)
        except OSError:
            return None
        return None

    def add(self, digest: str, content: bytes) -> None:
        """Keep the content of a digest. Do nothing if the directory is unusable."""
        if self._folder is None:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, made = tempfile.mkstemp(dir=self._folder, prefix=_TEMPORARY_PREFIX)
            try:
                with open(descriptor, "wb") as file:
                    file.write(content)
                os.replace(made, self._path(digest))
            except BaseException:
                os.unlink(made)
                raise
            self._trim()
        except OSError as error:
            logger.info("Fetched content is not cached in %s: %s", self._folder, error.strerror)

    def _path(self, digest: str) -> Path:
        assert self._folder is not None
        return self._folder / digest.replace(":", "-")

    def _trim(self) -> None:
        assert self._folder is not None
        found: list[tuple[float, int, Path]] = []
        for path in self._folder.iterdir():
            with contextlib.suppress(OSError):  # another process may remove it
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found)[:-1]:
            if total <= self._limit:
                return
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size
