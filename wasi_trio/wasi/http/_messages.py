"""Requests and responses, as guests of all WASI versions, servers and the network exchange them."""

from __future__ import annotations

from wasi_trio.wasi.http._body import Body


class Request:
    """An HTTP request.

    ``headers`` keeps the order of fields and, if the origin preserves it, the case of names. ``path_with_query`` None
    is an empty path.
    """

    __slots__ = ("authority", "body", "headers", "method", "path_with_query", "scheme")

    def __init__(
        self,
        method: str,
        scheme: str | None,
        authority: str | None,
        path_with_query: str | None,
        headers: list[tuple[str, bytes]],
        body: Body,
    ) -> None:
        self.method = method
        self.scheme = scheme
        self.authority = authority
        self.path_with_query = path_with_query
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        target = f"{self.scheme or ''}://{self.authority or ''}{self.path_with_query or ''}"
        return f"<Request {self.method} {target}>"


class Response:
    """An HTTP response, whose body may still be in transfer."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: list[tuple[str, bytes]], body: Body) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        return f"<Response {self.status}>"
