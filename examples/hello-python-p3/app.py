"""Counts down from the number in the path, a line every tenth of a second."""

import wit_world
import wit_world.exports
from componentize_py_async_support import spawn
from componentize_py_async_support.streams import ByteStreamWriter
from componentize_py_types import Ok
from wit_world.imports import monotonic_clock
from wit_world.imports.wasi_http_types import Fields, Request, Response

TENTH_OF_A_SECOND = 100_000_000  # nanoseconds


class Handler(wit_world.exports.Handler):
    """The interface wasi:http/handler, which the world exports."""

    async def handle(self, request: Request) -> Response:
        number = (request.get_path_with_query() or "/")[1:]
        writer, content = wit_world.byte_stream()
        # no trailers
        _, trailers = wit_world.result_option_wasi_http_types_fields_wasi_http_types_error_code_future(lambda: Ok(None))
        response, _ = Response.new(Fields.from_list([("content-type", b"text/plain")]), content, trailers)
        # A task writes the content after the response. Meanwhile this instance takes other requests.
        spawn(count_down(int(number) if number.isdecimal() else 3, writer))
        return response


async def count_down(number: int, writer: ByteStreamWriter) -> None:
    with writer:
        while number > 0 and not writer.reader_dropped:
            await writer.write_all(f"{number}\n".encode())
            await monotonic_clock.wait_for(TENTH_OF_A_SECOND)
            number -= 1
        await writer.write_all(b"Lift-off!\n")
