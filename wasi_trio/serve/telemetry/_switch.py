"""The configuration of OpenTelemetry in the environment. This module does not import OpenTelemetry.

The variables are those of OpenTelemetry's specification. By the specification an installed SDK exports to the local
host by default. Here nothing is exported unless a variable names a destination or an exporter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, NamedTuple

from wasi_trio.serve.settings._setting import SettingError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

#: The entry points of OTLP exporters, by ``OTEL_EXPORTER_OTLP_PROTOCOL``.
_OTLP: Final = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_SAMPLERS: Final = ("always_on", "always_off", "traceidratio")
#: The SDK's variables with whole numbers of at least 1.
_NUMBERS: Final = (
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_METRIC_EXPORT_TIMEOUT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
)


class Batches(NamedTuple):
    """The batches of spans. At most ``queue`` spans wait, each at most ``delay`` seconds. A batch holds ``size``."""

    queue: int = 2048
    size: int = 512
    delay: float = 5.0


#: The batches by default.
_BATCHES = Batches()


@dataclass(frozen=True, slots=True)
class Wanted:
    """The requested exporters and propagators, as entry points."""

    traces: tuple[EntryPoint, ...] = ()
    metrics: tuple[EntryPoint, ...] = ()
    propagators: tuple[EntryPoint, ...] = ()
    #: Whether baggage is copied unchanged. No propagator parses it.
    baggage: bool = False
    batches: Batches = _BATCHES
    #: The interval of metric exports, and the timeout of one, in seconds.
    interval: float = 60.0
    timeout: float = 30.0

    def __bool__(self) -> bool:
        return bool(self.traces or self.metrics)


def wanted(environment: Mapping[str, str]) -> Wanted:
    """Return the exporters that the environment requests. Raise SettingError, also if they are not installed."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Wanted()
    traces = _exporters(environment, "TRACES")
    metrics = _exporters(environment, "METRICS")
    if not traces and not metrics:
        return Wanted()
    asks = _switch_of(environment, "TRACES") or _switch_of(environment, "METRICS")
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
        raise SettingError(
            f"{asks} requires OpenTelemetry, which is not installed: pip install 'wasi-trio[otel]', or set "
            "OTEL_SDK_DISABLED=true"
        )
    _check(environment)
    names = _names(environment.get("OTEL_PROPAGATORS") or "tracecontext,baggage")
    return Wanted(
        traces=tuple(_entry_point("opentelemetry_traces_exporter", name, asks) for name in traces),
        metrics=tuple(_entry_point("opentelemetry_metrics_exporter", name, asks) for name in metrics),
        propagators=tuple(
            _entry_point("opentelemetry_propagator", name, "OTEL_PROPAGATORS")
            for name in names
            if name not in ("baggage", "none")
        ),
        baggage="baggage" in names,
        batches=_batches(environment),
        interval=int(environment.get("OTEL_METRIC_EXPORT_INTERVAL") or 60_000) / 1000,
        timeout=int(environment.get("OTEL_METRIC_EXPORT_TIMEOUT") or 30_000) / 1000,
    )


def _batches(environment: Mapping[str, str]) -> Batches:
    queue = int(environment.get("OTEL_BSP_MAX_QUEUE_SIZE") or _BATCHES.queue)
    size = int(environment.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE") or min(_BATCHES.size, queue))
    if size > queue:
        raise SettingError(f"OTEL_BSP_MAX_EXPORT_BATCH_SIZE: {size} exceeds OTEL_BSP_MAX_QUEUE_SIZE, which is {queue}")
    return Batches(queue, size, int(environment.get("OTEL_BSP_SCHEDULE_DELAY") or 5000) / 1000)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _switch_of(environment: Mapping[str, str], signal: str) -> str | None:
    """Return the variable that enables the export of a signal."""
    exporter = f"OTEL_{signal}_EXPORTER"
    variables = (exporter, "OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return next((variable for variable in variables if environment.get(variable)), None)


def _exporters(environment: Mapping[str, str], signal: str) -> list[str]:
    """Return the entry points' names of a signal's exporters."""
    if _switch_of(environment, signal) is None:
        return []
    names = _names(environment.get(f"OTEL_{signal}_EXPORTER") or "otlp")
    if names == ["none"]:
        return []
    if "otlp" not in names:
        return names
    variable = f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL"
    if not environment.get(variable):
        variable = "OTEL_EXPORTER_OTLP_PROTOCOL"
    protocol = environment.get(variable) or "http/protobuf"
    if protocol not in _OTLP:
        raise SettingError(f"{variable}: {protocol!r} is not one of {', '.join(_OTLP)}")
    return [_OTLP[protocol] if name == "otlp" else name for name in names]


def _entry_point(group: str, name: str, variable: str | None) -> EntryPoint:
    from importlib.metadata import entry_points  # slow, and only needed here

    found = next(iter(entry_points(group=group, name=name)), None)
    if found is None:
        installed = sorted({point.name for point in entry_points(group=group)})
        raise SettingError(f"{variable}: {name!r} is not installed; available: {', '.join(installed) or 'none'}")
    return found


def _check(environment: Mapping[str, str]) -> None:
    """Refuse values that the SDK would ignore with a warning or a traceback, because they are probably mistakes."""
    for variable in _NUMBERS:
        text = environment.get(variable)
        if text and not (text.strip().isdecimal() and int(text) > 0):
            raise SettingError(f"{variable}: {text!r} is not a whole number of at least 1")
    for variable, schemes in (
        ("OTEL_EXPORTER_OTLP_ENDPOINT", ("http://", "https://")),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ("http://", "https://")),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", ("http://", "https://")),
    ):
        text = environment.get(variable)
        if text and not text.startswith(schemes):
            raise SettingError(f"{variable}: {text!r} is not an http or https URL")
    sampler = environment.get("OTEL_TRACES_SAMPLER")
    if sampler and sampler.lower().removeprefix("parentbased_") not in _SAMPLERS:
        raise SettingError(
            f"OTEL_TRACES_SAMPLER: {sampler!r} is not one of {', '.join(_SAMPLERS)}, with or without parentbased_"
        )
    argument = environment.get("OTEL_TRACES_SAMPLER_ARG")
    if sampler and argument and sampler.lower().endswith("traceidratio") and not _is_ratio(argument):
        raise SettingError(f"OTEL_TRACES_SAMPLER_ARG: {argument!r} is not a number from 0 to 1")
    preference = environment.get("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE")
    if preference and preference.lower() != "cumulative":
        raise SettingError(
            f"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: {preference!r} is not supported, use cumulative"
        )


def _is_ratio(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False
