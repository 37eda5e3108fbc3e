"""The component: /tea shows a product, /tea/3 the price of three."""

from componentize_py_types import Err, Ok
from wit_world.imports import catalog
from wit_world.imports.types import Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam


class IncomingHandler:
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        product_id, _, count = (request.path_with_query() or "/")[1:].partition("/")
        status = 200
        try:
            text = price_of(product_id, int(count)) if count else describe(product_id)
        except Err:
            status, text = 404, f"no such product: {product_id}"
        response = OutgoingResponse(Fields())
        response.set_status_code(status)
        body = response.body()
        ResponseOutparam.set(response_out, Ok(response))
        with body.write() as stream:
            stream.blocking_write_and_flush(f"{text}\n".encode())
        OutgoingBody.finish(body, None)


def describe(product_id: str) -> str:
    product = catalog.find(product_id)
    return f"{product.name}: {product.price_in_cents / 100:.2f}"


def price_of(product_id: str, count: int) -> str:
    with catalog.Cart("EUR") as cart:
        cart.add(product_id, count)
        return f"{count} of {product_id}: {cart.total() / 100:.2f}"
