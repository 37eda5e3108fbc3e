"""The states of a TCP socket and the transitions between them."""

from __future__ import annotations

from enum import Enum, auto

from wasi_trio.wasi.sockets._errors import Code, SocketError


class TcpState(Enum):
    UNBOUND = auto()
    BOUND = auto()
    LISTENING = auto()
    CONNECTING = auto()
    CONNECTED = auto()
    #: the connection attempt failed, and the socket is unusable
    CLOSED = auto()


class Step(Enum):
    BIND = auto()
    LISTEN = auto()
    CONNECT = auto()
    #: the connection is established
    ESTABLISH = auto()
    #: the connection attempt failed
    FAIL = auto()


#: all other pairs are invalid
TRANSITIONS = {
    (TcpState.UNBOUND, Step.BIND): TcpState.BOUND,
    (TcpState.UNBOUND, Step.LISTEN): TcpState.LISTENING,
    (TcpState.UNBOUND, Step.CONNECT): TcpState.CONNECTING,
    (TcpState.BOUND, Step.LISTEN): TcpState.LISTENING,
    (TcpState.BOUND, Step.CONNECT): TcpState.CONNECTING,
    (TcpState.CONNECTING, Step.ESTABLISH): TcpState.CONNECTED,
    (TcpState.CONNECTING, Step.FAIL): TcpState.CLOSED,
}


def next_state(state: TcpState, step: Step) -> TcpState:
    """Return the state after a step. Raises SocketError if the step is invalid in this state."""
    try:
        return TRANSITIONS[state, step]
    except KeyError:
        raise SocketError(Code.INVALID_STATE) from None
