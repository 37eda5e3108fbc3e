"""The states and transitions of an exchange."""

from __future__ import annotations

import itertools

import pytest

from wasi_trio.serve.pool._exchange import Exchange, WrongTransition
from wasi_trio.serve.pool._failures import DeadlinePassed, ExchangeFailed, GuestFailed
from wasi_trio.serve.pool._states import TABLE, Event, State
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Request, Response

ERROR = HttpError("internal-error", "why")


def new() -> Exchange:
    return Exchange(Request("GET", "http", "x", "/", [], Body.empty()))


class Log:
    """An owner that records its calls with the exchange's state."""

    def __init__(self, exchange: Exchange) -> None:
        self.told: list[object] = []
        exchange.owner = self
        exchange.notify = lambda: self.told.append(("notified", exchange.state))

    def responded(self, exchange: Exchange) -> None:
        self.told.append("responded")

    def stop(self, exchange: Exchange, late: bool) -> None:
        self.told.append(("stop", exchange.state, late))


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_each_state_and_event(state: State, event: Event) -> None:
    exchange = new()
    exchange.state = state
    after = TABLE[state].get(event)
    if after is not None:
        assert exchange.advance(event)
        assert exchange.state is after
        # An answer is final. An exchange abandoned in the queue is answered by the code that abandons it.
        assert after.answered or not state.answered
    elif event in (Event.RESPOND, Event.FAIL, Event.ABANDON, Event.EXPIRE):
        assert not exchange.advance(event)
        assert exchange.state is state
    else:
        with pytest.raises(WrongTransition, match=f"{event.name} while {state.name}"):
            exchange.advance(event)


def test_every_state_is_reachable_and_leads_to_the_end() -> None:
    reached, new_ones = {State.QUEUED}, {State.QUEUED}
    while new_ones:
        new_ones = {after for state in new_ones for after in TABLE[state].values()} - reached
        reached |= new_ones
    assert reached == set(State) == set(TABLE)
    ending = {State.ENDED}
    for _ in State:
        ending |= {state for state in State if ending & set(TABLE[state].values())}
    assert ending == set(State)


def test_a_response() -> None:
    exchange = new()
    log = Log(exchange)
    exchange.advance(Event.PLACE)
    exchange.advance(Event.BEGIN)
    response = Response(200, [], Body())
    exchange.respond(response)
    late = Response(201, [], Body())
    exchange.respond(late)
    exchange.fail(GuestFailed("why"), ERROR)
    assert (exchange.response, exchange.failure, exchange.answered) == (response, None, True)
    assert log.told == [("notified", State.RESPONDED), "responded"]
    assert late.body.closed
    assert response.body.error is ERROR
    exchange.cancel()
    exchange.cancel()
    assert log.told[2:] == [("stop", State.DROPPED, False)]


def test_a_request_abandoned_before_its_placement() -> None:
    exchange = new()
    log = Log(exchange)
    exchange.cancel()
    assert isinstance(exchange.failure, GuestFailed)
    assert log.told == [("notified", State.ENDED), ("stop", State.ENDED, False)]


@pytest.mark.parametrize("begun", [False, True])
def test_an_abandoned_request_is_not_answered(begun: bool) -> None:
    exchange = new()
    exchange.advance(Event.PLACE)
    if begun:
        exchange.advance(Event.BEGIN)
    log = Log(exchange)
    exchange.cancel()
    assert (exchange.answered, exchange.abandoned, exchange.expected) == (False, True, False)
    response = Response(200, [], Body())
    exchange.respond(response)
    assert response.body.closed and exchange.response is None
    exchange.expire(DeadlinePassed("late"), ERROR)
    exchange.fail(GuestFailed("its client left"), ERROR)
    assert log.told == [("stop", State.ABANDONED, False), ("notified", State.DROPPED)]
    exchange.advance(Event.GUEST_DONE)
    assert exchange.place_released


@pytest.mark.parametrize("events", [[], [Event.PLACE], [Event.PLACE, Event.BEGIN]])
def test_a_deadline(events: list[Event]) -> None:
    exchange = new()
    for event in events:
        exchange.advance(event)
    log = Log(exchange)
    failure: ExchangeFailed = DeadlinePassed("late")
    exchange.expire(failure, ERROR)
    exchange.cancel()
    state = State.OVERDUE if events else State.ENDED
    assert log.told == [("notified", state), ("stop", state, True)]
    assert exchange.failure is failure and failure.error is ERROR


def test_abandonment_after_an_early_end_of_the_response() -> None:
    exchange = new()
    exchange.advance(Event.PLACE)
    exchange.advance(Event.BEGIN)
    exchange.respond(Response(200, [], Body()))
    exchange.advance(Event.CLOSE)
    assert exchange.place_released and not exchange.abandoned
    log = Log(exchange)
    exchange.cancel()
    assert log.told == [("stop", State.ENDED, False)]


@pytest.mark.parametrize(("content", "status"), [(b"", 500), (b"some", 200)])
def test_the_status_of_a_response_cut_before_it_is_sent(content: bytes, status: int) -> None:
    """Buffered content is sent after the guest's status. Without any, the client receives another status."""
    exchange = new()
    exchange.advance(Event.PLACE)
    exchange.advance(Event.BEGIN)
    body = Body()
    if content:
        body.write_pieces([content])
    exchange.respond(Response(200, [], body))
    exchange.fallback = 500
    assert exchange.status == 200
    body.abort(ERROR)
    assert exchange.status == status
