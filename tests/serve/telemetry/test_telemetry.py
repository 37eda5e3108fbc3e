"""An export's changes to what a process shares, and their end."""

from __future__ import annotations

import logging
import os

import pytest

from tests.serve.telemetry.collector import collecting
from wasi_trio.serve.telemetry._switch import wanted
from wasi_trio.serve.telemetry._telemetry import exporting

SDK = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


def test_the_sdk_s_log_is_limited_during_an_export_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each export has its own limit, so a later export reports its first failure."""
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
        for _ in range(2):
            caplog.clear()
            with exporting(wanted(os.environ), None):
                for _ in range(3):
                    logging.getLogger(SDK).error("a failure")
            assert caplog.messages == ["a failure"]
        caplog.clear()
        logging.getLogger(SDK).error("a failure")
        logging.getLogger(SDK).error("a failure")
        assert caplog.messages == ["a failure", "a failure"]
