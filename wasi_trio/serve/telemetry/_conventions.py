"""OpenTelemetry's semantic conventions for HTTP. Values chosen by clients and guests are bounded."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from wasi_trio.serve.telemetry._spans import Common, Value
from wasi_trio.wasi.http._messages import Request
from wasi_trio.wasi.http._uri import split_authority

#: The maximum length of a path, a query or a URL, and that of a host name, a method or a field name.
LONG: Final = 1024
SHORT: Final = 255
#: The methods known to the conventions. All others are ``OTHER``: invented methods must not make metrics grow.
METHODS: Final = ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE")
KNOWN_METHODS: Final = "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS"
OTHER: Final = "_OTHER"
_PORTS: Final = {"http": 80, "https": 443}
#: The query parameters that grant access.
_SECRETS: Final = ("X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token", "sig", "X-Goog-Signature")
# They match up to the next parameter. AWSAccessKeyId and Signature come from an earlier version of the conventions.
_secret = re.compile(rf"((?:^|&)(?:{'|'.join(_SECRETS)}|AWSAccessKeyId|Signature)=)[^&]*").sub


def known_methods(environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Return the methods that are recorded by name. An operator may choose them."""
    names = environment.get(KNOWN_METHODS, "")
    return frozenset(name.strip() for name in names.split(",") if name.strip()) or frozenset(METHODS)


def scheme_of(request: Request) -> str:
    """Return ``url.scheme`` of a received request. Clients may send any scheme."""
    scheme = request.scheme or ""
    return scheme if scheme in _PORTS else OTHER


@lru_cache(maxsize=1024)
def address(authority: str, scheme: str) -> tuple[str, int | None]:
    """Return the host and the port of an authority, for ``server.address`` and ``server.port``."""
    try:
        _, host, port = split_authority(authority)
    except ValueError:
        return authority[:SHORT], None
    return host[:SHORT], _PORTS.get(scheme) if port is None else port


def redacted(query: str) -> str:
    """Return a shortened query without the values of parameters that grant access."""
    if len(query) > LONG:
        query = query[:LONG]
    return _secret(r"\1REDACTED", query) if "=" in query else query


def url_of(scheme: str, authority: str, target: str) -> str:
    """Return ``url.full`` without user information, and without secrets in the query."""
    user, separator, host = authority.rpartition("@")
    if separator:
        authority = f"REDACTED:REDACTED@{host}" if ":" in user else f"REDACTED@{host}"
    path, mark, query = target.partition("?")
    return f"{scheme}://{authority[:SHORT]}{path[:LONG]}{mark}{redacted(query)}"[: 2 * LONG]


@lru_cache(maxsize=1024)
def server_attributes(
    original: str,
    method: str,
    scheme: str,
    authority: str,
    client: str | None,
    version: str,
    agent: bytes | None,
    status: int | None,
    failure: str | None,
    outcome: str,
) -> Common:
    """Return the attributes of a server's span that many spans share.

    ``original`` is the method as sent, and ``method`` the known method or ``OTHER``.
    """
    attributes: dict[str, Value] = {"http.request.method": method}
    if original != method:
        attributes["http.request.method_original"] = original
    attributes["url.scheme"] = scheme
    if authority:
        host, port = address(authority, scheme)
        attributes["server.address"] = host
        if port is not None:
            attributes["server.port"] = port
    if client is not None:
        attributes["client.address"] = client
    if version:
        attributes["network.protocol.version"] = version
    if agent is not None:
        attributes["user_agent.original"] = agent.decode("utf-8", "replace")
    if status is not None:
        attributes["http.response.status_code"] = status
    if failure is not None:
        attributes["error.type"] = failure
    attributes["wasi_trio.outcome"] = outcome
    return Common(attributes)
