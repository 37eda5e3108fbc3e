"""Trailers over HTTP/1.1, which h11 has and hypercorn passes over."""

from __future__ import annotations

import h11

from wasi_trio.wasi.http.body import Trailers


class TrailingConnection(h11.Connection):
    """A server's side of a connection that keeps the trailers of the request, and adds those of the response.

    ``request_trailers`` are there once the end of the request was read. What ``response_trailers`` is set to goes out
    with the end of the response, whose content must be chunked. Both are those of one request at a time.
    """

    request_trailers: Trailers | None = None
    response_trailers: Trailers | None = None

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        event = super().next_event()
        if isinstance(event, h11.Request):
            self.request_trailers = self.response_trailers = None
        elif isinstance(event, h11.EndOfMessage) and event.headers:
            self.request_trailers = [(name.decode("latin-1"), value) for name, value in event.headers]
        return event

    def send_with_data_passthrough(self, event: h11.Event) -> list[bytes] | None:
        if self.response_trailers and isinstance(event, h11.EndOfMessage):
            headers = [(name.encode("latin-1"), value) for name, value in self.response_trailers]
            event = h11.EndOfMessage(headers=headers)
        return super().send_with_data_passthrough(event)
