"""The states of an exchange, and the events that change them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import Final


class Event(IntEnum):
    """An event that moves an exchange to another state."""

    #: An instance was chosen or started for the request.
    PLACE = 1
    #: The guest is called with the request.
    BEGIN = 2
    #: The guest has set the response's head.
    RESPOND = 3
    #: No response will follow.
    FAIL = 4
    #: The client left, or the caller cancelled.
    ABANDON = 5
    #: The time limit of the response's head has passed, or after it that of a pause in the body.
    EXPIRE = 6
    #: The guest is done with the request.
    GUEST_DONE = 7
    #: The response has ended early, which frees its place. The guest may continue, as after any response.
    CLOSE = 8
    #: The request waits again, because the memory does not suffice for an instance.
    QUEUE = 9


class State(Enum):
    """The state of an exchange. ``TABLE`` has the transitions. An answered exchange has a response or a failure."""

    answered: bool
    moves: Mapping[Event, State]

    def __init__(self, number: int, answered: bool) -> None:
        self.answered = answered

    #: The request waits in the queue.
    QUEUED = 1, False
    #: The request has a place, and waits for its instance.
    PLACED = 2, False
    #: The guest works on the request.
    WORKING = 3, False
    #: The response has a head, and the guest continues.
    RESPONDED = 4, True
    #: The exchange failed. The guest, or the creation of its instance, may continue.
    FAILED = 5, True
    #: The client left before an answer. The guest's work is being stopped.
    ABANDONED = 6, False
    #: The client left after an answer. The guest's work is being stopped.
    DROPPED = 7, True
    #: The deadline has passed without a response. The guest's work is being stopped.
    OVERDUE = 8, True
    #: The response paused for too long and is cut. The guest's work is being stopped.
    STALLED = 9, True
    #: The place is free. The guest may continue after its early end of the response, unless the client leaves.
    CLOSED = 10, True
    #: The place is free, and the guest is done.
    ENDED = 11, True


#: The transitions. RESPOND, FAIL, ABANDON and EXPIRE come from outside at any time, and have no effect in the other
#: states, because they come too late. The handler sends the other events, and must not send them there.
TABLE: Final[Mapping[State, Mapping[Event, State]]] = {
    State.QUEUED: {
        Event.PLACE: State.PLACED,
        Event.FAIL: State.ENDED,
        Event.ABANDON: State.ENDED,
        Event.EXPIRE: State.ENDED,
    },
    State.PLACED: {
        Event.PLACE: State.PLACED,
        Event.QUEUE: State.QUEUED,
        Event.BEGIN: State.WORKING,
        Event.FAIL: State.FAILED,
        Event.ABANDON: State.ABANDONED,
        Event.EXPIRE: State.OVERDUE,
    },
    State.WORKING: {
        Event.RESPOND: State.RESPONDED,
        Event.FAIL: State.FAILED,
        Event.ABANDON: State.ABANDONED,
        Event.EXPIRE: State.OVERDUE,
    },
    State.RESPONDED: {
        Event.ABANDON: State.DROPPED,
        Event.EXPIRE: State.STALLED,
        Event.CLOSE: State.CLOSED,
        Event.GUEST_DONE: State.ENDED,
    },
    State.FAILED: {Event.ABANDON: State.DROPPED, Event.GUEST_DONE: State.ENDED},
    State.ABANDONED: {Event.PLACE: State.ABANDONED, Event.FAIL: State.DROPPED},
    State.DROPPED: {Event.CLOSE: State.ENDED, Event.GUEST_DONE: State.ENDED},
    State.OVERDUE: {Event.PLACE: State.OVERDUE, Event.GUEST_DONE: State.ENDED},
    State.STALLED: {Event.CLOSE: State.ENDED, Event.GUEST_DONE: State.ENDED},
    State.CLOSED: {Event.ABANDON: State.ENDED},
    State.ENDED: {},
}
for _state, _moves in TABLE.items():
    _state.moves = _moves
