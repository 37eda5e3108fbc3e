"""A guest that echoes like helpers of bindings: with ``blocking-write-and-flush``, at most 4 KiB per call."""

from __future__ import annotations

from componentize_py_types import Err, Ok
from wit_world.imports.streams import StreamError_Closed
from wit_world.imports.types import Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam

READ = 64 * 1024
WRITE = 4096


class IncomingHandler:
    """The export wasi:http/incoming-handler."""

    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        response = OutgoingResponse(Fields())
        outgoing = response.body()
        ResponseOutparam.set(response_out, Ok(response))
        with request, request.consume() as incoming, incoming.stream() as source, outgoing.write() as target:
            while True:
                try:
                    data = source.blocking_read(READ)
                except Err as error:
                    if isinstance(error.value, StreamError_Closed):
                        break
                    raise
                for start in range(0, len(data), WRITE):
                    target.blocking_write_and_flush(data[start : start + WRITE])
        OutgoingBody.finish(outgoing, None)
