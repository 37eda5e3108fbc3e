"""Reloading of the configuration file and of components in a running server.

SIGHUP, or a change of the configuration file, reloads everything or, if anything fails, nothing. A change of a
component's file reloads each of its routes separately.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TypeAlias

import trio

from wasi_trio._texts import get_logger
from wasi_trio.serve._config_file import read_config_file
from wasi_trio.serve._loading import LoadError
from wasi_trio.serve.process._server_config import ServerConfig
from wasi_trio.serve.process._watching import watch
from wasi_trio.serve.routing._versions import Contents, RouteVersion, log_pins, version_of
from wasi_trio.serve.settings._setting import SettingError

logger = get_logger("wasi_trio.serve")

#: Makes the server use other versions of routes. Raises LoadError or SettingError with nothing changed.
Adopt: TypeAlias = Callable[[ServerConfig, Sequence[RouteVersion]], Awaitable[None]]


class Reloading:
    """Reloads changed files, one reload at a time.

    ``request_all`` requests a reload of everything. It may be called before ``run``, which reports each result to
    ``count``.
    """

    def __init__(self) -> None:
        self._all = False
        self._paths: set[str] = set()
        self._wanted = trio.Event()

    def request_all(self) -> None:
        """Request a reload of the configuration file and of all other files."""
        self._all = True
        self._wanted.set()

    def _changed(self, paths: set[str]) -> None:
        self._paths |= paths
        self._wanted.set()

    async def run(
        self, config: ServerConfig, versions: Sequence[RouteVersion], adopt: Adopt, count: Callable[[bool], None]
    ) -> None:
        """Have ``adopt`` apply all changes since ``versions`` were read, until cancelled."""
        job = _Job(config, versions, adopt, count)
        async with trio.open_nursery() as nursery:
            if config.settings["watch"]:
                nursery.start_soon(watch, job.watched, self._changed)
            while True:
                await self._wanted.wait()
                self._wanted = trio.Event()
                everything, self._all = self._all, False
                paths, self._paths = self._paths, set()
                if everything or (job.config.path in paths and job.config_changed()):
                    await job.reload_all()
                else:
                    await job.reload_changed()


class _Job:
    def __init__(
        self, config: ServerConfig, versions: Sequence[RouteVersion], adopt: Adopt, count: Callable[[bool], None]
    ) -> None:
        self.config = config
        self.versions = list(versions)
        self._file = config.file
        self._adopt = adopt
        self._count = count
        #: The refused versions by route. They are not tried again until they change.
        self._refused: dict[str, RouteVersion | None] = {}

    def watched(self) -> Collection[str]:
        """Return the files and folders whose changes cause a reload."""
        paths = {path for version in self.versions for path in version.files}
        return paths if self.config.path is None else paths | {self.config.path}

    def config_changed(self) -> bool:
        """Read the configuration file. Return whether its content has changed, or cannot be read."""
        if self.config.path is None:
            return False
        before = self._file
        try:
            self._file = read_config_file(self.config.path)
        except SettingError:
            return True
        return self._file != before

    async def reload_all(self) -> None:
        """Reload the configuration and all files as a whole."""
        try:
            config, fixed = self.config.reloaded(os.environ)
            # A registry may be slow, and shutdown does not wait for it.
            versions = await trio.to_thread.run_sync(config.read, self.versions, abandon_on_cancel=True)
            if fixed:
                logger.warning("These settings change only after a restart: %s", ", ".join(fixed))
            changed = _names(versions) ^ _names(self.versions)
            changed |= {new.declaration.name for new in versions if new not in self.versions}
            if changed:
                await self._adopt(config, versions)
        except (LoadError, SettingError) as error:
            self._failed(error)
            return
        self.config, self.versions = config, list(versions)
        self._refused.clear()
        self._took_over(changed)
        log_pins(version for version in versions if version.declaration.name in changed)

    async def reload_changed(self) -> None:
        """Reload the routes whose files have changed, each separately. Do not query registries."""
        contents = Contents(self.versions, again=False)
        changed: list[RouteVersion] = []
        for old in self.versions:
            try:
                new = await trio.to_thread.run_sync(version_of, old.declaration, self.config.settings, contents)
            except LoadError as error:
                if self._refused.get(old.declaration.name, old) is not None:
                    self._refused[old.declaration.name] = None
                    self._failed(error)
                continue
            if new == old:
                self._refused.pop(old.declaration.name, None)
            elif new != self._refused.get(old.declaration.name):
                changed.append(new)
        if len(changed) > 1 and await self._replace(changed, say=False):
            return
        for version in changed:
            await self._replace([version])

    async def _replace(self, changed: Sequence[RouteVersion], say: bool = True) -> bool:
        """Serve new versions of routes. Return whether that succeeded."""
        by_name = {version.declaration.name: version for version in changed}
        versions = [by_name.get(old.declaration.name, old) for old in self.versions]
        try:
            await self._adopt(self.config, versions)
        except (LoadError, SettingError) as error:
            if say:
                self._refused.update(by_name)
                self._failed(error)
            return False
        self.versions = versions
        for name in by_name:
            self._refused.pop(name, None)
        self._took_over(by_name.keys())
        return True

    def _failed(self, error: Exception) -> None:
        self._count(False)
        logger.error("Reload failed, and the old version stays in service: %s", error)

    def _took_over(self, names: Collection[str]) -> None:
        self._count(True)
        if not names:
            logger.warning("Reloaded: nothing has changed")
        else:
            some = sorted(names)
            more = f" and {len(some) - 8} more" if len(some) > 8 else ""
            logger.warning("Reloaded: new requests go to the new version of %s%s", ", ".join(some[:8]), more)


def _names(versions: Collection[RouteVersion]) -> set[str]:
    return {version.declaration.name for version in versions}
