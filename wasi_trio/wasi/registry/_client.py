"""A client for the OCI distribution specification over HTTP.

A registry and the targets of its redirects are untrusted: all that they send is bounded in bytes and in time.
Credentials go only to the host in the reference and to the token server that it names. They are never sent to the
target of a redirect, or over plain HTTP to another machine.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from wasi_trio._texts import shown
from wasi_trio.wasi.registry._credentials import find_credentials
from wasi_trio.wasi.registry._errors import RegistryError
from wasi_trio.wasi.registry._limits import Limits
from wasi_trio.wasi.registry._manifests import ACCEPTED
from wasi_trio.wasi.registry._references import LOOPBACK, Remote, is_loopback

#: maximum consecutive redirects
MOST_REDIRECTS = 5
#: maximum bytes of a response with a token
MOST_TOKEN = 64 << 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: the characters of a token in a field (RFC 6750)
_TOKEN = re.compile(r"[\x21-\x7e]+")
_SCHEME = re.compile(r"(?:^|,)\s*(Bearer|Basic)(?:\s+|$|(?=,))", re.IGNORECASE)
_PARAMETER = re.compile(r'\s*([A-Za-z_]+)="([^"]*)"\s*(?:,|$)')


def new_client(limits: Limits) -> httpx.AsyncClient:
    """Return an HTTP client that does not follow redirects, with proxies and certificates from the environment."""
    # Requests to this machine, perhaps with credentials over plain HTTP, use no proxy, whatever NO_PROXY says.
    direct = {f"all://{f'[{host}]' if ':' in host else host}": None for host in LOOPBACK}
    return httpx.AsyncClient(
        timeout=limits.idle, follow_redirects=False, headers={"User-Agent": "wasi_trio"}, mounts=direct
    )


class Registry:
    """A client for one reference."""

    def __init__(self, reference: Remote, client: httpx.AsyncClient, limits: Limits) -> None:
        self._reference = reference
        self._client = client
        self._limits = limits
        self._authorization: str | None = None

    async def manifest(self, name: str) -> bytes:
        """Return the manifest or index with a tag or digest."""
        url = f"{self._reference.base}/manifests/{name}"
        what = f"the manifest {name}"
        return await self._fetch(url, what, self._limits.manifest, ", ".join(ACCEPTED))

    async def blob(self, digest: str, size: int) -> bytes:
        """Return content of a known size."""
        content = await self._fetch(f"{self._reference.base}/blobs/{digest}", f"the layer {digest}", size, "*/*")
        if len(content) < size:
            raise self._error(f"the layer {digest} ends after {len(content)} of {size} bytes")
        return content

    def _error(self, message: str) -> RegistryError:
        return RegistryError(shown(f"{self._reference.place}: {message}"))

    async def _fetch(self, url: str, what: str, most: int, accept: str) -> bytes:
        fields = {"Accept": accept}
        try:
            where = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise self._error(f"the host is invalid: {error}") from None
        async with self._get(where, fields, self._authorization) as response:
            # Only the registry itself receives credentials, not the target of a redirect.
            if response.status_code != 401 or not _same_origin(response.url, where):
                return await self._content(response, what, most)
            challenge = response.headers.get("www-authenticate", "")
        self._authorization = await self._authorize(challenge)
        async with self._get(where, fields, self._authorization) as response:
            return await self._content(response, what, most)

    async def _content(self, response: httpx.Response, what: str, most: int) -> bytes:
        host = _shown_host(response.url)
        match response.status_code:
            case 200:
                return await self._read(response, what, most)
            case 401 | 403:
                raise self._error(f"{host} denies {self._client_name} access to {what} (status {response.status_code})")
            case 404:
                raise self._error(f"{host} does not have {what}")
            case status:
                raise self._error(f"{host} answered a request for {what} with the status {status}")

    @property
    def _client_name(self) -> str:
        return "clients without credentials" if self._authorization is None else "these credentials"

    async def _read(self, response: httpx.Response, what: str, most: int) -> bytes:
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise self._error(f"{_shown_host(response.url)} sent {what} with an encoding that was not requested")
        length = response.headers.get("content-length", "")
        pieces: list[bytes] = []
        size = int(length) if length.isdecimal() else 0
        if size <= most:
            size = 0
            async for piece in response.aiter_raw():
                pieces.append(piece)
                size += len(piece)
                if size > most:
                    break
        if size > most:
            raise self._error(f"{what} exceeds the limit of {most} bytes")
        return b"".join(pieces)

    @asynccontextmanager
    async def _get(
        self, url: httpx.URL, fields: dict[str, str], authorization: str | None, *, redirected: bool = True
    ) -> AsyncIterator[httpx.Response]:
        """Yield the response to GET after all redirects. The credentials are only for the origin of ``url``."""
        origin = url
        fields = {**fields, "Accept-Encoding": "identity"}
        for _ in range(MOST_REDIRECTS + 1):
            sent = fields if authorization is None else {**fields, "Authorization": authorization}
            request = self._client.build_request("GET", url, headers=sent)
            try:
                response = await self._client.send(request, stream=True, auth=None, follow_redirects=False)
                try:
                    if response.status_code not in _REDIRECTS or not redirected:
                        yield response
                        return
                    url = self._target(url, response.headers.get("location", ""))
                finally:
                    await response.aclose()
            except httpx.TimeoutException:
                raise self._error(f"{_shown_host(url)} has sent nothing for {self._limits.idle:g} s") from None
            except (httpx.HTTPError, UnicodeError) as error:  # the name may be invalid in DNS
                raise self._error(f"no complete response from {_shown_host(url)}: {_reason(error)}") from None
            if not _same_origin(url, origin):
                authorization = None
        raise self._error(f"the request was redirected more than {MOST_REDIRECTS} times")

    def _target(self, url: httpx.URL, location: str) -> httpx.URL:
        try:
            target = url.join(location)
        except (httpx.InvalidURL, ValueError):
            target = httpx.URL()
        if not location or not target.host or target.scheme not in ("http", "https") or target.userinfo:
            raise self._error(f"{_shown_host(url)} redirects to an invalid URL")
        self._check_plain(target, "redirects to")
        return target

    def _check_plain(self, url: httpx.URL, does: str) -> None:
        """Raise RegistryError for plain HTTP, unless it leads to this machine or the reference requests it."""
        if url.scheme == "https" or (not self._reference.secure and (self._is_insecure or is_loopback(url.host))):
            return
        raise self._error(f"the registry {does} {_shown_host(url)} over plain HTTP, which is not followed")

    @property
    def _is_insecure(self) -> bool:
        """Whether the reference uses plain HTTP to another machine."""
        return not self._reference.secure and not is_loopback(self._reference.host)

    async def _authorize(self, challenge: str) -> str | None:
        """Return credentials for a challenge (RFC 9110, section 11.6.1, and the distribution's tokens)."""
        credentials = await find_credentials(self._reference.host, os.environ)
        if credentials is not None and self._is_insecure:
            raise self._error("credentials are not sent over plain HTTP to another machine: use oci:// and TLS")
        challenges = _challenges(challenge)
        if "bearer" in challenges:
            return await self._token(challenges["bearer"], credentials.basic if credentials else None)
        if "basic" in challenges:
            return None if credentials is None else credentials.basic
        raise self._error("the registry requires an authentication scheme other than Bearer and Basic")

    async def _token(self, challenge: dict[str, str], basic: str | None) -> str:
        try:
            realm = httpx.URL(challenge.get("realm", ""))
        except (httpx.InvalidURL, ValueError):
            realm = httpx.URL()
        if not realm.host or realm.scheme not in ("http", "https") or realm.userinfo:
            raise self._error("the registry names no valid URL of a token server")
        self._check_plain(realm, "has its tokens at")
        for name in ("service", "scope"):
            if name in challenge:
                realm = realm.copy_add_param(name, challenge[name])
        host = _shown_host(realm)
        async with self._get(realm, {"Accept": "application/json"}, basic, redirected=False) as response:
            if response.status_code in (401, 403):
                who = "clients without credentials" if basic is None else "these credentials"
                raise self._error(f"{host} denies {who} a token (status {response.status_code})")
            if response.status_code != 200:
                raise self._error(f"{host} answered a request for a token with the status {response.status_code}")
            content = await self._read(response, "the token", MOST_TOKEN)
        return f"Bearer {self._parse_token(content, host)}"

    def _parse_token(self, content: bytes, host: str) -> str:
        try:
            found = json.loads(content)
        except (ValueError, RecursionError):
            found = None
        token = (found.get("token") or found.get("access_token")) if isinstance(found, dict) else None
        if not isinstance(token, str) or _TOKEN.fullmatch(token) is None:
            raise self._error(f"{host} sent an invalid token")
        return token


def _same_origin(one: httpx.URL, other: httpx.URL) -> bool:
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)


def _reason(error: BaseException) -> str:
    """Return the text of an error or of its cause, which has the details of TLS."""
    reason: BaseException | None = error
    while reason is not None:
        if text := str(reason):
            return text
        reason = reason.__cause__ or reason.__context__
    return type(error).__name__


def _shown_host(url: httpx.URL) -> str:
    """Return the host and port of a URL, without secrets."""
    return shown(url.netloc.decode("ascii", "replace").rpartition("@")[2], 200)


def _challenges(text: str) -> dict[str, dict[str, str]]:
    """Return the parameters of each challenge of the two schemes, by lower-case scheme."""
    found: dict[str, dict[str, str]] = {}
    for match in _SCHEME.finditer(text):
        parameters: dict[str, str] = {}
        at = match.end()
        while (parameter := _PARAMETER.match(text, at)) is not None:
            parameters[parameter[1].lower()] = parameter[2]
            at = parameter.end()
        found.setdefault(match[1].lower(), parameters)
    return found
