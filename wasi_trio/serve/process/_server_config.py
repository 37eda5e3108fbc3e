"""The configuration of a server: its settings, their sources, and their reloading."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from wasi_trio.serve._config_file import ConfigFile, gather, read_config_file
from wasi_trio.serve._configuration import ProtocolOptions
from wasi_trio.serve.routing._versions import RouteVersion, read_versions
from wasi_trio.serve.settings._setting import CONFIGURATION, Setting
from wasi_trio.serve.settings._settings import Settings
from wasi_trio.serve.settings._table import SETTINGS


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The settings of a server and their sources. They can be pickled, for the workers.

    ``given`` are the settings from the command line, and ``path`` is the configuration file.
    """

    settings: Settings
    file: ConfigFile | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    path: str | None = None

    def read(self, known: Iterable[RouteVersion] = ()) -> tuple[RouteVersion, ...]:
        """Read all routes from their files. Raise LoadError or SettingError."""
        return read_versions(self.settings, known)

    def protocol_options(self) -> ProtocolOptions:
        """Return the options for listening and for clients. Raise SettingError."""
        return ProtocolOptions(self.file, self.settings)

    def reloaded(self, environment: Mapping[str, str]) -> tuple[ServerConfig, list[str]]:
        """Read the file again. Return the new configuration, and the names of changes that need a restart.

        The new configuration keeps the old values of those. Raise SettingError.
        """
        new = read_server_config(self.given, environment, self.path)
        stays = [setting.name for setting in SETTINGS if _is_fixed(setting)]
        refused = [name for name in stays if new.settings[name] != self.settings[name]]
        file = new.file
        if file is not None and self.file is not None:
            keys = {**file.server, **self.file.server}
            refused += [key for key in keys if file.server.get(key) != self.file.server.get(key)]
            file = file._replace(server=self.file.server)
        return replace(new, settings=new.settings.with_values_of(self.settings, stays), file=file), refused


def _is_fixed(setting: Setting) -> bool:
    return setting.name not in ("component", "route") and (not setting.for_routes or setting.name == "drain-timeout")


def read_server_config(
    given: Mapping[str, Any], environment: Mapping[str, str], config_file: str | None
) -> ServerConfig:
    """Combine the settings of all sources. Raise SettingError."""
    path = config_file if config_file is not None else environment.get(CONFIGURATION) or None
    file = None if path is None else read_config_file(path)
    return ServerConfig(gather(given, environment, file), file, given, path)
