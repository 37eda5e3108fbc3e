"""Spans that a collector does not accept."""

from __future__ import annotations

import pytest

from tests.serve.telemetry.collector import collecting
from wasi_trio.serve.telemetry._exporting import OtlpSpanExporter


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_no_success(
    status: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The SDK's client reports success, although it sends nothing to the new location."""
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        exporter = OtlpSpanExporter()
        collector.status = status
        assert not exporter.send(b"")
        collector.status = 200
        assert exporter.send(b"")
        exporter.shutdown()
    (line,) = caplog.messages
    assert line == f"The collector redirects spans ({status}): set its new address in OTEL_EXPORTER_OTLP_ENDPOINT"
