"""The configuration in the environment."""

from __future__ import annotations

import subprocess
import sys

import pytest

from wasi_trio.serve.settings._setting import SettingError
from wasi_trio.serve.telemetry import _switch as switch
from wasi_trio.serve.telemetry._switch import Wanted, wanted

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


def names(asked: Wanted) -> tuple[list[str], list[str]]:
    return [point.name for point in asked.traces], [point.name for point in asked.metrics]


@pytest.mark.parametrize(
    ("environment", "traces", "metrics"),
    [
        ({}, [], []),
        ({"OTEL_SERVICE_NAME": "x", "OTEL_TRACES_SAMPLER": "always_on"}, [], []),
        (ENDPOINT, ["otlp_proto_http"], ["otlp_proto_http"]),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"}, [], []),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "no"}, ["otlp_proto_http"], ["otlp_proto_http"]),
        ({**ENDPOINT, "OTEL_METRICS_EXPORTER": "none"}, ["otlp_proto_http"], []),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, [], ["otlp_proto_http"]),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ["otlp_proto_http"], []),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, ["otlp_proto_http", "console"], []),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, [], ["otlp_proto_http"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x/v1/traces"}, ["otlp_proto_http"], []),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "https://x/"}, [], ["otlp_proto_http"]),
    ],
)
def test_switches(environment: dict[str, str], traces: list[str], metrics: list[str]) -> None:
    asked = wanted(environment)
    assert names(asked) == (traces, metrics)
    assert bool(asked) == bool(traces or metrics)


def test_propagators() -> None:
    usual = wanted(ENDPOINT)
    assert [point.name for point in usual.propagators] == ["tracecontext"]
    assert usual.baggage
    none = wanted({**ENDPOINT, "OTEL_PROPAGATORS": "none"})
    assert (none.propagators, none.baggage) == ((), False)


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("OTEL_TRACES_EXPORTER", "jaegr", "'jaegr' is not installed; available: console"),
        ("OTEL_PROPAGATORS", "tracecontext,bx", "'bx' is not installed"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "'http/json' is not one of http/protobuf, grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc", "'otlp_proto_grpc' is not installed"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318", "is not an http or https URL"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many", "'many' is not a whole number of at least 1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0", "'0' is not a whole number of at least 1"),
        ("OTEL_TRACES_SAMPLER", "some", "'some' is not one of always_on"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta", "use cumulative"),
    ],
)
def test_mistakes(variable: str, value: str, why: str) -> None:
    with pytest.raises(SettingError) as raised:
        wanted({**ENDPOINT, variable: value})
    assert why in str(raised.value)
    assert variable in str(raised.value) or "asks" in str(raised.value) or variable.endswith("PROTOCOL")


def test_an_invalid_ratio() -> None:
    environment = {**ENDPOINT, "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "half"}
    with pytest.raises(SettingError, match="'half' is not a number from 0 to 1"):
        wanted(environment)


def test_without_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switch, "find_spec", lambda name: None)
    assert not wanted({})
    with pytest.raises(SettingError) as raised:
        wanted(ENDPOINT)
    assert str(raised.value) == (
        "OTEL_EXPORTER_OTLP_ENDPOINT requires OpenTelemetry, which is not installed: pip install 'wasi-trio[otel]', "
        "or set OTEL_SDK_DISABLED=true"
    )


def test_nothing_is_imported_by_default() -> None:
    code = (
        "import sys; import wasi_trio.serve._command, wasi_trio.asgi, wasi_trio.serve.pool._handler;"
        "from wasi_trio.serve.telemetry._switch import wanted; wanted({});"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'google'))])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
