"""Log lines about an instance or a request identify it in structured logs."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from tests.e2e.support import engine
from tests.guests import wat
from tests.guests.raising import LATER, Raising
from tests.serve.support import guest
from tests.serve.test_metrics import ask
from wasi_trio.component._imports import Imports
from wasi_trio.runtime._component import LinkedComponent
from wasi_trio.serve._loading import link
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._options import HandlerOptions


def raising(name: str) -> LinkedComponent:
    return link(engine(), wat.load(name), name, Imports({"acme:host/work": Raising()}))


@pytest.mark.parametrize(
    ("name", "path", "options", "said"),
    [
        ("hello", "/", {}, "200 in"),
        ("trap", "/", {}, "trapped"),
        ("p3_trap", "/", {}, "trapped"),
        ("trap_in_start", "/", {}, "could not be created"),
        ("p3_no_response", "/1", {}, "answered with the error"),
        ("sleep", "/5000", {"request_timeout": 0.1}, "no response within"),
        ("p3_sleep", "/5000", {"request_timeout": 0.1}, "no response within"),
        ("endless_body", "/0", {"body_timeout": 0.1}, "paused for more than"),
        ("p3_endless_body", "/0", {"body_timeout": 0.1}, "paused for more than"),
        ("spin", "/", {"max_cpu_time": 0.1}, "processor time"),
        ("spin_in_post_return", "/", {"post_response_timeout": 0.1}, "continued for too long after its response"),
        ("host_call", f"/{LATER}", {}, "a host function failed"),
        ("p3_host_call", f"/{LATER}", {}, "a host function failed"),
        ("p3_hello", "/", {"max_concurrent_requests": 0, "max_queued_requests": 0}, "requests are already waiting"),
    ],
)
async def test_lines_name_their_subject(
    name: str, path: str, options: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "wasi_trio")
    linked = raising(name) if "host_call" in name else guest(name)
    async with ProxyHandler(linked, HandlerOptions(**options)) as handler:
        await ask(handler, path)
    assert said in caplog.text
    lines = [record for record in caplog.records if record.name.startswith("wasi_trio")]
    for record in lines:
        about = getattr(record, "about", {})
        instance = re.match(r"instance (\d+)", record.getMessage())
        if instance is not None:
            assert about.get("instance") == instance[1], record.getMessage()
        first = record.getMessage().split("\n", 1)[0]
        assert "<Request" not in first
        if "GET /" in first:
            assert about.get("request") == f"GET {path}", first
