"""Refuses requests for /private, and passes on all others."""

import wit_world
from componentize_py_async_support import spawn
from componentize_py_types import Ok
from wit_world import exports
from wit_world.imports import handler
from wit_world.imports.wasi_http_types import Fields, Request, Response


class Handler(exports.Handler):
    """The interface wasi:http/handler, which a middleware both exports and imports."""

    async def handle(self, request: Request) -> Response:
        if (request.get_path_with_query() or "/").startswith("/private"):
            return answer(403, b"Not for you.\n")
        return await handler.handle(request)


def answer(status: int, content: bytes) -> Response:
    writer, reader = wit_world.byte_stream()
    # no trailers
    _, trailers = wit_world.result_option_wasi_http_types_fields_wasi_http_types_error_code_future(lambda: Ok(None))
    response, _ = Response.new(Fields(), reader, trailers)
    response.set_status_code(status)

    async def write() -> None:
        with writer:
            await writer.write_all(content)

    spawn(write())  # the reader starts after the response has been returned
    return response
