from __future__ import annotations

import pytest
import trio
import trio.testing

from wasi_trio.serve.asgi._upload import Message, Upload
from wasi_trio.wasi.http._body import Body, BodyAborted


def content(data: bytes, more: bool = True) -> Message:
    return {"type": "http.request", "body": data, "more_body": more}


async def test_content_followed_by_disconnect() -> None:
    give, take = trio.open_memory_channel[Message](0)
    body = Body()
    upload = Upload(take.receive, body)
    left: list[bool] = []
    upload.on_left = lambda: left.append(upload.client_left)
    async with give, take, trio.open_nursery() as nursery:
        nursery.start_soon(upload.run)
        await give.send(content(b"ab"))
        assert await body.receive_some() == b"ab"
        await give.send(content(b"", more=False))
        assert await body.receive_some() == b""
        assert upload.complete
        assert not left
        await give.send({"type": "http.disconnect"})
    assert left == [True]


async def test_disconnect_within_content() -> None:
    give, take = trio.open_memory_channel[Message](0)
    body = Body()
    async with give, take, trio.open_nursery() as nursery:
        nursery.start_soon(Upload(take.receive, body).run)
        await give.send(content(b"ab"))
        await give.send({"type": "http.disconnect"})
    assert await body.receive_some() == b"ab"
    with pytest.raises(BodyAborted, match="connection-terminated"):
        await body.receive_some()


async def test_backpressure() -> None:
    give, take = trio.open_memory_channel[Message](0)
    body = Body(capacity=4)
    async with give, take, trio.open_nursery() as nursery:
        nursery.start_soon(Upload(take.receive, body).run)
        await give.send(content(b"abcdef"))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.WouldBlock):
            give.send_nowait(content(b"g"))
        assert await body.receive_some() == b"abcd"
        assert await body.receive_some() == b"ef"
        await give.send(content(b"g", more=False))
        assert await body.receive_some() == b"g"
        nursery.cancel_scope.cancel()


async def test_cancellation_loses_nothing() -> None:
    give, take = trio.open_memory_channel[Message](0)
    body = Body(capacity=4)
    upload = Upload(take.receive, body)
    async with give, take:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(upload.run)
            await give.send(content(b"abcdefghij", more=False))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(upload.run)
            received = b""
            while chunk := await body.receive_some():
                received += chunk
            assert received == b"abcdefghij"
            nursery.cancel_scope.cancel()


async def test_unread_content_is_dropped() -> None:
    give, take = trio.open_memory_channel[Message](0)
    body = Body(capacity=4)
    upload = Upload(take.receive, body)
    async with give, take, trio.open_nursery() as nursery:
        nursery.start_soon(upload.run)
        await give.send(content(b"abcdefgh"))
        await trio.testing.wait_all_tasks_blocked()
        body.close()
        for _ in range(5):
            await give.send(content(b"abcdefgh"))
        await give.send({"type": "http.disconnect"})
    assert upload.client_left
