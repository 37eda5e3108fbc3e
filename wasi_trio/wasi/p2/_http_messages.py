"""The requests and responses of wasi:http/types 0.2, and their companion resources."""

from __future__ import annotations

from collections.abc import Callable

import trio

from wasi_trio.component._account import Account
from wasi_trio.component._errors import Trap
from wasi_trio.component._values import Err, Ok, Variant
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._fields import FieldError
from wasi_trio.wasi.http._lengths import ContentLength, may_have_content, response_headers
from wasi_trio.wasi.http._messages import Request, Response
from wasi_trio.wasi.http._outgoing import PendingResponse
from wasi_trio.wasi.http._request_options import RequestOptions as Timeouts
from wasi_trio.wasi.http._target import RequestTarget, method_text, method_variant, scheme_text, scheme_variant
from wasi_trio.wasi.http._uri import destination
from wasi_trio.wasi.p2._http_bodies import IncomingBody, OutgoingBody
from wasi_trio.wasi.p2._http_fields import Fields
from wasi_trio.wasi.p2._io import Pollable

_DONE: Ok[None] = Ok(None)
_REFUSED: Err[None] = Err(None)


class IncomingRequest:
    """A request for a guest."""

    __slots__ = ("_fields", "consumed", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.consumed = False
        self._fields: Fields | None = None

    def bill(self, account: Account) -> None:
        self.request.body.bill(account)

    def method(self) -> Variant:
        return method_variant(self.request.method)

    def path_with_query(self) -> str | None:
        return self.request.path_with_query

    def scheme(self) -> Variant | None:
        scheme = self.request.scheme
        return None if scheme is None else scheme_variant(scheme)

    def authority(self) -> str | None:
        return self.request.authority

    def headers(self) -> Fields:
        if self._fields is None:
            self._fields = Fields.received(self.request.headers, counted=False)
        return self._fields

    def consume(self) -> Ok[IncomingBody] | Err[None]:
        if self.consumed:
            return _REFUSED
        self.consumed = True
        self.request.body.wanted = True
        return Ok(IncomingBody(self.request.body))

    def on_drop(self) -> None:
        if not self.consumed:
            self.request.body.close()


class _Outgoing:
    """The common part of outgoing requests and responses: headers, and a body that is requested once."""

    __slots__ = ("_biller", "_body", "_headers", "_length")

    #: the ``error-code`` for content that differs from the announced length
    size_case: str
    #: whether the message has content; None if that depends on the request
    has_content: bool | None = True

    def __init__(self, headers: Fields) -> None:
        headers.immutable = True
        self._headers = headers
        self._body: Body | None = None
        self._length: ContentLength | None = None
        self._biller: Account | None = None

    def bill(self, account: Account) -> None:
        self._biller = account

    def headers(self) -> Fields:
        return self._headers

    def body(self) -> Ok[OutgoingBody] | Err[None]:
        if self._body is not None:
            return _REFUSED
        try:
            length = self._announced()
        except HttpError:
            return _REFUSED
        self._body = Body()
        if self._biller is not None:
            self._body.bill(self._biller)
        return Ok(OutgoingBody(self._body, length, self.size_case))

    def _announced(self) -> ContentLength:
        """Return the announced length. Raises HttpError if the headers contradict each other."""
        if self._length is None:
            try:
                self._length = ContentLength(self._headers.content_length(), self.has_content)
            except FieldError as error:
                raise HttpError("HTTP-protocol-error") from error
        return self._length

    def content(self) -> Body:
        """Return the body to send.

        If the guest never requested it, the body is empty, or aborted if the headers announce content. Raises HttpError
        if the headers contradict each other.
        """
        length = self._announced()
        if self._body is None:
            self._body = Body.empty()
            if length.wrong:
                self._body = Body()
                self._body.abort(HttpError(self.size_case, 0))
        return self._body

    def on_drop(self) -> None:
        if self._body is not None:
            self._body.close()


class OutgoingRequest(_Outgoing):
    """A request from a guest."""

    __slots__ = ("_target",)

    size_case = "HTTP-request-body-size"

    def __init__(self, headers: Fields) -> None:
        super().__init__(headers)
        self._target = RequestTarget()

    def bill(self, account: Account) -> None:
        super().bill(account)
        self._target.bill(account)

    def method(self) -> Variant:
        return self._target.method

    def path_with_query(self) -> str | None:
        return self._target.path_with_query

    def scheme(self) -> Variant | None:
        return self._target.scheme

    def authority(self) -> str | None:
        return self._target.authority

    def set_method(self, method: Variant) -> Ok[None] | Err[None]:
        return self._target.set_method(method)

    def set_path_with_query(self, path_with_query: str | None) -> Ok[None] | Err[None]:
        return self._target.set_path_with_query(path_with_query)

    def set_scheme(self, scheme: Variant | None) -> Ok[None] | Err[None]:
        return self._target.set_scheme(scheme)

    def set_authority(self, authority: str | None) -> Ok[None] | Err[None]:
        return self._target.set_authority(authority)

    def to_request(self) -> Request:
        """Return the message. The default scheme is https. Raises HttpError if the request cannot be sent."""
        request = Request(
            method_text(self._target.method),
            scheme_text(self._target.scheme),
            self._target.authority,
            self._target.path_with_query,
            self._headers.for_wire(),
            self.content(),
        )
        destination(request)
        return request


class OutgoingResponse(_Outgoing):
    """A response from a guest."""

    __slots__ = ("_status_code",)

    size_case = "HTTP-response-body-size"
    has_content = None

    def __init__(self, headers: Fields) -> None:
        super().__init__(headers)
        self._status_code = 200

    def status_code(self) -> int:
        return self._status_code

    def set_status_code(self, status_code: int) -> Ok[None] | Err[None]:
        if not 100 <= status_code <= 999:
            return _REFUSED
        self._status_code = status_code
        return _DONE

    def to_response(self, method: str) -> Response:
        """Return the message, as the response to a request with this method.

        Raises HttpError for an informational status, which does not end an exchange, for contradictory headers, and for
        a finished body whose length differs from the announced one.
        """
        status = self._status_code
        if status < 200:
            raise HttpError("HTTP-protocol-error")
        length = self._announced()
        length.applies = may_have_content(method, status)
        body = self._body if self._body is not None else self.content()
        if body.finished:
            if not length.applies:
                body = Body.empty()
            elif body.error is not None:
                raise body.error
            elif length.wrong:
                raise HttpError(self.size_case, length.written)
        return Response(status, response_headers(method, status, self._headers.for_wire()), body)


class RequestOptions:
    """The timeouts of an outgoing request, in nanoseconds."""

    __slots__ = ("_between_bytes", "_connect", "_first_byte")

    def __init__(self) -> None:
        self._connect: int | None = None
        self._first_byte: int | None = None
        self._between_bytes: int | None = None

    def connect_timeout(self) -> int | None:
        return self._connect

    def set_connect_timeout(self, duration: int | None) -> Ok[None] | Err[None]:
        self._connect = duration
        return _DONE

    def first_byte_timeout(self) -> int | None:
        return self._first_byte

    def set_first_byte_timeout(self, duration: int | None) -> Ok[None] | Err[None]:
        self._first_byte = duration
        return _DONE

    def between_bytes_timeout(self) -> int | None:
        return self._between_bytes

    def set_between_bytes_timeout(self, duration: int | None) -> Ok[None] | Err[None]:
        self._between_bytes = duration
        return _DONE

    def timeouts(self) -> Timeouts:
        return Timeouts.from_nanoseconds(self._connect, self._first_byte, self._between_bytes)


class ResponseOutparam:
    """The destination of a guest's response to a request with the method ``method``.

    ``outcome`` is None until it is set: the guest's response, the guest's error, or an internal error if the guest can
    no longer set any. ``on_set`` is called once, when ``outcome`` is set.
    """

    __slots__ = ("_method", "_ready", "on_set", "outcome")

    def __init__(self, method: str, on_set: Callable[[ResponseOutparam], None] | None = None) -> None:
        self._method = method
        self.outcome: Response | HttpError | None = None
        self.on_set = on_set
        self._ready: trio.Event | None = None

    @staticmethod
    def set(param: ResponseOutparam, response: Ok[OutgoingResponse] | Err[Variant]) -> None:
        if param.outcome is not None:
            raise Trap("response-outparam was already set")
        if isinstance(response, Err):
            param._settle(HttpError.of(response.value))
            return
        try:
            param._settle(response.value.to_response(param._method))
        except HttpError as error:
            response.value.on_drop()
            param._settle(error)

    def send_informational(self, status: int, headers: Fields) -> Ok[None] | Err[Variant]:
        """Return an error. The function is unstable in the WIT, and not supported."""
        if not 100 <= status <= 199:
            return Err(Variant("HTTP-protocol-error"))
        return Err(Variant("internal-error", "informational responses are not supported"))

    def give_up(self) -> None:
        """Record that the guest has returned. If it has set nothing, the outcome is an error."""
        if self.outcome is None:
            self._settle(HttpError("internal-error", "the guest returned without setting a response"))

    async def wait(self) -> Response:
        """Wait for the guest's response. Raises HttpError if the outcome is an error."""
        while self.outcome is None:
            if self._ready is None:
                self._ready = trio.Event()
            await self._ready.wait()
        if isinstance(self.outcome, HttpError):
            raise self.outcome
        return self.outcome

    def on_drop(self) -> None:
        if self.outcome is None:
            self._settle(HttpError("internal-error", "the guest dropped the response-outparam without setting it"))

    def _settle(self, outcome: Response | HttpError) -> None:
        self.outcome = outcome
        if self._ready is not None:
            self._ready.set()
        if self.on_set is not None:
            self.on_set(self)


class IncomingResponse:
    """The response to an outgoing request."""

    __slots__ = ("_fields", "consumed", "response")

    def __init__(self, response: Response) -> None:
        self.response = response
        self.consumed = False
        self._fields: Fields | None = None

    def bill(self, account: Account) -> None:
        self.response.body.bill(account)

    def status(self) -> int:
        return self.response.status

    def headers(self) -> Fields:
        if self._fields is None:
            self._fields = Fields.received(self.response.headers)
        return self._fields

    def consume(self) -> Ok[IncomingBody] | Err[None]:
        if self.consumed:
            return _REFUSED
        self.consumed = True
        return Ok(IncomingBody(self.response.body))

    def on_drop(self) -> None:
        if not self.consumed:
            self.response.body.close()


class FutureIncomingResponse(PendingResponse):
    """The resource ``future-incoming-response``: a request in progress.

    A drop before the response cancels the request. A drop before the guest takes the response closes the response's
    body.
    """

    __slots__ = ("consumed",)

    def __init__(self) -> None:
        super().__init__()
        self.consumed = False

    def subscribe(self) -> Pollable:
        return ResponseReady(self)

    def get(self) -> Ok[Ok[IncomingResponse] | Err[Variant]] | Err[None] | None:
        if self.consumed:
            return Err(None)
        outcome = self.outcome
        if outcome is None:
            return None
        self.consumed = True
        if isinstance(outcome, HttpError):
            return Ok(Err(outcome.code))
        return Ok(Ok(IncomingResponse(outcome)))

    def on_drop(self) -> None:
        if not self.consumed:
            self.scope.cancel()
            if isinstance(self.outcome, Response):
                self.outcome.body.close()


class ResponseReady(Pollable):
    """A pollable that is ready when an outgoing request has a response or has failed."""

    __slots__ = ("future",)

    def __init__(self, future: FutureIncomingResponse) -> None:
        self.future = future

    @property
    def source(self) -> object:
        return ResponseReady, id(self.future)

    def ready(self) -> bool:
        return self.future.outcome is not None

    async def block(self) -> None:
        await self.future.wait_outcome()
