"""The values of all settings, and the options derived from them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from wasi_trio._texts import get_logger
from wasi_trio.component._features import chosen
from wasi_trio.serve.settings._setting import SettingError
from wasi_trio.serve.settings._table import BY_NAME, SETTINGS
from wasi_trio.wasi._outbound import Outbound
from wasi_trio.wasi._state_arguments import StateArguments

if TYPE_CHECKING:
    from wasi_trio.serve.pool._metrics import Metrics
    from wasi_trio.serve.pool._options import HandlerOptions
    from wasi_trio.serve.routing._declarations import RouteDeclaration
    from wasi_trio.wasi._loading import EngineOptions
    from wasi_trio.wasi._state import State
    from wasi_trio.wasi._stdio import StdoutSink


def _output(descriptor: int) -> StdoutSink:
    """Return the sink for guests' output to a descriptor. A terminal never receives their control characters."""
    from wasi_trio.wasi._process_stdio import ProcessOutput
    from wasi_trio.wasi._stdio import TerminalSink

    output = ProcessOutput(descriptor, get_logger("wasi_trio.serve"))
    return TerminalSink(output) if output.is_terminal else output


class Settings:
    """The values of settings by name. An unset setting has its default."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __getitem__(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        setting = BY_NAME[name]
        if setting.repeatable:
            return ()
        return None if setting.default is None else setting.parse(setting.default)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The header fields that the server adds to every request."""
        return [header for part in self["headers"] for header in part]

    @functools.cached_property
    def state(self) -> State:
        """The guests' variables and buckets, the same object at each access. Raises SettingError."""
        arguments = StateArguments(
            [switch for switches in self["wasi"] for switch in switches],
            self["config-var"],
            self["keyvalue"],
            self["keyvalue-timeout"],
            self["keyvalue-max-value"],
            self["keyvalue-memory"],
            self["request-timeout"],
        )
        try:
            return arguments.state()
        except ValueError as error:
            raise SettingError(str(error)) from None

    def check_processes(self, processes: int) -> None:
        """Raise SettingError if several processes would each keep their own copy of a bucket."""
        for name, store in (self.state.keyvalue or {}).items():
            if processes > 1 and store.per_process:
                raise SettingError(
                    f"the bucket {name} is kept in the memory of each process, so each of the {processes} workers "
                    "would have its own: use sqlite:FILE or redis://HOST, or one worker"
                )

    @property
    def routes(self) -> tuple[RouteDeclaration, ...]:
        """The routes. Without any, the components answer all requests as one route. Raises SettingError."""
        from wasi_trio.serve.routing._declarations import all_routes

        try:
            return all_routes(self["route"], self["component"])
        except ValueError as error:
            raise SettingError(str(error)) from None

    @property
    def has_routes(self) -> bool:
        """Whether any route is declared."""
        return bool(self["route"])

    def with_values_of(self, others: Settings, names: Iterable[str]) -> Settings:
        """Return a copy that takes the settings in ``names`` from ``others``."""
        values = dict(self._values)
        for name in names:
            values.pop(name, None)
            if name in others:
                values[name] = others[name]
        return Settings(values)

    def for_route(self, route: RouteDeclaration) -> Settings:
        """Return a copy with the overrides of a route."""
        return Settings({**self._values, **route.settings})

    def _total_memory(self) -> int | None:
        """Return the maximum memory of all instances of one process, in bytes."""
        from wasi_trio.serve import _memory as memory

        total = self["max-total-memory"] if "max-total-memory" in self else memory.SHARE * memory.available()
        return None if total is None else int(total / self["workers"])

    def engine_options(self) -> EngineOptions:
        """Return the enabled features, the limits of compilation and the kind of profile."""
        from wasi_trio.runtime._compile_limits import CompileLimits
        from wasi_trio.wasi._loading import EngineOptions

        limits = CompileLimits(self["compile-timeout"], self["compile-memory"])
        return EngineOptions(
            chosen(switch for switches in self["wasm"] for switch in switches), limits, self["profile"]
        )

    def handler_options(self, metrics: Metrics | None = None) -> HandlerOptions:
        """Return the request handler's options. Guests print to the output of the process."""
        # These imports load the runtime, which `--help` does not need.
        from wasi_trio.runtime._engine import Limits
        from wasi_trio.serve.pool._options import HandlerOptions
        from wasi_trio.wasi._context import WasiOptions
        from wasi_trio.wasi.filesystem._preopens import open_directories
        from wasi_trio.wasi.http._connections import KeepAlive
        from wasi_trio.wasi.http._context import HttpOptions
        from wasi_trio.wasi.sockets._context import NetworkOptions

        outputs = {"stdout": _output(1), "stderr": _output(2)}
        fields: dict[str, dict[str, Any]] = {
            "": {"metrics": metrics},
            "limits": {},
            "wasi": outputs,
            "wasi.network": {},
            "wasi.http.keep_alive": {},
        }
        for setting in SETTINGS:
            if setting.field is not None:
                part, _, field = setting.field.rpartition(".")
                value = self[setting.name]
                # An environment variable to pass on is None if the server has none of that name.
                fields[part][field] = tuple(filter(None, value)) if setting.repeatable else value
        fields[""]["total_memory"] = self._total_memory()
        fields["wasi"]["preopens"] = open_directories(self["dirs"])
        fields["wasi"]["state"] = self.state
        network = fields["wasi.network"]
        network["outbound"] = Outbound(network["outbound"]) if network["outbound"] else None
        http = HttpOptions(keep_alive=KeepAlive(**fields["wasi.http.keep_alive"]))
        wasi = WasiOptions(network=NetworkOptions(**network), http=http, **fields["wasi"])
        return HandlerOptions(limits=Limits(**fields["limits"]), wasi=wasi, **fields[""])
