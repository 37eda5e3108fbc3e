"""A guest that componentize-py builds for wasi:http/proxy@0.2.12: a route for each thing that tests ask of one."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from urllib.parse import parse_qs, parse_qsl, urlsplit

from componentize_py_types import Err, Ok
from wit_world.imports import environment, exit, insecure_seed, monotonic_clock, outgoing_handler, random, types
from wit_world.imports.streams import InputStream, OutputStream, StreamError_Closed
from wit_world.imports.types import (
    Fields,
    IncomingBody,
    IncomingRequest,
    OutgoingBody,
    OutgoingRequest,
    OutgoingResponse,
    ResponseOutparam,
)

#: bytes asked for at a time
CHUNK = 256 * 1024

HOUR = 3_600_000_000_000


class Response:
    """A response that has been set, and its body, open for writing."""

    def __init__(
        self,
        outparam: ResponseOutparam,
        status: int = 200,
        content_type: bytes = b"text/plain",
        more_headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        response = OutgoingResponse(Fields.from_list([("content-type", content_type), *more_headers]))
        response.set_status_code(status)
        self.body: OutgoingBody = response.body()
        ResponseOutparam.set(outparam, Ok(response))
        self.stream: OutputStream = self.body.write()

    def write(self, data: bytes) -> None:
        """Write as much at a time as the stream permits, waiting where it permits nothing."""
        while data:
            permit = self.stream.check_write()
            if permit:
                self.stream.write(data[:permit])
                data = data[permit:]
            else:
                with self.stream.subscribe() as room:
                    room.block()

    def copy(self, source: InputStream) -> None:
        """Write what arrives at ``source``, piece by piece, until its end."""
        while True:
            try:
                data = source.blocking_read(CHUNK)
            except Err as error:
                if isinstance(error.value, StreamError_Closed):
                    return
                raise
            self.write(data)

    def finish(self, trailers: Fields | None = None) -> None:
        """End the body; one that is dropped without this reaches the client as cut off."""
        self.stream.__exit__(None, None, None)
        OutgoingBody.finish(self.body, trailers)


class Request:
    def __init__(self, incoming: IncomingRequest) -> None:
        self.incoming = incoming
        self.target = incoming.path_with_query() or "/"
        url = urlsplit(self.target)
        self.path = url.path
        self.query = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}

    def headers(self) -> list[tuple[str, bytes]]:
        with self.incoming.headers() as fields:
            return fields.entries()

    def header(self, name: str) -> bytes | None:
        with self.incoming.headers() as fields:
            values = fields.get(name)
        return values[0] if values else None


def respond(outparam: ResponseOutparam, body: str, status: int = 200, content_type: bytes = b"text/plain") -> None:
    response = Response(outparam, status, content_type)
    response.write(body.encode())
    response.finish()


def hello(request: Request, outparam: ResponseOutparam) -> None:
    respond(outparam, "Hello, world!\n")


def answer(request: Request, outparam: ResponseOutparam) -> None:
    """``?status=``, ``?body=`` and ``?length=``, which is what content-length says of the body, rightly or wrongly.

    ``?unasked`` does not ask for the body, and ``?early`` finishes it before the response is set.
    """
    length = request.query.get("length")
    more_headers = [] if length is None else [("content-length", length.encode())]
    status = int(request.query.get("status", "200"))
    if not request.query.keys() & {"unasked", "early"}:
        response = Response(outparam, status, more_headers=more_headers)
        response.write(request.query.get("body", "").encode())
        response.finish()
        return
    outgoing = OutgoingResponse(Fields.from_list(more_headers))
    outgoing.set_status_code(status)
    if "early" in request.query:
        body = outgoing.body()
        with body.write() as stream:
            stream.blocking_write_and_flush(request.query.get("body", "").encode())
        OutgoingBody.finish(body, None)
    ResponseOutparam.set(outparam, Ok(outgoing))


def read_back(value: object) -> str:
    """A method or scheme as it was got: its case, and the text that goes with ``other``."""
    case = type(value).__name__.partition("_")[2]
    return f"{case} {value.value}" if case == "Other" else case


def target(request: Request, outparam: ResponseOutparam) -> None:
    """What a request says of itself once ``?method=``, ``?scheme=`` and ``?path=`` were set, as JSON; "refused"."""
    document: dict[str, str | None] = {}
    made = OutgoingRequest(Fields())
    for name, value in request.query.items():
        try:
            if name == "method":
                made.set_method(types.Method_Other(value))
                document[name] = read_back(made.method())
            elif name == "scheme":
                made.set_scheme(types.Scheme_Other(value))
                document[name] = read_back(made.scheme())
            else:
                made.set_path_with_query(value)
                document[name] = made.path_with_query()
        except Err:
            document[name] = "refused"
    respond(outparam, json.dumps(document), content_type=b"application/json")


def names(request: Request, outparam: ResponseOutparam) -> None:
    """Fields with each ``?name=value`` appended: those of the response, and a copy of them in it as JSON."""
    fields = Fields()
    for name, value in parse_qsl(urlsplit(request.target).query):
        fields.append(name, value.encode())
    with fields.clone() as copy:
        entries = [[name, value.decode()] for name, value in copy.entries()]
    response = OutgoingResponse(fields)
    body = response.body()
    ResponseOutparam.set(outparam, Ok(response))
    with body.write() as stream:
        stream.blocking_write_and_flush(json.dumps(entries).encode())
    OutgoingBody.finish(body, None)


def seed(request: Request, outparam: ResponseOutparam) -> None:
    """What two calls for the seed of hash maps have given, as JSON; as text, for JavaScript's numbers are smaller."""
    respond(outparam, json.dumps([str(insecure_seed.insecure_seed()) for _ in range(2)]))


