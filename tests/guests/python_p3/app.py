"""A guest that componentize-py builds for wasi:http/service@0.3.0: a route for each thing that tests ask of one.

It is written as asyncio code is. What follows a response, its body above all, is written by tasks that `spawn` started:
they belong to the request's task of the component model, which lives until the last of them has ended.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Never
from urllib.parse import parse_qs, parse_qsl, urlsplit

import wit_world.exports
from componentize_py_async_support import spawn
from componentize_py_async_support.futures import FutureReader, FutureWriter
from componentize_py_async_support.streams import ByteStreamReader, ByteStreamWriter
from componentize_py_types import Err, Ok, Result
from wit_world.imports import client, environment, exit, insecure_seed, monotonic_clock, random, stderr, stdin, stdout
from wit_world.imports import wasi_http_types as http
from wit_world.imports.wasi_http_types import ErrorCode, Fields

#: bytes asked for at a time
CHUNK = 256 * 1024

HOUR = 3_600_000_000_000

Trailers = Result[Fields | None, ErrorCode]
Sent = Result[None, ErrorCode]


def trailers_future() -> tuple[FutureWriter[Trailers], FutureReader[Trailers]]:
    """The two ends of a body's trailers, which are none if nobody writes others."""
    return wit_world.result_option_wasi_http_types_fields_wasi_http_types_error_code_future(lambda: Ok(None))


def sent_future() -> tuple[FutureWriter[Sent], FutureReader[Sent]]:
    """The two ends of what became of a body, which is success if nobody writes otherwise."""
    return wit_world.result_unit_wasi_http_types_error_code_future(lambda: Ok(None))


class Body:
    """The writable side of a body: its bytes, and the trailers that end it."""

    def __init__(self) -> None:
        self.stream: ByteStreamWriter
        self.trailers: FutureWriter[Trailers]
        self.stream, self.stream_reader = wit_world.byte_stream()
        self.trailers, self.trailers_reader = trailers_future()

    async def write(self, data: bytes) -> bool:
        """Write it all; whether anybody is still reading."""
        await self.stream.write_all(data)
        return not self.stream.reader_dropped

    async def copy(self, source: ByteStreamReader, chunk: int = CHUNK) -> None:
        """Write what arrives at ``source``, so many bytes at a time, until its end or until nobody reads any more."""
        while not source.writer_dropped:
            if not await self.write(await source.read(chunk)):
                return

    async def finish(self, trailers: Fields | None = None) -> None:
        await self.end(Ok(trailers))

    async def end(self, trailers: Trailers) -> None:
        """End the body; an error for its trailers reaches the client as a body that is cut off."""
        self.stream.__exit__(None, None, None)
        await self.trailers.write(trailers)


class Incoming:
    """The readable side of a request's or response's body; its holder is told of success when this is closed."""

    def __init__(self, message: http.Request | http.Response) -> None:
        self.handled, handled = sent_future()
        self.stream, self.trailers = type(message).consume_body(message, handled)

    async def read_all(self) -> bytes:
        pieces = []
        while not self.stream.writer_dropped:
            pieces.append(await self.stream.read(CHUNK))
        return b"".join(pieces)

    async def close(self) -> None:
        """Drop what has not been read."""
        self.stream.__exit__(None, None, None)
        self.trailers.__exit__(None, None, None)
        await self.handled.write(Ok(None))


class Request:
    def __init__(self, incoming: http.Request) -> None:
        self.incoming = incoming
        self.target = incoming.get_path_with_query() or "/"
        url = urlsplit(self.target)
        self.path = url.path
        self.query_string = url.query
        self.query = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}

    def headers(self) -> list[tuple[str, bytes]]:
        with self.incoming.get_headers() as fields:
            return fields.copy_all()

    def header(self, name: str) -> bytes | None:
        with self.incoming.get_headers() as fields:
            values = fields.get(name)
        return values[0] if values else None

    def milliseconds(self, otherwise: int) -> int:
        """``?ms=`` in nanoseconds."""
        return int(self.query.get("ms", otherwise)) * 1_000_000


def new_response(
    body: Body,
    status: int = 200,
    content_type: bytes = b"text/plain",
    more_headers: Sequence[tuple[str, bytes]] = (),
) -> http.Response:
    """A response with this body, whose writer learns what became of it from the body itself."""
    fields = Fields.from_list([("content-type", content_type), *more_headers])
    response, transmitted = http.Response.new(fields, body.stream_reader, body.trailers_reader)
    transmitted.__exit__(None, None, None)
    response.set_status_code(status)
    return response


