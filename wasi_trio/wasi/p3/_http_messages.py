"""The requests and responses of wasi:http/types 0.3.

A message from the host holds a Body. A message from a guest holds the stream and the futures that it was made of. A
guest can consume the contents of either. The host can convert either to the neutral message of
:mod:`wasi_trio.wasi.http._messages`.
"""

from __future__ import annotations

from typing import Any

from wasi_trio.component._account import Account
from wasi_trio.component._values import Err, Ok, Variant
from wasi_trio.component.concurrency._futures import SharedFuture
from wasi_trio.component.concurrency._streams import SharedStream
from wasi_trio.wasi.http import _messages as messages
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._fields import FieldError
from wasi_trio.wasi.http._lengths import ContentLength, may_have_content, response_headers
from wasi_trio.wasi.http._request_options import RequestOptions as Timeouts
from wasi_trio.wasi.http._target import RequestTarget, method_text, method_variant, scheme_text, scheme_variant
from wasi_trio.wasi.http._uri import destination
from wasi_trio.wasi.p3._http_bodies import Contents, GuestContents, HostContents
from wasi_trio.wasi.p3._http_fields import Fields
from wasi_trio.wasi.p3._http_options import RequestOptions

_DONE: Ok[None] = Ok(None)
_REFUSED: Err[None] = Err(None)

#: methods whose requests usually have contents (RFC 9110, section 9.3)
_WITH_CONTENTS = frozenset({"POST", "PUT", "PATCH"})


class _Message:
    """Headers and contents."""

    #: the ``error-code`` for contents that differ from the announced length
    _size_case: str

    def __init__(self, headers: Fields, contents: Contents) -> None:
        headers.immutable = True
        self._headers = headers
        self._contents = contents

    def get_headers(self) -> Fields:
        return self._headers

    def on_drop(self) -> None:
        self._contents.drop()

    def bill(self, account: Account) -> None:
        self._contents.bill(account)

    def discard(self, error: HttpError) -> None:
        """Discard the message, which reports ``error`` to its maker."""
        self._contents.drop(error)

    def _content_length(self) -> int | None:
        try:
            return self._headers.content_length()
        except FieldError as error:
            raise HttpError("HTTP-protocol-error") from error


class Request(_Message, RequestTarget):
    """A request, from a guest or for a guest."""

    _size_case = "HTTP-request-body-size"

    def bill(self, account: Account) -> None:
        self._contents.bill(account)
        self._account = account

    def __init__(self, headers: Fields, contents: Contents, options: RequestOptions | None = None) -> None:
        super().__init__(headers, contents)
        self._options = options
        if options is not None:
            options.immutable = True

    @classmethod
    def received(cls, request: messages.Request) -> Request:
        """Return a received request for a guest."""
        made = cls(Fields.received(request.headers, counted=False), HostContents(request.body))
        made._method = method_variant(request.method)
        made._path_with_query = request.path_with_query
        made._scheme = None if request.scheme is None else scheme_variant(request.scheme)
        made._authority = request.authority
        return made

    @staticmethod
    def new(
        headers: Fields, contents: Any, trailers: Any, options: RequestOptions | None
    ) -> tuple[Request, SharedFuture]:
        made = _guest_contents(contents, trailers)
        return Request(headers, made, options), made.transmission.future

    def get_method(self) -> Variant:
        return self._method

    def get_path_with_query(self) -> str | None:
        return self._path_with_query

    def get_scheme(self) -> Variant | None:
        return self._scheme

    def get_authority(self) -> str | None:
        return self._authority

    def get_options(self) -> RequestOptions | None:
        return self._options

    @staticmethod
    def consume_body(this: Request, res: Any) -> tuple[SharedStream, SharedFuture]:
        return this._contents.consume(res.into_shared())

    def timeouts(self) -> Timeouts:
        return Timeouts() if self._options is None else self._options.timeouts()

    def to_request(self) -> messages.Request:
        """Return the neutral message, whose body the guest writes. The default scheme is https.

        Raises HttpError if the headers contradict each other, and discards the request.
        """
        try:
            expected = self._content_length()
        except HttpError as error:
            self.discard(error)
            raise
        method = method_text(self._method)
        if isinstance(self._contents, GuestContents):
            self._contents.trailers_expected = method in _WITH_CONTENTS
            self._contents.transmission.awaits_answer = True
        return messages.Request(
            method,
            scheme_text(self._scheme),
            self._authority,
            self._path_with_query,
            self._headers.for_wire(),
            self._contents.to_body(ContentLength(expected), self._size_case),
        )

    def answered(self, error: HttpError | None = None) -> None:
        """Record that the request has a response, or has failed with ``error``. Call this after ``to_request``."""
        if isinstance(self._contents, GuestContents):
            self._contents.transmission.answered(error)

    def to_network(self) -> messages.Request:
        """Convert like ``to_request``. Raises HttpError also if the request cannot be sent over the network."""
        request = self.to_request()
        try:
            destination(request)
        except HttpError as error:
            request.body.close(error)
            self.answered(error)
            raise
        return request


class Response(_Message):
    """A response, from a guest or for a guest."""

    _size_case = "HTTP-response-body-size"

    def __init__(self, headers: Fields, contents: Contents, status: int = 200) -> None:
        super().__init__(headers, contents)
        self._status_code = status

    @classmethod
    def received(cls, response: messages.Response) -> Response:
        """Return a received response for a guest."""
        return cls(Fields.received(response.headers), HostContents(response.body), response.status)

    @staticmethod
    def new(headers: Fields, contents: Any, trailers: Any) -> tuple[Response, SharedFuture]:
        made = _guest_contents(contents, trailers)
        return Response(headers, made), made.transmission.future

    def get_status_code(self) -> int:
        return self._status_code

    def set_status_code(self, status_code: int) -> Ok[None] | Err[None]:
        if not 100 <= status_code <= 599:
            return _REFUSED
        self._status_code = status_code
        return _DONE

    @staticmethod
    def consume_body(this: Response, res: Any) -> tuple[SharedStream, SharedFuture]:
        return this._contents.consume(res.into_shared())

    def to_response(self, method: str) -> messages.Response:
        """Return the neutral message for a request with this method. The guest writes its body.

        Raises HttpError if the headers contradict each other, or for an informational status, which does not end an
        exchange. Then the response is discarded.
        """
        status = self._status_code
        try:
            expected = self._content_length()
            if status < 200:
                raise HttpError("HTTP-protocol-error")
        except HttpError as error:
            self.discard(error)
            raise
        length = ContentLength(expected, may_have_content(method, status))
        headers = response_headers(method, status, self._headers.for_wire())
        return messages.Response(status, headers, self._contents.to_body(length, self._size_case))


def _guest_contents(contents: Any, trailers: Any) -> GuestContents:
    return GuestContents(None if contents is None else contents.into_shared(), trailers.into_shared())
