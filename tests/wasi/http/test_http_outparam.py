"""wasi:http/types.response-outparam 0.2."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from wasi_trio.component._errors import Trap
from wasi_trio.component._values import Err, Ok, Variant
from wasi_trio.wasi._context import WasiContext
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Response
from wasi_trio.wasi.p2._http import Types
from wasi_trio.wasi.p2._http_bodies import DISCARDED

types = Types(WasiContext())


def outgoing():
    message = types.OutgoingResponse(types.Fields())
    return message, message.body().value


async def test_a_response_is_set_once():
    seen = []
    param = types.ResponseOutparam("GET", seen.append)
    message, _ = outgoing()
    types.ResponseOutparam.set(param, Ok(message))
    assert seen == [param]
    assert isinstance(param.outcome, Response)
    assert await param.wait() is param.outcome
    with pytest.raises(Trap):
        types.ResponseOutparam.set(param, Ok(message))
    param.give_up()
    param.on_drop()
    assert seen == [param]
    assert isinstance(param.outcome, Response)


async def test_a_response_is_awaited():
    param = types.ResponseOutparam("GET")
    message, _ = outgoing()
    got = []

    async def wait():
        got.append(await param.wait())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        types.ResponseOutparam.set(param, Ok(message))
    assert got == [param.outcome]


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (lambda param: types.ResponseOutparam.set(param, Err(Variant("loop-detected"))), "loop-detected"),
        (lambda param: param.give_up(), "internal-error"),
        (lambda param: param.on_drop(), "internal-error"),
    ],
)
async def test_missing_responses(end, code):
    seen = []
    param = types.ResponseOutparam("GET", seen.append)
    end(param)
    assert seen == [param]
    assert param.outcome.code.case == code
    with pytest.raises(HttpError):
        await param.wait()


def test_an_informational_status_is_no_response():
    param = types.ResponseOutparam("GET")
    message, body = outgoing()
    assert message.set_status_code(103) == Ok(None)
    types.ResponseOutparam.set(param, Ok(message))
    assert param.outcome.code == Variant("HTTP-protocol-error")
    assert body.body.closed


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_content_of_a_response_without_content_is_discarded(method: str, status: int):
    param = types.ResponseOutparam(method)
    message, body = outgoing()
    assert message.set_status_code(status) == Ok(None)
    stream = body.write().value
    assert await stream.blocking_write_and_flush(b"before") == Ok(None)
    types.ResponseOutparam.set(param, Ok(message))
    param.outcome.body.close()  # as the server does
    assert await stream.blocking_write_and_flush(b"after") == Ok(None)
    assert stream.check_write().value > 0
    assert stream.write(b"more") == Ok(None)
    assert stream.subscribe().ready()
    stream.on_drop()
    assert types.OutgoingBody.finish(body, None) == Ok(None)


def test_endless_content_of_a_response_without_content_is_refused():
    param = types.ResponseOutparam("HEAD")
    message, body = outgoing()
    stream = body.write().value
    types.ResponseOutparam.set(param, Ok(message))
    param.outcome.body.close()
    written = 0
    while isinstance(room := stream.check_write(), Ok):
        assert stream.write_zeroes(room.value) == Ok(None)
        written += room.value
    assert room == Err(Variant("closed"))
    assert written == DISCARDED


def test_content_that_the_client_no_longer_reads_is_refused():
    param = types.ResponseOutparam("GET")
    message, body = outgoing()
    stream = body.write().value
    types.ResponseOutparam.set(param, Ok(message))
    param.outcome.body.close()
    assert stream.check_write() == Err(Variant("closed"))


def test_informational_responses_are_not_supported():
    param = types.ResponseOutparam("GET")
    assert param.send_informational(200, types.Fields()) == Err(Variant("HTTP-protocol-error"))
    assert param.send_informational(103, types.Fields()).value.case == "internal-error"
