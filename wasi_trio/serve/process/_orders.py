"""What a server is to do, and what has become of that since it was started."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from wasi_trio.serve._config_file import VARIABLE, ConfigFile, gather, read_config_file
from wasi_trio.serve._configuration import ProtocolOptions
from wasi_trio.serve.routing._versions import RouteVersion, read_versions
from wasi_trio.serve.settings._setting import Setting
from wasi_trio.serve.settings._settings import Settings
from wasi_trio.serve.settings._table import SETTINGS


@dataclass(frozen=True, slots=True)
class Orders:
    """What a server is to do; can be pickled, for the processes that are to do it.

    ``given`` is what its command line said, and ``path`` the configuration file.
    """

    settings: Settings
    file: ConfigFile | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    path: str | None = None

    def read(self, known: Iterable[RouteVersion] = ()) -> tuple[RouteVersion, ...]:
        """All routes as their files are now; raises LoadError, SettingError."""
        return read_versions(self.settings, known)

    def protocol_options(self) -> ProtocolOptions:
        """Raises SettingError."""
        return ProtocolOptions(self.file, self.settings)

    def revised(self, environment: Mapping[str, str]) -> tuple[Orders, list[str]]:
        """The orders as the configuration file says now, and what it says that a server that runs cannot change.

        Those stay as they were. Raises SettingError.
        """
        new = understand(self.given, environment, self.path)
        stays = [setting.name for setting in SETTINGS if _is_fixed(setting)]
        refused = [name for name in stays if new.settings[name] != self.settings[name]]
        file = new.file
        if file is not None and self.file is not None:
            keys = {**file.server, **self.file.server}
            refused += [key for key in keys if file.server.get(key) != self.file.server.get(key)]
            file = replace(file, server=self.file.server)
        return replace(new, settings=new.settings.with_values_of(self.settings, stays), file=file), refused


def _is_fixed(setting: Setting) -> bool:
    return setting.name not in ("component", "route") and (not setting.for_routes or setting.name == "drain-timeout")


def understand(given: Mapping[str, Any], environment: Mapping[str, str], config_file: str | None) -> Orders:
    """All that says what to do, brought together; raises SettingError."""
    path = config_file or environment.get(VARIABLE)
    file = read_config_file(path) if path else None
    return Orders(gather(given, environment, file), file, given, path)
