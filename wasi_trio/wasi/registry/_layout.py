"""Directories in the layout of the OCI image specification (image-layout.md)."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from wasi_trio.wasi.registry._errors import RegistryError


class LayoutFolder:
    """A reader of such a directory. The constructor raises RegistryError if it is not one."""

    def __init__(self, folder: str, most_manifest: int) -> None:
        self._folder = Path(folder)
        self._max_manifest = most_manifest
        marker = self._read(self._folder / "oci-layout", most_manifest)
        try:
            version = json.loads(marker)["imageLayoutVersion"]
        except (ValueError, TypeError, KeyError, RecursionError):
            version = None
        if not isinstance(version, str) or not version.startswith("1."):
            raise RegistryError(f"{folder} is not an OCI image layout of version 1, according to its file oci-layout")

    def index(self) -> bytes:
        return self._read(self._folder / "index.json", self._max_manifest)

    async def manifest(self, digest: str) -> bytes:
        return self._read(self._blob(digest), self._max_manifest)

    async def blob(self, digest: str, size: int) -> bytes:
        return self._read(self._blob(digest), size)

    def _blob(self, digest: str) -> Path:
        algorithm, _, digits = digest.partition(":")
        return self._folder / "blobs" / algorithm / digits

    @staticmethod
    def _read(path: Path, most: int) -> bytes:
        try:
            # O_NONBLOCK, because the path may be a FIFO.
            with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise RegistryError(f"{path} is not a regular file")
                content = file.read(most + 1)
        except (OSError, ValueError) as error:
            raise RegistryError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
        if len(content) > most:
            raise RegistryError(f"{path} has more than {most} bytes")
        return content