def echo(request: Request, outparam: ResponseOutparam) -> None:
    """The request's body, as it arrives."""
    with request.incoming.consume() as body, body.stream() as stream:
        response = Response(outparam, content_type=request.header("content-type") or b"application/octet-stream")
        response.copy(stream)
    response.finish()


def splice(request: Request, outparam: ResponseOutparam) -> None:
    """As ``echo``, without the bytes entering the guest.

    The toolchain's runtime (componentize-py 0.25.1) never frees what a guest passes to ``write``, so ``echo`` grows
    by as much as it echoes; this does not.
    """
    with request.incoming.consume() as body, body.stream() as stream:
        response = Response(outparam, content_type=request.header("content-type") or b"application/octet-stream")
        try:
            while True:
                response.stream.blocking_splice(stream, CHUNK)
        except Err as error:
            if not isinstance(error.value, StreamError_Closed):
                raise
    response.finish()


def outgoing_request(request: Request) -> OutgoingRequest:
    """A GET of ``?url=``, or of the header ``x-url``."""
    header = request.header("x-url")
    url = urlsplit(request.query["url"] if header is None else header.decode())
    outgoing = OutgoingRequest(Fields())
    outgoing.set_scheme(types.Scheme_Https() if url.scheme == "https" else types.Scheme_Http())
    outgoing.set_authority(url.netloc)
    outgoing.set_path_with_query((url.path or "/") + (f"?{url.query}" if url.query else ""))
    return outgoing


def fetch(request: Request, outparam: ResponseOutparam) -> None:
    """What a GET of ``?url=`` (or of the header ``x-url``) answers, as it arrives; 502 if it fails."""
    try:
        future = outgoing_handler.handle(outgoing_request(request), None)
    except Err as error:
        return respond(outparam, f"{type(error.value).__name__}\n", 502)
    with future.subscribe() as ready:
        ready.block()
    result = future.get()
    assert isinstance(result, Ok)
    if isinstance(result.value, Err):
        return respond(outparam, f"{type(result.value.value).__name__}\n", 502)
    incoming = result.value.value
    with incoming.headers() as fields:
        content_type = fields.get("content-type")
    body: IncomingBody = incoming.consume()
    with incoming, body, body.stream() as stream:
        response = Response(outparam, incoming.status(), content_type[0] if content_type else b"text/plain")
        response.copy(stream)
    response.finish()


def trailers(request: Request, outparam: ResponseOutparam) -> None:
    """POSTs a line with a trailer to ``?url=``; answers with the trailers that came back, as JSON and as trailers."""
    outgoing = outgoing_request(request)
    outgoing.set_method(types.Method_Post())
    body = outgoing.body()
    future = outgoing_handler.handle(outgoing, None)
    with body.write() as stream:
        stream.blocking_write_and_flush(b"a line\n")
    OutgoingBody.finish(body, Fields.from_list([("x-sent", b"with the request")]))
    with future.subscribe() as ready:
        ready.block()
    result = future.get()
    assert isinstance(result, Ok) and isinstance(result.value, Ok)
    with result.value.value as incoming:
        content = incoming.consume()
        with content.stream() as source:
            drain(source)
        coming = IncomingBody.finish(content)
    with coming.subscribe() as ready:
        ready.block()
    arrived = coming.get()
    assert isinstance(arrived, Ok) and isinstance(arrived.value, Ok)
    fields = arrived.value.value
    entries = [] if fields is None else fields.entries()
    response = Response(outparam, content_type=b"application/json")
    response.write(json.dumps([[name, value.decode("latin-1")] for name, value in entries]).encode())
    response.finish(Fields.from_list(entries))


def drain(source: InputStream) -> None:
    """Read to the end and drop it."""
    try:
        while True:
            source.blocking_read(CHUNK)
    except Err as error:
        if not isinstance(error.value, StreamError_Closed):
            raise


