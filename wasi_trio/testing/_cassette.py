"""Requests of guests, recorded from a real upstream once and answered from a file from then on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from wasi_trio._texts import shown
from wasi_trio.testing import _cassette_file as file
from wasi_trio.testing._clock import real_time
from wasi_trio.testing._interactions import (
    CODINGS,
    MOST,
    CassetteError,
    Fields,
    Interaction,
    RecordedRequest,
    RecordedResponse,
    decoded,
)
from wasi_trio.testing._matching import Key, Matching
from wasi_trio.testing._outgoing import OutgoingRequest, Tape, UnexpectedRequest, drain
from wasi_trio.testing._record_mode import RecordMode, running_test
from wasi_trio.testing._redaction import BodyRule, Names, Redaction
from wasi_trio.wasi.http import _messages as messages
from wasi_trio.wasi.http._body import Body, BodyAborted, BodyClosed, BodyEnd
from wasi_trio.wasi.http._client import Client
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._lengths import may_have_content, response_headers
from wasi_trio.wasi.http._request_options import RequestOptions, Send

#: bytes of a request's content that are sent at once if they have all come
_SMALL = 8 << 10
_REDO = "record again with --wasi-trio-record all"


class UnrecordedRequest(UnexpectedRequest):
    """A guest made a request to which its cassette has no response."""

    def __init__(self, request: OutgoingRequest, message: str) -> None:
        Exception.__init__(self, message)
        self.request = request


@dataclass
class _Take:
    """An interaction that is being recorded, as far as it has come."""

    request: messages.Request
    response: messages.Response | None = None
    failure: HttpError | None = None
    sent: bytearray = field(default_factory=bytearray)
    received: bytearray = field(default_factory=bytearray)

    def interaction(self) -> Interaction:
        body = self.request.body
        headers = _text(self.request.headers)
        content = decoded(bytes(self.sent), headers, whole=body.end is BodyEnd.WHOLE)
        request = RecordedRequest(self.request.method, _url(self.request), headers, content, _trailers(body))
        if self.response is None:
            return Interaction(request, None, self.failure, left=self.failure is None)
        headers = _text(self.response.headers)
        whole = self._has_all(headers)
        content = decoded(bytes(self.received), headers, whole)
        response = RecordedResponse(self.response.status, headers, content, _trailers(self.response.body))
        return Interaction(request, response, self.failure, left=not whole and self.failure is None)

    def _has_all(self, headers: Fields) -> bool:
        """Whether all of the response has come; a guest may leave when it has as much as was announced."""
        assert self.response is not None
        lengths = [value for name, value in headers if name.lower() == "content-length"]
        return self.response.body.end is BodyEnd.WHOLE or lengths == [str(len(self.received))]


class Cassette(Tape):
    """A stand-in for an upstream: ``outgoing=cassette("upstream.json")``. ``cassette`` has its options.

    A cassette belongs to one test. Each recorded response answers one request. Responses to equal requests come in the
    order of their recording.
    """

    def __init__(
        self,
        file: str | os.PathLike[str],
        mode: RecordMode | None,
        matching: Matching,
        repeat: bool,
        redaction: Redaction,
        varying: frozenset[str],
        upstream: Send,
    ) -> None:
        self._file = Path(file)
        self._given_mode = mode
        self._matching = matching
        self._repeat = repeat
        self._redaction = redaction
        self._varying = varying
        self._upstream = upstream
        self._opened = False
        self._path = self._file
        self._mode = RecordMode.ONCE
        #: the file's content when it was opened, None without a file, and the interactions in it
        self._content: bytes | None = None
        self._old: list[Interaction] = []
        self._keys: list[Key] = []
        self._used: list[bool] = []
        self._takes: list[_Take] = []

    def __repr__(self) -> str:
        return f"<Cassette {self._path}>"

    @property
    def path(self) -> Path:
        """The path of the file. Under pytest a relative one starts at the folder of the test's module."""
        test = running_test.get()
        return self._path if self._opened or test is None else test.folder / self._file

    @property
    def unused(self) -> list[str]:
        """The recorded requests that no guest has made, such as ``GET https://example.test/``."""
        self._open()
        if self._mode is RecordMode.ALL:
            return []
        return [str(old.request) for old, used in zip(self._old, self._used, strict=True) if not used]

    # ---- the file ----------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Look at the file, and decide about the mode: once, when it is first needed, in the test."""
        if self._opened:
            return
        self._path = self.path
        test = running_test.get()
        asked = None if test is None else test.session.mode
        mode = asked or self._given_mode or RecordMode.ONCE
        if test is not None and self._path.resolve() in test.session.written and mode is not RecordMode.NONE:
            mode = RecordMode.NEW_EPISODES  # the same test run has recorded it, in another test or example
        self._content = file.read(self._path)
        if self._content is not None:
            try:
                self._old = file.parse(self._content, self._path)
            except CassetteError:
                if mode is not RecordMode.ALL:
                    raise
        self._mode = mode
        self._keys = [self._matching.key(old.request) for old in self._old]
        self._used = [False] * len(self._old)
        self._opened = True

    @property
    def _records(self) -> bool:
        """Whether a request that the file does not have is recorded."""
        if self._mode is RecordMode.ONCE:
            return self._content is None
        return self._mode is not RecordMode.NONE

    def save(self) -> None:
        """Write the recorded interactions, if any. The harness does so when a block ends well. Raises CassetteError."""
        if not self._takes:
            return
        new = [self._redaction.apply(self._taken(take)) for take in self._takes]
        old = list(map(self._redaction.apply, self._old))
        kept = [] if self._mode is RecordMode.ALL else old
        # When all rules have been applied: a secret of the last response may be in the first request.
        new, old, kept = (list(map(self._redaction.sweep, some)) for some in (new, old, kept))
        made = [*kept, *(new if self._mode is not RecordMode.ALL else self._in_order(new, old))]
        if file.read(self._path) != self._content:
            raise CassetteError(f"another cassette wrote {self._path} at the same time: give each its own file")
        self._content = file.save(self._path, file.dump(made))
        test = running_test.get()
        if test is not None:
            test.session.written.add(self._path.resolve())
        self._old, self._mode = made, RecordMode.NEW_EPISODES
        self._keys = [self._matching.key(interaction.request) for interaction in made]
        self._used = [True] * len(made)
        self._takes = []

    def _taken(self, take: _Take) -> Interaction:
        try:
            return take.interaction()
        except CassetteError as error:
            raise CassetteError(f"{self._named(take.request)} cannot be recorded: {error}") from None

    def _in_order(self, new: list[Interaction], old: list[Interaction]) -> list[Interaction]:
        """Return new interactions in the order that their requests have in the old file; new requests come last.

        An old interaction stays if only varying fields differ.
        """
        waiting: dict[Key, list[Interaction]] = {}
        for interaction in new:
            waiting.setdefault(self._matching.key(interaction.request), []).append(interaction)
        placed = []
        for before in old:
            same = waiting.get(self._matching.key(before.request))
            if same:
                now = same.pop(0)
                placed.append(before if self._alike(before, now) else now)
        rest = {id(interaction) for some in waiting.values() for interaction in some}
        return [*placed, *(interaction for interaction in new if id(interaction) in rest)]

    def _alike(self, one: Interaction, other: Interaction) -> bool:
        texts = [file.dump([self._without_varying(interaction)]) for interaction in (one, other)]
        return texts[0] == texts[1]

    def _without_varying(self, interaction: Interaction) -> Interaction:
        def steady(fields: Fields) -> Fields:
            return [(name, "" if name.lower() in self._varying else value) for name, value in fields]

        request, response = interaction.request, interaction.response
        return replace(
            interaction,
            request=replace(request, headers=steady(request.headers)),
            response=None if response is None else replace(response, headers=steady(response.headers)),
        )

    # ---- a request ---------------------------------------------------------------------------------------

    async def send(
        self,
        asked: OutgoingRequest,
        request: messages.Request,
        options: RequestOptions,
        nursery: trio.Nursery,
        fail: Callable[[BaseException], None],
    ) -> messages.Response:
        """The response to a guest's request. Raises HttpError, UnrecordedRequest and CassetteError."""
        self._open()
        if self._mode is RecordMode.ALL or (self._records and not self._old):
            return await self._record(request, options, nursery, fail)
        content = await asked.read() if self._matching.needs_body else b""
        wanted = self._seen(request, content)
        found = self._find(wanted)
        if found is not None:
            await trio.lowlevel.checkpoint()
            return await self._replay(found, request, nursery)
        if not self._records:
            raise UnrecordedRequest(asked, self._refusal(wanted))
        if self._matching.needs_body:
            request = messages.Request(
                request.method,
                request.scheme,
                request.authority,
                request.path_with_query,
                request.headers,
                Body.of(content, request.body.trailers),
            )
        return await self._record(request, options, nursery, fail)

    def _seen(self, request: messages.Request, content: bytes) -> RecordedRequest:
        """A request as the file would have it."""
        headers = _text(request.headers)
        seen = RecordedRequest(request.method, _url(request), headers, decoded(content, headers, whole=True))
        return self._redaction.sweep_request(self._redaction.request(seen))

    # ---- replay ------------------------------------------------------------------------------------------

    def _find(self, wanted: RecordedRequest) -> Interaction | None:
        """The next interaction with this request."""
        key = self._matching.key(wanted)
        last = None
        for number, old in enumerate(self._old):
            if self._keys[number] == key:
                last = old
                if not self._used[number]:
                    self._used[number] = True
                    return old
        return last if self._repeat else None

    def _refusal(self, wanted: RecordedRequest) -> str:
        lines = [f"the guest asked for {shown(str(wanted))}, which is not in {self._path}"]
        count = self._keys.count(self._matching.key(wanted))
        if count:
            times = "once" if count == 1 else f"{count} times"
            lines = [
                f"the guest asked for {shown(str(wanted))} more often than {self._path} has it: {times}",
                f"give repeat=True to have the last response repeated, or {_REDO}",
            ]
            return "\n".join(lines)
        if self._content is None:
            lines.append("the file does not exist: run the test once without --wasi-trio-record none to record it")
            return "\n".join(lines)
        nearest = self._matching.nearest(wanted, [old.request for old in self._old])
        if nearest is None:
            lines.append("it has no requests")
        else:
            lines.append(f"the nearest that it has is {shown(str(nearest))}:")
            lines += [f"  {difference}" for difference in self._matching.differences(wanted, nearest)]
        lines.append(f"if the guest is right, {_REDO}, or add to the file with --wasi-trio-record new_episodes")
        return "\n".join(lines)

    async def _replay(self, found: Interaction, request: messages.Request, nursery: trio.Nursery) -> messages.Response:
        nursery.start_soon(drain, request.body)
        response = found.response
        if response is None:
            if found.failure is not None:
                raise HttpError(found.failure.code.case, found.failure.code.value)
            await trio.sleep_forever()  # the guest left before the response, and does so again
            raise AssertionError
        content = response.content.encoded()
        trailers = _bytes(response.trailers)
        whole = found.failure is None and not found.left
        headers = _bytes(response.headers)
        if not may_have_content(request.method, response.status):
            # It may answer a request with another method than the recorded one.
            headers = response_headers(request.method, response.status, headers)
            return messages.Response(response.status, headers, Body.empty())
        if whole:
            # The same content may be encoded in another length, and so may a replacement of a secret.
            headers = [
                (name, b"%d" % len(content) if name.lower() == "content-length" else value) for name, value in headers
            ]
        if whole:
            body = Body.of(content, trailers or None)
        else:
            body = Body()
            body.write_pieces([content])
            if found.failure is not None:
                body.abort(HttpError(found.failure.code.case, found.failure.code.value))
        body.subscribe_left(nursery.cancel_scope.cancel)
        return messages.Response(response.status, headers, body)

    # ---- record ------------------------------------------------------------------------------------------

    async def _record(
        self,
        request: messages.Request,
        options: RequestOptions,
        nursery: trio.Nursery,
        fail: Callable[[BaseException], None],
    ) -> messages.Response:
        take = _Take(request)
        self._takes.append(take)
        body = request.body
        if body.finished and body.error is None and body.buffered <= _SMALL:
            take.sent += body.take(body.buffered)
            upward = Body.of(bytes(take.sent), body.trailers)
        else:
            upward = Body()
            nursery.start_soon(self._copy, take, body, upward, take.sent, fail)
        asked = messages.Request(
            request.method,
            request.scheme,
            request.authority,
            request.path_with_query,
            list(_readable(request.headers)),
            upward,
        )
        try:
            with real_time():
                response = await self._upstream(asked, options, nursery)
        except HttpError as error:
            if body.error is None:  # else the guest broke off its own request
                take.failure = error
            body.close(error)
            raise
        take.response = response
        downward = Body()
        downward.subscribe_left(nursery.cancel_scope.cancel)
        nursery.start_soon(self._copy, take, response.body, downward, take.received, fail)
        return messages.Response(response.status, list(response.headers), downward)

    async def _copy(
        self, take: _Take, source: Body, target: Body, kept: bytearray, fail: Callable[[BaseException], None]
    ) -> None:
        """Hand content on, and keep it."""
        try:
            while True:
                with real_time():
                    piece = await source.receive_some()
                if not piece:
                    break
                kept += piece
                if len(kept) > MOST:
                    fail(CassetteError(f"{self._named(take.request)} has more than {MOST >> 20} MiB of content"))
                    return
                await target.send_all(piece)
                await trio.lowlevel.checkpoint()
            target.finish(source.trailers)
        except BodyAborted as aborted:
            if take.response is not None and source is take.response.body:
                take.failure = aborted.error
            target.abort(aborted.error)
        except BodyClosed:
            source.close(target.refusal)
        finally:
            target.abort(HttpError("connection-terminated"))
            source.close()

    def _named(self, request: messages.Request) -> str:
        """A request in a message, without secrets."""
        return shown(str(self._redaction.request(RecordedRequest(request.method, _url(request), []))))