def hand_on(incoming: Incoming, status: int, content_type: bytes) -> http.Response:
    """A response whose body is the one that comes in, of which this guest sees not a byte."""
    fields = Fields.from_list([("content-type", content_type)])
    response, transmitted = http.Response.new(fields, incoming.stream, incoming.trailers)
    response.set_status_code(status)

    async def pass_back() -> None:
        await incoming.handled.write(await transmitted.read())

    spawn(pass_back())
    return response


def respond(
    body: str,
    status: int = 200,
    content_type: bytes = b"text/plain",
    more_headers: Sequence[tuple[str, bytes]] = (),
) -> http.Response:
    """A response with this body, which is written once the response has been returned."""
    outgoing = Body()

    async def write() -> None:
        await outgoing.write(body.encode())
        await outgoing.finish()

    spawn(write())
    return new_response(outgoing, status, content_type, more_headers)


async def hello(request: Request) -> http.Response:
    return respond("Hello, world!\n")


async def answer(request: Request) -> http.Response:
    """``?status=``, ``?body=`` and ``?length=``, which is what content-length says of the body, rightly or wrongly."""
    length = request.query.get("length")
    more_headers = [] if length is None else [("content-length", length.encode())]
    body = request.query.get("body", "")
    return respond(body, int(request.query.get("status", "200")), more_headers=more_headers)


#: what is kept for as long as the instance lives
kept: list[object] = []


async def ordered(request: Request) -> http.Response:
    """``?body=`` and a trailer, in the order of ``?do=``: the letters are steps, each of which is waited for.

    ``b`` writes the body, ``t`` the trailer, ``e`` an error in its place, ``d`` drops the stream, ``s`` waits to hear
    what became of the response. ``?length=`` is content-length. What is left undone is kept. The response is returned
    after ``?ms=`` milliseconds.
    """
    length = request.query.get("length")
    more_headers = [] if length is None else [("content-length", length.encode())]
    outgoing = Body()
    fields = Fields.from_list([("trailer", b"x-trailer"), *more_headers])
    response, transmitted = http.Response.new(fields, outgoing.stream_reader, outgoing.trailers_reader)
    begun.append((outgoing, transmitted))
    spawn(take_steps(request, outgoing, transmitted))
    await monotonic_clock.wait_for(request.milliseconds(0))
    return response


#: the responses of /ordered: their bodies, and what becomes of them
begun: list[tuple[Body, FutureReader[Sent]]] = []


async def take_steps(request: Request, outgoing: Body, transmitted: FutureReader[Sent]) -> None:
    for step in request.query["do"]:
        if step == "b":
            await outgoing.write(request.query.get("body", "").encode())
        elif step == "t":
            await outgoing.trailers.write(Ok(Fields.from_list([("X-Trailer", b"value")])))
        elif step == "e":
            await outgoing.trailers.write(Err(http.ErrorCode_InternalError("given up")))
        elif step == "d":
            outgoing.stream.__exit__(None, None, None)
        elif step == "s":
            print(type(await transmitted.read()).__name__, flush=True)


async def resume(request: Request) -> http.Response:
    """Goes on with the first response of ``/ordered`` that this instance has begun, as ``?do=`` says."""
    await take_steps(request, *begun[0])
    return respond("resumed\n")


async def wait_for_itself(request: Request) -> Never:
    """Reads a stream whose other end it holds itself."""
    writer, reader = wit_world.byte_stream()
    kept.append(writer)
    await reader.read(1)
    raise AssertionError("there was something to read")


async def sent(request: Request) -> http.Response:
    """What a POST of ``?body=`` to ``?url=`` comes to, and what became of the request itself, as JSON.

    ``?length=`` is its content-length, and with ``?keep`` neither its stream is dropped nor trailers are written.
    """
    parts = urlsplit(request.query["url"])
    length = request.query.get("length")
    fields = Fields.from_list([] if length is None else [("content-length", length.encode())])
    outgoing = Body()
    made, transmitted = http.Request.new(fields, outgoing.stream_reader, outgoing.trailers_reader, None)
    made.set_method(http.Method_Post())
    made.set_scheme(http.Scheme_Https() if parts.scheme == "https" else http.Scheme_Http())
    made.set_authority(parts.netloc)
    made.set_path_with_query(parts.path or "/")
    kept.append(outgoing)

    async def write() -> None:
        await outgoing.write(request.query.get("body", "").encode())
        if "keep" not in request.query:
            await outgoing.finish()

    spawn(write())
    document: dict[str, str | int] = {}
    try:
        response = await client.send(made)
    except Err as error:
        document["send"] = type(error.value).__name__.removeprefix("ErrorCode_")
    else:
        document["send"] = response.get_status_code()
        incoming = Incoming(response)
        document["read"] = (await incoming.read_all()).decode()
        ended = await incoming.trailers.read()
        document["ended"] = type(ended.value).__name__.removeprefix("ErrorCode_") if isinstance(ended, Err) else "ok"
    became = await transmitted.read()
    document["sent"] = type(became.value).__name__.removeprefix("ErrorCode_") if isinstance(became, Err) else "ok"
    return respond(json.dumps(document), content_type=b"application/json")


