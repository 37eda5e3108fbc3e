"""A worker whose instance takes several requests at once (WASI 0.3)."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from wasi_trio.component.concurrency.tasks import CANCELLED
from wasi_trio.component.errors import Trap
from wasi_trio.runtime.instance import Instance
from wasi_trio.runtime.pump import Call, Pump
from wasi_trio.serve.exchange import Exchange, GuestFailed
from wasi_trio.serve.guest import ServiceHandler
from wasi_trio.serve.worker import Worker, first_line
from wasi_trio.wasi.exit import Exit
from wasi_trio.wasi.http.errors import HttpError
from wasi_trio.wasi.p3.http import outgoing_response

if TYPE_CHECKING:
    from wasi_trio.serve.handler import ProxyHandler

log = logging.getLogger("wasi_trio.serve")


class ConcurrentWorker(Worker):
    """Serves up to ``concurrent_count`` requests at a time with one instance.

    It takes on a request only while the guest asks for no backpressure and no task in it computes: one task that
    computes is enough for an instance. It ends like any worker; requests under way, and what a guest does after its
    last response, are let finish first, unless the instance failed.
    """

    _instance: Instance
    _pump: Pump
    _begin_call: Callable[[Instance, Exchange, Callable[[], None]], Call]

    def __init__(self, handler: ProxyHandler, number: int) -> None:
        super().__init__(handler, number)
        self._exchanges: dict[Exchange, Call] = {}
        self._retiring = False
        #: set when it may have become possible to take on a request, or time to leave
        self._changed = trio.Event()
        #: around the wait for a request
        self._receiving: trio.CancelScope | None = None

    async def _serve_all(self, instance: Instance, first: Exchange) -> None:
        pump = instance.pump
        assert pump is not None
        pump.on_change = self._change
        self._pump = pump
        calls = self.handler.calls
        assert isinstance(calls, ServiceHandler)
        self._instance = instance
        self._begin_call = calls.begin
        self._accept(first)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._take_on)
                await pump.run()
                nursery.cancel_scope.cancel()
        finally:
            self._fail_all()

    # ---- taking on requests ------------------------------------------------------------------------------

    @property
    def _room(self) -> bool:
        return (
            not self._retiring
            and len(self._exchanges) < self.handler.concurrent_count
            and not self._pump.busy
            and not self._pump.backpressure
        )

    async def _take_on(self) -> None:
        """Accept requests until the instance is used up, then wait for what is under way and stop the pump."""
        handler = self.handler
        while not self._retiring:
            if not self._room:
                self._changed = trio.Event()
                await self._changed.wait()
                continue
            with trio.CancelScope(deadline=self._idle_deadline()) as self._receiving:
                try:
                    exchange = await handler.work.receive()
                except trio.EndOfChannel:
                    break
                self._accept(exchange)
            expired = self._receiving.deadline <= trio.current_time()
            if self._receiving.cancelled_caught and expired and not self._exchanges:
                break
        self._receiving = None
        self._retiring = True
        while self._exchanges or not self._pump.idle:
            self._changed = trio.Event()
            await self._changed.wait()
        self._pump.stop()

    def _idle_deadline(self) -> float:
        if self._exchanges:
            return math.inf
        return trio.current_time() + self.handler.options.idle_instance_timeout

    def _accept(self, exchange: Exchange) -> None:
        self.taken += 1
        if self.taken >= self.handler.reuse_count:
            self._retiring = True
        call = self._begin_call(self._instance, exchange, lambda: self._answered(exchange))
        self._exchanges[exchange] = call
        exchange.on_cancel = lambda: self._cancel(exchange)
        if exchange.finished:  # its client left before we came to it
            self._cancel(exchange)

    # ---- what becomes of them ----------------------------------------------------------------------------

    def _answered(self, exchange: Exchange) -> None:
        """The guest's call has returned, or failed."""
        call = self._exchanges.get(exchange)
        if call is None:
            return
        if call.failure is not None or call.outcome is CANCELLED:
            if call.outcome is CANCELLED:
                self._finish_one(exchange, "the guest ended the request early")
            return  # failures end the instance, and all its requests with it
        try:
            response = outgoing_response(call.outcome, exchange.request)
        except HttpError as error:
            exchange.fail(GuestFailed(f"the guest answered with the error {error}"), error)
            self._finish_one(exchange, "")
            return
        if exchange.done:  # too late: the client has been answered, or has left
            response.body.close()
            self._finish_one(exchange, "")
            return
        body = response.body
        exchange.respond(response)
        if body.ended:
            self._finish_one(exchange, "")
            return
        settle = body.on_ended

        def ended(whole: bool) -> None:
            if settle is not None:
                settle(whole)
            self._finish_one(exchange, "the guest broke off its response")

        body.on_ended = ended

    def _cancel(self, exchange: Exchange) -> None:
        """Nobody waits for it any more: tell the guest, and give the instance up if it does not end in time."""
        call = self._exchanges.get(exchange)
        if call is None:
            return
        response = exchange.response
        if response is not None:
            response.body.close()
        call.cancel()
        self._pump.nursery.start_soon(self._grace, exchange)

    async def _grace(self, exchange: Exchange) -> None:
        await trio.sleep(self.handler.options.cancel_grace)
        if exchange in self._exchanges:
            self._retiring = True
            self._finish_one(exchange, "the guest did not end it in time")

    def _finish_one(self, exchange: Exchange, reason: str) -> None:
        if self._exchanges.pop(exchange, None) is not None:
            self._finish(exchange, reason)
            self._change()

    def _fail_all(self) -> None:
        """The pump has ended: nothing that is not complete by now will be."""
        reason = "the server is shutting down"
        failure = self._pump.failure
        if isinstance(failure, Exit):
            reason = f"the guest exited with code {failure.code}"
        elif isinstance(failure, Trap):
            reason = f"the guest trapped: {first_line(str(failure))}"
            log.error("instance %d trapped: %s", self.number, failure)
        elif isinstance(failure, Exception):
            reason = f"a host function failed: {type(failure).__name__}"
            log.error("instance %d: a host function failed", self.number, exc_info=failure)
        for exchange in list(self._exchanges):
            self._finish_one(exchange, reason)

    def _change(self) -> None:
        """Something changed that decides whether a request can be taken on, or whether to leave."""
        self._changed.set()
        receiving = self._receiving
        if receiving is None:
            return
        if not self._room:
            receiving.cancel()
        elif not self._exchanges:
            receiving.deadline = self._idle_deadline()
