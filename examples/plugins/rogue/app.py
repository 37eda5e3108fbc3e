"""The plugin of a hostile tenant: /spin, /eat, /trap and /fill exhaust resources, /read tries another's data."""

from componentize_py_types import Err, Ok
from wit_world.imports import store
from wit_world.imports.types import Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam


class IncomingHandler:
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        match request.path_with_query():
            case "/spin":
                while True:
                    pass
            case "/eat":
                hoard = []
                while True:
                    hoard.append(bytearray(1 << 20))
            case "/trap":
                raise RuntimeError("an exception that nothing catches")
            case "/fill":
                text = fill()
            case _:
                text = f"visits of others: {store.get('visits')}"
        response = OutgoingResponse(Fields())
        body = response.body()
        ResponseOutparam.set(response_out, Ok(response))
        with body.write() as stream:
            stream.blocking_write_and_flush(f"{text}\n".encode())
        OutgoingBody.finish(body, None)


def fill() -> str:
    number = 0
    while True:
        try:
            store.set(f"key {number}", "x" * 1000)
        except Err as error:
            return f"refused: {error.value}"
        number += 1
