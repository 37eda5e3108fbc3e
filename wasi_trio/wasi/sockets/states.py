"""The states of a TCP socket, and how it gets from one to the next."""

from __future__ import annotations

from enum import Enum, auto

from wasi_trio.wasi.sockets.errors import Code, SocketError


class TcpState(Enum):
    UNBOUND = auto()
    BOUND = auto()
    LISTENING = auto()
    CONNECTING = auto()
    CONNECTED = auto()
    #: it could not connect, and is of no more use
    CLOSED = auto()


class Step(Enum):
    BIND = auto()
    LISTEN = auto()
    CONNECT = auto()
    #: what CONNECT began has come about
    ESTABLISH = auto()
    #: what CONNECT began has failed
    FAIL = auto()


#: what is not here is invalid-state
TRANSITIONS = {
    (TcpState.UNBOUND, Step.BIND): TcpState.BOUND,
    (TcpState.UNBOUND, Step.LISTEN): TcpState.LISTENING,
    (TcpState.UNBOUND, Step.CONNECT): TcpState.CONNECTING,
    (TcpState.BOUND, Step.LISTEN): TcpState.LISTENING,
    (TcpState.BOUND, Step.CONNECT): TcpState.CONNECTING,
    (TcpState.CONNECTING, Step.ESTABLISH): TcpState.CONNECTED,
    (TcpState.CONNECTING, Step.FAIL): TcpState.CLOSED,
}


def after(state: TcpState, step: Step) -> TcpState:
    """The state that a step leads to; raises SocketError where it is not to be taken."""
    try:
        return TRANSITIONS[state, step]
    except KeyError:
        raise SocketError(Code.INVALID_STATE) from None
