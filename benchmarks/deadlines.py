"""The delay of responses to requests that miss their deadline, by the operation in which the guest is stuck."""

from __future__ import annotations

import sys
import time

from benchmarks.load import BadAnswer, connect
from benchmarks.measure import Settings
from benchmarks.report import Report, Row
from benchmarks.servers import running
from tests.guests.late import LATE

#: seconds until the deadline; a tenth of it is MOST_LATE
TIMEOUT = 0.5
#: milliseconds
MOST_LATE = 50.0


def report(settings: Settings) -> Report:
    """Measure the latest of several responses of each guest, over separate connections."""
    timeout = 0.1 if settings.quick else TIMEOUT
    report = Report(f"Deadlines of {timeout * 1000:g} ms: delay of the latest 504")
    with running([sys.executable, "-m", "benchmarks.late", str(timeout)]) as server:
        for number, late in enumerate(LATE):
            latest = max(_elapsed(server.port, late.path, number) for _ in range(settings.repetitions()))
            report.rows.append(Row(str(late), (latest - timeout) * 1000, "ms", at_most=MOST_LATE))
    return report


def _elapsed(port: int, path: str, number: int) -> float:
    """Return the seconds from sending a request to the head of its response."""
    head = f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nX-Late: {number}\r\nConnection: close\r\n\r\n"
    with connect(port) as connection:
        start = time.perf_counter()
        connection.sendall(head.encode())
        answer = connection.recv(4096)
        elapsed = time.perf_counter() - start
        if not answer.startswith(b"HTTP/1.1 504"):
            raise BadAnswer(repr(answer[:100]))
    return elapsed
