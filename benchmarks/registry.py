"""All benchmarks by name, in the order of execution."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import (
    application,
    calls,
    crossings,
    deadlines,
    echo,
    files,
    insight,
    instances,
    outbound,
    pool,
    profile,
    routes,
    serving,
    sockets,
    start,
    state,
    typed,
)
from benchmarks.measure import Settings
from benchmarks.report import Report

BENCHMARKS: dict[str, Callable[[Settings], Report]] = {
    "calls": calls.report,
    "typed": typed.report,
    "instances": instances.report,
    "application": application.report,
    "crossings": crossings.report,
    "serving": serving.report,
    "echo": echo.report,
    "sockets": sockets.report,
    "files": files.report,
    "outbound": outbound.report,
    "pool": pool.report,
    "deadlines": deadlines.report,
    "profile": profile.report,
    "insight": insight.report,
    "state": state.report,
    "start": start.report,
    "routes": routes.report,
}