def cassette(
    file: str | os.PathLike[str],
    *,
    mode: str | None = None,
    match: Iterable[str] = ("method", "url"),
    repeat: bool = False,
    redact_headers: Names = (),
    redact_parameters: Names = (),
    redact_body: BodyRule | Iterable[BodyRule] = (),
    redact_values: str | Iterable[str | None] = (),
    varying: Iterable[str] = ("date",),
    upstream: Send | None = None,
) -> Cassette:
    """Record the requests of guests in a file, and answer them from it. Give the result as ``outgoing``.

    ``mode`` is ``once`` (the default: record if the file does not exist), ``none``, ``all`` or ``new_episodes``.
    pytest's option ``--wasi-trio-record`` overrides it. ``match`` names the parts in which a request must equal a
    recorded one: ``method``, ``url`` or its parts ``scheme``, ``authority``, ``path`` and ``query``, ``body``, and
    ``header:NAME``. With ``repeat``, the last response to equal requests answers all further ones.

    ``redact_headers`` adds fields whose values do not reach the file. ``redact_parameters`` adds parameters of queries
    and forms, and members of JSON. A mapping has the replacements. ``redact_body`` has regular expressions for secrets
    in content, whose groups are the secrets if they have any, or functions from bytes to bytes. ``redact_values`` are
    the secrets themselves. A value that one rule replaces is replaced in the whole file.

    ``varying`` names fields whose new values alone do not change a recorded interaction. ``upstream`` sends requests
    while recording. The default is the network: ``Client().send`` of ``wasi_trio.wasi.http``.

    Raises ValueError for an unknown mode or part, and re.error.
    """
    if mode is not None and mode not in list(RecordMode):
        raise ValueError(f"mode={mode!r} is not one of {', '.join(RecordMode)}")
    return Cassette(
        file,
        None if mode is None else RecordMode(mode),
        Matching(match),
        repeat,
        Redaction(redact_headers, redact_parameters, redact_body, redact_values),
        frozenset(name.lower() for name in ([varying] if isinstance(varying, str) else varying)),
        upstream or Client().send,
    )


def _url(request: messages.Request) -> str:
    return f"{request.scheme or 'https'}://{request.authority or ''}{request.path_with_query or '/'}"


def _trailers(body: Body) -> Fields:
    return _text((body.trailers or ()) if body.ended else ())


def _text(fields: Iterable[tuple[str, bytes]]) -> Fields:
    return [(name, bytes(value).decode("latin-1")) for name, value in fields]


def _bytes(fields: Fields) -> list[tuple[str, bytes]]:
    return [(name, value.encode("latin-1")) for name, value in fields]


def _readable(headers: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Fields of a request that asks for no coding of content but those that can be looked into."""
    for name, value in headers:
        if name.lower() == "accept-encoding":
            given = [item.strip() for item in value.decode("latin-1").split(",")]
            kept = [item for item in given if item.partition(";")[0].strip().lower() in (*CODINGS, "identity")]
            value = ", ".join(kept or ["identity"]).encode("latin-1")
        yield name, value
