"""The plugin of a harmless tenant: it counts its visits."""

from componentize_py_types import Ok
from wit_world.imports import store
from wit_world.imports.types import Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam


class IncomingHandler:
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        visits = int(store.get("visits") or 0) + 1
        store.set("visits", str(visits))
        response = OutgoingResponse(Fields())
        body = response.body()
        ResponseOutparam.set(response_out, Ok(response))
        with body.write() as stream:
            stream.blocking_write_and_flush(f"visit {visits}\n".encode())
        OutgoingBody.finish(body, None)
