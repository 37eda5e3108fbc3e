"""Failures of socket operations."""

from __future__ import annotations

import errno
from enum import Enum


class Code(Enum):
    """Failures with a name in WASI. The value is the name, if both versions share it."""

    ACCESS_DENIED = "access-denied"
    NOT_SUPPORTED = "not-supported"
    INVALID_ARGUMENT = "invalid-argument"
    OUT_OF_MEMORY = "out-of-memory"
    TIMEOUT = "timeout"
    INVALID_STATE = "invalid-state"
    ADDRESS_NOT_BINDABLE = "address-not-bindable"
    ADDRESS_IN_USE = "address-in-use"
    REMOTE_UNREACHABLE = "remote-unreachable"
    CONNECTION_REFUSED = "connection-refused"
    #: the connection cannot be written to
    CONNECTION_BROKEN = "connection-broken"
    CONNECTION_RESET = "connection-reset"
    CONNECTION_ABORTED = "connection-aborted"
    DATAGRAM_TOO_LARGE = "datagram-too-large"
    #: the limit of sockets, of the host or of the system, is reached
    TOO_MANY_SOCKETS = "new-socket-limit"
    #: an operation was finished that was not started
    NOT_IN_PROGRESS = "not-in-progress"
    #: an operation was started before another one was finished
    CONCURRENCY_CONFLICT = "concurrency-conflict"
    WOULD_BLOCK = "would-block"
    NAME_UNRESOLVABLE = "name-unresolvable"
    TEMPORARY_RESOLVER_FAILURE = "temporary-resolver-failure"
    PERMANENT_RESOLVER_FAILURE = "permanent-resolver-failure"
    OTHER = "other"


class SocketError(OSError):
    """A failure that does not come from a system call."""

    def __init__(self, code: Code) -> None:
        super().__init__(code.value)
        self.code = code


def would_block() -> BlockingIOError:
    """Return the error of an operation that would have to wait."""
    return BlockingIOError(errno.EAGAIN, "would block")


_CODES = {
    Code.ACCESS_DENIED: "EPERM EACCES",
    Code.NOT_SUPPORTED: "EOPNOTSUPP ENOPROTOOPT EPFNOSUPPORT EPROTONOSUPPORT ESOCKTNOSUPPORT EPROTOTYPE EAFNOSUPPORT",
    Code.INVALID_ARGUMENT: "EINVAL",
    Code.OUT_OF_MEMORY: "ENOMEM ENOBUFS",
    Code.TIMEOUT: "ETIMEDOUT",
    Code.INVALID_STATE: "EISCONN ENOTCONN EDESTADDRREQ",
    Code.ADDRESS_NOT_BINDABLE: "EADDRNOTAVAIL",
    Code.ADDRESS_IN_USE: "EADDRINUSE",
    Code.REMOTE_UNREACHABLE: "EHOSTUNREACH EHOSTDOWN ENETDOWN ENETUNREACH ENONET",
    Code.CONNECTION_REFUSED: "ECONNREFUSED",
    Code.CONNECTION_BROKEN: "EPIPE ESHUTDOWN",
    Code.CONNECTION_RESET: "ECONNRESET",
    Code.CONNECTION_ABORTED: "ECONNABORTED",
    Code.DATAGRAM_TOO_LARGE: "EMSGSIZE",
    Code.TOO_MANY_SOCKETS: "EMFILE ENFILE",
    Code.WOULD_BLOCK: "EAGAIN EWOULDBLOCK",
}
#: no system defines all of these
_BY_NUMBER = {
    getattr(errno, name): code for code, names in _CODES.items() for name in names.split() if hasattr(errno, name)
}


def code_of(error: OSError) -> Code:
    """Return the code of a failure."""
    return error.code if isinstance(error, SocketError) else _BY_NUMBER.get(error.errno or 0, Code.OTHER)


#: errors of ``accept`` that concern the next connection and not the listening socket; Linux reports them here
_GONE = (
    "ECONNABORTED ECONNRESET ENETRESET EHOSTUNREACH EHOSTDOWN ENETDOWN ENETUNREACH EPROTO ENOPROTOOPT ENONET EOPNOTSUPP"
    " EINTR EPERM"
)
_CONNECTION_ERRORS = {getattr(errno, name) for name in _GONE.split() if hasattr(errno, name)}


def is_connection_error(error: OSError) -> bool:
    """Return whether ``accept`` failed because the next connection has already closed."""
    return error.errno in _CONNECTION_ERRORS