def headers(request: Request, outparam: ResponseOutparam) -> None:
    """The request itself, as JSON; header values as latin-1, in the order they came in."""
    scheme = request.incoming.scheme()
    method = request.incoming.method()
    document = {
        "method": getattr(method, "value", type(method).__name__.removeprefix("Method_").upper()),
        "path": request.target,
        "scheme": None if scheme is None else getattr(scheme, "value", type(scheme).__name__.removeprefix("Scheme_")),
        "authority": request.incoming.authority(),
        "headers": [[name, value.decode("latin-1")] for name, value in request.headers()],
    }
    respond(outparam, json.dumps(document), content_type=b"application/json")


def stdout(request: Request, outparam: ResponseOutparam) -> None:
    print("a line on stdout")
    print("another line on stdout", flush=True)
    print("a line on stderr", file=sys.stderr, flush=True)
    respond(outparam, "printed\n")


def env(request: Request, outparam: ResponseOutparam) -> None:
    """The environment and the arguments, as JSON."""
    document = {"environment": dict(environment.get_environment()), "arguments": environment.get_arguments()}
    respond(outparam, json.dumps(document), content_type=b"application/json")


def leave(request: Request, outparam: ResponseOutparam) -> None:
    """wasi:cli/exit instead of an answer; ``?failed`` for its error status."""
    exit.exit(Err(None) if "failed" in request.query else Ok(None))


def sys_exit(request: Request, outparam: ResponseOutparam) -> None:
    """The end that a Python program gives itself, with the outparam still in its hands."""
    sys.exit(3)


def trap(request: Request, outparam: ResponseOutparam) -> None:
    raise RuntimeError("an exception that nothing in the guest catches")


def trap_in_body(request: Request, outparam: ResponseOutparam) -> None:
    response = Response(outparam)
    response.write(b"begun\n")
    response.stream.blocking_flush()
    raise RuntimeError("an exception when the response has begun")


def spin(request: Request, outparam: ResponseOutparam) -> None:
    while True:
        pass


def no_response(request: Request, outparam: ResponseOutparam) -> None:
    """Returns without having set one."""


def endless(request: Request, outparam: ResponseOutparam) -> None:
    """One line, then nothing: neither more nor an end."""
    response = Response(outparam)
    response.write(b"begun\n")
    response.stream.blocking_flush()
    while True:
        wait(HOUR)


def flood(request: Request, outparam: ResponseOutparam) -> None:
    """As much as is taken, without end."""
    response = Response(outparam)
    block = bytes(CHUNK)
    while True:
        response.write(block)


def oom(request: Request, outparam: ResponseOutparam) -> None:
    """Takes memory until there is no more: the MemoryError ends the call in a trap."""
    hoard = []
    while True:
        hoard.append(bytearray(1 << 20))


def wait(nanoseconds: int) -> None:
    with monotonic_clock.subscribe_duration(nanoseconds) as timer:
        timer.block()


def sleep(request: Request, outparam: ResponseOutparam) -> None:
    """Answers after ``?ms=`` milliseconds."""
    wait(int(request.query.get("ms", "1000")) * 1_000_000)
    respond(outparam, "slept\n")


def random_bytes(request: Request, outparam: ResponseOutparam) -> None:
    """``?bytes=`` of them, 16 if not said, in hexadecimal."""
    respond(outparam, random.get_random_bytes(int(request.query.get("bytes", "16"))).hex() + "\n")


def file(request: Request, outparam: ResponseOutparam) -> None:
    """What the file ``?path=`` holds, or the names in that directory; with ``&write=`` that is written first."""
    path = request.query["path"]
    try:
        if "write" in request.query:
            with open(path, "w") as target:
                target.write(request.query["write"])
        if os.path.isdir(path):
            respond(outparam, "".join(f"{name}\n" for name in sorted(os.listdir(path))))
        else:
            with open(path) as source:
                respond(outparam, source.read())
    except OSError as error:
        respond(outparam, f"{type(error).__name__}\n", 403)


ROUTES = {
    "/hello": hello,
    "/answer": answer,
    "/echo": echo,
    "/splice": splice,
    "/fetch": fetch,
    "/trailers": trailers,
    "/headers": headers,
    "/target": target,
    "/names": names,
    "/seed": seed,
    "/stdout": stdout,
    "/env": env,
    "/exit": leave,
    "/sys-exit": sys_exit,
    "/trap": trap,
    "/trap-in-body": trap_in_body,
    "/spin": spin,
    "/no-response": no_response,
    "/endless": endless,
    "/flood": flood,
    "/oom": oom,
    "/sleep": sleep,
    "/random": random_bytes,
    "/file": file,
}


class IncomingHandler:
    """The export wasi:http/incoming-handler."""

    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        with request:
            parsed = Request(request)
            route = ROUTES.get(parsed.path)
            if route is None:
                respond(response_out, "no such route\n", 404)
            else:
                route(parsed, response_out)
