#!/usr/bin/env bash
# The OTLP exporter of opentelemetry-python 1.45.2 reports success if the collector only redirects.
#
# A collector that moved, or one whose front redirects http to https, responds with 301, 302, 307 or 308 and a location.
#
# Expected: the exporter follows a 307 and 308 (their method and content stay), or reports SpanExportResult.FAILURE and
# logs it, as it does for a 404.
# Actual: it sends nothing to the new location, returns SUCCESS, and logs nothing. All spans are lost, and the SDK's
# counts say that they were exported. The same holds for a 200 whose message says that the collector rejected all spans
# (partial_success), of which the specification says that the exporter should log it.
#
# A program that counts exported spans by this result must check the status code itself.
#
# Requires python3 and PyPI. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opentelemetry-sdk==1.45.2 opentelemetry-exporter-otlp-proto-http==1.45.2 >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
"$folder/venv/bin/python" - <<'PYTHON'
import http.server
import logging
import threading

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTracePartialSuccess, ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider

received, lines = [], []


class Lines(logging.Handler):
    def emit(self, record):
        lines.append(record.getMessage())


logging.getLogger().addHandler(Lines(logging.WARNING))
rejected = ExportTraceServiceResponse(
    partial_success=ExportTracePartialSuccess(rejected_spans=1, error_message="no room")
).SerializeToString()


class Collector(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        received.append(self.path)
        status = int(self.path.strip("/")) if self.path != "/new" else 200
        content = rejected if status == 200 else b""
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("location", "/new")
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
threading.Thread(target=server.serve_forever, daemon=True).start()
span = TracerProvider().get_tracer("finding").start_span("span")
span.end()
outcomes = {}
for status in (404, 301, 302, 307, 308, 200):
    received.clear()
    lines.clear()
    exporter = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{server.server_address[1]}/{status}", timeout=5)
    outcomes[status] = exporter.export([span]).name, len(received), len(lines)
    exporter.shutdown()
    print(status, "-> (result, requests, log lines)", outcomes[status])
assert outcomes[404] == ("FAILURE", 1, 1)
assert all(outcomes[status] == ("SUCCESS", 1, 0) for status in (301, 302, 307, 308, 200)), "the exporter has changed"
PYTHON