def read_back(value: object) -> str:
    """A method or scheme as it was got: its case, and the text that goes with ``other``."""
    case = type(value).__name__.partition("_")[2]
    return f"{case} {value.value}" if case == "Other" else case


async def target(request: Request) -> http.Response:
    """What a request says of itself once ``?method=``, ``?scheme=`` and ``?path=`` were set, as JSON; "refused"."""
    document: dict[str, str | None] = {}
    body = Body()
    made, _ = http.Request.new(Fields(), None, body.trailers_reader, None)
    kept.append(body)
    for name, value in request.query.items():
        try:
            if name == "method":
                made.set_method(http.Method_Other(value))
                document[name] = read_back(made.get_method())
            elif name == "scheme":
                made.set_scheme(http.Scheme_Other(value))
                document[name] = read_back(made.get_scheme())
            else:
                made.set_path_with_query(value)
                document[name] = made.get_path_with_query()
        except Err:
            document[name] = "refused"
    return respond(json.dumps(document), content_type=b"application/json")


async def names(request: Request) -> http.Response:
    """Fields with each ``?name=value`` appended: those of the response, and a copy of them in it as JSON."""
    fields = Fields()
    for name, value in parse_qsl(request.query_string):
        fields.append(name, value.encode())
    with fields.clone() as copy:
        entries = [[name, value.decode()] for name, value in copy.copy_all()]
    outgoing = Body()

    async def write() -> None:
        await outgoing.write(json.dumps(entries).encode())
        await outgoing.finish()

    spawn(write())
    response, transmitted = http.Response.new(fields, outgoing.stream_reader, outgoing.trailers_reader)
    transmitted.__exit__(None, None, None)
    return response


async def seed(request: Request) -> http.Response:
    """What two calls for the seed of hash maps have given, as JSON; as text, for JavaScript's numbers are smaller."""
    return respond(json.dumps([str(insecure_seed.get_insecure_seed()) for _ in range(2)]))


async def echo(request: Request) -> http.Response:
    """The request's body and trailers, as they arrive, ``?chunk=`` bytes at a time."""
    content_type = request.header("content-type") or b"application/octet-stream"
    incoming = Incoming(request.incoming)
    outgoing = Body()

    async def copy() -> None:
        await outgoing.copy(incoming.stream, int(request.query.get("chunk", CHUNK)))
        incoming.stream.__exit__(None, None, None)
        trailers = await incoming.trailers.read()
        await asyncio.gather(outgoing.end(trailers), incoming.handled.write(Ok(None)))

    spawn(copy())
    return new_response(outgoing, content_type=content_type)


async def through(request: Request) -> http.Response:
    """As ``echo``, by handing on the request's own stream and trailers."""
    content_type = request.header("content-type") or b"application/octet-stream"
    return hand_on(Incoming(request.incoming), 200, content_type)


