"""Cassettes record a guest's requests to a real upstream once, and then answer them from a file."""

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
    MAX_CONTENT,
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

#: Maximum size of complete request content that is sent in one piece, in bytes.
_SMALL = 8 << 10
_REDO = "record again with --wasi-trio-record all"


class UnrecordedRequest(UnexpectedRequest):
    """A guest made a request, and its cassette has no response to it."""

    def __init__(self, request: OutgoingRequest, message: str) -> None:
        Exception.__init__(self, message)
        self.request = request


@dataclass
class _Take:
    """An interaction in the course of its recording."""

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
        """Return whether the response is complete: it has ended, or has as many bytes as its content-length says.

        A guest may leave after that number of bytes, without reading the end.
        """
        assert self.response is not None
        lengths = [value for name, value in headers if name.lower() == "content-length"]
        return self.response.body.end is BodyEnd.WHOLE or lengths == [str(len(self.received))]


class Cassette(Tape):
    """A stand-in for an upstream: ``outgoing=cassette("upstream.json")``. ``cassette`` describes its options.

    A cassette belongs to one test. Each recorded response answers one request. Equal requests get their responses in
    the order of their recording.
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
        self._default_mode = mode
        self._matching = matching
        self._repeat = repeat
        self._redaction = redaction
        self._varying = varying
        self._upstream = upstream
        self._opened = False
        self._path = self._file
        self._mode = RecordMode.ONCE
        #: The file's content at the time of opening; None without a file.
        self._content: bytes | None = None
        #: The interactions in the file.
        self._old: list[Interaction] = []
        self._keys: list[Key] = []
        self._used: list[bool] = []
        self._takes: list[_Take] = []

    def __repr__(self) -> str:
        return f"<Cassette {self._path}>"

    @property
    def path(self) -> Path:
        """The path of the file. Under pytest a relative path starts at the folder of the test's module."""
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
        """Read the file and choose the mode, at the cassette's first use. Raises CassetteError."""
        if self._opened:
            return
        self._path = self.path
        test = running_test.get()
        forced = None if test is None else test.session.mode
        mode = forced or self._default_mode or RecordMode.ONCE
        if test is not None and self._path.resolve() in test.session.written and mode is not RecordMode.NONE:
            mode = RecordMode.NEW_EPISODES  # Another test or example of this run has recorded interactions in it.
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
        """Whether a request without a response in the file is recorded."""
        if self._mode is RecordMode.ONCE:
            return self._content is None
        return self._mode is not RecordMode.NONE

    def save(self) -> None:
        """Write the recorded interactions, if any. Raises CassetteError.

        The harness calls this when a block ends without failure.
        """
        if not self._takes:
            return
        new = [self._redaction.apply(self._taken(take)) for take in self._takes]
        old = list(map(self._redaction.apply, self._old))
        kept = [] if self._mode is RecordMode.ALL else old
        # Only after all rules, because a secret of the last response may be in the first request.
        new, old, kept = (list(map(self._redaction.sweep, interactions)) for interactions in (new, old, kept))
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
        """Return the new interactions in the order of their requests in the old file. New requests come last.

        An old interaction stays if it differs only in varying fields.
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
        rest = {id(interaction) for unplaced in waiting.values() for interaction in unplaced}
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
        outgoing: OutgoingRequest,
        request: messages.Request,
        options: RequestOptions,
        nursery: trio.Nursery,
        fail: Callable[[BaseException], None],
    ) -> messages.Response:
        """Return the response to a guest's request, from the file or from the upstream.

        Raises HttpError, UnrecordedRequest and CassetteError. A cancelled recording stays incomplete in the file, as
        if the guest had left.
        """
        self._open()
        if self._mode is RecordMode.ALL or (self._records and not self._old):
            return await self._record(request, options, nursery, fail)
        content = await outgoing.read() if self._matching.needs_body else b""
        wanted = self._seen(request, content)
        found = self._find(wanted)
        if found is not None:
            await trio.lowlevel.checkpoint()
            return await self._replay(found, request, nursery)
        if not self._records:
            raise UnrecordedRequest(outgoing, self._refusal(wanted))
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
        """Return a request in its form in the file: decoded and without secrets."""
        headers = _text(request.headers)
        seen = RecordedRequest(request.method, _url(request), headers, decoded(content, headers, whole=True))
        return self._redaction.sweep_request(self._redaction.request(seen))

    # ---- replay ------------------------------------------------------------------------------------------

    def _find(self, wanted: RecordedRequest) -> Interaction | None:
        """Return the next unused interaction with this request; None if the file has none."""
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
                f"pass repeat=True to repeat the last response, or {_REDO}",
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
            await trio.sleep_forever()  # The recorded guest left before the response. This guest leaves as well.
            raise AssertionError
        content = response.content.encoded()
        trailers = _bytes(response.trailers)
        whole = found.failure is None and not found.left
        headers = _bytes(response.headers)
        if not may_have_content(request.method, response.status):
            # The recorded request may have had another method.
            headers = response_headers(request.method, response.status, headers)
            return messages.Response(response.status, headers, Body.empty())
        if whole:
            # Encoding the content again may change its length, and so may the replacement of a secret.
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
            upstream_body = Body.of(bytes(take.sent), body.trailers)
        else:
            upstream_body = Body()
            nursery.start_soon(self._copy, take, body, upstream_body, take.sent, fail)
        sent = messages.Request(
            request.method,
            request.scheme,
            request.authority,
            request.path_with_query,
            list(_with_known_codings(request.headers)),
            upstream_body,
        )
        try:
            with real_time():
                response = await self._upstream(sent, options, nursery)
        except HttpError as error:
            if body.error is None:  # Otherwise the guest aborted its own request.
                take.failure = error
            body.close(error)
            raise
        take.response = response
        guest_body = Body()
        guest_body.subscribe_left(nursery.cancel_scope.cancel)
        nursery.start_soon(self._copy, take, response.body, guest_body, take.received, fail)
        return messages.Response(response.status, list(response.headers), guest_body)

    async def _copy(
        self, take: _Take, source: Body, target: Body, kept: bytearray, fail: Callable[[BaseException], None]
    ) -> None:
        """Pass content from a body to another and append it to ``kept``."""
        try:
            while True:
                with real_time():
                    piece = await source.receive_some()
                if not piece:
                    break
                kept += piece
                if len(kept) > MAX_CONTENT:
                    fail(CassetteError(f"{self._named(take.request)} has more than {MAX_CONTENT >> 20} MiB of content"))
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
        """Return a request as an error message shows it, without secrets."""
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
    """Record the requests of guests in a file, and answer them from it. Pass the result as ``outgoing``.

    * ``mode`` is one of ``RecordMode``: ``once`` (the default: record if the file does not exist), ``none``, ``all`` or
      ``new_episodes``. pytest's option ``--wasi-trio-record`` overrides it.
    * ``match`` names the parts in which a request must equal a recorded request: ``method``, ``url``, ``body``,
      ``header:NAME``, and the parts of the URL: ``scheme``, ``authority``, ``path`` and ``query``.
    * ``repeat``: the last response to equal requests answers all further ones.
    * ``redact_headers`` adds fields whose values do not reach the file. A mapping also has their replacements.
    * ``redact_parameters`` adds parameters of queries and forms, and members of JSON, in the same way.
    * ``redact_body`` has rules for content: functions from bytes to bytes, and regular expressions. The groups of an
      expression are secrets. Without groups, the whole match is a secret.
    * ``redact_values`` are the secrets themselves.
    * ``varying`` names fields whose new values alone do not change a recorded interaction.
    * ``upstream`` sends requests while recording. The default is the network: ``Client().send`` of
      ``wasi_trio.wasi.http``.

    A value that one rule replaces is replaced in the whole file. Raises ValueError for an unknown mode or part, and
    re.error.
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


def _with_known_codings(headers: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Yield a request's fields. Of content codings, the request accepts only those that a cassette can decode."""
    for name, value in headers:
        if name.lower() == "accept-encoding":
            accepted = [item.strip() for item in value.decode("latin-1").split(",")]
            kept = [item for item in accepted if item.partition(";")[0].strip().lower() in (*CODINGS, "identity")]
            value = ", ".join(kept or ["identity"]).encode("latin-1")
        yield name, value