def outgoing_request(url: str, body: Body) -> http.Request:
    """A GET of ``url`` with this body."""
    parts = urlsplit(url)
    outgoing, transmitted = http.Request.new(Fields(), body.stream_reader, body.trailers_reader, None)
    transmitted.__exit__(None, None, None)
    outgoing.set_scheme(http.Scheme_Https() if parts.scheme == "https" else http.Scheme_Http())
    outgoing.set_authority(parts.netloc)
    outgoing.set_path_with_query((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
    return outgoing


async def get(url: str) -> http.Response:
    """What a GET of ``url`` answers; raises Err with the error-code."""
    body = Body()
    spawn(body.finish())
    return await client.send(outgoing_request(url, body))


async def fetch_one(url: str) -> dict[str, object]:
    try:
        response = await get(url)
    except Err as error:
        return {"url": url, "error": type(error.value).__name__.removeprefix("ErrorCode_")}
    status = response.get_status_code()
    incoming = Incoming(response)
    body = await incoming.read_all()
    await incoming.close()
    return {"url": url, "status": status, "body": body.decode("latin-1")}


async def fetch(request: Request) -> http.Response:
    """GETs every ``?url=`` at once; a line of JSON for each when it has been answered: whichever is first, first."""
    fetches = [asyncio.create_task(fetch_one(url)) for name, url in parse_qsl(request.query_string) if name == "url"]
    outgoing = Body()

    async def report() -> None:
        for finished in asyncio.as_completed(fetches):
            await outgoing.write(json.dumps(await finished).encode() + b"\n")
        await outgoing.finish()

    spawn(report())
    return new_response(outgoing, content_type=b"application/jsonl")


async def proxy(request: Request) -> http.Response:
    """What a GET of ``?url=`` (or of the header ``x-url``) answers, its body handed on; 502 if it fails."""
    header = request.header("x-url")
    try:
        response = await get(request.query["url"] if header is None else header.decode())
    except Err as error:
        return respond(f"{type(error.value).__name__}\n", 502)
    status = response.get_status_code()
    with response.get_headers() as fields:
        content_type = fields.get("content-type")
    return hand_on(Incoming(response), status, content_type[0] if content_type else b"text/plain")


async def trailers(request: Request) -> http.Response:
    """POSTs a line with a trailer to ``?url=``; answers with the trailers that came back, as JSON and as trailers."""
    sending = Body()

    async def send() -> None:
        await sending.write(b"a line\n")
        await sending.finish(Fields.from_list([("x-sent", b"with the request")]))

    outgoing = outgoing_request(request.query["url"], sending)
    outgoing.set_method(http.Method_Post())
    spawn(send())
    incoming = Incoming(await client.send(outgoing))
    await incoming.read_all()
    incoming.stream.__exit__(None, None, None)
    arrived = await incoming.trailers.read()
    await incoming.handled.write(Ok(None))
    assert isinstance(arrived, Ok)
    entries = [] if arrived.value is None else arrived.value.copy_all()
    answering = Body()

    async def respond_with_trailers() -> None:
        await answering.write(json.dumps([[name, value.decode("latin-1")] for name, value in entries]).encode())
        await answering.finish(Fields.from_list(entries))

    spawn(respond_with_trailers())
    return new_response(answering, content_type=b"application/json")


async def headers(request: Request) -> http.Response:
    """The request itself, as JSON; header values as latin-1, in the order they came in."""
    scheme = request.incoming.get_scheme()
    method = request.incoming.get_method()
    document = {
        "method": getattr(method, "value", type(method).__name__.removeprefix("Method_").upper()),
        "path": request.target,
        "scheme": None if scheme is None else getattr(scheme, "value", type(scheme).__name__.removeprefix("Scheme_")),
        "authority": request.incoming.get_authority(),
        "headers": [[name, value.decode("latin-1")] for name, value in request.headers()],
    }
    return respond(json.dumps(document), content_type=b"application/json")


#: how often background work has run to its end in this instance
finished = 0


async def background(request: Request) -> http.Response:
    """Answers at once, and counts ``?ms=`` milliseconds later; ``?trap`` traps then instead, ``?print`` says so too."""

    async def work() -> None:
        global finished
        await monotonic_clock.wait_for(request.milliseconds(50))
        if "trap" in request.query:
            raise RuntimeError("an exception in the background")
        finished += 1
        if "print" in request.query:
            print("finished in the background", flush=True)

    spawn(work())
    return respond("started\n")


async def count(request: Request) -> http.Response:
    """How often ``/background`` has counted in this instance."""
    return respond(f"{finished}\n")


async def print_lines(request: Request) -> http.Response:
    """Lines on stdout and stderr by Python's own files, which its C library writes with WASI 0.2."""
    print("a line on stdout")
    print("another line on stdout", flush=True)
    print("a line on stderr", file=sys.stderr, flush=True)
    return respond("printed\n")


async def write_lines(request: Request) -> http.Response:
    """Lines on stdout and stderr through streams of WASI 0.3; answers with how each of them ended."""

    async def write(interface: type, text: bytes) -> str:
        writer, reader = wit_world.byte_stream()
        outcome = interface.write_via_stream(reader)
        with writer:
            await writer.write_all(text)
        return type(await outcome.read()).__name__

    lines = b"a line on %b\nanother line on %b\n"
    outcomes = await asyncio.gather(
        write(stdout, lines % (b"stdout", b"stdout")), write(stderr, lines % (b"stderr", b"stderr"))
    )
    return respond("".join(f"{outcome}\n" for outcome in outcomes))


async def read_stdin(request: Request) -> http.Response:
    """What stdin holds, which for a service is nothing."""
    stream, outcome = stdin.read_via_stream()
    pieces = []
    with stream:
        while not stream.writer_dropped:
            pieces.append(await stream.read(CHUNK))
    return respond(f"{type(await outcome.read()).__name__} {len(b''.join(pieces))}\n")


async def env(request: Request) -> http.Response:
    """The environment and the arguments, as JSON."""
    document = {"environment": dict(environment.get_environment()), "arguments": environment.get_arguments()}
    return respond(json.dumps(document), content_type=b"application/json")


async def leave(request: Request) -> Never:
    """wasi:cli/exit instead of an answer; ``?failed`` for its error status."""
    exit.exit(Err(None) if "failed" in request.query else Ok(None))
    raise AssertionError("exit has returned")


async def trap(request: Request) -> Never:
    raise RuntimeError("an exception that nothing in the guest catches")


async def trap_in_body(request: Request) -> http.Response:
    outgoing = Body()

    async def write() -> None:
        await outgoing.write(b"begun\n")
        raise RuntimeError("an exception when the response has begun")

    spawn(write())
    return new_response(outgoing)


async def cut_off(request: Request) -> http.Response:
    """A line of a body, and an error where its trailers should be."""
    outgoing = Body()

    async def write() -> None:
        await outgoing.write(b"begun\n")
        await outgoing.end(Err(http.ErrorCode_InternalError("given up")))

    spawn(write())
    return new_response(outgoing)


async def error(request: Request) -> Never:
    """An error-code in place of a response."""
    raise Err(http.ErrorCode_InternalError("no answer to this"))


async def spin(request: Request) -> Never:
    while True:
        pass


async def endless(request: Request) -> http.Response:
    """One line, then nothing: neither more nor an end."""
    outgoing = Body()

    async def write() -> None:
        await outgoing.write(b"begun\n")
        while True:
            await monotonic_clock.wait_for(HOUR)

    spawn(write())
    return new_response(outgoing)


async def flood(request: Request) -> http.Response:
    """As much as is taken, until nobody reads any more."""
    outgoing = Body()

    async def write() -> None:
        block = bytes(CHUNK)
        while await outgoing.write(block):
            pass
        await outgoing.finish()

    spawn(write())
    return new_response(outgoing)


async def oom(request: Request) -> Never:
    """Takes memory until there is no more: the MemoryError ends the call in a trap."""
    hoard = []
    while True:
        hoard.append(bytearray(1 << 20))


async def sleep(request: Request) -> http.Response:
    """Answers after ``?ms=`` milliseconds."""
    await monotonic_clock.wait_for(request.milliseconds(1000))
    return respond("slept\n")


async def random_bytes(request: Request) -> http.Response:
    """``?bytes=`` of them, 16 if not said, in hexadecimal."""
    return respond(random.get_random_bytes(int(request.query.get("bytes", "16"))).hex() + "\n")


ROUTES = {
    "/hello": hello,
    "/answer": answer,
    "/echo": echo,
    "/through": through,
    "/fetch": fetch,
    "/proxy": proxy,
    "/trailers": trailers,
    "/headers": headers,
    "/ordered": ordered,
    "/resume": resume,
    "/wait-for-itself": wait_for_itself,
    "/sent": sent,
    "/target": target,
    "/names": names,
    "/seed": seed,
    "/background": background,
    "/count": count,
    "/print": print_lines,
    "/stdout": write_lines,
    "/stdin": read_stdin,
    "/env": env,
    "/exit": leave,
    "/trap": trap,
    "/trap-in-body": trap_in_body,
    "/cut-off": cut_off,
    "/error": error,
    "/spin": spin,
    "/endless": endless,
    "/flood": flood,
    "/oom": oom,
    "/sleep": sleep,
    "/random": random_bytes,
}


class Handler(wit_world.exports.Handler):
    """The export wasi:http/handler."""

    async def handle(self, request: http.Request) -> http.Response:
        parsed = Request(request)
        route = ROUTES.get(parsed.path)
        if route is None:
            return respond("no such route\n", 404)
        return await route(parsed)
